-- A further message of a customer who waits for an answer moves no clock, and no moment of it is written: the contact says
-- that it is still. Where clocks are reckoned anew it counts like any other.
BEGIN;
SELECT plan(47);

INSERT INTO omnichannel.sla_policy (policy, rank, metric, channel, target) VALUES ('first', 1, 'first_response', 'email', '6 hours'),
	('next', 1, 'next_response', 'email', '3 hours');
DELETE FROM omnichannel.sla_stale;
-- Logs a contact of the customer of that name at that hour.
CREATE FUNCTION pg_temp.log(who text, hour int, direction text DEFAULT 'inbound', outcome text DEFAULT NULL, thread text DEFAULT NULL,
	channel text DEFAULT 'email') RETURNS bigint LANGUAGE sql AS
	$$SELECT omnichannel.log_contact(channel, kind => 'account', value => who, direction => direction, outcome => outcome,
		thread => thread, occurred_at => '2026-06-01 00:00Z'::timestamptz + hour * interval '1 hour', source => 'still')$$;
CREATE FUNCTION pg_temp.whose(who text) RETURNS bigint LANGUAGE sql AS
	$$SELECT customer_id FROM omnichannel.identity WHERE kind = 'account' AND value = who$$;
CREATE FUNCTION pg_temp.hour(at timestamptz) RETURNS text LANGUAGE sql AS
	$$SELECT coalesce((extract(epoch FROM at - '2026-06-01 00:00Z') / 3600)::int::text, '')$$;
-- The customer's contacts by hour, those that are still with an s.
CREATE FUNCTION pg_temp.stills(who text) RETURNS text LANGUAGE sql AS
	$$SELECT string_agg(pg_temp.hour(occurred_at) || CASE WHEN still THEN 's' ELSE '' END, ' ' ORDER BY occurred_at, contact_id)
	FROM omnichannel.contact WHERE customer_id = pg_temp.whose(who)$$;
-- The customer's response clocks, with merged customers', as n(ext) or f(irst), start and stop.
CREATE FUNCTION pg_temp.clocks(who text) RETURNS text LANGUAGE sql AS
	$$SELECT string_agg(format('%s%s-%s', left(metric, 1), pg_temp.hour(started_at), pg_temp.hour(stopped_at)), ' ' ORDER BY started_at, metric)
	FROM omnichannel.sla_clock WHERE omnichannel.customer_root(customer_id) = omnichannel.customer_root(pg_temp.whose(who))
		AND metric IN ('first_response', 'next_response')$$;

-- Which are still
SELECT pg_temp.log('a', hour) FROM generate_series(1, 4) AS hour;
SELECT is(pg_temp.stills('a'), '1 2s 3s 4s', 'who waits may write again');
SELECT is(pg_temp.clocks('a'), 'f1-', 'and waits from the first');
SELECT is((SELECT count(*) FROM omnichannel.sla_moment WHERE customer_id = pg_temp.whose('a') AND what <> 'request'), 1::bigint, 'one moment is written');
SELECT is((SELECT pg_temp.hour(last_at) FROM omnichannel.sla_customer WHERE customer_id = pg_temp.whose('a')), '4', 'but it is known how far they go');
SELECT pg_temp.log('a', 5, 'outbound'), pg_temp.log('a', 6);
SELECT is(pg_temp.stills('a'), '1 2s 3s 4s 5 6', 'an answer and a new question move clocks');
SELECT is(pg_temp.clocks('a'), 'f1-5 n6-', 'which says so');
SELECT pg_temp.log('b', 1), pg_temp.log('b', 2, outcome => 'voicemail'), pg_temp.log('b', 3, 'internal'), pg_temp.log('b', 4, 'outbound', 'failed');
SELECT is(pg_temp.stills('b'), '1 2 3 4', 'others that move none are not');
SELECT pg_temp.log('c', 1, thread => 't'), pg_temp.log('c', 2, thread => 't'), pg_temp.log('c', 3, thread => 'u'), pg_temp.log('c', 4, thread => 'u');
SELECT is(pg_temp.stills('c'), '1 2s 3 4s', 'nor one of another thread');
SELECT pg_temp.log('d', 1), pg_temp.log('d', 2), pg_temp.log('d', 2), pg_temp.log('d', 2);
SELECT is(pg_temp.stills('d'), '1 2s 2 2', 'of several at one time the first may be');

-- What the customer's row says of the next one
CREATE FUNCTION pg_temp.known(who text) RETURNS text LANGUAGE sql AS
	$$SELECT coalesce((SELECT waits_channel FROM omnichannel.sla_customer WHERE customer_id = pg_temp.whose(who) AND waits_request_id IS NOT NULL), '')$$;
SELECT pg_temp.log('m', hour) FROM generate_series(1, 3) AS hour;
SELECT is(pg_temp.known('m'), 'email', 'it is known who waits for an answer');
SELECT pg_temp.log('m', 4, channel => 'chat'), pg_temp.log('m', 5, thread => 'm'), pg_temp.log('m', 6, outcome => 'voicemail', channel => 'phone');
SELECT is(pg_temp.stills('m'), '1 2s 3s 4s 5 6', 'which says nothing of other messages');
SELECT pg_temp.log('n', hour) FROM generate_series(1, 3) AS hour;
UPDATE omnichannel.request SET state = 'waiting_customer', state_since = '2026-06-01 04:00Z' WHERE customer_id = pg_temp.whose('n');
SELECT is(pg_temp.known('n'), '', 'it is forgotten once the request changes');
SELECT pg_temp.log('n', 5);
SELECT is((SELECT pauses::text FROM omnichannel.sla_clock WHERE customer_id = pg_temp.whose('n') AND metric = 'first_response'),
	tstzmultirange(tstzrange('2026-06-01 04:00Z', '2026-06-01 05:00Z'))::text, 'and the next message ends the wait');
SELECT pg_temp.log('o', hour) FROM unnest('{1,2,4}'::int[]) AS hour;
SELECT pg_temp.log('o', 5, 'outbound', channel => 'chat'), pg_temp.log('o', 3);
SELECT is(pg_temp.known('o'), '', 'or one comes late');
SELECT pg_temp.log('p', hour) FROM generate_series(1, 2) AS hour;
SELECT omnichannel.unmerge_customers(omnichannel.merge_customers(pg_temp.whose('m'), pg_temp.whose('p')));
SELECT is(pg_temp.known('m') || pg_temp.known('p'), '', 'or customers are merged');
SELECT pg_temp.log('q', hour) FROM generate_series(1, 2) AS hour;
SELECT omnichannel.recompute_sla();
SELECT is(pg_temp.known('q'), 'email', 'but not where nothing changes');
UPDATE omnichannel.sla_policy SET target = '5 hours' WHERE policy = 'first';
SELECT omnichannel.recompute_sla();
SELECT is(pg_temp.clocks('q'), 'f1-', 'nor is anything else, if policies do');

-- What comes late
SELECT pg_temp.log('e', hour) FROM unnest('{1,2,4}'::int[]) AS hour;
SELECT is(pg_temp.clocks('e'), 'f1-', 'before');
SELECT pg_temp.log('e', 3, 'outbound');
SELECT is(pg_temp.clocks('e'), 'f1-3 n4-', 'after an answer that is logged late, one that was still starts a clock');
SELECT is((SELECT moment_id FROM omnichannel.sla_clock WHERE metric = 'next_response' AND customer_id = pg_temp.whose('e')),
	(SELECT -contact_id FROM omnichannel.contact WHERE customer_id = pg_temp.whose('e') AND pg_temp.hour(occurred_at) = '4'), 'and is named by it');
SELECT pg_temp.log('e', 5);
SELECT pg_temp.log('e', 0);
SELECT is(pg_temp.clocks('e'), 'f0-3 n4-', 'it stays the same clock');
SELECT is((SELECT count(DISTINCT clock_id) FROM omnichannel.sla_clock WHERE customer_id = pg_temp.whose('e')
	AND metric = 'next_response'), 1::bigint, 'which is there once');
SELECT is((SELECT count(*) FROM omnichannel.explain_sla((SELECT request_id FROM omnichannel.sla_clock
	WHERE metric = 'next_response' AND customer_id = pg_temp.whose('e'))) WHERE metric = 'next_response' AND step = 'start'
	AND pg_temp.hour(from_at) = '4'), 1::bigint, 'and is explained');

-- What is revised
CREATE TABLE public.still_mail (id int PRIMARY KEY, who text, direction text, outcome text, at timestamptz);
SELECT omnichannel.track('public.still_mail', channel => 'email', kind => 'account', customer => '{who}', direction => '{direction}',
	outcome => '{outcome}', occurred_at => '{at}', updates => true);
INSERT INTO public.still_mail SELECT 1, 'f', 'inbound', 'received', '2026-06-01 01:00Z';
INSERT INTO public.still_mail SELECT 2, 'f', 'inbound', 'received', '2026-06-01 02:00Z';
INSERT INTO public.still_mail SELECT 3, 'f', 'inbound', 'received', '2026-06-01 03:00Z';
SELECT is(pg_temp.stills('f'), '1 2s 3s', 'rows that are tracked');
UPDATE public.still_mail SET direction = 'outbound', outcome = 'sent' WHERE id = 2;
SELECT is(pg_temp.clocks('f'), 'f1-2 n3-', 'one that turns out to be the answer stops the clock');
UPDATE public.still_mail SET direction = 'internal', outcome = 'received' WHERE id = 2;
SELECT is(pg_temp.clocks('f'), 'f1-', 'or an internal note');
UPDATE public.still_mail SET direction = 'inbound' WHERE id = 2;
SELECT is(pg_temp.clocks('f'), 'f1-', 'or none of these');
UPDATE public.still_mail SET outcome = 'failed' WHERE id = 1;
SELECT is(pg_temp.clocks('f'), 'f2-', 'without the first the next one is the first');

-- They tell that the customer has written before, where the one that did is none any more.
INSERT INTO omnichannel.channel (channel, name, medium, opens_request) VALUES ('still_forum', 'Forum', 'text', false);
INSERT INTO omnichannel.sla_policy (policy, rank, metric, channel, target) VALUES ('still_first', 1, 'first_response', 'still_forum', '6 hours'),
	('still_next', 1, 'next_response', 'still_forum', '3 hours');
CREATE TABLE public.still_posts (id int PRIMARY KEY, direction text, outcome text, at timestamptz);
SELECT omnichannel.track('public.still_posts', channel => 'still_forum', kind => 'account', customer => 'k', thread => 'k', direction => '{direction}',
	outcome => '{outcome}', occurred_at => '{at}', updates => true);
INSERT INTO public.still_posts VALUES (1, 'inbound', 'received', '2026-06-01 01:00Z');
INSERT INTO public.still_posts VALUES (2, 'inbound', 'received', '2026-06-01 02:00Z');
SELECT is(pg_temp.stills('k'), '1 2s', 'two posts');
UPDATE public.still_posts SET outcome = 'failed' WHERE id = 1;
SELECT is(pg_temp.stills('k'), '1 2', 'once the first turns out to have failed the second is not still any more');
INSERT INTO public.still_posts VALUES (3, 'outbound', 'sent', '2026-06-01 03:00Z');
INSERT INTO public.still_posts VALUES (4, 'inbound', 'received', '2026-06-01 04:00Z');
SELECT is(pg_temp.clocks('k'), 'f2-3 n4-', 'and the next question waits for the next response');

-- Customers who are one
SELECT pg_temp.log('g', hour) FROM unnest('{2,3}'::int[]) AS hour;
SELECT pg_temp.log('h', hour) FROM unnest('{1,5}'::int[]) AS hour;
CREATE TEMP TABLE merged AS SELECT omnichannel.merge_customers(pg_temp.whose('g'), pg_temp.whose('h')) AS merge_id;
SELECT is(pg_temp.stills('g') || ', ' || pg_temp.stills('h'), '2 3s, 1 5s', 'those of both are still');
SELECT pg_temp.log('g', 4, 'outbound', thread => 'other', channel => 'email');
SELECT is((SELECT count(*) FROM omnichannel.sla_clock WHERE customer_id IN (pg_temp.whose('g'), pg_temp.whose('h')) AND stopped_at IS NULL
	AND metric = 'next_response') > 0, pg_temp.clocks('g') LIKE '%n5-%', 'and count as one');
SELECT omnichannel.unmerge_customers(merge_id) FROM merged;
SELECT is(pg_temp.stills('h'), '1 5s', 'parted again, they are as they were');

-- What is forgotten
SELECT pg_temp.log('i', hour) FROM unnest('{1,2}'::int[]) AS hour;
SELECT pg_temp.log('i', 3, 'outbound');
UPDATE omnichannel.sla_customer SET settled_until = '2026-06-02' WHERE customer_id = pg_temp.whose('i');
DELETE FROM omnichannel.sla_moment WHERE customer_id = pg_temp.whose('i') AND what <> 'request';
SELECT pg_temp.log('i', 50);
SELECT pg_temp.log('i', 49);
SELECT is((SELECT count(*) FROM omnichannel.sla_clock WHERE customer_id = pg_temp.whose('i') AND pg_temp.hour(started_at) = '2'), 0::bigint,
	'what is settled starts nothing any more');

-- Erased customers' stay what they are
SELECT omnichannel.complete_request(request_id, (SELECT min(disposition) FROM omnichannel.disposition)) FROM omnichannel.request WHERE customer_id = pg_temp.whose('a');
SELECT omnichannel.erase_customer(pg_temp.whose('a')) IS NOT NULL AS erased;
SELECT is((SELECT count(*) FROM omnichannel.contact WHERE still AND customer_id NOT IN (SELECT customer_id FROM omnichannel.identity)), 3::bigint,
	'erasure leaves the mark');

-- Where whoever logs may not read all contacts
ALTER TABLE omnichannel.contact ENABLE ROW LEVEL SECURITY;
SELECT pg_temp.log('l', 1), pg_temp.log('l', 2);
SELECT is(pg_temp.stills('l'), '1 2', 'with row security none is still');
ALTER TABLE omnichannel.contact DISABLE ROW LEVEL SECURITY;

-- Many at once: those of a customer of whom there are no others
INSERT INTO public.still_mail SELECT 100 + i, 'many' || i, 'inbound', 'received', '2026-06-01 01:00Z' FROM generate_series(1, 4) AS i;
INSERT INTO public.still_mail SELECT 200 + i, 'many' || i % 4 + 1, CASE WHEN i = 3 THEN 'outbound' ELSE 'inbound' END, 'received',
	'2026-06-01 02:00Z'::timestamptz + i * interval '1 hour' FROM generate_series(0, 4) AS i;
SELECT is(pg_temp.stills('many1'), '1 2 6', 'of two of a customer none');
SELECT is(pg_temp.stills('many2') || ', ' || pg_temp.stills('many3'), '1 3s, 1 4s', 'of one each');
SELECT is(pg_temp.stills('many4') || ', ' || pg_temp.clocks('many4'), '1 5, f1-5', 'among those that move a clock');
INSERT INTO public.still_mail SELECT 300 + i, 'many' || i, 'outbound', 'sent', '2026-06-01 02:00Z' FROM generate_series(2, 3) AS i;
SELECT is(pg_temp.clocks('many2') || ', ' || pg_temp.clocks('many3'), 'f1-2 n3-, f1-2 n4-', 'after an answer that is logged late they start clocks');
INSERT INTO public.still_mail SELECT 400 + i, 'many' || i, 'inbound', 'received', '2026-06-01 07:00Z' FROM generate_series(2, 3) AS i;
SELECT is(pg_temp.stills('many2') || ', ' || pg_temp.stills('many3'), '1 2 3s 7s, 1 2 4s 7s', 'who wait for the next answer then');
INSERT INTO public.still_mail SELECT 500 + i, 'many' || i, CASE WHEN i = 2 THEN 'outbound' ELSE 'inbound' END, 'received',
	'2026-06-01 08:00Z' FROM generate_series(2, 4) AS i;
SELECT is(pg_temp.clocks('many2') || ', ' || pg_temp.clocks('many3') || ', ' || pg_temp.clocks('many4'), 'f1-2 n3-8, f1-2 n4-, f1-5 n8-', 'or get it');
INSERT INTO public.still_mail SELECT 600 + i, 'many' || i, 'inbound', 'received', '2026-06-01 09:00Z' FROM generate_series(2, 4) AS i;
SELECT is(pg_temp.clocks('many2') || ', ' || pg_temp.clocks('many3') || ', ' || pg_temp.clocks('many4'), 'f1-2 n3-8 n9-, f1-2 n4-, f1-5 n8-', 'or ask again');

-- What comes in one statement of one customer is written as moments
INSERT INTO public.still_mail SELECT 10 + i, 'j', 'inbound', 'received', '2026-06-01 01:00Z'::timestamptz + i * interval '1 hour' FROM generate_series(1, 5) AS i;
SELECT is((SELECT count(*) FROM omnichannel.contact WHERE customer_id = pg_temp.whose('j') AND still), 0::bigint, 'none of many at once is still');
SELECT is(pg_temp.clocks('j'), 'f2-', 'and the clock is the same');
SELECT is_empty($$SELECT customer_id FROM omnichannel.sla_customer AS h WHERE waits_request_id IS NOT NULL AND NOT EXISTS (SELECT FROM omnichannel.sla_clock AS c
	WHERE c.customer_id = h.customer_id AND c.request_id = h.waits_request_id AND c.stopped_at IS NULL AND c.metric IN ('first_response', 'next_response'))$$,
	'whoever is known to wait for an answer does');
SELECT * FROM finish();
ROLLBACK;
