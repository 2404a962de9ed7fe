-- Whose a request is after an offer that came to nothing: who owned it before, by rows and by statements; and what else
-- only whoever looks at an offer later learns of it.
BEGIN;
SELECT plan(28);
\ir queue_given.psql

-- Agent 1 owns a request, by having dealt with it or by name, and has gone; it is offered to 2. Does this with it,
-- undoes all, and returns what was answered, who owns it then, and who gets it when all are there.
CREATE FUNCTION pg_temp.given_back(sql text, named boolean DEFAULT false, channel text DEFAULT 'chat') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	asked bigint;
	said text;
BEGIN
	asked := omnichannel.open_request(1, 'question', channel, 'q');
	IF named THEN
		UPDATE omnichannel.request SET agent_id = 1 WHERE request_id = asked;
	ELSE
		PERFORM omnichannel.set_presence(1, 'available'), omnichannel.route(asked);
		PERFORM omnichannel.accept_request(asked, 1), omnichannel.release_request(asked);
		PERFORM omnichannel.set_presence(1, 'offline');
	END IF;
	PERFORM omnichannel.set_presence(2, 'available');
	said := omnichannel.route(asked);
	EXECUTE sql INTO said USING asked, said;
	said := concat_ws(' ', said, (SELECT concat_ws(' ', state, coalesce(agent_id, 0)) FROM omnichannel.request WHERE request_id = asked));
	IF (SELECT state NOT IN ('waiting_agent', 'offered') FROM omnichannel.request WHERE request_id = asked) THEN
		RAISE EXCEPTION USING ERRCODE = 'RT000';
	END IF;
	PERFORM omnichannel.tick_queues();
	UPDATE omnichannel.request SET queue = NULL WHERE request_id = asked;
	PERFORM omnichannel.tick_queues();
	PERFORM omnichannel.set_presence(1, 'available'), omnichannel.set_presence(2, 'available'), omnichannel.set_presence(3, 'available');
	UPDATE omnichannel.request SET queue = 'q' WHERE request_id = asked;
	said := concat_ws(' ', said, coalesce((SELECT 'best ' || agent_id FROM omnichannel.explain_match(asked) WHERE verdict = 'best'), '-'));
	PERFORM omnichannel.tick_queues();
	said := concat_ws(' ', said, 'then', (SELECT agent_id FROM omnichannel.assignment WHERE request_id = asked));
	RAISE EXCEPTION USING ERRCODE = 'RT000';
EXCEPTION WHEN SQLSTATE 'RT000' THEN
	RETURN said;
END
$$;

CREATE FUNCTION pg_temp.all_of(how text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN NEXT is(pg_temp.given_back('SELECT concat_ws('' '', $2, coalesce(omnichannel.decline_request($1, 2), 0))'), '2 0 waiting_agent 1 best 1 then 1', how || ': what another declines is its owner''s still');
	RETURN NEXT is(pg_temp.given_back('SELECT concat_ws('' '', $2, coalesce(omnichannel.decline_request($1, 2), 0))', true), '2 0 waiting_agent 1 best 1 then 1', how || ': also of one that names him');
	RETURN NEXT is(pg_temp.given_back('SELECT concat_ws('' '', $2, coalesce(omnichannel.set_presence(2, ''break''), 0))'), '2 0 waiting_agent 1 best 1 then 1', how || ': what is taken back from another who leaves');
	RETURN NEXT is(pg_temp.given_back('WITH late AS (UPDATE omnichannel.assignment SET expires_at = now() RETURNING 1) SELECT $2 FROM late'), '2 offered 2 best 1 then 1', how || ': what he lets expire');
	RETURN NEXT is(pg_temp.given_back('SELECT concat_ws('' '', $2, coalesce(omnichannel.release_request($1, ''cancelled''), 0))'), '2 0 cancelled 1', how || ': what is cancelled before he accepts');
	RETURN NEXT is(pg_temp.given_back('SELECT concat_ws('' '', $2, omnichannel.abandon_request($1)::text)'), '2  waiting_customer 1', how || ': what the customer gives up');
	RETURN NEXT is(pg_temp.given_back('SELECT concat_ws('' '', coalesce(omnichannel.decline_request($1, 2), 0), omnichannel.set_presence(3, ''available'') = $1, coalesce(omnichannel.decline_request($1, 3), 0))'),
		'0 t 0 waiting_agent 1 best 1 then 1', how || ': also after the second');
	RETURN NEXT is(pg_temp.given_back('SELECT $2 FROM omnichannel.accept_request($1, 2)'), '2 assigned 2', how || ': who accepts owns it');
	RETURN NEXT is(pg_temp.given_back('SELECT concat_ws('' '', omnichannel.accept_request($1, 2)::text, coalesce(omnichannel.release_request($1), 0))'), ' 0 waiting_customer 2', how || ': and owns it when he has dealt with it');
	RETURN NEXT is(pg_temp.given_back('SELECT concat_ws('' '', $2, coalesce(omnichannel.transfer_request($1, ''q''), 0))'), '2 0 waiting_agent 0 best 3 then 3', how || ': what is passed on is nobody''s');
END
$$;
SELECT pg_temp.all_of('by rows');
CREATE FUNCTION pg_temp.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER mine BEFORE UPDATE ON waiting FOR EACH ROW EXECUTE FUNCTION pg_temp.nothing();
CREATE TRIGGER mine BEFORE UPDATE ON agent_state FOR EACH ROW EXECUTE FUNCTION pg_temp.nothing();
SELECT pg_temp.all_of('by statements');
DROP TRIGGER mine ON waiting;
DROP TRIGGER mine ON agent_state;

-- The customer calls about what agent 1 has dealt with in the chat, nobody answers, and he comes back in the chat.
SELECT set_presence(1, 'available') \g /dev/null
SELECT open_request(1, 'question', 'chat', 'q') AS r \gset
SELECT route(:r), accept_request(:r, 1), release_request(:r), set_presence(2, 'available') \g /dev/null
SELECT continue_request(:r, 'phone'), route(:r) \g /dev/null
SELECT is((SELECT agent_id FROM assignment WHERE request_id = :r), 2::bigint, 'who does not work in the other channel is not asked');
SELECT is(next_offer(2), :r::bigint, 'an offer is handed out');
SELECT continue_request(:r, 'chat') \g /dev/null
SELECT is(next_offer(2), NULL, 'but not when its customer is in another channel by now');
SELECT tick_queues() \g /dev/null
SELECT is((SELECT agent_id FROM assignment WHERE request_id = :r), 1::bigint, 'and its owner gets it again in his');
SELECT accept_request(:r, 1), release_request(:r, 'done'), set_presence(1, 'offline'), set_presence(2, 'offline') \g /dev/null

-- Agent 1 keeps his room for a call.
UPDATE queue SET hold_for_owner = '0', keep_room_after = '0', weight_idle = 0, weight_load = 100;
INSERT INTO agent_channel (agent_id, channel, fluency) VALUES (1, 'phone', 5);
DELETE FROM agent_channel WHERE agent_id = 2 AND channel = 'phone';
SELECT set_presence(1, 'available') \g /dev/null
SELECT open_request(2, 'question', 'chat', 'q') AS r \gset
SELECT route(:r), accept_request(:r, 1), set_presence(1, 'busy'), set_presence(2, 'available') \g /dev/null
SELECT route(open_request(3, 'question', 'chat', 'q')), route(open_request(4, 'question', 'chat', 'q')) \g /dev/null
SELECT set_presence(1, 'available'), route(open_request(5, 'question', 'phone', 'q')) \g /dev/null
UPDATE waiting SET entered_at = now() - interval '1 minute', queued_at = now() - interval '1 minute';
SELECT open_request(6, 'question', 'chat', 'q') AS r \gset
SELECT results_eq(format('SELECT agent_id, verdict FROM explain_match(%s) WHERE agent_id < 3', :r), $$VALUES (1::bigint, 'keeps_room'), (2, 'best')$$, 'the first keeps his room');
SELECT is((SELECT string_agg(agent_id::text, ' ') FROM match_agents(:r, 1)) || ' ' || route(:r), '2 2', 'so that the one agent who is asked for is the second');

INSERT INTO queue (queue) VALUES ('empty');
SELECT open_request(7, 'question', 'chat', 'empty') AS r \gset
SELECT throws_ok(format('SELECT request_callback(%s, ''phone'')', :r), '55000', 'queue "empty" has no members', 'nobody is called back in a queue without members');
SELECT is((SELECT concat_ws(' ', state, current_channel) FROM request WHERE request_id = :r), 'waiting_agent', 'and the request is as it was');

SELECT * FROM finish();
ROLLBACK;
