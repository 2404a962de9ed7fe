-- What was told of customers before they became one stays: contacts logged late, or corrected, change what they concern.
BEGIN;
SELECT plan(26);
SET LOCAL search_path = public, omnichannel, pg_catalog;
SET LOCAL timezone = 'UTC';
-- However long ago that is by now.
UPDATE omnichannel.sla_setting SET keep_moments = '100000 days';
DELETE FROM sla_policy;
INSERT INTO channel (channel, name, medium, opens_request) VALUES ('line', 'Line', 'voice', false), ('mail', 'Mail', 'mail', false);
INSERT INTO sla_policy (policy, rank, metric, channel, target) VALUES
	('line', 10, 'callback', 'line', '1 hour'), ('mail', 10, 'first_response', 'mail', '6 hours'), ('next', 20, 'next_response', NULL, '2 hours'), ('done', 30, 'resolution', NULL, '1 day');
DELETE FROM sla_stale;

CREATE FUNCTION pg_temp.clocks(VARIADIC customers bigint[]) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s %s %s-%s %s', array_position(customers, c.customer_id), c.metric, to_char(c.started_at, 'HH24:MI'), to_char(c.stopped_at, 'HH24:MI'), c.outcome),
		', ' ORDER BY c.metric, c.started_at, c.clock_id)
		|| coalesce(' told ' || (SELECT count(*) FROM omnichannel.sla_event AS e WHERE e.customer_id = ANY (customers) AND e.event = 'breach' AND e.withdrawn_at IS NULL), '')
	FROM omnichannel.sla_clock AS c WHERE c.customer_id = ANY (customers)
$$;
CREATE FUNCTION pg_temp.says(customer bigint, channel text, direction text, outcome text, at text) RETURNS bigint LANGUAGE sql AS $$
	SELECT omnichannel.log_contact(channel, customer, direction => direction, outcome => outcome, occurred_at => ('2026-06-01 ' || at)::timestamptz)
$$;

-- Both were called and answered, the second too late; as one, the first call back would have been to both.
SELECT identify('account', 'merged-a') AS a, identify('account', 'merged-b') AS b \gset
CREATE TABLE public.letter (id int PRIMARY KEY, who bigint, dir text, at timestamptz);
SELECT track('public.letter', channel => 'mail', customer => '{who}', direction => '{dir}', occurred_at => '{at}', source_key => '{id}') \g /dev/null
SELECT count(*) FROM (VALUES
	(pg_temp.says(:a, 'line', 'inbound', 'missed', '08:00')), (pg_temp.says(:a, 'line', 'outbound', 'answered', '08:30')),
	(pg_temp.says(:b, 'line', 'inbound', 'missed', '08:10')), (pg_temp.says(:b, 'line', 'outbound', 'answered', '10:00')),
	(pg_temp.says(:a, 'mail', 'inbound', 'received', '08:00')), (pg_temp.says(:a, 'mail', 'outbound', 'sent', '12:00')),
	(pg_temp.says(:b, 'mail', 'inbound', 'received', '08:05'))) AS logged \g /dev/null
INSERT INTO public.letter VALUES (1, :b, 'outbound', '2026-06-01 16:00'), (2, :b, 'internal', '2026-06-01 16:30');
SELECT tick_sla() \g /dev/null
SELECT '1 callback 08:00-08:30 met, 2 callback 08:10-10:00 breached, 1 first_response 08:00-12:00 met, 2 first_response 08:05-16:00 breached' AS told \gset
SELECT is(pg_temp.clocks(:a, :b), :'told' || ' told 2', 'of each alone');
SELECT merge_customers(:a, :b, 'the same') AS merge \gset
SELECT is(pg_temp.clocks(:a, :b), :'told' || ' told 2', 'the same when they are one');
SELECT pg_temp.says(:a, 'mail', 'outbound', 'failed', '07:00') \g /dev/null
SELECT is(pg_temp.clocks(:a, :b), :'told' || ' told 2', 'what is logged late and concerns nothing changes nothing');
SELECT pg_temp.says(:b, 'line', 'outbound', 'failed', '08:05') \g /dev/null
SELECT is(pg_temp.clocks(:a, :b), :'told' || ' told 2', 'of the other neither');
UPDATE public.letter SET dir = 'outbound' WHERE id = 2;
SELECT is(pg_temp.clocks(:a, :b), :'told' || ' told 2', 'nor what is corrected and concerns nothing');
SELECT count(*) FROM recompute_sla() \g /dev/null
SELECT tick_sla() \g /dev/null
SELECT is(pg_temp.clocks(:a, :b), :'told' || ' told 2', 'nor recomputing');
SAVEPOINT answered;
SELECT pg_temp.says(:a, 'mail', 'outbound', 'sent', '11:00') \g /dev/null
SELECT is(pg_temp.clocks(:a, :b), replace(:'told', '08:00-12:00', '08:00-11:00') || ' told 2', 'an answer that is logged late changes the clock that it ends');
SELECT unmerge_customers(:merge) \g /dev/null
SELECT is(pg_temp.clocks(:a, :b), replace(:'told', '08:00-12:00', '08:00-11:00') || ' told 2', 'also when they are two again');
ROLLBACK TO answered;
DELETE FROM sla_policy WHERE policy = 'mail';
SELECT unmerge_customers(:merge) \g /dev/null
SELECT is(pg_temp.clocks(:a, :b), :'told' || ' told 2', 'as what each was told of by a policy that is gone');
ROLLBACK TO answered;
SELECT pg_temp.says(:b, 'mail', 'inbound', 'received', '17:00'), pg_temp.says(:a, 'mail', 'outbound', 'sent', '18:00') \g /dev/null
SELECT is(pg_temp.clocks(:a, :b), :'told' || ', 2 first_response 17:00-18:00 met told 2', 'what comes afterwards is of both');
SELECT unmerge_customers(:merge) \g /dev/null
SELECT pg_temp.says(:a, 'mail', 'outbound', 'failed', '07:00'), pg_temp.says(:b, 'mail', 'outbound', 'failed', '07:00') \g /dev/null
SELECT alike(pg_temp.clocks(:a, :b), :'told' || '%', 'and what was told of before stays when they are two again');

-- Histories of two by chance: what concerns nothing changes nothing, whenever it is logged.
CREATE FUNCTION pg_temp.history(seed int, OUT a bigint, OUT b bigint) LANGUAGE plpgsql AS $$
DECLARE
	n int;
	line boolean;
	inbound boolean;
BEGIN
	a := omnichannel.identify('account', 'a' || seed);
	b := omnichannel.identify('account', 'b' || seed);
	FOR n IN 1 .. 16 LOOP
		line := hashint4(seed * 17 + n) % 2 = 0;
		inbound := hashint4(seed * 19 + n) % 2 = 0;
		PERFORM omnichannel.log_contact(CASE WHEN line THEN 'line' ELSE 'mail' END, CASE WHEN hashint4(seed * 23 + n) % 2 = 0 THEN a ELSE b END,
			direction => CASE WHEN inbound THEN 'inbound' ELSE 'outbound' END,
			outcome => CASE WHEN NOT line THEN CASE WHEN inbound THEN 'received' ELSE 'sent' END WHEN inbound THEN 'missed' ELSE 'answered' END,
			occurred_at => timestamptz '2026-06-02 06:00' + make_interval(mins => n * 37 + abs(hashint4(seed * 100 + n)) % 37),
			thread => CASE WHEN NOT line AND hashint4(seed * 29 + n) % 3 = 0 THEN 't' || seed || '-' || hashint4(seed * 23 + n) % 2 END);
	END LOOP;
	PERFORM omnichannel.tick_sla();
END
$$;
CREATE TEMP TABLE pair AS SELECT seed, h.a, h.b, false AS merged FROM generate_series(1, 25) AS seed, pg_temp.history(seed) AS h;
CREATE FUNCTION pg_temp.changed() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	one record;
	before text;
	after text;
	wrong text := '';
BEGIN
	FOR one IN SELECT * FROM pair ORDER BY seed LOOP
		before := pg_temp.clocks(one.a, one.b);
		PERFORM omnichannel.log_contact('mail', one.a, direction => 'outbound', outcome => 'failed', occurred_at => '2026-06-02 05:00'),
			omnichannel.log_contact('mail', one.b, direction => 'outbound', outcome => 'failed', occurred_at => '2026-06-02 11:00');
		PERFORM omnichannel.tick_sla();
		after := pg_temp.clocks(one.a, one.b);
		IF before <> after THEN
			wrong := wrong || format(E'%s: %s\n   %s\n', one.seed, before, after);
		END IF;
	END LOOP;
	RETURN wrong;
END
$$;
SELECT is(pg_temp.changed(), '', 'of each alone');
CREATE TEMP TABLE merging AS SELECT seed, merge_customers(a, b, 'chance') AS merge FROM pair;
SELECT is(pg_temp.changed(), '', 'of both as one');
SELECT count(*) AS moved FROM recompute_sla() \gset
SELECT is(:moved, 0, 'and recompute_sla() has nothing to add');
SELECT count(unmerge_customers(merge)) FROM merging \g /dev/null
SELECT is(pg_temp.changed(), '', 'of each alone again');

-- What each wrote alone stays so where the request of the other, into which the log had put it, is deleted, or all are.
CREATE FUNCTION pg_temp.deletes(name text, emptied boolean, OUT told text, OUT moved text, OUT late text) LANGUAGE plpgsql AS $$
DECLARE
	a bigint := omnichannel.identify('account', name || '-a');
	b bigint := omnichannel.identify('account', name || '-b');
	ra bigint := omnichannel.open_request(a, 'b', 'email', opened_at => '2026-06-01 00:17Z');
	rb bigint := omnichannel.open_request(b, 'b', 'chat', opened_at => '2026-06-01 00:48Z');
	merge bigint := omnichannel.merge_customers(a, b, 'chance');
BEGIN
	PERFORM omnichannel.log_contact('phone', a, outcome => 'missed', occurred_at => '2026-06-01 03:47Z', request_id => ra),
		omnichannel.log_contact('phone', a, direction => 'outbound', outcome => 'answered', occurred_at => '2026-06-01 06:03Z', request_id => rb),
		-- The second is still.
		omnichannel.log_contact('sms', a, occurred_at => '2026-06-01 07:00Z', request_id => rb, thread => 'b'),
		omnichannel.log_contact('sms', a, occurred_at => '2026-06-01 08:00Z', request_id => rb, thread => 'b'),
		omnichannel.log_contact('sms', a, occurred_at => '2026-06-01 09:00Z', request_id => rb, thread => 'c');
	PERFORM omnichannel.unmerge_customers(merge);
	PERFORM omnichannel.tick_sla();
	told := pg_temp.clocks(a);
	IF emptied THEN
		TRUNCATE omnichannel.request CASCADE;
	ELSE
		DELETE FROM omnichannel.request WHERE request_id = rb;
	END IF;
	PERFORM count(*) FROM omnichannel.recompute_sla();
	PERFORM omnichannel.tick_sla();
	moved := pg_temp.clocks(a);
	PERFORM omnichannel.log_contact('branch', a, direction => 'outbound', outcome => 'failed', occurred_at => '2026-06-01 00:01Z', thread => 'zz');
	PERFORM omnichannel.tick_sla();
	late := pg_temp.clocks(a);
END
$$;
DELETE FROM sla_policy;
INSERT INTO sla_policy (policy, rank, metric, target) VALUES ('fr', 9, 'first_response', '45 minutes'), ('nr', 9, 'next_response', '45 minutes');
SELECT tick_sla() \g /dev/null
SELECT * FROM pg_temp.deletes('deleted', false) \gset
SELECT is(:'moved'::text, :'told', 'recompute_sla() moves nothing once the request of the other is deleted');
SELECT is(:'late'::text, :'told', 'nor does what is logged late and says nothing');
SELECT * FROM pg_temp.deletes('emptied', true) \gset
SELECT is(:'moved'::text, :'told', 'nor where all requests are');
SELECT is(:'late'::text, :'told', 'and that is logged late');

-- What was told of as one by a policy that is gone does not go on because of a new one.
SELECT identify('account', 'answered-a') AS a, identify('account', 'answered-b') AS b \gset
SELECT merge_customers(:a, :b, 'chance') AS merge \gset
SELECT pg_temp.says(:a, 'mail', 'inbound', 'received', '13:10'), pg_temp.says(:b, 'mail', 'outbound', 'sent', '15:01') \g /dev/null
SELECT tick_sla() \g /dev/null
DELETE FROM sla_policy WHERE policy = 'fr';
SELECT tick_sla() \g /dev/null
SELECT unmerge_customers(:merge) \g /dev/null
INSERT INTO sla_policy (policy, rank, metric, target) VALUES ('again', 9, 'first_response', '2 hours');
SELECT tick_sla() \g /dev/null
SELECT is(pg_temp.clocks(:a, :b), '1 first_response 13:10-15:01 breached told 1', 'a new policy does not make go on what was answered as one');
SELECT pg_temp.says(:a, 'mail', 'outbound', 'failed', '07:00') \g /dev/null
SELECT is(pg_temp.clocks(:a, :b), '1 first_response 13:10-15:01 breached told 1', 'nor does a contact after it that says nothing');

-- With what stopped in a request that is no more, by the answer of the other, nothing waits either.
ROLLBACK TO answered;
SELECT identify('account', 'orphan-a') AS a, identify('account', 'orphan-b') AS b \gset
SELECT open_request(:a, 'complaint', 'mail', opened_at => '2026-06-01 05:00') AS r \gset
SELECT log_contact('mail', :a, occurred_at => '2026-06-01 06:00', request_id => :r, thread => 'orphan'), merge_customers(:b, :a) AS merge \gset
SELECT log_contact('mail', :b, direction => 'outbound', occurred_at => '2026-06-01 08:00', request_id => :r),
	log_contact('mail', :a, occurred_at => '2026-06-01 09:00', request_id => :r, thread => 'orphan') \g /dev/null
DELETE FROM request WHERE request_id = :r;
SELECT tick_sla(), unmerge_customers(:merge) \g /dev/null
SELECT is(pg_temp.clocks(:a, :b), '1 first_response 06:00-08:00 met, 1 next_response 09:00- breached told 1', 'who wrote again in it still waits');
SELECT is((SELECT count(*) FROM recompute_sla()), 0::bigint, 'and recompute_sla() has nothing to add');

-- What stopped while they were apart stays stopped, one after the other: who wrote after all of that still waits as one.
ROLLBACK TO answered;
SELECT identify('account', 'apart-a') AS a, identify('account', 'apart-b') AS b \gset
DELETE FROM sla_policy WHERE policy = 'done';
SELECT open_request(:a, 'complaint', 'mail', opened_at => '2026-06-01 05:00') AS r, open_request(:b, 'complaint', 'mail', opened_at => '2026-06-01 05:00') AS q \gset
SELECT merge_customers(:b, :a) AS merge \gset
SELECT count(log_contact('mail', :a, direction => said.direction, occurred_at => ('2026-06-01 ' || said.at)::timestamptz, request_id => said.request))
FROM (VALUES ('inbound', '06:00', :r), ('outbound', '07:00', :q), ('inbound', '08:00', :r), ('outbound', '09:00', :q), ('inbound', '10:00', :r)) AS said (direction, at, request) \g /dev/null
SELECT unmerge_customers(:merge), tick_sla() \g /dev/null
SELECT '1 first_response 06:00-07:00 met, 1 next_response 08:00-09:00 met, 1 next_response 10:00- breached told 1' AS told \gset
SELECT is(pg_temp.clocks(:a, :b), :'told', 'alone, what was written in the request of the other answers');
SELECT merge_customers(:b, :a) \g /dev/null
SELECT is(pg_temp.clocks(:a, :b), :'told', 'as one, what has stopped stays, and what was written after it waits');
SELECT pg_temp.says(:b, 'mail', 'outbound', 'failed', '05:30') \g /dev/null
SELECT is(pg_temp.clocks(:a, :b), :'told', 'also where a contact that says nothing is logged late');
SELECT * FROM finish();
ROLLBACK;
