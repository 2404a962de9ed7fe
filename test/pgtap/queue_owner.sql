-- To whom a waiting request goes first: what a free agent is given is what the matching says, by rows and by statements.
BEGIN;
SELECT plan(27);
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

CREATE FUNCTION pg_temp.all_of(how text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN NEXT is(pg_temp.declined(), '1 declines 0 freed t 2', how || ': what its owner declined goes to whoever is freed');
	RETURN NEXT is(pg_temp.preferred(), '0 freed t a stranger', how || ': what is held for an owner is his without the preferred skills, and nothing else');
	RETURN NEXT is(pg_temp.later(), 't then 0 0 0 then t 1', how || ': who is offered the customer''s other request is the owner of what waits');
	RETURN NEXT is(pg_temp.held('SELECT 1'), '0 then f', how || ': what waits is held for its owner');
	RETURN NEXT is(pg_temp.held('SELECT omnichannel.set_presence(1, ''offline'')'), '0 then t', how || ': who has gone');
	RETURN NEXT is(pg_temp.held('DELETE FROM omnichannel.queue_member WHERE agent_id = 1'), '0 then t', how || ': who has left the queue');
	RETURN NEXT is(pg_temp.held('UPDATE omnichannel.waiting SET queued_at = now() - interval ''2 hours'''), '0 then t', how || ': for as long as the queue says');
	RETURN NEXT is(pg_temp.held('INSERT INTO omnichannel.relationship (customer_id, agent_id, contacts, strength) VALUES (1, 2, 9, 9)'), '0 then t', how || ': who is not the one any more');
	RETURN NEXT is(pg_temp.held('UPDATE omnichannel.queue SET hold_for_owner = ''0'''), '0 then t', how || ': in a queue that holds nothing any more');
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
