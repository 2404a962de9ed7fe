-- Who leaves a queue otherwise than by an offer is on record, with the queue, the channel and the time that was waited, in
-- whatever way it came to that; what an assignment tells is not told twice; and nobody but the functions writes it.
BEGIN;
SELECT plan(47);
SET LOCAL search_path = omnichannel, public, pg_catalog;

INSERT INTO queue (queue, hold_for_owner) VALUES ('a', '0'), ('b', '0'), ('gone', '0');
INSERT INTO agent (agent_id, name, capacity) VALUES (1, 'Anna', 1000), (2, 'Bo', 1000);
INSERT INTO agent_channel (agent_id, channel) SELECT agent_id, channel FROM agent, unnest('{chat,phone}'::text[]) AS channel;
INSERT INTO queue_member (queue, agent_id) VALUES ('a', 1), ('b', 2), ('gone', 1);
INSERT INTO customer (customer_id) VALUES (1);
-- Opens a request that has waited in queue a for a minute.
CREATE FUNCTION pg_temp.waits(id bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO omnichannel.request (request_id, customer_id, kind, channel, queue) VALUES (id, 1, 'question', 'chat', 'a');
	PERFORM omnichannel.route(id);
	UPDATE omnichannel.waiting SET entered_at = now() - interval '5 minutes', queued_at = now() - interval '1 minute' WHERE request_id = id;
END
$$;
CREATE FUNCTION pg_temp.told(id bigint) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT format('%s %s of customer %s, %s and %s minutes%s', event, queue || '/' || channel, customer_id, extract(minute FROM now() - entered_at), extract(minute FROM now() - queued_at),
		CASE WHEN happened_at NOT BETWEEN now() AND clock_timestamp() THEN ', at ' || happened_at END)
	FROM omnichannel.waiting_history WHERE request_id = id ORDER BY event_id $$;
CREATE FUNCTION pg_temp.told_is(id bigint, what text[], says text) RETURNS text LANGUAGE sql AS $$
	SELECT public.is(ARRAY(SELECT pg_temp.told(id)), what, says) $$;
SELECT pg_temp.waits(n) FROM generate_series(1, 27) AS n \g /dev/null

SELECT abandon_request(1) \g /dev/null
SELECT pg_temp.told_is(1, '{"abandoned a/chat of customer 1, 5 and 1 minutes"}', 'who gives up');
SELECT route(1) \g /dev/null
SELECT pg_temp.told_is(1, '{"abandoned a/chat of customer 1, 5 and 1 minutes","returned a/chat of customer 1, 5 and 1 minutes"}', 'and comes back to the place that was kept');
SELECT abandon_request(2, '0'), route(2) \g /dev/null
SELECT pg_temp.told_is(2, '{"abandoned a/chat of customer 1, 5 and 1 minutes"}', 'who comes back to none begins anew');
SELECT release_request(3, 'waiting_customer'), complete_request(4, 'resolved'), release_request(5, 'cancelled') \g /dev/null
SELECT complete_request(21, 'withdrawn'), release_request(22, 'done') \g /dev/null
SELECT pg_temp.told_is(n, ARRAY[became || ' a/chat of customer 1, 5 and 1 minutes'], says) FROM (VALUES (3, 'abandoned', 'what is released'), (5, 'cancelled', 'what is cancelled by a function'),
	(21, 'cancelled', 'or by what is found to have become of it'), (4, 'done_elsewhere', 'what is completed was answered elsewhere'), (22, 'done_elsewhere', 'or released as done')) AS t (n, became, says);

-- by plain statements
UPDATE request SET state = 'done' WHERE request_id = 6;
UPDATE request SET state = 'waiting_customer' WHERE request_id = 7;
UPDATE request SET queue = 'b' WHERE request_id = 8;
UPDATE request SET queue = NULL WHERE request_id = 9;
UPDATE request SET state = 'assigned', agent_id = 1 WHERE request_id = 10;
DELETE FROM request WHERE request_id = 11;
UPDATE request SET queue = 'b' WHERE request_id = 12;
UPDATE request SET priority = 3 WHERE request_id = 13;
SELECT route(12) \g /dev/null
SELECT pg_temp.told_is(12, '{"transferred a/chat of customer 1, 5 and 1 minutes"}', 'what a plain statement puts into another queue, where it is routed there');
SELECT is((SELECT queued_at FROM waiting WHERE request_id = 12), now(), 'in which it has waited from then');
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
SELECT tick_queues() \g /dev/null
SELECT pg_temp.told_is(n, what, says) FROM (VALUES (6, '{"done_elsewhere a/chat of customer 1, 5 and 1 minutes"}'::text[], 'what it closes'), (7, '{"abandoned a/chat of customer 1, 5 and 1 minutes"}', 'lets wait for the customer'),
	(8, '{"transferred a/chat of customer 1, 5 and 1 minutes"}', 'puts into another queue'), (9, '{"transferred a/chat of customer 1, 5 and 1 minutes"}', 'or into none'), (10, '{}', 'what it gives to an agent is told by his assignment'),
	(11, '{"cancelled a/chat of customer 1, 5 and 1 minutes"}', 'what it deletes'), (13, '{}', 'and what stays in its queue has not left it')) AS t (n, what, says);
SELECT is((SELECT queued_at FROM assignment WHERE request_id = 10), now() - interval '1 minute', 'with the time that was waited');

-- when it was, not when it is seen
UPDATE request SET state = 'cancelled' WHERE request_id = 14;
UPDATE waiting SET queued_at = now() - interval '10 minutes' WHERE request_id = 14;
SET LOCAL session_replication_role = replica;
UPDATE request SET state_since = now() - interval '3 minutes', closed_at = now() - interval '3 minutes' WHERE request_id = 14;
SET LOCAL session_replication_role = origin;
SELECT set_presence(1, 'available') \g /dev/null
SELECT is((SELECT happened_at FROM waiting_history WHERE request_id = 14), now() - interval '3 minutes', 'a freed agent comes upon what was closed, and it left when it was');
SELECT set_presence(1, 'offline') \g /dev/null

-- to other queues
UPDATE queue SET overflow_queue = 'b', overflow_after = '50 seconds' WHERE queue = 'a';
UPDATE waiting SET queued_at = now() WHERE request_id <> 15;
SELECT tick_queues() \g /dev/null
SELECT pg_temp.told_is(15, '{"overflowed a/chat of customer 1, 5 and 1 minutes"}', 'what overflows');
UPDATE queue SET overflow_queue = NULL, overflow_after = NULL WHERE queue = 'a';
SELECT transfer_request(16, queue => 'b'), transfer_request(17, queue => 'a', requires => 'billing'), request_callback(18, 'phone') \g /dev/null
SELECT pg_temp.told_is(16, '{"transferred a/chat of customer 1, 5 and 0 minutes"}', 'what is transferred');
SELECT pg_temp.told_is(17, '{}', 'not where it stays in its queue');
SELECT pg_temp.told_is(18, '{}', 'nor where it is to be called back');

-- what an assignment tells
SELECT set_presence(2, 'available') \g /dev/null
SELECT transfer_request(19, agent_id => 2), transfer_request(20, queue => 'b', agent_id => 2) \g /dev/null
SELECT pg_temp.told_is(19, '{}', 'who is given to a colleague has an assignment');
SELECT pg_temp.told_is(20, '{"transferred a/chat of customer 1, 5 and 0 minutes"}', 'after he has left a queue');
SELECT abandon_request(19) \g /dev/null
SELECT is((SELECT array_agg(outcome) FROM assignment_history WHERE request_id = 19 AND agent_id = 2), '{abandoned}', 'who gives up while he is offered is told by it');
SELECT pg_temp.told_is(19, '{}', 'only');
SELECT transfer_request(n, agent_id => 2) FROM generate_series(23, 27) AS n \g /dev/null
SELECT accept_request(26, 2), complete_request(23, 'resolved'), complete_request(24, 'spam') \g /dev/null
UPDATE request SET state = 'done' WHERE request_id IN (25, 26);
DELETE FROM request WHERE request_id = 27;
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
SELECT tick_queues() \g /dev/null
SELECT is((SELECT array_agg(outcome ORDER BY request_id) FROM assignment_history WHERE agent_id = 2 AND request_id BETWEEN 23 AND 27), '{done_elsewhere,cancelled,done_elsewhere,finished,cancelled}', 'what becomes of the request tells it of offers too, not of what was accepted');
SELECT is((SELECT count(*) FROM assignment_history WHERE agent_id = 2 AND queued_at IS DISTINCT FROM now()), 0::bigint, 'with the time of that queue');
SELECT is((SELECT sum(entered - answered - abandoned - done_elsewhere - cancelled - overflowed - passed_on - still_waiting - still_offered) FROM report_queue_day), 0::numeric, 'the report counts each stay once');
SELECT is((SELECT row(sum(abandoned_unoffered), sum(done_elsewhere), sum(cancelled), sum(overflowed))::text FROM report_queue_day WHERE queue = 'a'), '(4,5,6,1)', 'those who gave up before an offer, those who were answered elsewhere, what was thrown away, and what overflowed');
SELECT is((SELECT row(sum(abandoned), sum(done_elsewhere), sum(cancelled), sum(offered - accepted - declined - expired - abandoned - done_elsewhere - cancelled - passed_on - still_offered))::text FROM report_agent_day), '(1,2,2,0)', 'and of their offers');

-- A plain statement may tell of a time before the last offer, or put into another queue what is offered or waits elsewhere.
CREATE FUNCTION pg_temp.stays(id bigint) RETURNS text[] LANGUAGE sql AS $$
	SELECT array_agg(concat_ws(' ', s.queue, s.outcome, s.offered, CASE WHEN s.until < s.since THEN 'ends before it begins' END, CASE WHEN s.since < s.before THEN 'begins before the last ended' END) ORDER BY s.since, s.until)
	FROM (SELECT *, lag(until) OVER (ORDER BY since, until) AS before FROM omnichannel.queue_stay WHERE request_id = id) AS s $$;
UPDATE agent SET capacity = 1000, active = true;
INSERT INTO queue (queue, hold_for_owner) VALUES ('c', '0'), ('d', '0');
INSERT INTO agent (agent_id, name, capacity) VALUES (3, 'Cy', 1000);
INSERT INTO agent_channel (agent_id, channel) VALUES (3, 'chat'), (3, 'phone');
INSERT INTO queue_member (queue, agent_id) VALUES ('c', 3), ('d', 3);
SELECT set_presence(3, 'available') \g /dev/null
INSERT INTO request (request_id, customer_id, kind, channel, queue) SELECT n, 1, 'question', 'chat', 'c' FROM generate_series(41, 46) AS n;
SELECT route(n) FROM generate_series(41, 42) AS n \g /dev/null
SELECT set_presence(3, 'busy') FROM decline_request(41, 3) \g /dev/null
UPDATE request SET state = 'cancelled', closed_at = now() WHERE request_id = 41;
UPDATE request SET queue = 'd' WHERE request_id = 42;
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
SELECT tick_queues() \g /dev/null
SELECT is(pg_temp.stays(41), '{c cancelled 1}', 'what was closed as of before its offer had one stay, which is over');
SELECT is(pg_temp.stays(42), '{c passed_on 1,d waiting 0}', 'what was offered comes into the other queue when the offer has come to nothing');
UPDATE waiting SET entered_at = now() - interval '5 minutes', queued_at = now() - interval '1 minute' WHERE request_id = 42;
SELECT route(n) FROM generate_series(43, 46) AS n \g /dev/null
UPDATE waiting SET entered_at = now() - interval '5 minutes', queued_at = now() - interval '1 minute' WHERE request_id BETWEEN 43 AND 46;
UPDATE request SET queue = 'd' WHERE request_id BETWEEN 43 AND 45;
UPDATE request SET state = 'assigned', agent_id = 3 WHERE request_id = 45;
SELECT transfer_request(43, 'd'), request_callback(44, 'phone') \g /dev/null
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
SELECT tick_queues() \g /dev/null
SELECT is(pg_temp.stays(n), CASE n WHEN 45 THEN '{c passed_on 0,d answered 1}' ELSE '{c passed_on 0,d waiting 0}' END::text[], 'what a plain statement put into another queue has left its own ' || says)
FROM (VALUES (43, 'when it is transferred there'), (44, 'when its customer is to be called back'), (45, 'when it is given to an agent')) AS t (n, says);
SELECT is((SELECT array_agg(w.queued_at ORDER BY w.request_id) FROM waiting AS w WHERE w.request_id IN (43, 44)), ARRAY[now(), now()], 'and waits in the other one from then');
SET LOCAL session_replication_role = replica;
DELETE FROM waiting WHERE request_id = 42;
DELETE FROM waiting_history WHERE request_id = 42;
DELETE FROM assignment_history WHERE request_id = 42 AND outcome <> 'expired';
SELECT is(pg_temp.stays(42), '{c waiting 1}', 'what is to have a place with the next sweep waits');
UPDATE request SET state = 'done', closed_at = now() WHERE request_id = 42;
SELECT is(pg_temp.stays(42), '{c cancelled 1}', 'and what has none does not wait for ever');
SET LOCAL session_replication_role = origin;

-- What waits in a queue that is deleted has left it, and waits in its new one from when that is seen.
INSERT INTO request (request_id, customer_id, kind, channel, queue) SELECT n, 1, 'question', 'chat', 'gone' FROM generate_series(51, 53) AS n;
SELECT set_presence(1, 'offline') \g /dev/null
SELECT route(n) FROM generate_series(51, 53) AS n \g /dev/null
UPDATE waiting SET entered_at = now() - interval '5 minutes', queued_at = now() - interval '1 minute' WHERE request_id BETWEEN 51 AND 53;
UPDATE request SET queue = 'c' WHERE queue = 'gone';
UPDATE request SET state = 'done' WHERE request_id = 52;
DELETE FROM request WHERE request_id = 53;
DELETE FROM queue WHERE queue = 'gone';
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
SELECT tick_queues() \g /dev/null
SELECT pg_temp.told_is(n, ARRAY[became || ' gone/chat of customer 1, 5 and 1 minutes'], 'a queue that is deleted: what is in another one now was ' || became)
FROM (VALUES (51, 'transferred'), (52, 'done_elsewhere'), (53, 'cancelled')) AS t (n, became);
SELECT is((SELECT array_agg(row(w.entered_at, w.queued_at)::text) FROM waiting AS w WHERE w.request_id BETWEEN 51 AND 53), ARRAY[row(now() - interval '5 minutes', now())::text], 'and waits there from now, with its age');

-- Nobody writes it by hand, and all who route do.
CREATE ROLE queue_app;
SELECT grant_access('queue_app', 'app') \g /dev/null
SET LOCAL ROLE queue_app;
SELECT throws_ok($$INSERT INTO omnichannel.waiting_history (request_id, customer_id, queue, channel, entered_at, queued_at, happened_at, event) VALUES (1, 1, 'a', 'chat', now(), now(), now(), 'abandoned')$$,
	'42501', NULL, 'an application cannot write it');
SELECT lives_ok('SELECT omnichannel.abandon_request(13)', 'but what it calls does');
RESET ROLE;
SELECT pg_temp.told_is(13, '{"abandoned a/chat of customer 1, 5 and 0 minutes"}', 'as is right');
SELECT * FROM finish();
ROLLBACK;
