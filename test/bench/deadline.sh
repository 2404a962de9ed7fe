#!/bin/sh
# Working time by calendar code beside ts AT TIME ZONE 'Europe/Warsaw' on the same 200,000 rows: nanoseconds a row, the
# scan itself taken off. The limit is a ratio of 1; the answer must not cost more for 4,000 hours than for 6, nor for
# 2,000 exceptions over 20 years than for none.
set -eu
psql -X -q -A -t <<'SQL'
SET client_min_messages = warning;
CREATE TABLE moment AS SELECT timestamptz '2015-01-01' + i * interval '47 minutes' AS at FROM generate_series(1, 200000) AS i;
VACUUM ANALYZE moment;
INSERT INTO omnichannel.calendar VALUES ('busy', 'Many exceptions', 'Europe/Warsaw', 'Mo-Fr 09:00-17:00');
INSERT INTO omnichannel.calendar_exception (calendar, during, open)
SELECT 'busy', tsrange(timestamp '2012-01-01 10:00' + i * interval '88 hours', timestamp '2012-01-01 12:00' + i * interval '88 hours'), i % 3 = 0
FROM generate_series(1, 2000) AS i;

CREATE FUNCTION pg_temp.nanoseconds(expression text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	started timestamptz := clock_timestamp();
BEGIN
	EXECUTE format('SELECT count(%s) FROM moment', expression);
	RETURN extract(epoch FROM clock_timestamp() - started) * 1e9 / 200000;
END
$$;
CREATE TEMP TABLE variant (id int, what text, expression text);
INSERT INTO variant VALUES
	(0, 'scan', 'at'),
	(1, 'peer', 'at AT TIME ZONE ''Europe/Warsaw'''),
	(2, 'deadline() of 6 hours, by code', 'omnichannel.deadline(at, ''6 hours'', ''office'')'),
	(3, 'deadline() of 4,000 hours, by code', 'omnichannel.deadline(at, ''4000 hours'', ''office'')'),
	(4, 'deadline() of 6 hours, 2,000 exceptions', 'omnichannel.deadline(at, ''6 hours'', ''busy'')'),
	(5, 'deadline() of 4,000 hours, 2,000 exceptions', 'omnichannel.deadline(at, ''4000 hours'', ''busy'')'),
	(6, 'working_time() of years, by code', 'omnichannel.working_time(at, ''2020-01-01'', ''office'')'),
	(7, 'is_working(), by code', 'omnichannel.is_working(at, ''office'')'),
	(8, 'working_time() of years, 2,000 exceptions', 'omnichannel.working_time(at, ''2020-01-01'', ''busy'')'),
	(9, 'working_time() of hours, 2,000 exceptions', 'omnichannel.working_time(at, at + interval ''6 hours'', ''busy'')'),
	(10, 'is_working(), 2,000 exceptions', 'omnichannel.is_working(at, ''busy'')'),
	(11, 'deadline() of 6 hours, by value', 'omnichannel.deadline(at, ''6 hours'', ''Mo-Fr 09:00-17:00'', ''Europe/Warsaw'')');
-- Once for the caches, then three runs of all variants in turns.
SELECT count(pg_temp.nanoseconds(expression)) FROM variant \g /dev/null
CREATE TEMP TABLE measured AS
SELECT run, id, what, pg_temp.nanoseconds(expression) AS ns FROM generate_series(1, 3) AS run, LATERAL (SELECT * FROM variant ORDER BY id, run OFFSET 0) AS v;
WITH net AS (
	SELECT v.id, v.what, v.run, v.ns - scan.ns AS ours, peer.ns - scan.ns AS peer
	FROM measured AS v JOIN measured AS scan ON scan.run = v.run AND scan.id = 0 JOIN measured AS peer ON peer.run = v.run AND peer.id = 1
	WHERE v.id > 1
)
SELECT format('%s|%s ns|%s ns|%s|%s', what, round(avg(ours)), round(avg(peer)), round((avg(ours) / avg(peer))::numeric, 2),
	round(min(ours / peer)::numeric, 2) || '-' || round(max(ours / peer)::numeric, 2))
FROM net GROUP BY id, what ORDER BY id;
SQL
