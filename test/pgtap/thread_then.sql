-- A contact that names no request is about what its conversation was about at its own time, whenever it is logged.
BEGIN;
SELECT plan(9);
SET LOCAL search_path = omnichannel, public;
SET LOCAL timezone = 'UTC';
INSERT INTO channel (channel, name, medium, opens_request) VALUES ('note', 'Note', 'mail', false);
SELECT identify('account', 'then') AS customer \gset
CREATE FUNCTION pg_temp.logged(channel text, at text, thread text, request bigint DEFAULT NULL) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	logged bigint := omnichannel.log_contact(channel, omnichannel.identify('account', 'then'), occurred_at => ('2026-06-01 ' || at)::timestamptz,
		thread => thread, request_id => request, source => 'then');
BEGIN
	RETURN (SELECT c.request_id FROM omnichannel.contact AS c WHERE c.contact_id = logged);
END
$$;

-- The first opens a request, a later one names another; what is logged late belongs to the first.
SELECT open_request(:customer, 'complaint', 'branch', opened_at => '2026-06-01 06:00') AS other \gset
SELECT pg_temp.logged('email', '10:00', 'a') AS first \gset
SELECT isnt(:first::bigint, :other::bigint, 'a conversation opens a request of its own');
SELECT pg_temp.logged('email', '12:00', 'a', :other) = :other AS named;
SELECT is(ARRAY[pg_temp.logged('email', '13:00', 'a'), pg_temp.logged('email', '11:00', 'a'), pg_temp.logged('email', '09:00', 'a'),
	pg_temp.logged('email', '09:30', 'a'), pg_temp.logged('email', '14:00', 'a')],
	ARRAY[:other, :first, :first, :first, :other]::bigint[], 'each is about what it was about then');
SELECT is((SELECT request_id FROM thread WHERE thread = 'a' AND source = 'then'), :other::bigint, 'late ones do not change what it is about');

-- The same in one statement, in no order; where nothing was before, the late ones open one request together.
CREATE TABLE public.mail (id int PRIMARY KEY, who bigint DEFAULT identify('account', 'then'), at timestamptz, thread text, request bigint);
SELECT track('public.mail', channel => 'email', customer => '{who}', occurred_at => '{at}', thread => '{thread}', request => '{request}', source => 'mail') IS NOT NULL AS tracked;
INSERT INTO public.mail (id, at, thread, request) VALUES (1, '2026-06-01 13:00', 'b', NULL), (2, '2026-06-01 12:00', 'b', :other), (3, '2026-06-01 10:00', 'b', NULL),
	(4, '2026-06-01 11:00', 'b', NULL), (5, '2026-06-01 12:00', 'c', :other);
INSERT INTO public.mail (id, at, thread, request) VALUES (6, '2026-06-01 11:00', 'c', NULL), (7, '2026-06-01 10:00', 'c', NULL), (8, '2026-06-01 12:30', 'c', NULL);
SELECT results_eq($$SELECT m.id, CASE WHEN c.request_id = m.request THEN 'other' WHEN c.request_id IS NULL THEN 'none' ELSE m.thread || rank() OVER (PARTITION BY m.thread, c.request_id IS NOT DISTINCT FROM o.other ORDER BY c.request_id) END
	FROM mail AS m JOIN contact AS c ON c.source = 'mail' AND c.source_key = m.id::text CROSS JOIN (SELECT max(request) AS other FROM mail) AS o WHERE m.request IS NULL AND c.request_id <> o.other ORDER BY 1$$,
	$$VALUES (3, 'b1'), (4, 'b1'), (6, 'c1'), (7, 'c1')$$, 'rows of one statement alike');
SELECT is((SELECT count(*) FROM mail AS m JOIN contact AS c ON c.source = 'mail' AND c.source_key = m.id::text WHERE c.request_id = :other), 4::bigint, 'and the later ones');

-- What comes after a conversation's request was deleted opens another, row by row and in one statement.
SELECT pg_temp.logged('email', '10:00', 'd') AS gone \gset
INSERT INTO public.mail (id, at, thread) VALUES (10, '2026-06-01 10:00', 'e');
DELETE FROM request WHERE request_id = :gone OR request_id = (SELECT request_id FROM contact WHERE source = 'mail' AND source_key = '10');
SELECT pg_temp.logged('email', '12:00', 'd') AS again \gset
SELECT ok(:again > :gone AND EXISTS (SELECT FROM request WHERE request_id = :again AND closed_at IS NULL), 'a deleted request is not gone on with');
SELECT is(pg_temp.logged('email', '13:00', 'd'), :again::bigint, 'what was opened in its stead is');
INSERT INTO public.mail (id, at, thread) VALUES (11, '2026-06-01 12:00', 'e'), (12, '2026-06-01 13:00', 'e');
SELECT is((SELECT count(DISTINCT r.request_id) FILTER (WHERE r.closed_at IS NULL) FROM contact AS c JOIN request AS r USING (request_id)
	WHERE c.source = 'mail' AND c.source_key IN ('11', '12')), 1::bigint, 'rows of one statement open one');

-- Twenty sets: contacts that name requests, in order, then others in any order.
CREATE FUNCTION pg_temp.wrong(seed int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	customer bigint := omnichannel.identify('account', 'then');
	requests bigint[] := ARRAY(SELECT omnichannel.open_request(customer, 'complaint', 'branch', opened_at => '2026-06-01 06:00') FROM generate_series(1, 3));
	said record;
	wrong bigint := 0;
BEGIN
	FOR said IN
		SELECT n, abs(hashint4(seed * 31 + n)) % 3 = 0 AS names, requests[1 + abs(hashint4(seed * 7 + n)) % 3] AS request,
			(ARRAY['x', 'y'])[1 + abs(hashint4(seed * 13 + n)) % 2] || seed AS thread
		FROM generate_series(1, 20) AS n ORDER BY names DESC, CASE WHEN abs(hashint4(seed * 31 + n)) % 3 = 0 THEN n ELSE hashint4(seed * 1000 + n) END
	LOOP
		PERFORM omnichannel.log_contact('note', customer, occurred_at => timestamptz '2026-06-01 08:00' + said.n * interval '10 minutes', thread => said.thread,
			request_id => CASE WHEN said.names THEN said.request END, source => 'sets', source_key => format('%s %s %s', seed, said.n, said.names));
	END LOOP;
	SELECT count(*) INTO wrong FROM omnichannel.contact AS c WHERE c.source = 'sets' AND c.source_key LIKE seed || ' %f' AND c.request_id IS DISTINCT FROM
		(SELECT o.request_id FROM omnichannel.contact AS o WHERE o.source = 'sets' AND o.thread = c.thread AND o.source_key LIKE '%t' AND o.occurred_at < c.occurred_at ORDER BY o.occurred_at DESC LIMIT 1);
	RETURN wrong;
END
$$;
SELECT is((SELECT array_agg(seed) FROM generate_series(1, 20) AS seed WHERE pg_temp.wrong(seed) <> 0), NULL, 'in any order');
SELECT * FROM finish();
ROLLBACK;
