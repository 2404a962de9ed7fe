-- Real customer-care conversations on a social network: messages become contacts of their customer and agent, each
-- conversation's first question gets its deadline, and the agent who knows a customer is found.
-- Needs the psql variable data, the folder of care.csv.gz.
\set ON_ERROR_STOP on
\set QUIET on
\pset footer off
SET client_min_messages = warning;
SET TimeZone = 'UTC';
CREATE SCHEMA care;
CREATE TABLE care.csv (line bigint GENERATED ALWAYS AS IDENTITY, conversation text, company text, at timestamptz, direction text, author text, characters integer);
\set load '\\copy care.csv (conversation, company, at, direction, author, characters) FROM PROGRAM ''zcat ' :data '/care.csv.gz'' (FORMAT csv, HEADER)'
:load

-- The companies' accounts are the agents.
INSERT INTO omnichannel.agent (name, capacity) SELECT DISTINCT company, 10 FROM care.csv ORDER BY 1;
INSERT INTO omnichannel.agent_channel (agent_id, channel, fluency)
SELECT agent_id, 'social', 8 FROM omnichannel.agent WHERE name IN (SELECT company FROM care.csv);
CREATE TABLE care.message (
	message_id bigint PRIMARY KEY,
	conversation text NOT NULL,
	at timestamptz NOT NULL,
	direction text NOT NULL,
	handle text NOT NULL,
	agent_id bigint,
	characters integer
);
\echo
\echo '== Messages of a social network as contacts'
INSERT INTO omnichannel.identity_kind (kind, name) VALUES ('handle', 'Name on a social network') ON CONFLICT DO NOTHING;
SELECT omnichannel.track('care.message', channel => 'social', customer => '{handle}', kind => 'handle',
	direction => '{direction}', value_maps => '{"direction": {"in": "inbound", "out": "outbound"}}', occurred_at => '{at}', agent => '{agent_id}', thread => '{conversation}');
SELECT clock_timestamp() AS began \gset
INSERT INTO care.message
SELECT csv.line, conversation, at, csv.direction, first_value(CASE WHEN csv.direction = 'in' THEN author END)
		OVER (PARTITION BY conversation ORDER BY csv.direction = 'in' DESC, at, csv.line),
	CASE WHEN csv.direction = 'out' THEN agent_id END, characters
FROM care.csv JOIN omnichannel.agent ON agent.name = csv.company
ORDER BY at, csv.line;
SELECT clock_timestamp() AS ended \gset
SELECT (SELECT count(*) FROM care.csv) AS rows_in_file, (SELECT count(*) FROM care.message) AS messages,
	(SELECT count(*) FROM omnichannel.contact WHERE channel = 'social') AS contacts_logged,
	round((SELECT count(*) FROM care.message) / extract(epoch FROM :'ended'::timestamptz - :'began'::timestamptz)) AS contacts_a_second,
	(SELECT count(DISTINCT conversation) FROM care.csv) AS conversations,
	(SELECT count(DISTINCT thread) FROM omnichannel.contact WHERE channel = 'social') AS threads,
	(SELECT sum(contacts) FROM omnichannel.relationship JOIN omnichannel.agent USING (agent_id) WHERE name IN (SELECT company FROM care.csv)) AS with_an_agent;
SELECT (SELECT count(*) FROM care.csv) = (SELECT count(*) FROM omnichannel.contact WHERE channel = 'social')
	AND (SELECT count(DISTINCT conversation) FROM care.csv) = (SELECT count(DISTINCT thread) FROM omnichannel.contact WHERE channel = 'social')
	AND (SELECT count(*) FROM care.csv WHERE direction = 'out') = (SELECT sum(contacts) FROM omnichannel.relationship JOIN omnichannel.agent USING (agent_id) WHERE name IN (SELECT company FROM care.csv))
	AND NOT EXISTS (
		SELECT line, at FROM care.csv
		EXCEPT
		SELECT source_key::bigint, occurred_at FROM omnichannel.contact WHERE channel = 'social') AS ok \gset
\if :ok
\else
	DO $$BEGIN RAISE EXCEPTION 'messages were lost: logged contacts differ from the rows loaded'; END$$;
\endif

\echo 'First answers within 6 working hours (Monday to Friday, 09:00-17:00 in London), had that been promised:'
WITH first AS (
	SELECT conversation, company, min(at) FILTER (WHERE direction = 'in') AS asked, min(at) FILTER (WHERE direction = 'out') AS answered
	FROM care.csv GROUP BY 1, 2
), timed AS (
	SELECT company, omnichannel.deadline(asked, '6 hours', 'Mo-Fr 09:00-17:00', 'Europe/London') AS due, answered,
		omnichannel.working_time(asked, answered, 'Mo-Fr 09:00-17:00', 'Europe/London') AS took
	FROM first WHERE answered >= asked
)
SELECT company, count(*) AS conversations, count(*) FILTER (WHERE answered <= due) AS in_time, max(took) AS longest
FROM timed GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 8;
-- The two functions are one engine: what is left until the deadline is the target, for each question.
SELECT count(*) AS questions, count(*) FILTER (WHERE omnichannel.working_time(asked, omnichannel.deadline(asked, '6 hours', 'Mo-Fr 09:00-17:00', 'Europe/London'),
	'Mo-Fr 09:00-17:00', 'Europe/London') = interval '6 hours') AS agree
FROM (SELECT min(at) FILTER (WHERE direction = 'in') AS asked FROM care.csv GROUP BY conversation) AS first WHERE asked IS NOT NULL;

\echo 'Every customer writes once more, all agents are free: who is chosen?'
INSERT INTO omnichannel.queue (queue) VALUES ('care');
INSERT INTO omnichannel.queue_member (queue, agent_id) SELECT 'care', agent_id FROM omnichannel.agent;
SELECT count(*) AS agents FROM (SELECT omnichannel.set_presence(agent_id, 'available') FROM omnichannel.agent OFFSET 0) AS present;
CREATE TABLE care.again AS
SELECT customer_id, omnichannel.open_request(customer_id, 'question', 'social', queue => 'care') AS request_id
FROM omnichannel.identity WHERE kind = 'handle' ORDER BY customer_id;
SELECT clock_timestamp() AS began \gset
CREATE TABLE care.chosen AS
SELECT again.customer_id, match.agent_id, match.reason
FROM care.again, LATERAL omnichannel.match_agents(again.request_id, max_agents => 1) AS match;
SELECT clock_timestamp() AS ended \gset
-- Whoever dealt with the customer in the past must be chosen before any stranger.
SELECT count(*) AS customers, round(count(*) / extract(epoch FROM :'ended'::timestamptz - :'began'::timestamptz)) AS matches_a_second, count(*) FILTER (WHERE known) AS known_to_an_agent, count(*) FILTER (WHERE right_one) AS get_an_agent_who_knows_them
FROM (SELECT EXISTS (SELECT FROM omnichannel.relationship AS r WHERE r.customer_id = c.customer_id) AS known,
		EXISTS (SELECT FROM omnichannel.relationship AS r WHERE r.customer_id = c.customer_id AND r.agent_id = c.agent_id) AS right_one
	FROM care.chosen AS c) AS answers;
SELECT count(*) = 0 AS ok FROM care.chosen AS c
WHERE EXISTS (SELECT FROM omnichannel.relationship AS r WHERE r.customer_id = c.customer_id)
	AND NOT EXISTS (SELECT FROM omnichannel.relationship AS r WHERE r.customer_id = c.customer_id AND r.agent_id = c.agent_id) \gset
\if :ok
\else
	DO $$BEGIN RAISE EXCEPTION 'a stranger was chosen before an agent who knows the customer'; END$$;
\endif

\echo
\echo '== The same messages imported by backfill(), of an archive that had them before, in another order'
INSERT INTO omnichannel.identity_kind (kind, name) VALUES ('handle_before', 'Name on a social network, imported');
CREATE TABLE care.message_before (LIKE care.message INCLUDING INDEXES);
INSERT INTO care.message_before SELECT * FROM care.message ORDER BY message_id DESC;
SELECT omnichannel.track('care.message_before', channel => 'social', customer => '{handle}', kind => 'handle_before',
	direction => '{direction}', value_maps => '{"direction": {"in": "inbound", "out": "outbound"}}', occurred_at => '{at}', agent => '{agent_id}', thread => '{conversation}');
\set live care.message
\set live_kind handle
\set imported care.message_before
\set imported_kind handle_before
\ir same.sql
