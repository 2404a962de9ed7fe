#!/bin/sh
# Working time by calendar code beside ts AT TIME ZONE 'Europe/Warsaw' on the same 200,000 rows of 18 years, once in the
# order of time and once in none: nanoseconds a row, the scan itself taken off. The limit is a ratio of 1; the answer must
# not cost more for 4,000 hours than for 6, nor for 2,000 exceptions over 20 years than for none.
set -eu
psql -X -q -A -t <<'SQL'
SET client_min_messages = warning;
CREATE TABLE moment AS SELECT timestamptz '2015-01-01' + i * interval '47 minutes' AS at FROM generate_series(1, 200000) AS i;
CREATE TABLE shuffled AS SELECT at FROM moment ORDER BY md5(at::text);
VACUUM ANALYZE moment, shuffled;
INSERT INTO omnichannel.calendar VALUES ('busy', 'Many exceptions', 'Europe/Warsaw', 'Mo-Fr 09:00-17:00');
INSERT INTO omnichannel.calendar_exception (calendar, during, open)
SELECT 'busy', tsrange(timestamp '2012-01-01 10:00' + i * interval '88 hours', timestamp '2012-01-01 12:00' + i * interval '88 hours'), i % 3 = 0
FROM generate_series(1, 2000) AS i;

CREATE FUNCTION pg_temp.nanoseconds(expression text, rows_of regclass) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	started timestamptz := clock_timestamp();
BEGIN
	EXECUTE format('SELECT count(%s) FROM %s', expression, rows_of);
	RETURN extract(epoch FROM clock_timestamp() - started) * 1e9 / 200000;
END
$$;
CREATE TEMP TABLE variant (id int, rows_of regclass, what text, expression text);
INSERT INTO variant
SELECT id, rows_of, what, expression
FROM (VALUES ('moment'::regclass), ('shuffled')) AS r (rows_of),
	(VALUES (0, 'scan', 'at'), (1, 'peer', 'at AT TIME ZONE ''Europe/Warsaw''')) AS v (id, what, expression);
INSERT INTO variant VALUES
	(2, 'moment', 'deadline() of 6 hours, by code', 'omnichannel.deadline(at, ''6 hours'', ''office'')'),
	(3, 'moment', 'deadline() of 4,000 hours, by code', 'omnichannel.deadline(at, ''4000 hours'', ''office'')'),
	(4, 'moment', 'deadline() of 6 hours, 2,000 exceptions', 'omnichannel.deadline(at, ''6 hours'', ''busy'')'),
	(5, 'moment', 'deadline() of 4,000 hours, 2,000 exceptions', 'omnichannel.deadline(at, ''4000 hours'', ''busy'')'),
	(6, 'moment', 'working_time() of years, by code', 'omnichannel.working_time(at, ''2020-01-01'', ''office'')'),
	(7, 'moment', 'is_working(), by code', 'omnichannel.is_working(at, ''office'')'),
	(8, 'moment', 'working_time() of years, 2,000 exceptions', 'omnichannel.working_time(at, ''2020-01-01'', ''busy'')'),
	(9, 'moment', 'working_time() to 2035, 2,000 exceptions', 'omnichannel.working_time(at, ''2035-01-01'', ''busy'')'),
	(10, 'moment', 'working_time() of hours, 2,000 exceptions', 'omnichannel.working_time(at, at + interval ''6 hours'', ''busy'')'),
	(11, 'moment', 'is_working(), 2,000 exceptions', 'omnichannel.is_working(at, ''busy'')'),
	(12, 'moment', 'deadline() of 6 hours, by value', 'omnichannel.deadline(at, ''6 hours'', ''Mo-Fr 09:00-17:00'', ''Europe/Warsaw'')'),
	(13, 'shuffled', 'deadline() of 6 hours, rows in no order', 'omnichannel.deadline(at, ''6 hours'', ''office'')'),
	(14, 'shuffled', 'deadline() of 6 hours, 2,000 exceptions, rows in no order', 'omnichannel.deadline(at, ''6 hours'', ''busy'')'),
	(15, 'shuffled', 'deadline() of 400 hours, 2,000 exceptions, rows in no order', 'omnichannel.deadline(at, ''400 hours'', ''busy'')'),
	(16, 'shuffled', 'deadline() of 4,000 hours, 2,000 exceptions, rows in no order', 'omnichannel.deadline(at, ''4000 hours'', ''busy'')'),
	(17, 'shuffled', 'working_time() to 2035, 2,000 exceptions, rows in no order', 'omnichannel.working_time(at, ''2035-01-01'', ''busy'')'),
	(18, 'shuffled', 'working_time() of 200 days, 2,000 exceptions, rows in no order',
		'omnichannel.working_time(at, at + interval ''4800 hours'', ''busy'')'),
	(19, 'shuffled', 'is_working(), 2,000 exceptions, rows in no order', 'omnichannel.is_working(at, ''busy'')');
-- Once for the caches, then three runs of all variants in turns.
SELECT count(pg_temp.nanoseconds(expression, rows_of)) FROM variant \g /dev/null
CREATE TEMP TABLE measured AS
SELECT run, id, rows_of, what, pg_temp.nanoseconds(expression, rows_of) AS ns
FROM generate_series(1, 3) AS run, LATERAL (SELECT * FROM variant ORDER BY id, rows_of, run OFFSET 0) AS v;
WITH net AS (
	SELECT v.id, v.what, v.run, v.ns - scan.ns AS ours, peer.ns - scan.ns AS peer
	FROM measured AS v JOIN measured AS scan USING (run, rows_of) JOIN measured AS peer USING (run, rows_of)
	WHERE v.id > 1 AND scan.id = 0 AND peer.id = 1
)
SELECT format('%s|%s ns|%s ns|%s|%s', what, round(avg(ours)), round(avg(peer)), round((avg(ours) / avg(peer))::numeric, 2),
	round(min(ours / peer)::numeric, 2) || '-' || round(max(ours / peer)::numeric, 2))
FROM net GROUP BY id, what ORDER BY id;
SQL
