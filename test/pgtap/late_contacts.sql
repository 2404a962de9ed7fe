-- A contact that names neither a request nor a conversation, and is logged last, goes where it would have gone in order, and
-- gives the same clocks. Sixty histories of all sorts of contacts, each with every such contact of it logged last; left out
-- are those in which others, logged before, would have gone elsewhere for its sake: they stay where they are.
BEGIN;
SELECT plan(7);
SET LOCAL timezone = 'UTC';
DELETE FROM omnichannel.sla_policy;
INSERT INTO omnichannel.sla_policy (policy, rank, metric, target) VALUES ('fr', 1, 'first_response', '5 hours'), ('nr', 1, 'next_response', '3 hours');
SELECT omnichannel.tick_sla() \g /dev/null

-- What history number `seed` says, the same each time: hashes stand for chance. named: its request
CREATE FUNCTION pg_temp.moments(seed int) RETURNS TABLE (n int, at timestamptz, channel text, direction text, thread text, named boolean)
LANGUAGE sql AS $$
	SELECT n, timestamptz '2026-06-01 06:00Z' + make_interval(mins => n * 37 + abs(hashint4(seed * 100 + n)) % 37),
		(ARRAY['email', 'sms', 'email', 'phone'])[1 + abs(hashint4(seed * 17 + n)) % 4],
		(ARRAY['inbound', 'outbound', 'inbound'])[1 + abs(hashint4(seed * 19 + n)) % 3],
		CASE abs(hashint4(seed * 13 + n)) % 5 WHEN 0 THEN 'a' WHEN 1 THEN 'b' END,
		abs(hashint4(seed * 13 + n)) % 5 = 2
	FROM generate_series(1, 6) AS n
$$;
-- Logs it for a new customer, one of them last, or 0; opened: with a request that was there before.
CREATE FUNCTION pg_temp.logged(seed int, late int, opened boolean) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	customer bigint := omnichannel.identify('account', format('late-%s-%s-%s', seed, late, opened));
	request bigint;
	moment record;
BEGIN
	IF opened THEN
		request := omnichannel.open_request(customer, 'known', 'email', opened_at => '2026-06-01 05:00Z');
	END IF;
	FOR moment IN SELECT * FROM pg_temp.moments(seed) AS m ORDER BY m.n = late, m.n LOOP
		PERFORM omnichannel.log_contact(moment.channel, customer, direction => moment.direction, outcome => CASE WHEN moment.channel = 'phone' THEN 'answered' END,
			occurred_at => moment.at, thread => moment.thread || customer, source => 'late', source_key => customer || '/' || moment.n,
			request_id => CASE WHEN moment.named THEN request END);
	END LOOP;
	RETURN customer;
END
$$;
-- With whom each of them is in a request, but for one.
CREATE FUNCTION pg_temp.places(customer bigint, without int) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s:%s', c.n, CASE WHEN c.request_id IS NULL THEN 'none' ELSE c.first || c.kind END), ' ' ORDER BY c.n)
	FROM (
		SELECT n, c.request_id, min(n) OVER (PARTITION BY c.request_id) AS first, CASE WHEN r.kind = 'known' THEN ' known' ELSE '' END AS kind
		FROM omnichannel.contact AS c CROSS JOIN LATERAL (SELECT split_part(c.source_key, '/', 2)::int AS n) AS k
		LEFT JOIN omnichannel.request AS r USING (request_id)
		WHERE c.customer_id = customer AND n <> without
	) AS c
$$;
CREATE FUNCTION pg_temp.clocks(customer bigint) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s %s %s %s', c.metric, c.started_at, c.stopped_at, c.outcome), ', ' ORDER BY c.metric, c.started_at, c.stopped_at, c.outcome)
	FROM omnichannel.sla_clock AS c WHERE c.customer_id = customer
$$;
CREATE TEMP TABLE history AS
SELECT opened, seed, m.n, in_order, last
FROM unnest('{t,f}'::boolean[]) AS opened, generate_series(1, 60) AS seed,
	LATERAL (SELECT pg_temp.logged(seed, 0, opened) AS in_order OFFSET 0) AS o,
	LATERAL (SELECT * FROM pg_temp.moments(seed) AS m WHERE m.thread IS NULL AND NOT m.named OFFSET 0) AS m,
	LATERAL (SELECT pg_temp.logged(seed, m.n, opened) AS last OFFSET 0) AS l
WHERE pg_temp.places(in_order, m.n) = pg_temp.places(last, m.n);
SELECT cmp_ok((SELECT count(*) FROM history), '>', 250::bigint, 'there are enough histories');
SELECT is((SELECT string_agg(format('%s/%s/%s: %s, not %s', opened, seed, n, pg_temp.places(last, 0), pg_temp.places(in_order, 0)), '; ') FROM history
	WHERE pg_temp.places(last, 0) <> pg_temp.places(in_order, 0)), NULL, 'the last is about the same request');
SELECT is((SELECT string_agg(format('%s/%s/%s: %s, not %s', opened, seed, n, pg_temp.clocks(last), pg_temp.clocks(in_order)), '; ') FROM history
	WHERE pg_temp.clocks(last) IS DISTINCT FROM pg_temp.clocks(in_order)), NULL, 'and clocks are the same');

-- One by one: what was open then goes before what was opened since, whatever its channel; in one statement too.
SELECT omnichannel.identify('account', 'one by one') AS one \gset
CREATE TABLE public.texts (id int PRIMARY KEY, who bigint, at timestamptz, thread text);
SELECT omnichannel.track('public.texts', channel => 'sms', customer => '{who}', occurred_at => '{at}', thread => '{thread}') \g /dev/null
CREATE FUNCTION pg_temp.request(id int) RETURNS bigint LANGUAGE sql AS $$
	SELECT request_id FROM omnichannel.contact WHERE source = 'public.texts' AND source_key = id::text
$$;
SELECT omnichannel.open_request(:one, 'known', 'email', opened_at => now() - interval '4 days') AS known \gset
INSERT INTO public.texts VALUES (1, :one, now() - interval '2 days', 'of its own');
INSERT INTO public.texts VALUES (2, :one, now() - interval '3 days');
INSERT INTO public.texts VALUES (3, :one, now() - interval '3 days'), (4, :one, now() - interval '1 day');
SELECT is(ARRAY[pg_temp.request(2), pg_temp.request(3)], ARRAY[:known, :known]::bigint[], 'what was open then');
SELECT is(pg_temp.request(4), pg_temp.request(1), 'and what was opened since later on');
-- Before all of them nothing was open: a conversation and open_request() would have opened theirs all the same.
INSERT INTO public.texts VALUES (5, :one, now() - interval '5 days');
SELECT ok(pg_temp.request(5) NOT IN (:known, pg_temp.request(1)), 'before both it opens one of its own');
INSERT INTO public.texts VALUES (6, :one, now() - interval '6 days');
SELECT is(pg_temp.request(6), pg_temp.request(5), 'which is what one of before would have opened');
SELECT * FROM finish();
ROLLBACK;
