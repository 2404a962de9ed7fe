-- To whom a waiting request goes first: what a free agent is given is what the matching says, by rows and by statements.
BEGIN;
SELECT plan(63);
SET LOCAL client_min_messages = error;
SET LOCAL search_path = omnichannel, public, pg_catalog;

INSERT INTO queue (queue, hold_for_owner, prefer_for, offer_for, decline_for) VALUES ('q', '1 hour', '1 hour', '10 minutes', '2 hours'), ('plain', '1 hour', '0', '10 minutes', '2 hours');
INSERT INTO agent (agent_id, name, skills, capacity) VALUES (1, 'Anna', '', 6), (2, 'Bo', 'x:5', 6), (3, 'Cy', '', 6);
INSERT INTO agent_channel (agent_id, channel) SELECT n, channel FROM generate_series(1, 3) AS n, unnest('{chat,phone}'::text[]) AS channel;
INSERT INTO queue_member (queue, agent_id) SELECT queue, n FROM queue, generate_series(1, 2) AS n;
INSERT INTO customer (customer_id) SELECT generate_series(1, 20);
SELECT setval('request_request_id_seq', 1000);
SET CONSTRAINTS ALL IMMEDIATE;

-- Runs all of it, undoes it, and returns what was answered.
CREATE FUNCTION pg_temp.declined() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	busy bigint;
	asked bigint;
	said text;
BEGIN
	INSERT INTO omnichannel.relationship (customer_id, agent_id, contacts, strength) VALUES (1, 1, 5, 5), (2, 2, 5, 5);
	PERFORM omnichannel.set_presence(1, 'available'), omnichannel.set_presence(2, 'available');
	busy := omnichannel.open_request(2, 'question', 'phone', 'plain');
	PERFORM omnichannel.route(busy), omnichannel.accept_request(busy, 2);
	asked := omnichannel.open_request(1, 'question', 'chat', 'plain');
	said := concat_ws(' ', omnichannel.route(asked), 'declines', coalesce(omnichannel.decline_request(asked, 1), 0));
	said := concat_ws(' ', said, 'freed', omnichannel.release_request(busy, 'done') = asked);
	said := concat_ws(' ', said, (SELECT string_agg(agent_id::text, ' ') FROM omnichannel.assignment WHERE request_id = asked));
	RAISE EXCEPTION USING ERRCODE = 'RT000';
EXCEPTION WHEN SQLSTATE 'RT000' THEN
	RETURN said;
END
$$;
CREATE FUNCTION pg_temp.preferred() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	busy bigint;
	asked bigint;
	said text;
BEGIN
	INSERT INTO omnichannel.relationship (customer_id, agent_id, contacts, strength) VALUES (1, 1, 5, 5), (2, 1, 5, 5);
	PERFORM omnichannel.set_presence(1, 'available');
	busy := omnichannel.open_request(2, 'question', 'phone', 'q');
	PERFORM omnichannel.route(busy), omnichannel.accept_request(busy, 1);
	asked := omnichannel.open_request(1, 'question', 'chat', 'q', prefers => 'x:1');
	said := concat_ws(' ', coalesce(omnichannel.route(asked), 0), 'freed', omnichannel.release_request(busy, 'done') = asked);
	PERFORM omnichannel.open_request(3, 'question', 'chat', 'q', prefers => 'x:1');
	PERFORM omnichannel.tick_queues();
	said := concat_ws(' ', said, 'a stranger', omnichannel.claim(1));
	RAISE EXCEPTION USING ERRCODE = 'RT000';
EXCEPTION WHEN SQLSTATE 'RT000' THEN
	RETURN said;
END
$$;
CREATE FUNCTION pg_temp.later() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	phone bigint;
	chat bigint;
	said text;
BEGIN
	phone := omnichannel.open_request(1, 'question', 'phone', 'plain');
	chat := omnichannel.open_request(1, 'question', 'chat', 'plain');
	PERFORM omnichannel.route(phone), omnichannel.route(chat);
	said := concat_ws(' ', omnichannel.set_presence(1, 'available') = phone, 'then', coalesce(omnichannel.set_presence(2, 'available'), 0));
	PERFORM omnichannel.accept_request(phone, 1);
	said := concat_ws(' ', said, coalesce(omnichannel.claim(2), 0), omnichannel.tick_queues(), 'then', omnichannel.release_request(phone, 'done') = chat);
	said := concat_ws(' ', said, (SELECT agent_id FROM omnichannel.assignment WHERE request_id = chat));
	RAISE EXCEPTION USING ERRCODE = 'RT000';
EXCEPTION WHEN SQLSTATE 'RT000' THEN
	RETURN said;
END
$$;
-- Owners who are held for, and are not any more: gone, refused long ago, out of the queue.
CREATE FUNCTION pg_temp.held(change text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	busy bigint;
	asked bigint;
	said text;
BEGIN
	busy := omnichannel.open_request(2, 'question', 'phone', 'plain');
	asked := omnichannel.open_request(1, 'question', 'chat', 'plain');
	INSERT INTO omnichannel.relationship (customer_id, agent_id, contacts, strength) VALUES (1, 1, 5, 5), (2, 1, 5, 5);
	PERFORM omnichannel.set_presence(1, 'available');
	PERFORM omnichannel.route(busy), omnichannel.accept_request(busy, 1), omnichannel.route(asked);
	said := coalesce(omnichannel.set_presence(2, 'available'), 0);
	EXECUTE change;
	said := concat_ws(' ', said, 'then', coalesce(omnichannel.claim(2) = asked, false));
	RAISE EXCEPTION USING ERRCODE = 'RT000';
EXCEPTION WHEN SQLSTATE 'RT000' THEN
	RETURN said;
END
$$;

-- Who says what about a request of customer 1 in queue plain, after this was done.
CREATE FUNCTION pg_temp.judged(sql text, channel text DEFAULT 'chat') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	asked bigint;
	said text;
BEGIN
	PERFORM omnichannel.set_presence(1, 'available'), omnichannel.set_presence(2, 'available');
	INSERT INTO omnichannel.relationship (customer_id, agent_id, contacts, strength) VALUES (1, 2, 5, 5);
	EXECUTE sql;
	asked := omnichannel.open_request(1, 'question', channel, 'plain');
	SELECT string_agg(agent_id || ' ' || verdict, ', ' ORDER BY agent_id) INTO said FROM omnichannel.explain_match(asked) WHERE agent_id < 3;
	said := concat_ws(', ', said, coalesce(omnichannel.route(asked), 0));
	RAISE EXCEPTION USING ERRCODE = 'RT000';
EXCEPTION WHEN SQLSTATE 'RT000' THEN
	RETURN said;
END
$$;

-- Who keeps his room for a call of customer 1, whose owner is agent 1, and to whom the first e-mail of all goes then. The
-- owner lacks 4 for the call, the other one 2; chats come before it and are in nobody's way until they are changed.
CREATE FUNCTION pg_temp.kept(hold interval, change text DEFAULT 'SELECT') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	asked bigint;
	said text;
BEGIN
	UPDATE omnichannel.queue SET keep_room_after = '1 minute', hold_for_owner = hold, age_after = NULL WHERE queue = 'plain';
	INSERT INTO omnichannel.agent_channel (agent_id, channel) VALUES (1, 'email'), (2, 'email');
	INSERT INTO omnichannel.relationship (customer_id, agent_id, contacts, strength) VALUES (1, 1, 5, 5);
	PERFORM omnichannel.set_presence(1, 'busy'), omnichannel.set_presence(2, 'busy');
	PERFORM omnichannel.route(omnichannel.open_request(1, 'call', 'phone', 'plain'));
	EXECUTE change;
	UPDATE omnichannel.waiting SET queued_at = now() - interval '30 minutes', entered_at = now() - interval '30 minutes';
	DELETE FROM omnichannel.lane_head;
	UPDATE omnichannel.agent_state SET state = 'available', used = CASE agent_id WHEN 1 THEN 4 ELSE 2 END;
	asked := omnichannel.open_request(3, 'question', 'email', 'plain');
	SELECT string_agg(agent_id || ' ' || verdict, ', ' ORDER BY agent_id) INTO said FROM omnichannel.explain_match(asked) WHERE agent_id < 3;
	said := concat_ws(', ', said, (SELECT string_agg(agent_id::text, ' ') FROM omnichannel.match_agents(asked)), omnichannel.route(asked));
	RAISE EXCEPTION USING ERRCODE = 'RT000';
EXCEPTION WHEN SQLSTATE 'RT000' THEN
	RETURN said;
END
$$;

-- An e-mail of customer 1, whose owner has room for it but keeps it for a call: it is held for him, whoever asks, for as
-- long as the queue says.
CREATE FUNCTION pg_temp.owner_keeps() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	asked bigint;
	said text;
BEGIN
	UPDATE omnichannel.queue SET keep_room_after = '0' WHERE queue = 'plain';
	INSERT INTO omnichannel.agent_channel (agent_id, channel) VALUES (1, 'email'), (2, 'email');
	PERFORM omnichannel.set_presence(1, 'available');
	asked := omnichannel.open_request(1, 'question', 'chat', 'plain');
	PERFORM omnichannel.accept_request(asked, omnichannel.route(asked)), omnichannel.route(omnichannel.open_request(1, 'call', 'phone', 'plain'));
	UPDATE omnichannel.waiting SET queued_at = now() - interval '1 minute';
	asked := omnichannel.open_request(1, 'question', 'email', 'plain');
	PERFORM omnichannel.route(asked);
	said := concat_ws(' ', 'offered', coalesce(omnichannel.set_presence(2, 'available'), 0), 'swept', omnichannel.tick_queues(), 'claimed', coalesce(omnichannel.claim(2), 0));
	said := concat_ws(' ', said, 'matched',
		(SELECT count(*) FROM omnichannel.match_agents(asked)), (SELECT string_agg(agent_id || ' ' || verdict, ' ' ORDER BY agent_id) FROM omnichannel.explain_match(asked) WHERE agent_id < 3),
		'routed', coalesce(omnichannel.route(asked), 0));
	UPDATE omnichannel.waiting SET queued_at = now() - interval '2 hours' WHERE request_id = asked;
	said := concat_ws(' ', said, 'then matched', (SELECT string_agg(agent_id::text, ' ') FROM omnichannel.match_agents(asked)),
		(SELECT string_agg(agent_id || ' ' || verdict, ' ' ORDER BY agent_id) FROM omnichannel.explain_match(asked) WHERE agent_id < 3), 'claimed', omnichannel.claim(2) = asked);
	RAISE EXCEPTION USING ERRCODE = 'RT000';
EXCEPTION WHEN SQLSTATE 'RT000' THEN
	RETURN said;
END
$$;

CREATE FUNCTION pg_temp.all_of(how text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN NEXT is(pg_temp.declined(), '1 declines 0 freed t 2', how || ': what its owner declined goes to whoever is freed');
	RETURN NEXT is(pg_temp.preferred(), '0 freed t a stranger', how || ': what is held for an owner is his without the preferred skills, and nothing else');
	-- A request of the customer's that waits, held for agent 1, who has no room; and one in another queue, with agent 3.
	RETURN NEXT is(pg_temp.judged($x$UPDATE omnichannel.agent_state SET used = 6 WHERE agent_id = 1;
		INSERT INTO omnichannel.request (customer_id, kind, state, channel, queue, agent_id) VALUES (1, 'question', 'waiting_agent', 'chat', 'plain', 1)$x$),
		'1 no_room, 2 held_for_owner, 0', how || ': the owner of a request that waits again is the owner of the next one');
	RETURN NEXT is(pg_temp.judged($x$INSERT INTO omnichannel.request (customer_id, kind, state, channel, agent_id, opened_at) VALUES
		(1, 'question', 'waiting_customer', 'chat', 1, now() - interval '2 days'), (1, 'question', 'waiting_customer', 'chat', 3, now() - interval '1 day')$x$),
		'1 best, 2 lower_score, 1', how || ': an agent of another queue is no owner in the way of one who is');
	RETURN NEXT is(pg_temp.judged($x$INSERT INTO omnichannel.request (customer_id, kind, state, channel, agent_id) VALUES (1, 'question', 'waiting_customer', 'chat', 3)$x$),
		'1 lower_score, 2 best, 2', how || ': nor in the way of who knows the customer');
	RETURN NEXT is(pg_temp.judged($x$UPDATE omnichannel.agent SET capacity = 4 WHERE agent_id = 2$x$, 'phone'), '1 best, 2 no_room, 1', how || ': nobody is waited for who never has room');
	RETURN NEXT is(pg_temp.judged($x$UPDATE omnichannel.queue_member SET join_after = '1 hour' WHERE agent_id = 2$x$), '1 best, 2 later, 1', how || ': nor who helps when the hold is over');
	RETURN NEXT is(pg_temp.later(), 't then 0 0 0 then t 1', how || ': who is offered the customer''s other request is the owner of what waits');
	RETURN NEXT is(pg_temp.held('SELECT 1'), '0 then f', how || ': what waits is held for its owner');
	RETURN NEXT is(pg_temp.held('SELECT omnichannel.set_presence(1, ''offline'')'), '0 then t', how || ': who has gone');
	RETURN NEXT is(pg_temp.held('DELETE FROM omnichannel.queue_member WHERE agent_id = 1'), '0 then t', how || ': who has left the queue');
	RETURN NEXT is(pg_temp.held('UPDATE omnichannel.waiting SET queued_at = now() - interval ''2 hours'''), '0 then t', how || ': for as long as the queue says');
	RETURN NEXT is(pg_temp.held('INSERT INTO omnichannel.relationship (customer_id, agent_id, contacts, strength) VALUES (1, 2, 9, 9)'), '0 then t', how || ': who is not the one any more');
	RETURN NEXT is(pg_temp.held('UPDATE omnichannel.queue SET hold_for_owner = ''0'''), '0 then t', how || ': in a queue that holds nothing any more');
	RETURN NEXT is(pg_temp.owner_keeps(), 'offered 0 swept 0 claimed 0 matched 0 1 keeps_room 2 held_for_owner routed 0 then matched 2 1 keeps_room 2 best claimed t',
		how || ': an owner who keeps his room for another one is waited for by all');
	RETURN NEXT is(pg_temp.kept('1 hour'), '1 keeps_room, 2 best, 2, 2', how || ': for a call that is held for him its owner keeps his room, also from the first of another kind');
	RETURN NEXT is(pg_temp.kept('10 minutes'), '1 best, 2 keeps_room, 1, 1', how || ': and whoever lacks the least when the hold is over');
	RETURN NEXT is(pg_temp.kept('1 hour', 'UPDATE omnichannel.queue SET keep_room_after = NULL'), '1 lower_score, 2 best, 2 1, 2', how || ': nobody where the queue keeps none');
	RETURN NEXT is(pg_temp.kept('10 minutes', 'UPDATE omnichannel.request SET queue = ''q'' WHERE kind = ''call'''), '1 lower_score, 2 best, 2 1, 2', how || ': nor for what has left the queue');
	RETURN NEXT is(pg_temp.kept('10 minutes', 'UPDATE omnichannel.request SET queue = ''q'' WHERE kind = ''call''; SELECT omnichannel.tick_queues(); UPDATE omnichannel.queue SET keep_room_after = ''0'' WHERE queue = ''q'''), '1 keeps_room, 2 best, 2, 2', how || ': until it stands in the other one, if that keeps any');
	RETURN NEXT is(pg_temp.kept('10 minutes', $x$SELECT omnichannel.route(omnichannel.open_request(4, 'chat', 'chat', 'plain', 9)); UPDATE omnichannel.request SET priority = 8 WHERE kind = 'chat'$x$),
		'1 best, 2 keeps_room, 1, 1', how || ': also where what the sweep has yet to see comes before it');
END
$$;
SELECT pg_temp.all_of('by rows');

-- The same where statements are asked for, by all tables and by those of owners only.
CREATE FUNCTION pg_temp.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER mine BEFORE UPDATE ON waiting FOR EACH ROW EXECUTE FUNCTION pg_temp.nothing();
CREATE TRIGGER mine BEFORE UPDATE ON agent_state FOR EACH ROW EXECUTE FUNCTION pg_temp.nothing();
SELECT pg_temp.all_of('by statements');
DROP TRIGGER mine ON waiting;
DROP TRIGGER mine ON agent_state;
CREATE TABLE known () INHERITS (relationship);
SELECT pg_temp.all_of('by both');

SELECT * FROM finish();
ROLLBACK;
