-- Who has a request by name has not refused it any more: agent 1 declined it, was given it by a colleague or by a plain
-- statement, and deals with it; or he is offered it and the customer changes the channel twice.
BEGIN;
SELECT plan(10);
\ir queue_given.psql

CREATE FUNCTION pg_temp.declined_by_1() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	asked bigint := omnichannel.open_request(8, 'question', 'chat', 'q', agent_id => NULL);
BEGIN
	PERFORM omnichannel.set_presence(1, 'available'), omnichannel.route(asked);
	PERFORM omnichannel.decline_request(asked, 1), omnichannel.set_presence(2, 'available');
	PERFORM omnichannel.accept_request(asked, 2);
	RETURN asked;
END
$$;
SELECT pg_temp.declined_by_1() AS r \gset
SELECT is((SELECT reason FROM explain_match(:r) WHERE agent_id = 1), 'declined it, let the offer expire or passed it on', 'who declined is not asked again');
SELECT is(transfer_request(:r, agent_id => 1), 1::bigint, 'but by a colleague');
SELECT accept_request(:r, 1), release_request(:r) \g /dev/null
SELECT is((SELECT string_agg(agent_id || ' ' || verdict, ', ' ORDER BY agent_id) FROM explain_match(:r) WHERE agent_id < 3), '1 best, 2 declined', 'and is the one for what he has dealt with');
SELECT is(route(:r), 1::bigint, 'who gets it when the customer answers');
SELECT release_request(:r, 'done'), set_presence(1, 'offline'), set_presence(2, 'offline') \g /dev/null
SELECT pg_temp.declined_by_1() AS r \gset
UPDATE request SET agent_id = 1 WHERE request_id = :r;
SELECT tick_queues() \g /dev/null
SELECT release_request(:r) \g /dev/null
SELECT is((SELECT verdict FROM explain_match(:r) WHERE agent_id = 1), 'best', 'as by a plain statement');
SELECT release_request(:r, 'done'), set_presence(1, 'offline'), set_presence(2, 'offline') \g /dev/null
SELECT pg_temp.declined_by_1() AS r \gset
SELECT transfer_request(:r, agent_id => 1), continue_request(:r, 'phone'), tick_queues(), continue_request(:r, 'chat') \g /dev/null
SELECT is((SELECT verdict FROM explain_match(:r) WHERE agent_id = 1), 'best', 'and where the offer was made anew');
SELECT release_request(:r, 'done'), set_presence(1, 'offline'), set_presence(2, 'offline') \g /dev/null

-- a colleague who cannot take it: why not is said, and it stays with who has it
CREATE FUNCTION pg_temp.why_not(request bigint, colleague bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	why text;
BEGIN
	PERFORM omnichannel.transfer_request(request, agent_id => colleague);
	RETURN 'he can';
EXCEPTION WHEN object_not_in_prerequisite_state THEN
	GET STACKED DIAGNOSTICS why = PG_EXCEPTION_DETAIL;
	RETURN why;
END
$$;
SELECT set_presence(2, 'available'), open_request(9, 'question', 'phone', 'q') AS r \gset
SELECT route(:r), accept_request(:r, 2) \gset
SELECT is(pg_temp.why_not(:r, 3), 'The agent does not work in channel phone.', 'not in its channel');
INSERT INTO agent_channel (agent_id, channel, fluency) VALUES (3, 'phone', 5);
SELECT is(pg_temp.why_not(:r, 3), 'The agent is not available or has no room.', 'not there');
SELECT set_presence(3, 'available') \g /dev/null
UPDATE agent SET active = false WHERE agent_id = 3;
SELECT is(pg_temp.why_not(:r, 3), 'The agent is inactive.', 'not at work any more');
SELECT results_eq(format('SELECT agent_id, accepted_at IS NULL FROM assignment WHERE request_id = %s', :r), 'VALUES (2::bigint, false)', 'whoever has it keeps it');

SELECT * FROM finish();
ROLLBACK;
