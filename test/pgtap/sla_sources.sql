-- Two applications that use the same keys for their conversations: the clocks tell them apart as the log does, by source and
-- thread, however the contacts come.
BEGIN;
SELECT plan(23);
SET LOCAL search_path = omnichannel, public, pg_catalog;
SET LOCAL timezone = 'UTC';
DELETE FROM sla_policy;
INSERT INTO sla_policy (policy, rank, metric, target) VALUES ('first', 1, 'first_response', '5 hours'), ('next', 1, 'next_response', '5 hours');
DELETE FROM sla_stale;

-- A customer's clocks, by source, request and start.
CREATE FUNCTION pg_temp.clocks(who text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(concat_ws(' ', coalesce(c.source, '-'), c.metric, to_char(c.started_at, 'HH24:MI'), coalesce(c.outcome, 'open')), ', '
		ORDER BY c.started_at, c.source, c.metric)
	FROM omnichannel.sla_clock AS c
	WHERE c.customer_id IN (SELECT k.customer_id FROM omnichannel.customer AS k, omnichannel.identity AS i
		WHERE i.kind = 'account' AND i.value = who AND i.customer_id IN (k.customer_id, k.merged_into))
$$;
CREATE FUNCTION pg_temp.hour(n int) RETURNS timestamptz LANGUAGE sql AS $$SELECT timestamptz '2026-06-01 00:00Z' + make_interval(hours => n)$$;
-- Makes the clocks be reckoned anew from all that is stored: by a contact that comes before all others, and changes none.
CREATE FUNCTION pg_temp.anew(who text) RETURNS text LANGUAGE sql AS $$
	SELECT omnichannel.log_contact('forum', kind => 'account', value => who, direction => 'outbound', outcome => 'failed', occurred_at => '2026-05-01 00:00Z');
	SELECT pg_temp.clocks(who)
$$;

-- In a channel that opens no request: each conversation has its own promise, kept by its own answer.
SELECT log_contact('forum', kind => 'account', value => 'a', thread => '17', source => 'shop', source_key => 'a1', occurred_at => pg_temp.hour(1)),
	log_contact('forum', kind => 'account', value => 'a', thread => '17', source => 'desk', source_key => 'a1', occurred_at => pg_temp.hour(2)),
	log_contact('forum', kind => 'account', value => 'a', thread => '17', source => 'desk', source_key => 'a2', direction => 'outbound', occurred_at => pg_temp.hour(3)) \g /dev/null
SELECT is(pg_temp.clocks('a'), 'shop first_response 01:00 open, desk first_response 02:00 met', 'the answer of one application keeps no promise of the other');
SELECT log_contact('forum', kind => 'account', value => 'a', thread => '17', occurred_at => pg_temp.hour(4)),
	log_contact('forum', kind => 'account', value => 'a', thread => '17', source => 'desk', source_key => 'a3', occurred_at => pg_temp.hour(5)),
	log_contact('forum', kind => 'account', value => 'a', thread => '17', source => 'shop', source_key => 'a4', occurred_at => pg_temp.hour(6)) \g /dev/null
SELECT is(pg_temp.clocks('a'), 'shop first_response 01:00 open, desk first_response 02:00 met, - first_response 04:00 open, desk next_response 05:00 open',
	'a contact without a source is of none of them, and each goes on where it was');
SELECT is(pg_temp.anew('a'), pg_temp.clocks('a'), 'all the same when reckoned anew');
SELECT log_contact('forum', kind => 'account', value => 'a', thread => '17', direction => 'outbound', occurred_at => pg_temp.hour(7)) \g /dev/null
SELECT is(pg_temp.clocks('a'), 'shop first_response 01:00 open, desk first_response 02:00 met, - first_response 04:00 met, desk next_response 05:00 open',
	'an answer without a source answers what had none');
SELECT results_eq($$SELECT source, thread FROM sla_status WHERE customer_id = (SELECT customer_id FROM identity WHERE value = 'a') ORDER BY source$$,
	$$VALUES ('desk', '17'), ('shop', '17')$$, 'sla_status names the source');

-- In one that opens requests: each begins.
CREATE TABLE public.shop (id int PRIMARY KEY, who text, ticket text, direction text DEFAULT 'inbound', at timestamptz);
CREATE TABLE public.desk (LIKE public.shop INCLUDING ALL);
SELECT track(t, channel => 'email', kind => 'account', customer => '{who}', thread => '{ticket}', direction => '{direction}', occurred_at => '{at}')
FROM (VALUES ('public.shop'::regclass), ('public.desk')) AS v (t) \g /dev/null
INSERT INTO public.shop VALUES (1, 'b', '1', 'inbound', pg_temp.hour(1));
INSERT INTO public.desk VALUES (1, 'b', '1', 'inbound', pg_temp.hour(2));
SELECT is((SELECT count(DISTINCT c.request_id) FROM sla_clock AS c WHERE c.metric = 'first_response' AND c.customer_id = identify('account', 'b')), 2::bigint,
	'each request has its first response');
INSERT INTO public.desk VALUES (2, 'b', '1', 'outbound', pg_temp.hour(3));
INSERT INTO public.shop VALUES (2, 'b', '1', 'inbound', pg_temp.hour(4));
INSERT INTO public.desk VALUES (3, 'b', '1', 'inbound', pg_temp.hour(5));
SELECT is(pg_temp.clocks('b'), 'public.shop first_response 01:00 open, public.desk first_response 02:00 met, public.desk next_response 05:00 open', 'and its own answers');
SELECT is(pg_temp.anew('b'), pg_temp.clocks('b'), 'also when reckoned anew');
SELECT is_empty('SELECT * FROM recompute_sla()', 'there is nothing to recompute');

-- The same in other orders, and many at once.
CREATE FUNCTION pg_temp.story(who text, sorted text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	step record;
BEGIN
	FOR step IN EXECUTE 'SELECT * FROM (VALUES (1, ''shop'', ''inbound'', 1), (2, ''desk'', ''inbound'', 2), (3, ''desk'', ''outbound'', 3),
		(4, ''shop'', ''inbound'', 4), (5, ''desk'', ''inbound'', 5)) AS v (n, app, direction, at) ORDER BY ' || sorted
	LOOP
		PERFORM omnichannel.log_contact('forum', kind => 'account', value => who, thread => who, source => 'public.' || step.app, direction => step.direction,
			occurred_at => pg_temp.hour(step.at));
	END LOOP;
END
$$;
SELECT pg_temp.story('c0', 'n') \g /dev/null
SELECT is(pg_temp.clocks('c0'), pg_temp.clocks('b'), 'so it is where no request is opened');
SELECT pg_temp.story('c' || n, format('hashint4(n * 31 + %s), n', n * 1000)) FROM generate_series(1, 12) AS n \g /dev/null
SELECT is((SELECT array_agg(n) FROM generate_series(1, 12) AS n WHERE pg_temp.clocks('c' || n) <> pg_temp.clocks('c0')), NULL, 'in whatever order they are logged');

UPDATE tracking SET channel = 'forum';
INSERT INTO public.shop SELECT 100 + n * 2 + k, 'd' || n, 'd' || n, 'inbound', pg_temp.hour(1 + k * 3) FROM generate_series(1, 40) AS n, generate_series(0, 1) AS k;
INSERT INTO public.desk SELECT 200 + n * 3 + k, 'd' || n, 'd' || n, (ARRAY['inbound', 'outbound', 'inbound'])[k + 1], pg_temp.hour(2 + CASE k WHEN 2 THEN 3 ELSE k END)
FROM generate_series(1, 40) AS n, generate_series(0, 2) AS k;
SELECT is((SELECT array_agg(n) FROM generate_series(1, 40) AS n WHERE pg_temp.clocks('d' || n) <> pg_temp.clocks('c0')), NULL, 'many rows in a statement');
INSERT INTO public.desk VALUES (900, 'e', 'e', 'inbound', pg_temp.hour(2)), (901, 'e', 'e', 'outbound', pg_temp.hour(3)), (902, 'e', 'e', 'inbound', pg_temp.hour(5));
COPY public.shop FROM stdin;
900	e	e	inbound	2026-06-01 01:00Z
901	e	e	inbound	2026-06-01 04:00Z
902	f	f	inbound	2026-06-01 01:00Z
903	f	f	inbound	2026-06-01 04:00Z
\.
COPY public.desk FROM stdin;
910	f	f	inbound	2026-06-01 02:00Z
911	f	f	outbound	2026-06-01 03:00Z
912	f	f	inbound	2026-06-01 05:00Z
\.
SELECT is(ARRAY[pg_temp.clocks('e'), pg_temp.clocks('f')], ARRAY[pg_temp.clocks('c0'), pg_temp.clocks('c0')], 'and by COPY, late and in order');
-- Of a customer with many clocks only those near are read.
SELECT log_contact('forum', kind => 'account', value => 'g', thread => '17', source => 'app' || n, occurred_at => pg_temp.hour(1)) FROM generate_series(1, 30) AS n \g /dev/null
SELECT log_contact('forum', kind => 'account', value => 'g', thread => '17', source => 'app7', direction => 'outbound', occurred_at => pg_temp.hour(2)),
	log_contact('forum', kind => 'account', value => 'g', thread => '17', source => 'app8', occurred_at => pg_temp.hour(2)) \g /dev/null
SELECT results_eq($$SELECT count(*), count(*) FILTER (WHERE outcome = 'met' AND source = 'app7'), count(*) FILTER (WHERE outcome = 'met') FROM sla_clock
	WHERE customer_id = (SELECT customer_id FROM identity WHERE value = 'g')$$, 'VALUES (30::bigint, 1::bigint, 1::bigint)', 'also among many');

-- One that still waits and was not written as a moment says whose it is.
SELECT log_contact('forum', kind => 'account', value => 'h', thread => '17', source => 'shop', occurred_at => pg_temp.hour(1)),
	log_contact('forum', kind => 'account', value => 'h', thread => '17', source => 'shop', occurred_at => pg_temp.hour(2)) \g /dev/null
SELECT is((SELECT count(*) FROM contact WHERE still AND customer_id = identify('account', 'h')), 1::bigint, 'a further message is still');
SELECT log_contact('forum', kind => 'account', value => 'h', thread => '17', source => 'shop', direction => 'outbound', occurred_at => pg_temp.hour(1) + interval '1 minute'),
	log_contact('forum', kind => 'account', value => 'h', thread => '17', source => 'desk', direction => 'outbound', occurred_at => pg_temp.hour(3)) \g /dev/null
SELECT is(pg_temp.clocks('h'), 'shop first_response 01:00 met, shop next_response 02:00 open', 'and is waited for in its own conversation');

-- Who turns out to be one keeps them apart, and so does who is taken apart.
SELECT log_contact('forum', kind => 'account', value => 'i', thread => '21', source => 'shop', occurred_at => pg_temp.hour(1)),
	log_contact('forum', kind => 'account', value => 'j', thread => '21', source => 'desk', occurred_at => pg_temp.hour(2)) \g /dev/null
SELECT merge_customers(identify('account', 'i'), identify('account', 'j'), 'the same', force => true) AS merge \gset
SELECT is(pg_temp.anew('i'), 'shop first_response 01:00 open, desk first_response 02:00 open', 'merged');
SELECT log_contact('forum', kind => 'account', value => 'i', thread => '21', source => 'desk', direction => 'outbound', occurred_at => pg_temp.hour(3)) \g /dev/null
SELECT is(pg_temp.clocks('i'), 'shop first_response 01:00 open, desk first_response 02:00 met', 'an answer to one of them');
SELECT unmerge_customers(:merge) \g /dev/null
SELECT is(pg_temp.anew('i') || '; ' || pg_temp.anew('j'), 'shop first_response 01:00 open; desk first_response 02:00 open',
	'taken apart the answer is of whom it was logged for');

-- A policy that comes later finds them both.
DELETE FROM sla_policy;
SELECT count(*) FROM recompute_sla() \g /dev/null
DELETE FROM sla_clock;
SELECT log_contact('forum', kind => 'account', value => 'k', thread => '17', source => 'shop', occurred_at => now() - interval '3 hours') \g /dev/null
INSERT INTO sla_policy (policy, rank, metric, target) VALUES ('first', 1, 'first_response', '5 hours'), ('next', 1, 'next_response', '5 hours');
DELETE FROM sla_stale;
SELECT log_contact('forum', kind => 'account', value => 'k', thread => '17', source => s, occurred_at => now() - interval '2 hours') FROM unnest('{shop,desk}'::text[]) AS s \g /dev/null
SELECT log_contact('forum', kind => 'account', value => 'k', thread => '17', source => 'desk', direction => 'outbound', occurred_at => now() - interval '1 hour') \g /dev/null
DELETE FROM sla_clock;
SELECT results_eq($$SELECT metric, policy FROM recompute_sla() WHERE customer_id = identify('account', 'k')$$, $$VALUES ('first_response', 'first')$$,
	'recompute_sla() misses none that the other application has not answered');
SELECT is((SELECT string_agg(c.source, ' ') FROM sla_clock AS c WHERE c.stopped_at IS NULL AND c.customer_id = identify('account', 'k')), 'shop', 'and it is that one');

-- What is forgotten leaves a reminder for each.
SELECT log_contact('forum', kind => 'account', value => 'l', thread => '17', source => s, direction => d, occurred_at => now() - age)
FROM unnest('{shop,desk}'::text[]) AS s, (VALUES ('inbound', interval '900 days'), ('outbound', '899 days')) AS v (d, age) ORDER BY age DESC \g /dev/null
SELECT log_contact('forum', kind => 'account', value => 'l', thread => '17', source => 'shop', occurred_at => now() - interval '10 days') \g /dev/null
SELECT forget_moments() \g /dev/null
SELECT results_eq($$SELECT source, what FROM sla_moment WHERE customer_id = identify('account', 'l') ORDER BY at$$, $$VALUES ('shop', 'inbound'), ('shop', 'inbound')$$,
	'of a conversation that went on, not of its namesake');
SELECT erase_customer(identify('account', 'l')) \g /dev/null
SELECT is((SELECT count(*) FROM sla_moment WHERE source IS NOT NULL AND thread IS NULL) + (SELECT count(*) FROM sla_clock WHERE source IS NOT NULL AND thread IS NULL), 0::bigint,
	'nothing is left of a source where the thread is gone');
SELECT * FROM finish();
ROLLBACK;
