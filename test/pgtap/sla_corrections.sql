-- What is corrected by plain statements: requests opened at another time or in another channel, requests that are
-- truncated, memberships entered afterwards, customers taken apart who wrote in one another's requests; and policies and
-- times that are refused.
BEGIN;
SELECT plan(57);
SET LOCAL search_path = omnichannel, public, pg_catalog;
SET LOCAL timezone = 'UTC';
DELETE FROM sla_policy;
INSERT INTO channel (channel, name, medium, opens_request) VALUES ('desk', 'Desk', 'mail', false), ('wire', 'Wire', 'mail', false);
INSERT INTO sla_policy (policy, rank, metric, channel, target) VALUES
	('wire', 1, 'resolution', 'wire', '2 hours'), ('solve', 9, 'resolution', NULL, '8 hours'), ('answer', 9, 'first_response', NULL, '1 hour'), ('next', 9, 'next_response', NULL, '30 minutes');
DELETE FROM sla_stale;
INSERT INTO customer (customer_id, name) SELECT n, 'Customer ' || n FROM generate_series(101, 110) AS n;
CREATE FUNCTION pg_temp.clocks(customers bigint[]) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(concat_ws(' ', c.customer_id, c.metric, c.policy, c.request_id IS NOT NULL, to_char(c.started_at, 'HH24:MI'), c.channel,
		CASE WHEN c.stopped_at IS NULL THEN 'open' ELSE c.outcome END, c.pauses), E'\n' ORDER BY c.customer_id, c.metric, c.started_at)
	FROM omnichannel.sla_clock AS c WHERE c.customer_id = ANY (customers) $$;

-- A request that was opened earlier, or later, than was said, or elsewhere.
SELECT open_request(101, 'complaint', 'desk', opened_at => '2026-06-01 10:00') AS r \gset
SELECT log_contact('desk', 101, request_id => :r, occurred_at => '2026-06-01 10:30') \g /dev/null
UPDATE request SET state = 'waiting_customer', state_since = '2026-06-01 11:00' WHERE request_id = :r;
UPDATE request SET opened_at = '2026-06-01 09:00' WHERE request_id = :r;
SELECT is(pg_temp.clocks('{101}'), E'101 first_response answer t 10:30 desk open {["2026-06-01 11:00:00+00",)}\n101 resolution solve t 09:00 desk open {["2026-06-01 11:00:00+00",)}', 'opened earlier');
SELECT is((SELECT clock_id FROM sla_clock WHERE customer_id = 101 AND metric = 'resolution'), (SELECT min(clock_id) FROM sla_clock WHERE customer_id = 101), 'it is the same clock');
UPDATE request SET opened_at = '2026-06-01 11:30', channel = 'wire' WHERE request_id = :r;
-- Since what the customer wrote in it before.
SELECT is(pg_temp.clocks('{101}'), E'101 first_response answer t 10:30 desk open {["2026-06-01 11:30:00+00",)}\n101 resolution wire t 10:30 wire open {["2026-06-01 11:30:00+00",)}', 'opened later, after its state, and elsewhere');
SELECT recompute_sla(:r) \g /dev/null
SELECT is(pg_temp.clocks('{101}'), E'101 first_response answer t 10:30 desk open {["2026-06-01 11:30:00+00",)}\n101 resolution wire t 10:30 wire open {["2026-06-01 11:30:00+00",)}', 'reckoned anew it is the same');
UPDATE request SET state = 'done', state_since = '2026-06-01 12:00' WHERE request_id = :r;
SELECT pg_temp.clocks('{101}') AS closed \gset
UPDATE request SET opened_at = '2026-06-01 08:00' WHERE request_id = :r;
SELECT is(pg_temp.clocks('{101}'), :'closed', 'what is closed stays as it was');
-- One that names another kind in the same statement.
SELECT open_request(102, 'complaint', 'desk', opened_at => '2026-06-01 10:00') AS r \gset
INSERT INTO sla_policy (policy, rank, metric, kind, target) VALUES ('order', 0, 'resolution', 'order', '3 hours');
UPDATE request SET opened_at = '2026-06-01 09:30', kind = 'order' WHERE request_id = :r;
SELECT is(pg_temp.clocks('{102}'), '102 resolution order t 09:30 desk open {}', 'with another change');
SELECT is((SELECT string_agg(to_char(at, 'HH24:MI') || kind, ' ' ORDER BY at) FROM sla_moment WHERE request_id = :r AND at < '2026-06-02'), '09:30complaint', 'what was said of it is corrected');

-- Times that no request can have.
SELECT throws_ok($$INSERT INTO request (customer_id, kind, channel, opened_at) VALUES (103, 'complaint', 'desk', 'infinity')$$, '22008', NULL, 'opened never');
SELECT throws_ok($$INSERT INTO request (customer_id, kind, channel, opened_at) VALUES (103, 'complaint', 'desk', '-infinity')$$, '22008', NULL, 'or always');
SELECT throws_ok($$INSERT INTO request (customer_id, kind, channel, state_since) VALUES (103, 'complaint', 'desk', now() + interval '1 hour')$$, '22008', NULL, 'or in a state from some day on');
SELECT throws_ok($$INSERT INTO request (customer_id, kind, channel, state, closed_at) VALUES (103, 'complaint', 'desk', 'done', 'infinity')$$, '22008', NULL, 'or closed never');
SELECT throws_ok(format('UPDATE request SET opened_at = %L WHERE request_id = %s', '-infinity', :r), '22008', NULL, 'nor by a correction');
SELECT throws_ok(format('UPDATE request SET state = %L, state_since = now() + %L WHERE request_id = %s', 'waiting_customer', '10 years', :r), '22008', NULL, 'nor in years to come');
SELECT lives_ok(format('UPDATE request SET state = %L, state_since = now() + %L WHERE request_id = %s', 'waiting_customer', '10 seconds', :r), 'but by a clock that runs ahead');

-- What policies cannot say.
CREATE FUNCTION pg_temp.refused(target text, warn_at text DEFAULT NULL, calendar text DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	state text;
	message text;
	hint text;
BEGIN
	INSERT INTO omnichannel.sla_policy (policy, metric, target, warn_at, calendar) VALUES ('refused', 'resolution', target::interval, warn_at::interval, calendar);
	DELETE FROM omnichannel.sla_policy WHERE policy = 'refused';
	RETURN NULL;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
	RETURN state || ' ' || message || CASE WHEN hint = '' THEN ' without a hint' ELSE '' END;
END
$$;
SELECT is(pg_temp.refused('1 month'), '22023 the target of a policy cannot have months: ''1 mon''', 'a target of months');
SELECT is(pg_temp.refused('1 day', '1 year'), '22023 the warn_at of a policy cannot have months: ''1 year''', 'a warning of years');
SELECT is(pg_temp.refused('-1 hour'), '22023 the target of a policy must not be ''-01:00:00''', 'a target below zero');
SELECT is(pg_temp.refused('1 day -25 hours'), '22023 the target of a policy must not be ''1 day -25:00:00''', 'a target whose time is');
SELECT is(pg_temp.refused('1 day', '0'), '22023 the warn_at of a policy must not be ''00:00:00''', 'a warning of nothing');
SELECT is(pg_temp.refused('100001 days'), '22023 the target of a policy is longer than 100,000 days: ''100001 days''', 'a target beyond all calendars');
SELECT is(pg_temp.refused('1 hour', '2 hours'), '22023 a warning cannot be due ''02:00:00'' before the end of a target of ''01:00:00''', 'a warning before the start');
SELECT is(pg_temp.refused('1 day', '2 days', 'office'), '22023 a warning cannot be due ''2 days'' before the end of a target of ''1 day''', 'the same in working days');
SELECT is(pg_temp.refused('20 hours', '1 day', 'office'), NULL, 'a working day is shorter than a day');
SELECT is(pg_temp.refused('0'), NULL, 'at once is a target');
SELECT throws_ok($$INSERT INTO sla_policy (policy, metric, queue, target) VALUES ('q', 'resolution', 'no such queue', '1 hour')$$, '23503', NULL, 'a queue that is none');

-- A membership that is entered afterwards counts from when it is valid; explain_sla() says what the clock says, and what follows.
INSERT INTO segment (segment, name) VALUES ('gold', 'Gold'), ('tin', 'Tin');
INSERT INTO sla_policy (policy, rank, metric, segment, target) VALUES ('gold', 0, 'resolution', 'gold', '1 hour');
SELECT tick_sla() \g /dev/null
SELECT open_request(104, 'complaint', 'desk', opened_at => now() - interval '20 minutes') AS r \gset
INSERT INTO segment_member VALUES (104, 'gold', tstzrange(now() - interval '1 day', NULL)), (105, 'gold', tstzrange(now() - interval '1 day', NULL)), (102, 'tin', tstzrange(NULL, NULL));
SELECT is((SELECT array_agg(customer_id ORDER BY customer_id) FROM sla_behind), '{104,105}', 'of a segment that policies go by');
SELECT is((SELECT string_agg(concat_ws(' ', step, policy, note), E'\n' ORDER BY place) FROM explain_sla(:r) WHERE metric = 'resolution' AND step IN ('policy', 'next') AND policy IN ('gold', 'solve')),
	E'policy gold would hold now\npolicy solve holds until the next tick(); now: policy gold comes before it\nnext gold due at this time from the next tick() on', 'until then it is explained as it is');
SELECT tick_sla() \g /dev/null
SELECT is((SELECT policy FROM sla_clock WHERE request_id = :r), 'gold', 'it follows');
DELETE FROM sla_behind;
UPDATE segment_member SET valid = tstzrange(lower(valid), now() + interval '1 day') WHERE customer_id = 104;
-- As if an earlier transaction had noted it.
UPDATE sla_behind SET noted_at = now() - interval '1 second';
SELECT results_eq('SELECT customer_id, known_from FROM sla_behind', $$VALUES (104::bigint, now() + interval '1 day')$$, 'one that ends later');
SELECT is(follow_requests(), 0::bigint, 'changes nothing that has begun');
SELECT is_empty('SELECT FROM sla_behind', 'and is not looked at again');
UPDATE segment_member SET valid = valid WHERE customer_id = 104;
SELECT is_empty('SELECT FROM sla_behind', 'what says the same is no change');
UPDATE segment_member SET valid = tstzrange(lower(valid), now() - interval '1 hour') WHERE customer_id = 104;
SELECT tick_sla() \g /dev/null
SELECT is((SELECT policy FROM sla_clock WHERE request_id = :r), 'solve', 'one that had ended before does');
INSERT INTO customer (customer_id, name) SELECT n, 'Many ' || n FROM generate_series(1001, 11001) AS n;
DELETE FROM sla_behind;
DELETE FROM sla_stale;
INSERT INTO segment_member SELECT n, 'gold', tstzrange(now() - interval '1 day', NULL) FROM generate_series(1001, 11001) AS n;
SELECT results_eq('SELECT (SELECT count(*) FROM sla_behind), relation FROM sla_stale', $$VALUES (0::bigint, 'segment_member')$$, 'of very many all are recomputed');
DELETE FROM sla_stale;
DELETE FROM segment_member WHERE customer_id = 1001;
SELECT is((SELECT array_agg(customer_id) FROM sla_behind), '{1001}', 'one that never was too');
DELETE FROM sla_behind;

-- Who wrote in the other's request while they were one waits for an answer alone, and keeps nothing of the request's.
SELECT open_request(106, 'complaint', 'desk', opened_at => '2026-06-01 09:00') AS r \gset
SELECT merge_customers(106, 107) AS m \gset
SELECT log_contact('desk', 107, request_id => :r, thread => 'odd', occurred_at => '2026-06-01 10:00') \g /dev/null
SELECT log_contact('desk', 107, request_id => :r, thread => 'odd', occurred_at => '2026-06-01 10:10') \g /dev/null
SELECT unmerge_customers(:m) \g /dev/null
SELECT is(pg_temp.clocks('{106,107}'), E'106 resolution solve t 09:00 desk open {}\n107 first_response answer f 10:00 desk open {}', 'each has their own');
SELECT log_contact('desk', 106, request_id => :r, occurred_at => '2026-06-01 11:00') \g /dev/null
UPDATE request SET state = 'done', state_since = '2026-06-01 12:00' WHERE request_id = :r;
SELECT log_contact('desk', 107, direction => 'outbound', thread => 'odd', occurred_at => '2026-06-01 13:00') \g /dev/null
SELECT is(pg_temp.clocks('{106,107}'), E'106 first_response answer t 11:00 desk cancelled {}\n106 resolution solve t 09:00 desk met {}\n107 first_response answer f 10:00 desk breached {}',
	'the request ends what is promised to its customer, an answer what is promised to the other');

-- Who may not, and where nothing may be written, is told so, and whom to ask.
CREATE ROLE sla_loader;
CREATE ROLE sla_reader;
SELECT grant_access('sla_loader', 'app') \g /dev/null
SELECT grant_access('sla_reader', 'bi') \g /dev/null
CREATE FUNCTION public.refused_call(caller text, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	state text;
	message text;
	hint text;
	context text;
BEGIN
	IF caller IS NOT NULL THEN
		EXECUTE format('SET LOCAL ROLE %I', caller);
	ELSE
		SET LOCAL transaction_read_only = on;
	END IF;
	EXECUTE statement;
	RETURN 'nothing';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT;
	RETURN state || ' ' || message || CASE WHEN hint = '' THEN ' without a hint' ELSE '' END || CASE WHEN context ~ 'WITH |INSERT |DELETE ' THEN ' ' || context ELSE '' END;
END
$$;
SELECT is(refused_call(caller, format('SELECT %s', call)), format('42501 role "%s" may not call %s', caller, regexp_replace(call, '^omnichannel\.(\w+).*', '\1()')), caller || ' and ' || call)
FROM (VALUES ('sla_loader'), ('sla_reader')) AS r (caller), (VALUES ('omnichannel.tick()'), ('omnichannel.tick_sla()'), ('omnichannel.add_holiday(''office'', ''2030-01-03'')')) AS c (call);
SELECT is(refused_call('sla_loader', 'SELECT omnichannel.recompute_sla()'), '42501 role "sla_loader" may not recompute all clocks', 'and recompute_sla()');
SELECT is(refused_call(NULL, format('SELECT %s', call)), format('25006 %s writes, which a read-only transaction cannot', regexp_replace(call, '^omnichannel\.(\w+).*', '\1()')), 'a reader and ' || call)
FROM (VALUES ('omnichannel.tick()'), ('omnichannel.tick_sla()'), ('omnichannel.import_holidays(''office'', ''x'')'), ('omnichannel.recompute_sla()')) AS c (call);
SELECT throws_ok($$INSERT INTO sla_policy (policy, metric, target, valid) VALUES ('never', 'resolution', '1 hour', 'empty')$$, '22023', 'a policy cannot be valid for ''empty''', 'a policy that holds never');

-- TRUNCATE ends what was promised to requests, as DELETE does.
SELECT log_contact('desk', 108, thread => 'kept', occurred_at => '2026-06-01 10:00') \g /dev/null
TRUNCATE request CASCADE;
SELECT tick_sla() \g /dev/null
SELECT results_eq($$SELECT customer_id, metric FROM sla_clock WHERE stopped_at IS NULL AND customer_id < 1000$$, $$VALUES (108::bigint, 'first_response')$$, 'truncated requests are promised nothing');

-- A request that is opened again after its moments were deleted keeps its clock, however often that is reckoned anew.
UPDATE sla_setting SET keep_moments = '1 day';
UPDATE sla_policy SET target = '7 days' WHERE policy = 'solve';
SELECT open_request(109, 'complaint', 'desk', opened_at => now() - interval '10 days') AS r \gset
UPDATE request SET state = 'waiting_customer', state_since = now() - interval '9 days' WHERE request_id = :r;
UPDATE request SET state = 'new', state_since = now() - interval '8 days' WHERE request_id = :r;
UPDATE request SET state = 'done', state_since = now() - interval '5 days' WHERE request_id = :r;
SELECT cmp_ok(forget_moments(), '>=', 3::bigint, 'moments are forgotten');
UPDATE request SET state = 'waiting_agent' WHERE request_id = :r;
CREATE FUNCTION pg_temp.opened_again() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(concat_ws(' ', policy, now() - started_at, upper(pauses) IS NULL, (SELECT array_agg(now() - lower(pause) ORDER BY pause) FROM unnest(pauses) AS pause),
		date_trunc('minute', due_at - now())), E'\n') FROM omnichannel.sla_clock WHERE customer_id = 109 AND stopped_at IS NULL $$;
SELECT is(pg_temp.opened_again(), 'solve 10 days f {"9 days","5 days"} 3 days', 'opened again it stood still meanwhile');
SELECT is_empty(format('SELECT FROM recompute_sla(%s)', :r), 'reckoned anew it stays');
SELECT log_contact('desk', 109, request_id => :r, thread => 'again', direction => 'outbound', occurred_at => now() - interval '1 hour') \g /dev/null
UPDATE request SET priority = 3 WHERE request_id = :r;
SELECT is(pg_temp.opened_again(), 'solve 10 days f {"9 days","5 days"} 3 days', 'after another change too');
UPDATE request SET state = 'done' WHERE request_id = :r;
UPDATE request SET state = 'waiting_customer' WHERE request_id = :r;
SELECT is_empty(format('SELECT FROM recompute_sla(%s)', :r), 'closed and opened once more it is the same');
SELECT is((SELECT string_agg(concat_ws(' ', now() - started_at, stopped_at IS NULL, upper_inf(pauses), time_left > '2 days 23 hours'), ',') FROM sla_clock WHERE customer_id = 109 AND metric = 'resolution'),
	'10 days t t t', 'and stands still');

-- Set waiting again while it waits: what the customer wrote between is no other if it is logged late.
CREATE FUNCTION pg_temp.waited(name text, late boolean) RETURNS tstzmultirange LANGUAGE plpgsql AS $$
DECLARE
	who bigint := omnichannel.identify('account', name);
	waiting bigint := omnichannel.open_request(who, 'again', 'chat', opened_at => '2026-06-01 00:00Z');
BEGIN
	UPDATE omnichannel.request SET state = 'waiting_customer', state_since = '2026-06-01 01:00Z' WHERE request_id = waiting;
	IF NOT late THEN
		PERFORM omnichannel.log_contact('chat', who, request_id => waiting, occurred_at => '2026-06-01 03:00Z');
	END IF;
	UPDATE omnichannel.request SET state = 'waiting_customer', state_since = '2026-06-01 05:00Z' WHERE request_id = waiting;
	IF late THEN
		PERFORM omnichannel.log_contact('chat', who, request_id => waiting, occurred_at => '2026-06-01 03:00Z');
	END IF;
	RETURN (SELECT c.pauses FROM omnichannel.sla_clock AS c WHERE c.request_id = waiting AND c.metric = 'resolution');
END
$$;
INSERT INTO omnichannel.sla_policy (policy, rank, metric, kind, target) VALUES ('again', 0, 'resolution', 'again', '1 day');
SELECT is(ARRAY[pg_temp.waited('waited-1', false), pg_temp.waited('waited-2', true)], array_fill('{[2026-06-01 01:00Z,2026-06-01 03:00Z),[2026-06-01 05:00Z,)}'::tstzmultirange, '{2}'), 'of one that is set waiting again');
SELECT * FROM finish();
ROLLBACK;
