-- What anyone who talks to a customer must know now.
\set SHOW_CONTEXT never
BEGIN;
SET LOCAL TIME ZONE 'UTC';
SET LOCAL datestyle = 'ISO, YMD';
-- Of somebody of whom nothing is known.
INSERT INTO omnichannel.customer (customer_id, created_at) VALUES (9301, '2026-01-01 00:00+00'), (9302, '2026-01-02 00:00+00'), (9303, '2026-01-03 00:00+00');
SELECT jsonb_pretty(omnichannel.customer_context(9301) - 'as_of');
SELECT (omnichannel.customer_context(9301) ->> 'as_of')::timestamptz = now() AS as_of_now;

-- Of a customer in three channels, on record under two ids.
INSERT INTO omnichannel.agent (agent_id, name, surname, photo_url, department, active) VALUES
	(9301, 'Ewa', 'Kot', 'https://example.com/ewa.png', 'care', true), (9302, 'Jan', NULL, NULL, NULL, true), (9303, 'Gone', 'Away', NULL, NULL, false);
INSERT INTO omnichannel.segment (segment) VALUES ('regress.gold'), ('regress.past'), ('regress.north');
INSERT INTO omnichannel.segment_member (customer_id, segment, valid) VALUES (9301, 'regress.gold', '(,)'), (9302, 'regress.gold', '(,)'),
	(9302, 'regress.north', '[2026-01-01,)'), (9301, 'regress.past', '[2026-01-01,2026-02-01)');
SELECT omnichannel.set_customer(9301, 'Anna Nowak', language => 'pl'), omnichannel.set_customer(9302, 'A. Nowak', '1990-05-01', 'en', 'chat'),
	omnichannel.link_identity(9301, 'email', 'context@example.com'), omnichannel.link_identity(9302, 'phone', '601 930 302');
SELECT omnichannel.verify_identity('email', 'context@example.com', '2026-03-01 10:00+00');
SELECT omnichannel.remember(9301, 'tier', '"gold"', 'shop', '2026-01-05 00:00+00') > 0 AS fact, omnichannel.remember(9302, 'tier', '"silver"', 'crm', '2026-01-04 00:00+00') > 0 AS older,
	omnichannel.remember(9302, 'child', '{"born": 2020}', since => '2026-01-06 00:00+00') > 0 AS fact, omnichannel.remember(9301, 'gone', '1', since => '2026-01-06 00:00+00') > 0 AS fact;
SELECT omnichannel.forget(9301, 'gone') AS forgotten, omnichannel.remember(9301, 'tomorrow', '1', since => now() + interval '1 day') > 0 AS future;
SELECT omnichannel.give_consent(9301, 'marketing', proof => '{"form": 1}', since => '2026-01-05 00:00+00') > 0 AS given, omnichannel.withdraw_consent(9302, 'marketing', 'phone', since => '2026-01-06 00:00+00') > 0 AS withdrawn,
	omnichannel.give_consent(9302, 'marketing', 'sms', '{"form": 1}', since => '2026-01-04 00:00+00') > 0 AS replaced,
	omnichannel.give_consent(9302, 'research', proof => '{"form": 1}', since => '2026-01-04 00:00+00', expires_at => '2026-02-04 00:00+00') > 0 AS expired;
INSERT INTO omnichannel.request (request_id, customer_id, kind, channel, subject, data, opened_at, state_since) VALUES
	(9301, 9302, 'complaint', 'chat', 'Broken mug', '{"order": 17}', '2026-03-02 00:00+00', '2026-03-02 00:00+00'),
	(9302, 9301, 'order', 'app', NULL, '{}', '2026-03-01 00:00+00', '2026-03-01 00:00+00'),
	(9303, 9301, 'order', 'app', NULL, '{}', '2026-01-01 00:00+00', '2026-01-01 00:00+00');
UPDATE omnichannel.request SET state = 'cancelled' WHERE request_id = 9303;
ALTER SEQUENCE omnichannel.contact_contact_id_seq RESTART WITH 9301;
ALTER TABLE omnichannel.request ALTER request_id RESTART WITH 9321;
SELECT omnichannel.log_contact('email', customer_id => 9301, agent_id => 9301, occurred_at => '2026-03-03 09:00+00', subject => 'Where is it?', body => repeat('x', 300), thread => 't1'),
	omnichannel.log_contact('phone', customer_id => 9302, agent_id => 9301, occurred_at => '2026-03-03 10:00+00', outcome => 'answered', request_id => 9301),
	omnichannel.log_contact('chat', customer_id => 9302, agent_id => 9302, occurred_at => '2026-03-03 11:00+00', direction => 'outbound', subject => 'Sorry'),
	omnichannel.log_contact('branch', customer_id => 9301, agent_id => 9303, occurred_at => '2026-03-03 08:00+00'), omnichannel.log_contact('branch', customer_id => 9301, agent_id => 9303, occurred_at => '2026-03-03 07:00+00'),
	omnichannel.log_contact('branch', customer_id => 9301, agent_id => 9303, occurred_at => '2026-03-03 06:00+00');
SELECT omnichannel.merge_customers(9301, 9302) > 0 AS merged;
SELECT jsonb_pretty(omnichannel.customer_context(9302, 3) - 'as_of' - 'open_requests' - 'service_levels');
SELECT (SELECT count(*) FROM omnichannel.sla_status WHERE customer_id IN (9301, 9302)) = jsonb_array_length(omnichannel.customer_context(9302) -> 'service_levels') AS promises,
	(SELECT bool_and(promise ?& '{metric,policy,request_id,channel,thread,state,due_at}') FROM jsonb_array_elements(omnichannel.customer_context(9302) -> 'service_levels') AS promise) AS told;
SELECT request ->> 'request_id' AS request_id, request ->> 'state' AS state, request ->> 'channel' AS channel, request -> 'data' AS data
FROM jsonb_array_elements(omnichannel.customer_context(9301) -> 'open_requests') AS request;
SELECT omnichannel.customer_context(9301) - 'as_of' = omnichannel.customer_context(9302) - 'as_of' AS the_same_for_both;
-- the same answers as the functions that give the parts
SELECT (SELECT jsonb_object_agg(key, jsonb_build_object('value', value, 'since', since, 'source', source)) FROM omnichannel.facts(9301)) = omnichannel.customer_context(9301) -> 'facts' AS facts,
	(SELECT jsonb_agg(jsonb_build_object('purpose', purpose, 'channel', channel, 'granted', granted, 'since', since, 'expires_at', expires_at)) FROM omnichannel.consents(9301)) = omnichannel.customer_context(9301) -> 'consents' AS consents,
	(SELECT jsonb_agg(contact_id) FROM omnichannel.timeline(9301, max_rows => 10)) = jsonb_path_query_array(omnichannel.customer_context(9301), '$.last_contacts[*].contact_id') AS contacts;
SELECT jsonb_array_length(omnichannel.customer_context(9301, 0) -> 'last_contacts') AS none, jsonb_array_length(omnichannel.customer_context(9301, 1000) -> 'last_contacts') AS all;

-- What is new. Everything above was recorded in this transaction, so some of it is made older first.
UPDATE omnichannel.contact SET logged_at = occurred_at WHERE customer_id IN (9301, 9302) AND contact_id <> 9306;
UPDATE omnichannel.fact SET recorded_at = since WHERE customer_id IN (9301, 9302) AND value IS NOT NULL AND since < now();
UPDATE omnichannel.consent SET recorded_at = since WHERE customer_id IN (9301, 9302);
UPDATE omnichannel.identity SET created_at = '2026-01-01 00:00+00' WHERE customer_id IN (9301, 9302);
SELECT jsonb_path_query_array(new, '$.contacts[*].contact_id') AS contacts, jsonb_path_query_array(new, '$.requests[*].request_id') AS requests,
	jsonb_path_query_array(new, '$.facts[*].key') AS facts, jsonb_path_query_array(new, '$.consents[*].purpose') AS consents,
	jsonb_path_query_array(new, '$.identities[*].value') AS identities, jsonb_array_length(new -> 'merges') AS merges, new ->> 'since' AS since
FROM unnest(ARRAY['-infinity', '2026-03-03 10:00+00', 'infinity']::timestamptz[]) AS since, omnichannel.context_since(9302, since) AS new;
SELECT jsonb_path_query_array(omnichannel.context_since(9302, '-infinity', 2), '$.contacts[*].contact_id') AS newest_two;

SELECT raised(statement) FROM (VALUES
	($$SELECT omnichannel.customer_context(9399)$$),
	($$SELECT omnichannel.customer_context(NULL)$$),
	($$SELECT omnichannel.customer_context(9301, -1)$$),
	($$SELECT omnichannel.customer_context(9301, NULL)$$),
	($$SELECT omnichannel.customer_context(9301, 1001)$$),
	($$SELECT omnichannel.context_since(9399, now())$$),
	($$SELECT omnichannel.context_since(9301, NULL)$$),
	($$SELECT omnichannel.context_since(NULL, now())$$)
) AS bad (statement);
-- Settings are as they were.
SHOW enable_seqscan;
SHOW plan_cache_mode;
-- An agent's desk may ask; a role without rights may not.
CREATE ROLE regress_context_agent;
CREATE ROLE regress_context_app;
CREATE ROLE regress_context_nobody;
SELECT omnichannel.grant_access('regress_context_agent', 'agent'), omnichannel.grant_access('regress_context_app', 'app');
GRANT USAGE ON SCHEMA omnichannel TO regress_context_nobody;
SET LOCAL ROLE regress_context_agent;
SELECT omnichannel.customer_context(9301) ->> 'name' AS name;
SELECT omnichannel.context_since(9301, '2026-01-01 00:00+00') ->> 'customer_id' AS customer_id;
SET LOCAL ROLE regress_context_app;
SELECT omnichannel.customer_context(9301) ->> 'name' AS name;
SELECT omnichannel.remember(9301, 'visits', '3') > 0 AS remembered, omnichannel.give_consent(9301, 'profiling', proof => '{"form": 1}') > 0 AS given,
	omnichannel.has_consent(9301, 'profiling') AS has, omnichannel.link_identity(9301, 'device', 'd-1') AS linked;
SET LOCAL ROLE regress_context_nobody;
SELECT raised(statement) FROM (VALUES
	($$SELECT omnichannel.customer_context(9301)$$),
	($$SELECT omnichannel.remember(9301, 'a', '1')$$),
	($$SELECT omnichannel.merge_customers(9301, 9303)$$)
) AS bad (statement);
ROLLBACK;
