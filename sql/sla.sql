-- Service levels: what contacts and requests do to clocks, what is told, and what happens when rules change.
\set SHOW_CONTEXT never
SET timezone = 'Europe/Warsaw';
SET search_path = omnichannel, public;
SELECT policy, rank, metric, channel, target, calendar, warn_at, notice_calendar FROM sla_policy ORDER BY 1;
CREATE FUNCTION pg_temp.clocks() RETURNS TABLE (metric text, policy text, started text, due text, "left" interval, stopped text, outcome text, pauses int, elapsed interval, worked interval)
LANGUAGE sql AS $$
	SELECT metric, policy, to_char(started_at, 'Dy HH24:MI'), to_char(due_at, 'Dy HH24:MI'), time_left, to_char(stopped_at, 'Dy HH24:MI'),
		outcome, (SELECT count(*) FROM unnest(pauses))::int, elapsed, worked
	FROM omnichannel.sla_clock ORDER BY started_at, metric, clock_id
$$;
CREATE FUNCTION pg_temp.mail(direction text, at text, thread text DEFAULT 't', who text DEFAULT 'sla@example.com') RETURNS void
LANGUAGE sql AS $$
	SELECT omnichannel.log_contact('forum', kind => 'email', value => who, direction => direction, occurred_at => at::timestamptz, thread => thread) $$;
CREATE FUNCTION pg_temp.call(direction text, outcome text, at text, who text DEFAULT 'sla@example.com') RETURNS void
LANGUAGE sql AS $$
	SELECT omnichannel.log_contact('hotline', kind => 'email', value => who, direction => direction, outcome => outcome, occurred_at => at::timestamptz) $$;
-- A request's state as of a time: a plain UPDATE.
CREATE FUNCTION pg_temp.becomes(new_state text, at text) RETURNS void
LANGUAGE sql AS $$
	UPDATE omnichannel.request SET state = new_state, state_since = at::timestamptz WHERE subject = 'sla' $$;

BEGIN;
DELETE FROM sla_clock; DELETE FROM sla_moment; DELETE FROM sla_event;
-- Channels that open no requests, with the promises of e-mail and telephone.
INSERT INTO channel (channel, name, medium, opens_request) VALUES ('hotline', 'Hotline', 'voice', false);
UPDATE sla_policy SET channel = CASE channel WHEN 'email' THEN 'forum' ELSE 'hotline' END;
DELETE FROM sla_stale;

-- In order: an answer in time, a further message, a missed call that is returned too late. 2026-06-01 is a Monday.
SELECT pg_temp.mail('inbound', '2026-06-01 10:00');
SELECT pg_temp.mail('inbound', '2026-06-01 11:00');
SELECT pg_temp.mail('outbound', '2026-06-01 16:00');
SELECT pg_temp.mail('inbound', '2026-06-01 16:30');
SELECT pg_temp.call('inbound', 'missed', '2026-06-01 16:45');
SELECT pg_temp.call('inbound', 'voicemail', '2026-06-01 17:45');
SELECT pg_temp.call('outbound', 'failed', '2026-06-01 18:00');
SELECT pg_temp.call('outbound', 'missed', '2026-06-02 09:45:00.000001');
SELECT * FROM pg_temp.clocks();

-- What is told, and when: nothing before, a warning an hour before, the breach once; held until the office opens.
SELECT tick_sla('2026-06-02 13:30:00'), (SELECT count(*) FROM sla_event);
SELECT tick_sla('2026-06-02 13:30:00.000001');
SELECT tick_sla('2026-06-02 14:30:00'), tick_sla('2026-06-02 14:30:00.000001'), tick_sla('2026-06-02 15:00');
SELECT event, metric, policy, to_char(due_at, 'Dy HH24:MI') AS due, to_char(told_at, 'Dy HH24:MI') AS told, withdrawn_at IS NOT NULL AS withdrawn FROM sla_event ORDER BY event_id;
SELECT metric, state, time_left < '0' AS over FROM sla_status;

-- A reply logged late takes back what was told, and gives the clocks that the order of time gives.
SELECT pg_temp.mail('outbound', '2026-06-02 14:30');
SELECT * FROM pg_temp.clocks();
SELECT event, metric, withdrawn_at IS NOT NULL AS withdrawn FROM sla_event ORDER BY event_id;
SELECT tick_sla('2026-06-03 15:00');
ROLLBACK;

-- Without a thread each unanswered contact is a conversation of its own; an answered call needs no answer and no call back.
BEGIN;
DELETE FROM sla_clock; DELETE FROM sla_moment; DELETE FROM sla_event;
INSERT INTO channel (channel, name, medium, opens_request) VALUES ('hotline', 'Hotline', 'voice', false);
DELETE FROM sla_policy;
INSERT INTO sla_policy (policy, metric, target, calendar) VALUES
	('first', 'first_response', '2 hours', NULL), ('next', 'next_response', '1 hour', NULL), ('back', 'callback', '1 day', 'office');
SELECT pg_temp.mail('inbound', '2026-06-01 10:00', NULL);
SELECT pg_temp.mail('outbound', '2026-06-01 10:30', NULL);
SELECT pg_temp.mail('inbound', '2026-06-01 11:00', NULL);
SELECT pg_temp.call('inbound', 'answered', '2026-06-01 12:00');
SELECT pg_temp.call('inbound', 'abandoned', '2026-06-01 13:00');
SELECT pg_temp.call('inbound', 'answered', '2026-06-01 15:30');
SELECT * FROM pg_temp.clocks();
ROLLBACK;

-- A request: waiting for the customer stops the time, to the microsecond; opened again it goes on.
BEGIN;
DELETE FROM sla_clock; DELETE FROM sla_moment; DELETE FROM sla_event;
DELETE FROM sla_policy;
INSERT INTO sla_policy (policy, metric, target, calendar, warn_at) VALUES ('solve', 'resolution', '10 hours', 'office', '2 hours');
SELECT identify('account', 'sla-2') AS customer \gset
SELECT open_request(:customer, 'complaint', 'branch', subject => 'sla', opened_at => '2026-06-01 09:00') AS request \gset
SELECT * FROM pg_temp.clocks();
SELECT pg_temp.becomes('waiting_customer', '2026-06-01 12:00:00.000001');
SELECT metric, state, due_at, time_left FROM sla_status;
SELECT pg_temp.becomes('waiting_agent', '2026-06-02 16:00');
SELECT * FROM pg_temp.clocks();
SELECT to_char(warn_at, 'Dy HH24:MI:SS.US') AS warn, to_char(due_at, 'Dy HH24:MI:SS.US') AS due FROM sla_clock;
SELECT pg_temp.becomes('waiting_customer', '2026-06-03 10:00');
-- The customer's answer ends the wait.
SELECT log_contact('branch', :customer, request_id => :request, occurred_at => '2026-06-03 11:00') IS NOT NULL AS logged;
SELECT pg_temp.becomes('done', '2026-06-03 12:00');
SELECT * FROM pg_temp.clocks();
SELECT pg_temp.becomes('waiting_agent', '2026-06-04 09:00');
SELECT * FROM pg_temp.clocks();
SELECT pauses FROM sla_clock;
SELECT pg_temp.becomes('cancelled', '2026-06-04 10:00');
SELECT * FROM pg_temp.clocks();
ROLLBACK;

-- Requests written by anyone's plain SQL, also without rights on service levels, many at once, and by a trigger of the
-- company's own while a function writes another one.
BEGIN;
DELETE FROM sla_clock; DELETE FROM sla_moment; DELETE FROM sla_event;
DELETE FROM sla_policy;
INSERT INTO queue (queue) VALUES ('sla_gold');
INSERT INTO sla_policy (policy, rank, metric, queue, min_priority, target) VALUES
	('solve', 9, 'resolution', NULL, NULL, '10 hours'), ('gold', 1, 'resolution', 'sla_gold', NULL, '4 hours'), ('urgent', 0, 'resolution', NULL, 5, '1 hour');
SELECT identify('account', 'sla-plain') AS customer \gset
CREATE ROLE regress_sla_app;
GRANT USAGE ON SCHEMA omnichannel TO regress_sla_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON request TO regress_sla_app;
CREATE FUNCTION pg_temp.plain() RETURNS TABLE (subject text, policy text, due text, stopped text, outcome text, pauses int)
LANGUAGE sql AS $$
	SELECT r.subject, c.policy, to_char(c.due_at, 'Dy HH24:MI'), to_char(c.stopped_at, 'Dy HH24:MI'), c.outcome, (SELECT count(*) FROM unnest(c.pauses))::int
	FROM omnichannel.sla_clock AS c LEFT JOIN omnichannel.request AS r USING (request_id) ORDER BY 1, 2 $$;
SET LOCAL ROLE regress_sla_app;
INSERT INTO request (customer_id, kind, channel, subject, opened_at, state_since, state, closed_at)
SELECT :customer, 'complaint', 'branch', 'plain ' || g, '2026-06-01 09:00', '2026-06-01 09:00', CASE g WHEN 5 THEN 'done' ELSE 'new' END, CASE g WHEN 5 THEN timestamptz '2026-06-01 10:00' END
FROM generate_series(1, 5) AS g;
RESET ROLE;
-- The one that was closed before it came here was promised nothing.
SELECT * FROM pg_temp.plain();
SET LOCAL ROLE regress_sla_app;
UPDATE request SET state = (ARRAY['waiting_customer', 'done', 'cancelled', 'new'])[right(subject, 1)::int], state_since = '2026-06-01 09:30'
WHERE subject ~ 'plain [1-4]';
UPDATE request SET queue = 'sla_gold' WHERE subject = 'plain 4';
RESET ROLE;
SELECT * FROM pg_temp.plain();
SELECT count(*) AS moments FROM sla_moment;
-- What nobody goes by leaves no trace; what is rolled back neither.
UPDATE request SET data = '{"a": 1}', subject = subject || '' WHERE subject ~ 'plain';
SAVEPOINT before;
UPDATE request SET state = 'done' WHERE subject = 'plain 1';
INSERT INTO request (customer_id, kind, channel, subject) VALUES (:customer, 'complaint', 'branch', 'plain 6');
ROLLBACK TO before;
UPDATE request SET priority = 4 WHERE subject = 'plain 5';
SELECT count(*) AS moments FROM sla_moment;
-- Opened again by plain SQL it goes on; deleted it is promised nothing.
UPDATE request SET state = 'waiting_agent', state_since = '2026-06-01 09:45' WHERE subject = 'plain 2';
SET LOCAL ROLE regress_sla_app;
DELETE FROM request WHERE subject IN ('plain 1', 'plain 3', 'plain 5');
RESET ROLE;
SELECT * FROM pg_temp.plain();
-- While a function opens a request, a trigger makes all others urgent.
CREATE FUNCTION pg_temp.hurry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE omnichannel.request SET priority = 5 WHERE kind = 'complaint' AND request_id <> NEW.request_id AND closed_at IS NULL;
	RETURN NULL;
END
$$;
CREATE TRIGGER hurry AFTER INSERT ON request FOR EACH ROW EXECUTE FUNCTION pg_temp.hurry();
SELECT open_request(:customer, 'complaint', 'branch', subject => 'by function', opened_at => '2026-06-01 12:00') IS NOT NULL AS opened;
SELECT * FROM pg_temp.plain();
-- So does one that was logged.
UPDATE request SET priority = 0 WHERE customer_id = :customer;
SELECT policy, count(*) FROM sla_clock WHERE stopped_at IS NULL GROUP BY 1 ORDER BY 1;
SELECT log_contact('email', kind => 'account', value => 'sla-plain-2') IS NOT NULL AS logged;
SELECT policy, count(*) FROM sla_clock WHERE stopped_at IS NULL GROUP BY 1 ORDER BY 1;
-- The function serves the one table.
CREATE TEMP TABLE mine (request_id bigint, closed_at timestamptz);
CREATE TRIGGER follow_request AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION follow_request();
SAVEPOINT before;
INSERT INTO mine VALUES (1);
ROLLBACK TO before;
CREATE TRIGGER follow_before BEFORE INSERT ON request FOR EACH ROW EXECUTE FUNCTION follow_request();
INSERT INTO request (customer_id, kind, channel) VALUES (:customer, 'complaint', 'branch');
ROLLBACK;

-- Policies: the lowest rank that fits; a transfer gives an open clock another, or leaves it what was promised.
BEGIN;
DELETE FROM sla_clock; DELETE FROM sla_moment; DELETE FROM sla_event;
INSERT INTO queue (queue) VALUES ('sla_gold'), ('sla_other');
INSERT INTO segment (segment) VALUES ('sla_vip');
DELETE FROM sla_policy;
INSERT INTO sla_policy (policy, rank, metric, channel, kind, queue, segment, min_priority, target, valid) VALUES
	('over', 1, 'resolution', NULL, NULL, NULL, NULL, NULL, '1 hour', '[2020-01-01,2021-01-01)'),
	('post', 2, 'resolution', 'post', NULL, NULL, NULL, NULL, '2 hours', DEFAULT),
	('order', 3, 'resolution', NULL, 'order', NULL, NULL, NULL, '3 hours', DEFAULT),
	('gold', 4, 'resolution', NULL, NULL, 'sla_gold', NULL, NULL, '4 hours', DEFAULT),
	('vip', 5, 'resolution', NULL, NULL, NULL, 'sla_vip', NULL, '5 hours', DEFAULT),
	('urgent', 6, 'resolution', NULL, 'complaint', NULL, NULL, 5, '6 hours', DEFAULT);
SELECT identify('account', 'sla-3') AS customer, identify('account', 'sla-4') AS vip \gset
INSERT INTO segment_member (customer_id, segment, valid) VALUES (:vip, 'sla_vip', tstzrange(NULL, NULL));
SELECT open_request(:customer, 'complaint', 'branch', subject => 'none', opened_at => '2026-06-01 09:00') IS NOT NULL AS opened;
SELECT * FROM pg_temp.clocks();
SELECT open_request(:vip, 'complaint', 'branch', subject => 'sla', priority => 5, opened_at => '2026-06-01 09:00') AS request \gset
SELECT * FROM pg_temp.clocks();
UPDATE request SET queue = 'sla_gold' WHERE request_id = :request;
SELECT count(*) FROM recompute_sla(:request);
SELECT * FROM pg_temp.clocks();
DELETE FROM segment_member WHERE customer_id = :vip;
UPDATE request SET queue = 'sla_other', priority = 0 WHERE request_id = :request;
SELECT count(*) FROM recompute_sla(:request);
SELECT * FROM pg_temp.clocks();
-- Rules change: open clocks follow.
UPDATE sla_policy SET target = '90 minutes' WHERE policy = 'gold';
SELECT metric, policy_before, policy, due_at - due_before AS moved FROM recompute_sla();
-- Notes of one's own transaction stay for the tick() after it.
SELECT count(*) AS stale FROM sla_stale;
INSERT INTO sla_policy (policy, rank, metric, target, calendar) VALUES ('all', 0, 'resolution', '1 day', 'office');
SELECT tick_sla('2026-06-01 09:30');
SELECT * FROM pg_temp.clocks();
INSERT INTO calendar_exception (calendar, during, name) VALUES ('office', '[2026-06-02,2026-06-03)', 'Closed');
SELECT tick_sla('2026-06-01 09:30');
SELECT * FROM pg_temp.clocks();
-- A calendar that never opens again keeps nobody from working.
UPDATE calendar SET hours = 'off' WHERE calendar = 'office';
SELECT tick_sla('2026-06-01 09:30');
SELECT due_at, time_left, notice_at FROM sla_clock;
UPDATE request SET state = 'done' WHERE request_id = :request;
SELECT count(*) FROM recompute_sla(:request);
SELECT due_at, outcome, worked FROM sla_clock;
-- What has ended stays as it was.
DELETE FROM sla_policy;
SELECT count(*) FROM recompute_sla();
SELECT count(*) FROM sla_clock;
ROLLBACK;

-- What the customer wrote before the request was opened that it is about goes by that request, whoever asks.
BEGIN;
DELETE FROM sla_clock; DELETE FROM sla_moment; DELETE FROM sla_event;
DELETE FROM sla_policy;
INSERT INTO sla_policy (policy, rank, metric, kind, target) VALUES ('order', 1, 'first_response', 'order', '1 hour'), ('any', 2, 'first_response', NULL, '5 hours');
SELECT identify('account', 'sla-9') AS customer \gset
SELECT open_request(:customer, 'order', 'branch', opened_at => '2026-06-01 12:00') AS request \gset
SELECT log_contact('email', :customer, request_id => :request, occurred_at => '2026-06-01 11:00') > 0 AS logged;
SELECT policy, due FROM pg_temp.clocks();
UPDATE sla_policy SET target = '6 hours' WHERE policy = 'any';
SELECT count(*) FROM recompute_sla();
SELECT count(*) FROM recompute_sla(:request);
ROLLBACK;

-- A calendar that has another name, or is gone, keeps nobody from seeing what is open.
BEGIN;
DELETE FROM sla_clock; DELETE FROM sla_moment; DELETE FROM sla_event;
SELECT log_contact('email', identify('account', 'sla-10'), occurred_at => '2026-06-01 11:00') > 0 AS logged;
UPDATE calendar SET calendar = 'sla_bureau' WHERE calendar = 'office';
SELECT calendar, state, time_left FROM sla_status;
SELECT jsonb_path_query(customer_context(identify('account', 'sla-10')), '$.service_levels[*].state') AS state;
SELECT count(*) AS moved FROM recompute_sla();
SELECT calendar, state, time_left < '0' AS over FROM sla_status;
UPDATE sla_policy SET calendar = NULL, notice_calendar = NULL;
DELETE FROM calendar WHERE calendar = 'sla_bureau';
SELECT calendar, state, time_left FROM sla_status;
ROLLBACK;

-- Explained: what stopped by what held then, what runs by what holds now.
BEGIN;
DELETE FROM sla_clock; DELETE FROM sla_moment; DELETE FROM sla_event;
DELETE FROM sla_policy;
INSERT INTO calendar (calendar, name, time_zone, hours) VALUES ('sla_short', 'Short', 'Europe/Warsaw', 'Mo-Fr 10:00-14:00');
INSERT INTO sla_policy (policy, rank, metric, kind, target, calendar, warn_at) VALUES
	('solve', 2, 'resolution', NULL, '1 day 3 hours', 'sla_short', '30 minutes'), ('order', 1, 'resolution', 'order', '1 hour', NULL, NULL),
	('later', 3, 'resolution', NULL, '9 hours', NULL, NULL), ('answer', 1, 'first_response', NULL, '2 hours', NULL, NULL);
SELECT identify('account', 'sla-7') AS customer \gset
SELECT open_request(:customer, 'complaint', 'branch', subject => 'sla', opened_at => '2026-06-01 12:00') AS request \gset
SELECT pg_temp.becomes('waiting_customer', '2026-06-02 13:00');
SELECT pg_temp.becomes('waiting_agent', '2026-06-03 11:00');
SELECT log_contact('email', :customer, request_id => :request, occurred_at => '2026-06-03 12:00') IS NOT NULL AS logged;
CREATE FUNCTION pg_temp.explained(request bigint) RETURNS TABLE (metric text, step text, policy text, from_at text, to_at text, used interval, note text) LANGUAGE sql AS $$
	SELECT metric, step, policy, to_char(from_at, 'Dy HH24:MI'), to_char(to_at, 'Dy HH24:MI'), used, regexp_replace(note, 'contact \d+', 'contact N') FROM omnichannel.explain_sla(request) ORDER BY place $$;
SELECT * FROM pg_temp.explained(:request);
SELECT pg_temp.becomes('done', '2026-06-03 13:00');
-- The rules change, and what held stays: the target, the winner, then the calendar.
UPDATE sla_policy SET target = '1 hour', calendar = NULL, warn_at = NULL WHERE policy = 'solve';
INSERT INTO sla_policy (policy, rank, metric, target) VALUES ('first', 0, 'resolution', '10 minutes');
SELECT tick_sla('2026-06-03 13:00');
SELECT * FROM pg_temp.explained(:request) WHERE metric = 'resolution';
-- What it was reckoned from is kept for a time, as long as nothing of the customer's is open.
SAVEPOINT busy;
SELECT open_request(:customer, 'order', 'branch', opened_at => '2026-06-03 12:30') > 0 AS opened;
SELECT forget_moments('2026-07-01') AS too_early, forget_moments('2027-08-01') AS still_open;
ROLLBACK TO busy;
SELECT log_contact('branch', :customer, request_id => :request, direction => 'outbound', occurred_at => '2026-06-03 15:00') IS NOT NULL AS answered;
CREATE TEMP TABLE explained_before AS SELECT * FROM pg_temp.explained(:request) WHERE metric NOT IN ('next_response', 'callback');
SELECT forget_moments('2028-06-01') AS forgotten;
SELECT (SELECT count(*) FROM sla_moment) AS kept, (SELECT settled_until IS NOT NULL FROM sla_customer WHERE customer_id = :customer) AS settled;
SELECT metric, step, policy, note FROM (SELECT * FROM pg_temp.explained(:request) WHERE metric NOT IN ('next_response', 'callback') EXCEPT TABLE explained_before) AS changed ORDER BY 1;
-- Opened again after that it goes on with what it had left.
SAVEPOINT settled;
SELECT pg_temp.becomes('waiting_agent', '2026-11-01 12:00');
SELECT metric, policy, pauses, stopped_at IS NULL AS runs FROM sla_clock ORDER BY 1;
ROLLBACK TO settled;
UPDATE sla_setting SET keep_moments = '1 day';
SELECT tick_sla('2026-06-03 13:00'), forget_moments('2026-06-01');
DELETE FROM sla_policy WHERE policy = 'solve';
INSERT INTO calendar_exception (calendar, during, name) VALUES ('sla_short', '[2026-06-02,2026-06-03)', 'Closed');
SELECT * FROM pg_temp.explained(:request) WHERE metric = 'resolution' AND step IN ('policy', 'target', 'due', 'stop');
DELETE FROM calendar WHERE calendar = 'sla_short';
SELECT * FROM pg_temp.explained(:request) WHERE metric = 'resolution' AND step IN ('spell', 'due', 'stop');
ROLLBACK;

-- What was done early used up what it did, and no more: of a spell, and of working days.
BEGIN;
DELETE FROM sla_clock; DELETE FROM sla_moment; DELETE FROM sla_event;
DELETE FROM sla_policy;
INSERT INTO calendar (calendar, name, time_zone, hours) VALUES ('sla_short', 'Short', 'Europe/Warsaw', 'Mo-Fr 10:00-14:00');
INSERT INTO sla_policy (policy, metric, kind, target, calendar) VALUES
	('solve', 'resolution', 'complaint', '9 hours', 'sla_short'), ('days', 'resolution', 'question', '3 days 1 hour', 'sla_short'), ('elapsed', 'resolution', 'order', '9 hours', NULL);
SELECT open_request(identify('account', 'sla-8'), kind, 'branch', subject => 'sla', opened_at => '2026-06-01 12:00') > 0 AS opened FROM unnest('{complaint,question,order}'::text[]) AS kind;
SELECT pg_temp.becomes('done', '2026-06-02 11:00');
SELECT r.kind, e.step, to_char(e.from_at, 'Dy HH24:MI') AS from_at, to_char(e.to_at, 'Dy HH24:MI') AS to_at, e.used, e.note
FROM request AS r, explain_sla(r.request_id) AS e WHERE r.subject = 'sla' AND e.metric = 'resolution' AND e.step IN ('spell', 'due', 'stop') ORDER BY r.kind, e.place;
-- Under another name the calendar is that of the policy; where the policy is gone too, it is known when the clock ran.
UPDATE calendar SET calendar = 'sla_brief' WHERE calendar = 'sla_short';
CREATE FUNCTION pg_temp.days() RETURNS TABLE (step text, from_at text, to_at text, used interval, note text) LANGUAGE sql AS $$
	SELECT e.step, to_char(e.from_at, 'Dy HH24:MI'), to_char(e.to_at, 'Dy HH24:MI'), e.used, e.note FROM omnichannel.request AS r, omnichannel.explain_sla(r.request_id) AS e
	WHERE r.kind = 'question' AND e.metric = 'resolution' AND e.step NOT IN ('start', 'policy', 'target') ORDER BY e.place $$;
SELECT * FROM pg_temp.days();
SAVEPOINT gone;
DELETE FROM sla_policy WHERE policy = 'days';
SELECT * FROM pg_temp.days();
ROLLBACK TO gone;
-- A pause turns what is left of working days into working time; no time is told twice, and none is left out. Opened again,
-- it waits for the customer now.
UPDATE request SET state = 'waiting_agent', state_since = '2026-06-02 12:30' WHERE subject = 'sla';
UPDATE request SET state = 'waiting_customer', state_since = '2026-06-03 10:15' WHERE subject = 'sla';
SELECT * FROM pg_temp.days();
UPDATE request SET state = 'waiting_agent', state_since = '2026-06-04 13:00' WHERE subject = 'sla';
-- Until a change is followed it explains what is kept, and says what follows.
UPDATE sla_policy SET target = '3 days', calendar = NULL WHERE policy = 'days';
SELECT * FROM pg_temp.days();
SELECT count(*) > 0 AS followed FROM recompute_sla();
SELECT * FROM pg_temp.days();
SELECT sum(e.used) FROM request AS r, explain_sla(r.request_id) AS e WHERE r.kind = 'question' AND e.step = 'spell';
INSERT INTO sla_policy (policy, metric, target) VALUES ('answer', 'first_response', '2 hours');
SELECT log_contact('branch', r.customer_id, request_id => r.request_id, occurred_at => '2026-06-04 13:30') > 0 AS logged FROM request AS r WHERE r.kind = 'question';
DELETE FROM sla_policy;
INSERT INTO sla_policy (policy, metric, target) VALUES ('next', 'next_response', '2 hours');
SELECT e.metric, e.step, e.policy, e.note FROM request AS r, explain_sla(r.request_id) AS e
WHERE r.kind = 'question' AND e.step IN ('policy', 'next', 'none') ORDER BY e.place;
ROLLBACK;

-- A policy that is new, or fits more than before: what is open falls under it, what has ended does not.
BEGIN;
DELETE FROM sla_clock; DELETE FROM sla_moment; DELETE FROM sla_event;
INSERT INTO channel (channel, name, medium, opens_request) VALUES ('hotline', 'Hotline', 'voice', false);
DELETE FROM sla_policy;
SELECT identify('account', 'sla-6') AS customer \gset
-- Opened while nothing was promised, and one that was closed.
SELECT open_request(:customer, 'complaint', 'branch', subject => 'early', opened_at => '2026-06-01 09:00') IS NOT NULL AS opened,
	open_request(:customer, 'complaint', 'branch', subject => 'early too', opened_at => '2026-06-01 09:10') IS NOT NULL AS opened;
UPDATE request SET state = 'done' WHERE subject = 'early too';
INSERT INTO sla_policy (policy, rank, metric, kind, target) VALUES ('order', 5, 'resolution', 'order', '1 hour');
DELETE FROM sla_stale;
SELECT open_request(:customer, 'complaint', 'branch', subject => 'sla', opened_at => '2026-06-01 10:00') IS NOT NULL AS opened;
SELECT pg_temp.becomes('waiting_customer', '2026-06-01 11:00');
SELECT pg_temp.mail('inbound', '2026-06-01 12:00', 'x'), pg_temp.mail('outbound', '2026-06-01 12:30', 'x'),
	pg_temp.mail('inbound', '2026-06-01 13:00', 'y'), pg_temp.call('inbound', 'missed', '2026-06-01 14:00');
SELECT * FROM pg_temp.clocks();
-- Not a change, and one that makes no new promises.
UPDATE sla_policy SET target = '1 hour'; UPDATE sla_policy SET target = '2 hours'; UPDATE sla_policy SET target = '1 day'; UPDATE sla_policy SET target = '24 hours';
UPDATE calendar SET name = name; DELETE FROM calendar WHERE false;
SELECT relation, fits_more FROM sla_stale ORDER BY stale_id;
SELECT count(*) FROM recompute_sla();
INSERT INTO sla_policy (policy, rank, metric, target) VALUES ('all', 9, 'resolution', '1 day'), ('answer', 9, 'first_response', '1 hour'), ('back', 9, 'callback', '30 minutes');
SELECT relation, fits_more FROM sla_stale ORDER BY stale_id;
CREATE TEMP TABLE moved AS SELECT * FROM recompute_sla();
SELECT m.metric, m.policy_before, m.policy, m.due_before, to_char(m.due_at, 'Dy HH24:MI') AS due, c.policy AS stored
FROM moved AS m LEFT JOIN sla_clock AS c USING (clock_id) ORDER BY m.metric, m.due_at;
SELECT * FROM pg_temp.clocks();
SELECT count(*) FROM recompute_sla();
-- From now on only; then for all.
UPDATE sla_policy SET valid = '[2026-06-01 12:15,)' WHERE metric <> 'callback';
SELECT tick_sla('2026-06-01 12:00');
SELECT * FROM pg_temp.clocks();
UPDATE sla_policy SET valid = DEFAULT;
SELECT tick_sla('2026-06-01 12:00');
SELECT metric, policy, started, due FROM pg_temp.clocks();
DELETE FROM sla_policy WHERE policy = 'answer';
SELECT metric, policy_before, policy FROM recompute_sla();
ROLLBACK;

-- Merged customers are called back once; taken apart each has a clock again.
BEGIN;
DELETE FROM sla_clock; DELETE FROM sla_moment; DELETE FROM sla_event;
INSERT INTO channel (channel, name, medium, opens_request) VALUES ('hotline', 'Hotline', 'voice', false);
UPDATE sla_policy SET channel = 'hotline' WHERE metric = 'callback';
SELECT pg_temp.call('inbound', 'missed', '2026-06-01 10:00', 'one@example.com');
SELECT pg_temp.call('inbound', 'missed', '2026-06-01 10:20', 'two@example.com');
SELECT started, due, outcome FROM pg_temp.clocks();
SELECT merge_customers(identify('email', 'one@example.com'), identify('email', 'two@example.com')) AS merge \gset
SELECT started, due, outcome FROM pg_temp.clocks();
SAVEPOINT merged;
SELECT pg_temp.call('outbound', 'answered', '2026-06-01 10:50', 'two@example.com');
SELECT started, due, stopped, outcome FROM pg_temp.clocks();
ROLLBACK TO merged;
SELECT unmerge_customers(:merge) IS NOT NULL AS apart;
SELECT started, due, stopped, outcome FROM pg_temp.clocks();
ROLLBACK TO merged;
-- So has who was called meanwhile, whose clock ended; what had ended under rules that are gone stays as it was.
UPDATE sla_policy SET channel = 'forum' WHERE metric = 'first_response';
SELECT pg_temp.mail('inbound', '2026-06-01 09:00', 'a', 'one@example.com'), pg_temp.mail('outbound', '2026-06-01 09:30', 'a', 'one@example.com');
DELETE FROM sla_policy WHERE metric = 'first_response';
INSERT INTO sla_policy (policy, metric, target) VALUES ('solve', 'resolution', '1 hour'), ('next', 'next_response', '1 hour');
SELECT pg_temp.call('outbound', 'answered', '2026-06-01 10:50', 'one@example.com');
SELECT metric, started, due, stopped, outcome FROM pg_temp.clocks();
SELECT unmerge_customers(:merge) IS NOT NULL AS apart;
SELECT metric, started, due, stopped, outcome, customer_root(customer_id) = identify('email', 'one@example.com') AS one FROM pg_temp.clocks() JOIN (SELECT customer_id, metric, to_char(started_at, 'Dy HH24:MI') AS started FROM sla_clock) AS c USING (metric, started);
ROLLBACK;

-- History has no effects.
BEGIN;
DELETE FROM sla_clock; DELETE FROM sla_moment; DELETE FROM sla_event;
INSERT INTO contact (customer_id, channel, occurred_at) SELECT identify('account', 'sla-5'), 'email', '2026-06-01 10:00';
SELECT count(*) FROM sla_moment;
ROLLBACK;

-- Bad policies and arguments are refused.
DO $$
DECLARE
	bad text;
	code text;
BEGIN
	FOREACH bad IN ARRAY ARRAY[
		$s$INSERT INTO omnichannel.sla_policy (policy, metric, target) VALUES ('x', 'happiness', '1 hour')$s$,
		$s$INSERT INTO omnichannel.sla_policy (policy, metric, target) VALUES ('x', 'callback', '-1 hour')$s$,
		$s$INSERT INTO omnichannel.sla_policy (policy, metric, target) VALUES ('x', 'callback', '1 month')$s$,
		$s$INSERT INTO omnichannel.sla_policy (policy, metric, target) VALUES ('x', 'callback', '1 day -30 hours')$s$,
		$s$INSERT INTO omnichannel.sla_policy (policy, metric, target) VALUES ('x', 'callback', '2 days -30 hours')$s$,
		$s$INSERT INTO omnichannel.sla_policy (policy, metric, target) VALUES ('x', 'callback', NULL)$s$,
		$s$INSERT INTO omnichannel.sla_policy (policy, metric, target, warn_at) VALUES ('x', 'callback', '1 hour', '0')$s$,
		$s$INSERT INTO omnichannel.sla_policy (policy, metric, target, calendar) VALUES ('y', 'callback', '1 hour', 'nowhere')$s$,
		$s$INSERT INTO omnichannel.sla_policy (policy, metric, target, channel) VALUES ('y', 'callback', '1 hour', 'pigeon')$s$,
		$s$INSERT INTO omnichannel.sla_policy (policy, metric, target, queue) VALUES ('y', 'callback', '1 hour', 'nowhere')$s$,
		$s$INSERT INTO omnichannel.sla_policy (policy, metric, target, segment) VALUES ('y', 'callback', '1 hour', 'nobody')$s$,
		$s$INSERT INTO omnichannel.sla_policy (policy, metric, target, valid) VALUES ('x', 'callback', '1 hour', 'empty')$s$,
		$s$INSERT INTO omnichannel.sla_policy (policy, metric, target) VALUES ('with space', 'callback', '1 hour')$s$,
		$s$INSERT INTO omnichannel.sla_policy (policy, metric, target) VALUES ('email', 'callback', '1 hour')$s$,
		$s$UPDATE omnichannel.sla_setting SET notify_channel = 'Two Words'$s$,
		$s$UPDATE omnichannel.sla_setting SET keep_moments = '0'$s$,
		$s$UPDATE omnichannel.sla_setting SET keep_moments = '-1 year'$s$,
		$s$DELETE FROM omnichannel.calendar WHERE calendar = 'office'$s$,
		$s$SELECT omnichannel.recompute_sla(-1)$s$,
		$s$SELECT omnichannel.customers_regrouped('{NULL}')$s$]
	LOOP
		BEGIN
			EXECUTE bad;
			RAISE NOTICE 'accepted: %', bad;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE;
			RAISE NOTICE '% %', code, substr(bad, 1, 110);
		END;
	END LOOP;
END
$$;

-- A policy without a target is told what a target is.
SELECT public.raised($$INSERT INTO omnichannel.sla_policy (policy, metric) VALUES ('x', 'callback')$$);
-- Nothing is due at no time.
SELECT public.raised($$SELECT omnichannel.tick_sla('infinity')$$);
SELECT public.raised($$SELECT omnichannel.forget_moments('-infinity')$$);

-- Who has no right on the tables gets no answer and moves nothing.
CREATE ROLE regress_sla_nobody;
GRANT USAGE ON SCHEMA omnichannel TO regress_sla_nobody;
SET ROLE regress_sla_nobody;
SELECT recompute_sla();
SELECT tick_sla();
SELECT count(*) FROM sla_status;
RESET ROLE;
REVOKE USAGE ON SCHEMA omnichannel FROM regress_sla_nobody;
DROP ROLE regress_sla_nobody;
