-- Many contacts in one statement do what the same contacts do one by one.
\set SHOW_CONTEXT never
SET search_path = public;
SET client_min_messages = warning;
BEGIN;
INSERT INTO omnichannel.agent (name) VALUES ('Batch A') RETURNING agent_id AS a \gset
INSERT INTO omnichannel.agent (name) VALUES ('Batch B') RETURNING agent_id AS b \gset
CREATE TABLE batch_mail (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, sender text, channel text, direction text, outcome text,
	thread text, agent bigint, sent timestamptz);
SELECT omnichannel.track('batch_mail', channel => '{channel}', customer => '{sender}', kind => 'email', direction => '{direction}',
	outcome => '{outcome}', thread => '{thread}', agent => '{agent}', occurred_at => '{sent}') IS NOT NULL AS tracked;

-- Twelve customers: with threads and without, answered or not, calls missed and returned
CREATE TEMP TABLE batch_input AS
SELECT step, 'c' || c AS sender, channel, direction, outcome, thread || c AS thread,
	CASE agent WHEN 'a' THEN :a WHEN 'b' THEN :b END AS agent, sent::timestamptz + c * interval '7 minutes' AS sent
FROM generate_series(1, 12) AS c CROSS JOIN (VALUES
	(1, 0, 'email', 'inbound', NULL, 'x', 'a', '2026-07-01 10:00+02'),
	(1, 0, 'email', 'inbound', NULL, 'x', 'a', '2026-07-01 11:00+02'),
	(1, 0, 'email', 'inbound', NULL, 'y', NULL, '2026-07-01 12:00+02'),
	(1, 2, 'email', 'outbound', NULL, 'x', 'a', '2026-07-01 15:00+02'),
	(1, 2, 'email', 'inbound', NULL, 'x', 'b', '2026-07-02 09:00+02'),
	(1, 3, 'phone', 'inbound', 'missed', NULL, NULL, '2026-07-02 10:00+02'),
	(1, 3, 'email', 'inbound', NULL, NULL, 'b', '2026-07-02 11:00+02'),
	-- what comes when the clocks run
	(2, 0, 'email', 'inbound', NULL, 'x', 'a', '2026-07-06 09:00+02'),
	(2, 0, 'email', 'inbound', NULL, 'z', 'b', '2026-07-06 09:00+02'),
	(2, 3, 'phone', 'outbound', 'answered', NULL, 'a', '2026-07-06 09:30+02'),
	(2, 2, 'email', 'outbound', NULL, 'y', 'b', '2026-07-06 10:00+02'),
	-- and what comes late
	(3, 0, 'email', 'outbound', NULL, 'x', 'a', '2026-07-03 10:00+02'),
	(3, 0, 'email', 'outbound', NULL, 'y', 'b', '2026-06-01 10:00+02'),
	(3, 2, 'email', 'outbound', NULL, 'z', 'b', '2026-07-07 10:00+02')) AS v (step, every, channel, direction, outcome, thread, agent, sent)
WHERE every = 0 OR c % every = 0;

DO $$
DECLARE
	one record;
BEGIN
	FOR one IN SELECT * FROM batch_input ORDER BY step, sent, sender, thread LOOP
		INSERT INTO batch_mail (sender, channel, direction, outcome, thread, agent, sent)
		VALUES (one.sender || '@one.test', one.channel, one.direction, one.outcome, 'one ' || one.thread, one.agent, one.sent);
	END LOOP;
	FOR now_step IN 1..3 LOOP
		INSERT INTO batch_mail (sender, channel, direction, outcome, thread, agent, sent)
		SELECT sender || '@all.test', channel, direction, outcome, 'all ' || thread, agent, sent
		FROM batch_input WHERE step = now_step ORDER BY sent DESC, sender;
	END LOOP;
END
$$;

CREATE TEMP VIEW batch_clock AS
SELECT split_part(i.value, '@', 2) AS way, split_part(i.value, '@', 1) AS who, c.metric, c.policy, c.channel, substr(c.thread, 5) AS thread,
	c.request_id IS NULL AS loose, c.started_at, c.due_at, c.time_left, c.pauses, c.stopped_at, c.outcome, c.elapsed, c.worked, c.warn_at, c.tell_at
FROM omnichannel.sla_clock AS c JOIN omnichannel.identity AS i USING (customer_id) WHERE i.value LIKE 'c%@%.test';
CREATE TEMP VIEW batch_relationship AS
SELECT split_part(i.value, '@', 2) AS way, split_part(i.value, '@', 1) AS who, r.agent_id, r.contacts, round(r.strength::numeric, 9) AS strength,
	r.aged_at, r.first_at, r.last_at
FROM omnichannel.relationship AS r JOIN omnichannel.identity AS i USING (customer_id) WHERE r.agent_id IN (:a, :b);

SELECT way, metric, outcome, count(*) FROM batch_clock GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
SELECT to_jsonb(c) - 'way' AS differs, count(*), min(way) FROM batch_clock AS c GROUP BY 1 HAVING count(*) FILTER (WHERE way = 'one.test') <> count(*) FILTER (WHERE way = 'all.test');
SELECT way, agent_id = :a AS a, sum(contacts), round(sum(strength), 6) AS strength, count(*) FROM batch_relationship GROUP BY 1, 2 ORDER BY 1, 2 DESC;
SELECT to_jsonb(r) - 'way' AS differs, count(*), min(way) FROM batch_relationship AS r GROUP BY 1 HAVING count(*) <> 2;

-- An agent whom nobody knows: nothing of the statement stays.
SAVEPOINT wrong;
INSERT INTO batch_mail (sender, channel, direction, agent, sent) VALUES
	('c1@all.test', 'email', 'inbound', :a, '2026-07-08 10:00+02'), ('c2@all.test', 'email', 'inbound', -1, '2026-07-08 10:00+02'),
	('c3@all.test', 'email', 'inbound', -2, '2026-07-08 10:00+02');
ROLLBACK TO wrong;
ROLLBACK;
