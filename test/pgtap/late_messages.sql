-- What a customer wrote before a request waited for him, and is logged late, does not end the wait: clocks and state are as if it had been logged in order.
BEGIN;
SELECT plan(23);
SET LOCAL search_path = omnichannel, public, pg_catalog;
SET LOCAL timezone = 'UTC';
DELETE FROM sla_policy;
INSERT INTO sla_policy (policy, rank, metric, target) VALUES ('solve', 1, 'resolution', '2 days');
CREATE TABLE public.mail (id int PRIMARY KEY, who text, thread text, dir text, at timestamptz);
SELECT track('public.mail', channel => 'email', kind => 'account', customer => '{who}', direction => '{dir}', occurred_at => '{at}', thread => '{thread}', updates => true) \g /dev/null

-- The state of a customer's request and what its clock says.
CREATE FUNCTION pg_temp.state(who text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s, %s left, %s ended pauses', r.state, coalesce(c.time_left::text, 'nothing'), (SELECT count(*) FROM unnest(c.pauses) AS p WHERE NOT upper_inf(p))), '; ')
	FROM omnichannel.request AS r JOIN omnichannel.sla_clock AS c USING (request_id)
	WHERE r.customer_id = (SELECT customer_id FROM omnichannel.identity WHERE kind = 'account' AND value = who)
$$;
CREATE FUNCTION pg_temp.open(who text, thread text) RETURNS bigint LANGUAGE sql AS $$
	INSERT INTO public.mail VALUES ((SELECT count(*) + 1000 FROM public.mail), who, thread, 'inbound', '2026-06-01 12:00Z');
	SELECT request_id FROM omnichannel.request WHERE customer_id = omnichannel.identify('account', who)
$$;
CREATE FUNCTION pg_temp.wait(id bigint) RETURNS void LANGUAGE sql AS $$
	UPDATE omnichannel.request SET state = 'waiting_customer', state_since = '2026-06-01 16:00Z' WHERE request_id = id
$$;

-- In order, the wait comes last.
SELECT pg_temp.open('in order', 'o') AS r \gset
INSERT INTO public.mail VALUES (100, 'in order', 'o', 'inbound', '2026-06-01 15:00Z');
SELECT pg_temp.wait(:r);
SELECT is(pg_temp.state('in order'), 'waiting_customer, 44:00:00 left, 0 ended pauses', 'in order it waits, with what is left');

SELECT pg_temp.open('by thread', 't') AS r \gset
SELECT pg_temp.wait(:r);
INSERT INTO public.mail VALUES (101, 'by thread', 't', 'inbound', '2026-06-01 15:00Z');
SELECT is(pg_temp.state('by thread'), pg_temp.state('in order'), 'late by its thread');
SELECT is((SELECT request_id FROM contact WHERE source_key = '101'), :r::bigint, 'it is about the request all the same');

SELECT pg_temp.open('by channel', NULL) AS r \gset
SELECT pg_temp.wait(:r);
INSERT INTO public.mail VALUES (102, 'by channel', NULL, 'inbound', '2026-06-01 15:00Z');
SELECT is(pg_temp.state('by channel'), pg_temp.state('in order'), 'late by customer and channel');
SELECT is((SELECT request_id FROM contact WHERE source_key = '102'), :r::bigint, 'it is about the request too');

SELECT pg_temp.open('by name', NULL) AS r \gset
SELECT pg_temp.wait(:r);
SELECT log_contact('phone', request_id => :r, occurred_at => '2026-06-01 15:00Z') \g /dev/null
SELECT is(pg_temp.state('by name'), pg_temp.state('in order'), 'late, naming the request');

-- Several at once
SELECT pg_temp.open('many', 'm') AS r \gset
SELECT pg_temp.wait(:r);
INSERT INTO public.mail SELECT 200 + n, 'many', CASE WHEN n % 2 = 0 THEN 'm' END, 'inbound', '2026-06-01 15:00Z' FROM generate_series(1, 6) AS n;
SELECT is(pg_temp.state('many'), pg_temp.state('in order'), 'late, in one statement');
INSERT INTO public.mail SELECT 300 + n, 'many', 'm', 'inbound', timestamptz '2026-06-01 15:00Z' + n * interval '45 minutes' FROM generate_series(1, 3) AS n;
SELECT is(pg_temp.state('many'), 'new, nothing left, 1 ended pauses', 'of several it is the one of after the wait that ends it');

-- What comes at the moment or later ends the wait.
INSERT INTO public.mail VALUES (103, 'by thread', 't', 'inbound', '2026-06-01 16:00Z');
SELECT matches(pg_temp.state('by thread'), '^new, nothing left', 'what comes just then ends it');
INSERT INTO public.mail VALUES (104, 'by channel', NULL, 'inbound', '2026-06-01 17:00Z');
SELECT is(pg_temp.state('by channel'), 'new, nothing left, 1 ended pauses', 'what comes later by channel ends it');
SELECT log_contact('phone', request_id => (SELECT request_id FROM request WHERE customer_id = identify('account', 'by name')), occurred_at => '2026-06-01 17:00Z') \g /dev/null
SELECT is(pg_temp.state('by name'), 'new, nothing left, 1 ended pauses', 'what comes later and names the request ends it');
INSERT INTO public.mail VALUES (105, 'in order', 'o', 'outbound', '2026-06-01 17:00Z');
SELECT matches(pg_temp.state('in order'), '^waiting_customer', 'an answer to the customer does not');
INSERT INTO public.mail VALUES (106, 'in order', 'o', 'internal', '2026-06-01 17:00Z');
SELECT matches(pg_temp.state('in order'), '^waiting_customer', 'nor does a note');

-- As it is live: the message was written before the agent let the request wait.
SELECT now() AS before \gset
SELECT pg_temp.open('live', 'l') AS r \gset
UPDATE request SET state = 'waiting_customer', state_since = now() + interval '1 second' WHERE request_id = :r;
INSERT INTO public.mail VALUES (107, 'live', 'l', 'inbound', :'before');
SELECT matches(pg_temp.state('live'), '^waiting_customer', 'live too');

-- What is told of a request for a time is taken as of then, whatever was logged before it was told.
CREATE FUNCTION pg_temp.clock(who text) RETURNS text LANGUAGE sql AS $$
	SELECT format('%s %s %s', to_char(c.stopped_at, 'MM-DD HH24:MI'), c.outcome, (SELECT string_agg(concat(to_char(lower(p), 'HH24:MI'), '-', to_char(upper(p), 'HH24:MI')), ' ') FROM unnest(c.pauses) AS p))
	FROM omnichannel.sla_clock AS c
	WHERE c.customer_id = (SELECT customer_id FROM omnichannel.identity WHERE kind = 'account' AND value = who)
$$;
CREATE FUNCTION pg_temp.close(id bigint) RETURNS void LANGUAGE sql AS $$
	UPDATE omnichannel.request SET state = 'done', state_since = '2026-06-01 19:00Z', closed_at = '2026-06-01 19:00Z' WHERE request_id = id
$$;
SELECT pg_temp.open('told', 'd') AS r \gset
SELECT pg_temp.wait(:r);
INSERT INTO public.mail VALUES (108, 'told', 'd', 'inbound', '2026-06-01 17:00Z');
INSERT INTO public.mail VALUES (109, 'told', 'd', 'outbound', '2026-06-01 12:30Z');
SELECT pg_temp.close(:r);
SELECT is(pg_temp.clock('told'), '06-01 19:00 met 16:00-17:00', 'after an answer and what was sent before the wait');
SELECT pg_temp.open('together', 'e') AS r \gset
SELECT pg_temp.wait(:r);
INSERT INTO public.mail VALUES (110, 'together', 'e', 'inbound', '2026-06-01 17:00Z'), (111, 'together', 'e', 'inbound', '2026-06-01 12:30Z');
SELECT pg_temp.close(:r);
SELECT is(pg_temp.clock('together'), '06-01 19:00 met 16:00-17:00', 'also where both came in one statement');
SELECT pg_temp.open('resumed', 'f') AS r \gset
SELECT pg_temp.wait(:r);
INSERT INTO public.mail VALUES (112, 'resumed', 'f', 'inbound', '2026-06-01 18:00Z');
UPDATE request SET state = 'waiting_agent', state_since = '2026-06-01 16:30Z' WHERE request_id = :r;
SELECT is(pg_temp.clock('resumed'), '  16:00-16:30', 'a wait that had ended before the answer');
UPDATE request SET state = 'waiting_customer', state_since = '2026-06-01 17:00Z' WHERE request_id = :r;
SELECT is(pg_temp.clock('resumed'), '  16:00-16:30 17:00-18:00', 'and another that began before it');

-- Each wait is one.
SELECT pg_temp.open('twice', 'g') AS r \gset
SELECT pg_temp.wait(:r);
INSERT INTO public.mail VALUES (113, 'twice', 'g', 'inbound', '2026-06-01 17:00Z');
UPDATE request SET state = 'waiting_customer', state_since = '2026-06-01 18:00Z' WHERE request_id = :r;
SELECT is(pg_temp.clock('twice'), '  16:00-17:00 18:00-', 'it waits again');
UPDATE request SET priority = 1 WHERE request_id = :r;
INSERT INTO public.mail VALUES (114, 'twice', 'g', 'inbound', '2026-06-01 18:30Z');
SELECT pg_temp.close(:r);
SELECT matches(pg_temp.clock('twice'), '16:00-17:00 18:00-18:30$', 'and is answered again');

-- What did not arrive is no answer, until it turns out to be one, and the other way round.
SELECT pg_temp.open('failed', 'h') AS r \gset
SELECT pg_temp.wait(:r);
SELECT log_contact('email', request_id => :r, outcome => 'failed', occurred_at => '2026-06-01 17:00Z') \g /dev/null
SELECT is(pg_temp.state('failed'), 'waiting_customer, 44:00:00 left, 0 ended pauses', 'what failed is no answer');
SELECT pg_temp.open('no answer', 'i') AS r \gset
SELECT pg_temp.wait(:r);
INSERT INTO public.mail VALUES (115, 'no answer', 'i', 'inbound', '2026-06-01 17:00Z');
UPDATE public.mail SET dir = 'outbound' WHERE id = 115;
SELECT is((SELECT upper(range_agg(p)) FROM sla_clock AS c, unnest(c.pauses) AS p WHERE c.request_id = :r), '2026-06-01 17:00Z',
	'what was taken for an answer has let the request go on, as of then');
SELECT is(pg_temp.state('no answer'), 'new, nothing left, 1 ended pauses', 'and its clock too');
SELECT * FROM finish();
ROLLBACK;
