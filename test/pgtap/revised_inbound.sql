-- A contact that turns out to be inbound does to requests and clocks what it would have done at once.
BEGIN;
SELECT plan(16);
CREATE TABLE public.note (id int PRIMARY KEY, who text, dir text, th text, at timestamptz DEFAULT '2026-06-01 10:00Z', ch text DEFAULT 'email');
SELECT omnichannel.track('public.note', channel => '{ch}', kind => 'account', customer => '{who}', direction => '{dir}', occurred_at => '{at}', thread => '{th}',
	updates => true) \g /dev/null
-- What a customer's contacts are in, in their order: the request by number, its state, and the clocks by start and stop.
CREATE FUNCTION pg_temp.state(who text) RETURNS text LANGUAGE sql AS $$
	WITH c AS (SELECT customer_id FROM omnichannel.identity WHERE kind = 'account' AND value = who),
	r AS (SELECT request_id, state, row_number() OVER (ORDER BY request_id) AS n FROM omnichannel.request JOIN c USING (customer_id))
	SELECT concat_ws(' | ', (SELECT string_agg(format('%s in %s', direction, coalesce(n::text, '-')), ', ' ORDER BY occurred_at)
			FROM omnichannel.contact JOIN c USING (customer_id) LEFT JOIN r USING (request_id)),
		(SELECT string_agg(state, ', ' ORDER BY n) FROM r),
		(SELECT string_agg(format('%s of %s %s-%s', metric, n, to_char(started_at AT TIME ZONE 'UTC', 'HH24'), to_char(stopped_at AT TIME ZONE 'UTC', 'HH24')), ', '
			ORDER BY started_at, metric) FROM omnichannel.sla_clock JOIN c USING (customer_id) LEFT JOIN r USING (request_id)),
		(SELECT string_agg(n::text, ', ' ORDER BY thread) FROM omnichannel.thread JOIN c USING (customer_id) LEFT JOIN r USING (request_id)))
$$;
CREATE FUNCTION pg_temp.wait(who text, since timestamptz) RETURNS void LANGUAGE sql AS $$
	UPDATE omnichannel.request SET state = 'waiting_customer', state_since = since
	WHERE customer_id = (SELECT customer_id FROM omnichannel.identity WHERE kind = 'account' AND value = who)
$$;

INSERT INTO public.note VALUES (1, 'at once', 'inbound', 't1');
INSERT INTO public.note VALUES (2, 'internal', 'internal', 't2'), (3, 'outbound', 'outbound', 't3');
SELECT is(pg_temp.state('internal'), 'internal in -', 'an internal one opens nothing');
UPDATE public.note SET dir = 'inbound' WHERE id > 1;
SELECT is(pg_temp.state('at once'), 'inbound in 1 | new | first_response of 1 10- | 1', 'what an inbound one opens');
SELECT is(pg_temp.state('internal'), pg_temp.state('at once'), 'one that was internal opens when it is inbound');
SELECT is(pg_temp.state('outbound'), pg_temp.state('at once'), 'and one that was outbound');
UPDATE public.note SET dir = 'internal' WHERE id = 2;
UPDATE public.note SET dir = 'inbound' WHERE id = 2;
SELECT is(pg_temp.state('internal'), pg_temp.state('at once'), 'there and back changes nothing');

-- An open request is gone on with, also where it waits for the customer.
INSERT INTO public.note VALUES (10, 'open', 'inbound', NULL, DEFAULT), (11, 'open', 'internal', NULL, '2026-06-01 11:00Z'), (12, 'open', 'outbound', NULL, '2026-06-01 12:00Z'),
	(13, 'open', 'outbound', NULL, '2026-06-01 13:00Z');
SELECT is(pg_temp.state('open'), 'inbound in 1, internal in -, outbound in 1, outbound in 1 | new | first_response of 1 10-12', 'with answers');
SELECT pg_temp.wait('open', '2026-06-01 11:00Z');
UPDATE public.note SET dir = 'inbound' WHERE id = 11;
SELECT is(pg_temp.state('open'), 'inbound in 1, inbound in 1, outbound in 1, outbound in 1 | new | first_response of 1 10-12', 'what was internal goes on with the open request');
SELECT pg_temp.wait('open', '2026-06-01 13:00Z');
UPDATE public.note SET dir = 'inbound' WHERE id = 13;
SELECT is(pg_temp.state('open'), 'inbound in 1, inbound in 1, outbound in 1, inbound in 1 | new | first_response of 1 10-12, next_response of 1 13-', 'and what was outbound');
UPDATE public.note SET dir = 'inbound' WHERE id = 12;
SELECT is(pg_temp.state('open'), 'inbound in 1, inbound in 1, inbound in 1, inbound in 1 | new | first_response of 1 10-', 'also what was the answer');
SELECT pg_temp.wait('open', '2026-06-01 13:00:01Z');
UPDATE public.note SET dir = 'outbound' WHERE id = 13;
UPDATE public.note SET dir = 'inbound' WHERE id = 13;
SELECT matches(pg_temp.state('open'), 'waiting_customer', 'but what was said before it waited it does not wait for');
-- A channel that opens no requests
INSERT INTO public.note VALUES (20, 'forum', 'internal', 'f', DEFAULT, 'forum');
UPDATE public.note SET dir = 'inbound' WHERE id = 20;
SELECT is(pg_temp.state('forum'), 'inbound in -', 'none is opened where the channel opens none');
-- A conversation with somebody else is not gone on with.
INSERT INTO public.note VALUES (30, 'one', 'inbound', 'u'), (31, 'two', 'internal', 'u');
UPDATE public.note SET dir = 'inbound' WHERE id = 31;
SELECT is(pg_temp.state('two'), 'inbound in 1 | new | first_response of 1 10-', 'in another''s conversation one opens its own request');
SELECT is(pg_temp.state('one'), 'inbound in 1 | new | first_response of 1 10- | 1', 'whose stays as it is');
-- The customer is in the channel in which he turns out to have said something last; a request that is gone stays gone.
CREATE FUNCTION pg_temp.channel(who text) RETURNS text LANGUAGE sql AS $$
	SELECT current_channel FROM omnichannel.request
	WHERE customer_id = (SELECT customer_id FROM omnichannel.identity WHERE kind = 'account' AND value = who)
$$;
INSERT INTO public.note VALUES (40, 'back', 'inbound', NULL, DEFAULT, 'email'), (41, 'back', 'outbound', NULL, '2026-06-01 11:00Z', 'chat'),
	(42, 'back', 'outbound', NULL, '2026-06-01 12:00Z', 'phone');
UPDATE public.note SET dir = 'inbound' WHERE id = 42;
SELECT is(pg_temp.channel('back'), 'phone', 'the customer is in the channel of what turns out to be his');
UPDATE public.note SET dir = 'inbound' WHERE id = 41;
SELECT is(pg_temp.channel('back'), 'phone', 'unless he said something later');
DELETE FROM omnichannel.request WHERE customer_id = (SELECT customer_id FROM omnichannel.identity WHERE kind = 'account' AND value = 'open');
UPDATE public.note SET dir = 'internal' WHERE id = 13;
SELECT lives_ok('UPDATE public.note SET dir = $$inbound$$ WHERE id = 13', 'of a request that was deleted nothing is asked');
SELECT * FROM finish();
ROLLBACK;
