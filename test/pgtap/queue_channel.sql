-- A customer who comes back through another channel waits in that one: by rows and by statements.
BEGIN;
SELECT plan(35);
SET LOCAL client_min_messages = error;
SET LOCAL search_path = omnichannel, public, pg_catalog;

INSERT INTO queue (queue, hold_for_owner, prefer_for, offer_for, decline_for) VALUES ('q', '1 hour', '0', '10 minutes', '2 hours');
INSERT INTO agent (agent_id, name, capacity) VALUES (1, 'Anna', 6), (2, 'Bo', 6);
INSERT INTO agent_channel (agent_id, channel, fluency) VALUES (1, 'chat', 5), (2, 'chat', 5), (2, 'phone', 5);
INSERT INTO queue_member (queue, agent_id) VALUES ('q', 1), ('q', 2);
INSERT INTO customer (customer_id) SELECT generate_series(1, 20);
INSERT INTO sla_policy (policy, metric, channel, target) VALUES ('chats', 'resolution', 'chat', '1 hour'), ('calls', 'resolution', 'phone', '2 hours');
SET CONSTRAINTS ALL IMMEDIATE;

-- Where a request stands: state, agent, channel of its lane, cost.
CREATE FUNCTION pg_temp.stands(request_id bigint) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', q.state, coalesce(a.agent_id, q.agent_id), l.channel, a.cost)
	FROM omnichannel.request AS q LEFT JOIN omnichannel.waiting AS w USING (request_id)
	LEFT JOIN omnichannel.assignment AS a USING (request_id) LEFT JOIN omnichannel.lane AS l ON l.lane_id = coalesce(w.lane_id, a.lane_id)
	WHERE q.request_id = stands.request_id
$$;
CREATE FUNCTION pg_temp.loads_are_right() RETURNS boolean LANGUAGE sql AS $$
	SELECT bool_and(s.used = (SELECT coalesce(sum(a.cost), 0) FROM omnichannel.assignment AS a WHERE a.agent_id = s.agent_id))
	FROM omnichannel.agent_state AS s
$$;

-- Customer 1 chats with agent 1, who knows him; then these statements run, of which %1$s is the request, and this is the answer.
CREATE FUNCTION pg_temp.after(state text, statements text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	asked bigint;
	said text;
BEGIN
	INSERT INTO omnichannel.relationship (customer_id, agent_id, contacts, strength) VALUES (1, 1, 5, 5);
	PERFORM omnichannel.set_presence(1, 'available'), omnichannel.set_presence(2, 'available');
	asked := omnichannel.open_request(1, 'question', 'chat', 'q');
	IF state <> 'waiting' THEN
		PERFORM omnichannel.route(asked);
	END IF;
	IF state IN ('assigned', 'released') THEN
		PERFORM omnichannel.accept_request(asked, 1);
	END IF;
	IF state = 'released' THEN
		PERFORM omnichannel.release_request(asked);
	END IF;
	EXECUTE format(statements, asked);
	said := pg_temp.stands(asked) || CASE WHEN pg_temp.loads_are_right() THEN '' ELSE ' and the loads are wrong' END;
	RAISE EXCEPTION USING ERRCODE = 'RT000';
EXCEPTION WHEN SQLSTATE 'RT000' THEN
	RETURN said;
END
$$;

CREATE FUNCTION pg_temp.all_of(how text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN NEXT is(pg_temp.after('released', $x$SELECT omnichannel.log_contact('phone', customer_id => 1); SELECT omnichannel.route(%1$s)$x$),
		'offered 2 phone 6', how || ': who calls back gets an agent who works on the phone, at the cost of a call');
	RETURN NEXT is(pg_temp.after('released', $x$INSERT INTO omnichannel.agent_channel VALUES (1, 'phone', 1);
		SELECT omnichannel.log_contact('phone', customer_id => 1); SELECT omnichannel.tick_queues()$x$),
		'offered 1 phone 6', how || ': the same agent where he does');
	RETURN NEXT is(pg_temp.after('released', $x$INSERT INTO omnichannel.agent_channel VALUES (1, 'phone', 1);
		SELECT omnichannel.route(omnichannel.open_request(3, 'question', 'chat', 'q', requires => 'y:1')); UPDATE omnichannel.agent SET skills = 'y:1' WHERE agent_id = 1;
		SELECT omnichannel.tick_queues(); SELECT omnichannel.log_contact('phone', customer_id => 1); SELECT omnichannel.route(%1$s)$x$),
		'waiting_agent 1 phone', how || ': for whom it is held while a chat leaves him no room for a call');
	RETURN NEXT is(pg_temp.after('waiting', $x$UPDATE omnichannel.queue SET hold_for_owner = '0'; SELECT omnichannel.set_presence(1, 'break'), omnichannel.set_presence(2, 'break');
		SELECT omnichannel.route(%1$s); SELECT omnichannel.continue_request(%1$s, 'phone');
		SELECT omnichannel.tick_queues(); SELECT omnichannel.set_presence(1, 'available')$x$),
		'waiting_agent phone', how || ': what waits moves to the other channel, which agent 1 does not work in');
	RETURN NEXT is(pg_temp.after('waiting', $x$UPDATE omnichannel.queue SET hold_for_owner = '0'; SELECT omnichannel.set_presence(1, 'break'), omnichannel.set_presence(2, 'busy');
		SELECT omnichannel.route(%1$s); SELECT omnichannel.continue_request(%1$s, 'phone'); SELECT omnichannel.tick_queues(); SELECT omnichannel.claim(2)$x$),
		'assigned 2 phone 6', how || ': and is claimed by who does');
	RETURN NEXT is(pg_temp.after('offered', $x$SELECT omnichannel.log_contact('phone', customer_id => 1); SELECT omnichannel.tick_queues()$x$),
		'offered 2 phone 6', how || ': an offer goes to another agent where the first does not work in the channel');
	RETURN NEXT is(pg_temp.after('offered', $x$INSERT INTO omnichannel.agent_channel VALUES (1, 'phone', 1); SELECT omnichannel.log_contact('phone', customer_id => 1); SELECT omnichannel.tick_queues()$x$),
		'offered 1 phone 6', how || ': and to the same one, at the other cost, where he does');
	RETURN NEXT is(pg_temp.after('assigned', $x$SELECT omnichannel.log_contact('phone', customer_id => 1); SELECT omnichannel.tick_queues()$x$),
		'assigned 1 chat 2', how || ': who has accepted it keeps it at the cost at which he did');
	RETURN NEXT is(pg_temp.after('assigned', $x$SELECT omnichannel.log_contact('phone', customer_id => 1); SELECT omnichannel.transfer_request(%1$s, 'q')$x$),
		'offered 2 phone 6', how || ': until he passes it on');
	RETURN NEXT is(pg_temp.after('assigned', $x$SELECT omnichannel.log_contact('phone', customer_id => 1); SELECT omnichannel.release_request(%1$s)$x$),
		'waiting_customer 1', how || ': or releases it');
END
$$;
SELECT pg_temp.all_of('by rows');
CREATE FUNCTION pg_temp.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER mine BEFORE UPDATE ON waiting FOR EACH ROW EXECUTE FUNCTION pg_temp.nothing();
CREATE TRIGGER mine BEFORE UPDATE ON assignment FOR EACH ROW EXECUTE FUNCTION pg_temp.nothing();
CREATE TRIGGER mine BEFORE UPDATE ON request FOR EACH ROW EXECUTE FUNCTION pg_temp.nothing();
SELECT pg_temp.all_of('by statements');
DROP TRIGGER mine ON waiting;
DROP TRIGGER mine ON assignment;
DROP TRIGGER mine ON request;

-- an offer of another channel cannot be accepted
SELECT set_presence(1, 'available');
SELECT open_request(1, 'question', 'chat', 'q', opened_at => now() - interval '1 hour') AS asked \gset
SELECT is(route(:asked), 1::bigint, 'a chat is offered');
SELECT is(log_contact('phone', customer_id => 1) > 0, true, 'its customer calls');
SELECT throws_ok(format('SELECT accept_request(%s, 1)', :asked), '55000', NULL, 'who was offered the chat cannot take the call');
SELECT log_contact('chat', customer_id => 1);
SELECT lives_ok(format('SELECT accept_request(%s, 1)', :asked), 'but the chat, where it goes on');

-- what moves it, and what does not
CREATE FUNCTION pg_temp.channels() RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', channel, current_channel) FROM omnichannel.open_requests(1)
$$;
SELECT log_contact('email', customer_id => 1, direction => 'outbound'), log_contact('phone', customer_id => 1, outcome => 'failed'),
	log_contact('forum', customer_id => 1), log_contact('sms', customer_id => 1, occurred_at => now() - interval '1 minute');
SELECT is(pg_temp.channels(), 'chat chat', 'not an answer, a missed call, a channel that opens no requests, or what was said before');
CREATE TABLE public.message (message_id bigint PRIMARY KEY, customer_id bigint, channel text, thread text, request_id bigint, at timestamptz);
SELECT track('public.message', channel => '{channel}', customer => '{customer_id}', thread => '{thread}', request => '{request_id}', occurred_at => '{at}');
INSERT INTO public.message VALUES (1, 1, 'sms', NULL, NULL, clock_timestamp());
SELECT is(pg_temp.channels(), 'chat sms', 'a row of a tracked table');
INSERT INTO public.message VALUES (2, 1, 'email', NULL, NULL, clock_timestamp()), (4, 1, 'email', 't', :asked, clock_timestamp() + interval '2 ms'), (3, 1, 'phone', NULL, NULL, clock_timestamp() + interval '1 ms');
SELECT is(pg_temp.channels(), 'chat email', 'several at once: the last one counts');
INSERT INTO public.message VALUES (5, 1, 'sms', 't', NULL, clock_timestamp() + interval '3 ms');
SELECT is(pg_temp.channels(), 'chat sms', 'in a conversation');
INSERT INTO public.message VALUES (6, 1, 'web_form', 't', NULL, clock_timestamp() + interval '4 ms'), (7, 1, 'post', NULL, NULL, clock_timestamp() + interval '5 ms');
SELECT is(pg_temp.channels(), 'chat post', 'and without one at once');
INSERT INTO public.message VALUES (8, 1, 'sms', NULL, :asked, clock_timestamp() + interval '6 ms');
SELECT is(pg_temp.channels(), 'chat sms', 'one that names the request');
SELECT is((SELECT array_agg(DISTINCT policy) FROM sla_clock WHERE request_id = :asked AND metric = 'resolution'), '{chats}', 'what was promised for the channel of its beginning holds');
SELECT is(customer_context(1) -> 'open_requests' -> 0 ->> 'current_channel', 'sms', 'whoever talks to the customer sees it');
SELECT is((SELECT count(*) FROM open_requests(1)), 1::bigint, 'and it is one request all the time');

-- What any of those said who turned out to be one person counts.
SELECT open_request(4, 'question', 'email') AS of_three \gset
SELECT merge_customers(4, 5), merge_customers(4, 6) \g /dev/null
SELECT log_contact('sms', customer_id => 5, request_id => :of_three, occurred_at => now() + interval '20 ms') \g /dev/null
SELECT log_contact('phone', customer_id => 6, request_id => :of_three, occurred_at => now() + interval '10 ms') \g /dev/null
SELECT is((SELECT current_channel FROM request WHERE request_id = :of_three), 'sms', 'what another of one person said later counts');
SELECT log_contact('post', customer_id => 6, request_id => :of_three, occurred_at => now() + interval '30 ms') \g /dev/null
SELECT is((SELECT current_channel FROM request WHERE request_id = :of_three), 'post', 'and not what was said before');
SELECT * FROM finish();
ROLLBACK;
