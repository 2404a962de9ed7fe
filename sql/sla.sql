-- Service levels: what contacts and requests do to clocks, what is told, and what happens when rules change.
\set SHOW_CONTEXT never
SET timezone = 'Europe/Warsaw';
SET search_path = omnichannel, public;
SELECT policy, rank, metric, channel, target, calendar, warn_at, notice_calendar FROM sla_policy ORDER BY 1;
BEGIN;
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

-- Without a thread each unanswered contact is a conversation of its own; an answered call needs no answer.
BEGIN;
CREATE FUNCTION pg_temp.clocks() RETURNS TABLE (metric text, policy text, started text, due text, "left" interval, stopped text, outcome text, pauses int, elapsed interval, worked interval)
LANGUAGE sql AS $$
	SELECT metric, policy, to_char(started_at, 'Dy HH24:MI'), to_char(due_at, 'Dy HH24:MI'), time_left, to_char(stopped_at, 'Dy HH24:MI'),
		outcome, (SELECT count(*) FROM unnest(pauses))::int, elapsed, worked
	FROM omnichannel.sla_clock ORDER BY started_at, metric, clock_id
$$;
INSERT INTO channel (channel, name, medium, opens_request) VALUES ('hotline', 'Hotline', 'voice', false);
DELETE FROM sla_policy;
INSERT INTO sla_policy (policy, rank, metric, channel, target, calendar) VALUES
	('first', 1, 'first_response', NULL, '2 hours', NULL), ('next', 1, 'next_response', NULL, '1 hour', NULL), ('back', 1, 'callback', NULL, '1 day', 'office');
SELECT log_contact('forum', customer_id => NULL, kind => 'account', value => 'sla-1', direction => d, outcome => o, channel => c, occurred_at => a::timestamptz) IS NOT NULL AS logged
FROM (VALUES ('forum', 'inbound', NULL, '2026-06-01 10:00'), ('forum', 'outbound', NULL, '2026-06-01 10:30'), ('forum', 'inbound', NULL, '2026-06-01 12:00'),
	('hotline', 'inbound', 'answered', '2026-06-01 13:00'), ('hotline', 'inbound', 'abandoned', '2026-06-01 14:00'), ('hotline', 'outbound', 'busy', '2026-06-01 15:00'),
	('hotline', 'inbound', 'answered', '2026-06-01 15:30')) AS x (c, d, o, a);
ROLLBACK;
