-- Who has a request by name has not refused it any more: agent 1 declined it, was given it by a colleague or by a plain
-- statement, and deals with it; or he is offered it and the customer changes the channel twice.
BEGIN;
SELECT plan(6);
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

SELECT * FROM finish();
ROLLBACK;
