-- Rows that change after they were logged: who dealt with it, and who it was.
\set SHOW_CONTEXT never
\set ON_ERROR_ROLLBACK on
BEGIN;
INSERT INTO omnichannel.agent (name) VALUES ('Revised A') RETURNING agent_id AS a \gset
INSERT INTO omnichannel.agent (name) VALUES ('Revised B') RETURNING agent_id AS b \gset
CREATE TABLE revise_call (id int PRIMARY KEY, src text, res text, agent bigint, at timestamptz);
SELECT omnichannel.track('revise_call', channel => 'phone', customer => '{src}', kind => 'phone', outcome => '{res}', agent => '{agent}', occurred_at => '{at}', updates => true) > '' AS tracked;
CREATE TEMP VIEW known AS SELECT agent_id = :a AS a, contacts, strength::numeric(8, 6), aged_at, first_at, last_at FROM omnichannel.relationship WHERE agent_id IN (:a, :b) ORDER BY agent_id;

-- One contact is counted once, with the agent that it names now.
INSERT INTO revise_call VALUES (1, '601234101', 'answered', :a, '2026-03-01 10:00+00');
UPDATE revise_call SET agent = :b;
SELECT * FROM known;
UPDATE revise_call SET agent = :a;
UPDATE revise_call SET agent = :b;
SELECT * FROM known;
UPDATE revise_call SET agent = NULL;
SELECT * FROM known;
UPDATE revise_call SET agent = :a, at = '2026-06-01 10:00+00';
SELECT * FROM known;
UPDATE revise_call SET res = 'voicemail';
UPDATE revise_call SET agent = -1;
SELECT * FROM known;
-- What is left is as strong as if the others had never been counted.
UPDATE revise_call SET agent = NULL;
INSERT INTO revise_call VALUES (2, '601234101', 'answered', :a, '2026-03-01 10:00+00'), (3, '601234101', 'answered', :b, '2026-03-11 10:00+00'),
	(4, '601234101', 'answered', :b, '2026-03-21 10:00+00'), (5, '601234101', 'answered', :a, '2026-03-21 10:00+00'), (6, '601234101', 'answered', :b, '2026-03-01 10:00+00');
UPDATE revise_call SET agent = :a + :b - agent WHERE id IN (3, 6);
SELECT * FROM known;
SELECT * FROM known AS k, LATERAL (SELECT sum(exp(-ln(2) * extract(epoch FROM k.aged_at - c.at) / extract(epoch FROM interval '180 days')))::numeric(8, 6) AS reckoned
	FROM revise_call AS c WHERE (c.agent = :a) = k.a) AS r WHERE k.strength <> r.reckoned;
ROLLBACK;

-- A caller whose number comes later
BEGIN;
INSERT INTO omnichannel.agent (name) VALUES ('Revised A') RETURNING agent_id AS a \gset
CREATE TABLE revise_call (id int PRIMARY KEY, src text, res text, agent bigint, at timestamptz, thread text);
SELECT omnichannel.track('revise_call', channel => 'phone', customer => '{src}', kind => 'phone', outcome => '{res}', agent => '{agent}', occurred_at => '{at}', thread => '{thread}', updates => true) > '' AS tracked;
CREATE FUNCTION pg_temp.who(number text) RETURNS bigint LANGUAGE sql AS $$ SELECT omnichannel.identify('phone', number, "create" => false) $$;
CREATE TEMP VIEW logged AS SELECT c.source_key, coalesce(m.merged_into, m.customer_id) = pg_temp.who('601234102') AS eve, m.merged_into IS NOT NULL AS merged,
	EXISTS (SELECT FROM omnichannel.identity AS i WHERE i.customer_id = m.customer_id) AS identified, c.outcome
FROM omnichannel.contact AS c JOIN omnichannel.customer AS m USING (customer_id) WHERE c.source = 'public.revise_call' ORDER BY 1;
SELECT omnichannel.identify('phone', '601234102') > 0 AS eve;
INSERT INTO revise_call VALUES (1, NULL, 'missed', NULL, now() - interval '10 minutes', NULL);
SELECT * FROM logged;
UPDATE revise_call SET src = '601 234 102', agent = :a;
SELECT * FROM logged;
SELECT count(*) AS contacts FROM omnichannel.timeline(pg_temp.who('601234102'));
SELECT kind, channel, state FROM omnichannel.open_requests(pg_temp.who('601234102'));
SELECT metric, count(*) FROM omnichannel.sla_status WHERE customer_id = ANY (omnichannel.customer_group(pg_temp.who('601234102'))) GROUP BY 1 ORDER BY 1;
SELECT omnichannel.customer_context(pg_temp.who('601234102')) -> 'best_agent' ->> 'name' AS best;
-- Once she is known, neither nobody nor somebody else takes it from her.
UPDATE revise_call SET src = NULL;
UPDATE revise_call SET src = '601234103';
SELECT * FROM logged;
-- A number that nobody had
INSERT INTO revise_call VALUES (2, '', 'missed', NULL, now(), NULL);
UPDATE revise_call SET src = '601234104' WHERE id = 2;
SELECT count(*) AS contacts FROM omnichannel.timeline(pg_temp.who('601234104'));
-- The nameless one was called back in the meantime, and called again: all of that was the one who it turned out to be.
INSERT INTO revise_call VALUES (3, NULL, 'missed', NULL, now() - interval '5 minutes', 'call 3'), (4, NULL, 'voicemail', NULL, now() - interval '4 minutes', 'call 3');
SELECT omnichannel.log_contact('phone', customer_id => customer_id, direction => 'outbound', outcome => 'answered', agent_id => :a) > 0 AS called_back
FROM omnichannel.contact WHERE source = 'public.revise_call' AND source_key = '3';
UPDATE revise_call SET src = '601234104' WHERE id = 4;
SELECT outcome, thread FROM omnichannel.timeline(pg_temp.who('601234104')) ORDER BY occurred_at;
-- One who got a name, or an address, is known: whoever is named later is for merge_customers() to say.
INSERT INTO revise_call VALUES (5, NULL, 'missed', NULL, now(), NULL), (6, NULL, 'missed', NULL, now(), NULL);
UPDATE omnichannel.customer SET name = 'Mr Five' WHERE customer_id = (SELECT customer_id FROM omnichannel.contact WHERE source = 'public.revise_call' AND source_key = '5');
SELECT omnichannel.link_identity(customer_id, 'email', 'six@revise.test') IS NOT NULL AS linked FROM omnichannel.contact WHERE source = 'public.revise_call' AND source_key = '6';
UPDATE revise_call SET src = '601234102' WHERE id IN (5, 6);
SELECT * FROM logged;
-- It can be undone, for good.
SELECT reason, count(omnichannel.unmerge_customers(merge_id)) FROM omnichannel.customer_merge WHERE kept_id = pg_temp.who('601234102') GROUP BY 1;
UPDATE revise_call SET src = '601234102', res = 'abandoned' WHERE id = 1;
SELECT count(*) AS contacts FROM omnichannel.timeline(pg_temp.who('601234102'));
ROLLBACK;
