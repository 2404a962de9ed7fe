-- What is promised to requests, however they come: opened by contacts, one by one or together, and where a policy fits
-- only later.
BEGIN;
SELECT plan(17);
SET LOCAL search_path = omnichannel, public, pg_catalog;
SET LOCAL timezone = 'UTC';
DELETE FROM sla_policy;
INSERT INTO sla_policy (policy, rank, metric, target) VALUES ('solve', 1, 'resolution', '5 hours'), ('answer', 1, 'first_response', '5 hours');
DELETE FROM sla_stale;
CREATE TABLE public.mail (id int PRIMARY KEY, who text, thread text, at timestamptz DEFAULT now());
SELECT track('public.mail', channel => 'email', kind => 'account', customer => '{who}', occurred_at => '{at}', thread => '{thread}') \g /dev/null

-- A customer's requests, each with the metrics of its clocks and what was said of it.
CREATE FUNCTION pg_temp.promised(who text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(concat_ws(' ', (SELECT string_agg(c.metric, ' ' ORDER BY c.metric) FROM omnichannel.sla_clock AS c WHERE c.request_id = r.request_id),
		(SELECT string_agg(m.state, ' ' ORDER BY m.at, m.version) FROM omnichannel.sla_moment AS m WHERE m.request_id = r.request_id)), ', ' ORDER BY r.request_id)
	FROM omnichannel.request AS r
	WHERE r.customer_id = (SELECT customer_id FROM omnichannel.identity WHERE kind = 'account' AND value = who)
$$;

-- Each request that a contact opens.
INSERT INTO public.mail VALUES (1, 'one by one', 'a');
INSERT INTO public.mail VALUES (2, 'one by one', 'b', clock_timestamp());
INSERT INTO public.mail VALUES (3, 'one by one', 'c', clock_timestamp());
SELECT is(pg_temp.promised('one by one'), 'first_response resolution new, first_response resolution new, first_response resolution new', 'opened by a contact each');
INSERT INTO public.mail VALUES (11, 'together', 'd'), (12, 'together', 'e'), (13, 'together', 'f');
INSERT INTO public.mail SELECT 20 + n, CASE WHEN n <= 2 THEN 'together' ELSE 'crowd ' || n END, 'g' || n, clock_timestamp() FROM generate_series(1, 12) AS n;
SELECT is(pg_temp.promised('together'), 'first_response resolution new, first_response resolution new, first_response resolution new, first_response resolution new, first_response resolution new',
	'opened by several of one statement');
SELECT open_request(identify('account', 'other'), 'x', 'email') \g /dev/null
INSERT INTO public.mail VALUES (40, 'other', 'h', clock_timestamp());
SELECT is(pg_temp.promised('other'), 'resolution new, first_response resolution new', 'besides one that is open');
-- What is told later is told of it.
DELETE FROM sla_policy WHERE policy = 'solve';
INSERT INTO public.mail VALUES (50, 'closed', 'i', now() - interval '4 hours'), (51, 'closed', 'j', now() - interval '3 hours');
INSERT INTO public.mail VALUES (52, 'closed', 'k', now() - interval '2 hours');
SELECT request_id AS r FROM contact WHERE source_key = '52' \gset
UPDATE request SET state = 'done', state_since = now() - interval '1 hour' WHERE request_id = :r;
SELECT is(pg_temp.promised('closed'), 'first_response new, first_response new, first_response new done', 'also without a policy for it');
SELECT results_eq(format('SELECT stopped_at FROM sla_clock WHERE request_id = %s', :r), $$VALUES (now() - interval '1 hour')$$, 'so that its end stops what is promised');

-- A policy that fits only later promises as if it had fitted from the opening on: what the request has waited is not counted.
DELETE FROM sla_policy;
INSERT INTO sla_policy (policy, rank, metric, min_priority, target) VALUES ('urgent', 1, 'resolution', 1, '5 hours');
DELETE FROM sla_stale;
CREATE FUNCTION pg_temp.waited(who bigint, priority int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	id bigint := omnichannel.open_request(omnichannel.identify('account', 'urgent ' || who), 'x', 'email', priority => priority, opened_at => now() - interval '4 hours');
BEGIN
	UPDATE omnichannel.request SET state = 'waiting_customer', state_since = now() - interval '3 hours' WHERE request_id = id;
	PERFORM omnichannel.log_contact('email', request_id => id, occurred_at => now() - interval '1 hour');
	RETURN id;
END
$$;
CREATE FUNCTION pg_temp.clock(id bigint) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', now() - started_at, due_at - now(), time_left, (SELECT array_agg(upper(p) - lower(p)) FROM unnest(pauses) AS p), now() - stopped_at, outcome)
	FROM omnichannel.sla_clock WHERE request_id = id AND metric = 'resolution'
$$;
SELECT pg_temp.waited(1, 1) AS urgent, pg_temp.waited(2, 0) AS later, pg_temp.waited(3, 0) AS waits, pg_temp.waited(4, 0) AS again \gset
UPDATE request SET priority = 1 WHERE request_id = :later;
SELECT is(pg_temp.clock(:later), '04:00:00 03:00:00 {02:00:00}', 'it stood still while it waited');
SELECT is(pg_temp.clock(:later), pg_temp.clock(:urgent), 'as it would have from the beginning');
UPDATE request SET state = 'waiting_customer', state_since = now() - interval '30 minutes' WHERE request_id = :waits;
UPDATE request SET priority = 1 WHERE request_id = :waits;
SELECT is(pg_temp.clock(:waits), '04:00:00 03:30:00 {02:00:00,NULL}', 'it stands still where it waits');
UPDATE request SET state = 'done', state_since = now() - interval '30 minutes' WHERE request_id = :again;
SELECT is(pg_temp.clock(:again), NULL, 'without a policy nothing is promised');

-- A contact about a closed request goes by what that was when it was closed, however it is reckoned: recomputed, nothing moves.
DELETE FROM sla_policy;
INSERT INTO sla_policy (policy, rank, metric, channel, kind, target) VALUES ('kind', 1, 'first_response', 'email', 'b', '1 hour'), ('any', 9, 'first_response', 'email', NULL, '5 hours'),
	('sms', 1, 'first_response', 'sms', 'b', '1 hour');
SELECT tick_sla() \g /dev/null
CREATE FUNCTION pg_temp.closed(who text, imported boolean) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	customer bigint := omnichannel.identify('account', who);
	id bigint;
BEGIN
	-- Something that no policy fits: whoever looks for promises that are not kept looks at this customer.
	PERFORM omnichannel.log_contact('sms', customer, thread => 'other');
	IF imported THEN
		INSERT INTO omnichannel.request (customer_id, kind, channel, state, opened_at, state_since, closed_at)
		VALUES (customer, 'b', 'email', 'done', now() - interval '3 hours', now() - interval '150 minutes', now() - interval '150 minutes') RETURNING request_id INTO id;
	ELSE
		id := omnichannel.open_request(customer, 'b', 'email', opened_at => now() - interval '3 hours');
		UPDATE omnichannel.request SET state = 'done', state_since = now() - interval '150 minutes' WHERE request_id = id;
	END IF;
	PERFORM omnichannel.log_contact('email', customer, request_id => id, occurred_at => now() - interval '2 hours');
	RETURN id;
END
$$;
CREATE FUNCTION pg_temp.policies(id bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	customer bigint := (SELECT customer_id FROM omnichannel.sla_clock WHERE request_id = id);
	found text[] := ARRAY(SELECT policy FROM omnichannel.sla_clock WHERE request_id = id);
BEGIN
	PERFORM omnichannel.tick_sla();
	FOR i IN 1..2 LOOP
		found := found || (SELECT array_agg('moved to ' || policy) FROM omnichannel.recompute_sla());
		PERFORM omnichannel.tick_sla();
	END LOOP;
	-- One of long ago, so that all is reckoned.
	PERFORM omnichannel.log_contact('email', customer, direction => 'outbound', outcome => 'failed', occurred_at => now() - interval '4 hours');
	RETURN concat_ws(', ', VARIADIC found || ARRAY(SELECT policy FROM omnichannel.sla_clock WHERE request_id = id))
		|| ', breaches ' || (SELECT count(*) FROM omnichannel.sla_event WHERE customer_id = customer AND event = 'breach');
END
$$;
SELECT is(pg_temp.policies(pg_temp.closed('closed', false)), 'kind, kind, breaches 1', 'one that was closed');
SELECT pg_temp.closed('gone', false) AS r \gset
DELETE FROM request WHERE request_id = :r;
SELECT is(pg_temp.policies(:r), 'kind, kind, breaches 1', 'one that is deleted');
SELECT pg_temp.closed('corrected', false) AS r \gset
UPDATE request SET kind = 'c' WHERE request_id = :r;
SELECT is(pg_temp.policies(:r), 'kind, kind, breaches 1', 'one that is corrected');
SELECT log_contact('email', request_id => :r, direction => 'outbound', occurred_at => now() - interval '90 minutes') \g /dev/null
INSERT INTO sla_policy (policy, rank, metric, kind, target) VALUES ('next', 1, 'next_response', 'b', '1 hour');
SELECT log_contact('email', request_id => :r) \g /dev/null
SELECT is((SELECT policy FROM sla_clock WHERE request_id = :r AND metric = 'next_response'), 'next', 'what comes next goes by the same');
DELETE FROM sla_policy WHERE policy = 'next';
SELECT pg_temp.closed('imported', true) AS r \gset
SELECT is(pg_temp.policies(:r), 'kind, kind, breaches 1', 'one that was inserted closed');
SELECT is((SELECT string_agg(concat_ws(' ', metric, step, policy, note), ', ' ORDER BY place) FROM explain_sla(:r) WHERE step IN ('policy', 'none') AND metric IN ('first_response', 'resolution')),
	'first_response policy kind holds, first_response policy sms channel is email, not sms, first_response policy any policy kind comes before it, resolution none no policy fits', 'which is how it is explained');

-- What was kept stays kept: when a request that is deleted had waited for the customer is not known any more.
DELETE FROM sla_policy;
INSERT INTO sla_policy (policy, rank, metric, target) VALUES ('hour', 1, 'first_response', '1 hour');
SELECT open_request(identify('account', 'deleted'), 'x', 'email', opened_at => now() - interval '3 hours') AS r \gset
SELECT log_contact('email', identify('account', 'deleted'), request_id => :r, occurred_at => now() - interval '160 minutes') \g /dev/null
UPDATE request SET state = 'waiting_customer', state_since = now() - interval '150 minutes' WHERE request_id = :r;
UPDATE request SET state = 'waiting_agent', state_since = now() - interval '70 minutes' WHERE request_id = :r;
SELECT log_contact('email', identify('account', 'deleted'), request_id => :r, direction => 'outbound', occurred_at => now() - interval '60 minutes') \g /dev/null
DELETE FROM request WHERE request_id = :r;
SELECT log_contact('email', identify('account', 'deleted'), direction => 'outbound', outcome => 'failed', occurred_at => now() - interval '4 hours') \g /dev/null
SELECT tick_sla() \g /dev/null
SELECT is((SELECT string_agg(concat_ws(' ', metric, outcome, upper(pauses) - lower(pauses)), ', ') FROM sla_clock WHERE request_id = :r), 'first_response met 01:20:00', 'of a deleted request');

-- A wait that one answered for the other, with whom he is one no more, has ended all the same.
SELECT identify('account', 'kept') AS kept, identify('account', 'duplicate') AS duplicate \gset
INSERT INTO sla_policy (policy, rank, metric, target) VALUES ('solve', 1, 'resolution', '90 minutes');
SELECT open_request(:kept, 'x', 'email', opened_at => now() - interval '5 hours') AS r \gset
UPDATE request SET state = 'waiting_customer', state_since = now() - interval '4 hours' WHERE request_id = :r;
SELECT merge_customers(:kept, :duplicate) AS merge \gset
SELECT log_contact('email', :duplicate, request_id => :r, occurred_at => now() - interval '3 hours') \g /dev/null
SELECT unmerge_customers(:merge) \g /dev/null
UPDATE request SET state = 'waiting_agent', state_since = now() - interval '2 hours' WHERE request_id = :r;
SELECT is((SELECT string_agg(concat_ws(' ', c.metric, c.outcome, lower(c.pauses) - r.opened_at, upper(c.pauses) - r.opened_at, c.due_at - r.opened_at), ', ') FROM sla_clock AS c JOIN request AS r USING (request_id) WHERE request_id = :r AND metric = 'resolution'),
	'resolution 01:00:00 02:00:00 02:30:00', 'nothing stands still for good');
SELECT * FROM finish();
ROLLBACK;
