-- Tracked tables in every kind of statement: each row is one contact, what is rolled back leaves nothing.
\set SHOW_CONTEXT never
\set ON_ERROR_ROLLBACK on
BEGIN;
INSERT INTO omnichannel.agent (name) VALUES ('Statement A') RETURNING agent_id AS a \gset
CREATE TABLE st_mail (id int PRIMARY KEY, who text, th text, txt text, at timestamptz DEFAULT '2026-03-01 10:00+00', agent bigint);
CREATE TABLE st_call (id int PRIMARY KEY, who text, th text, txt text, at timestamptz DEFAULT '2026-03-01 10:00+00', agent bigint);
SELECT omnichannel.track('st_mail', channel => 'email', customer => '{who}', kind => 'email', thread => '{th}', body => '{txt}', occurred_at => '{at}', agent => '{agent}', updates => true, source => 'st') > '',
	omnichannel.track('st_call', channel => 'phone', customer => '{who}', kind => 'email', thread => '{th}', body => '{txt}', occurred_at => '{at}', agent => '{agent}', updates => true, source => 'st', source_key => 'call/{id}') > '';
CREATE TEMP VIEW st AS SELECT source_key, (SELECT split_part(value, '@', 1) FROM omnichannel.identity AS i WHERE i.customer_id = coalesce(k.merged_into, k.customer_id)) AS who, thread, dense_rank() OVER (ORDER BY request_id) AS request, body, agent_id = :a AS a
FROM omnichannel.contact AS c JOIN omnichannel.customer AS k USING (customer_id) WHERE source = 'st' ORDER BY 1;
CREATE TEMP VIEW st_sums AS SELECT (SELECT count(*) FROM omnichannel.contact WHERE source = 'st') AS contacts, (SELECT count(*) FROM omnichannel.contact_key WHERE source = 'st') AS keys,
	(SELECT count(*) FROM omnichannel.request AS r WHERE EXISTS (SELECT FROM omnichannel.customer AS k JOIN omnichannel.contact AS c USING (customer_id) WHERE k.customer_id = r.customer_id AND c.source = 'st')) AS requests,
	(SELECT sum(contacts) FROM omnichannel.relationship WHERE agent_id = :a) AS counted, (SELECT count(*) FROM omnichannel.contact WHERE source = 'st' AND agent_id = :a) AS with_agent,
	(SELECT count(*) FROM omnichannel.thread WHERE source = 'st') AS threads;

-- Several tables in one statement, which share a conversation
WITH mail AS (INSERT INTO st_mail (id, th, txt) VALUES (1, 'S1', 'nobody yet') RETURNING *), call AS (INSERT INTO st_call (id, who, th, txt, agent) SELECT id, 'sue@st.test', th, 'called', :a FROM mail RETURNING *)
INSERT INTO st_mail (id, who, th, txt) SELECT id + 10, NULL, th, 'after the call' FROM call;
SELECT * FROM st;
WITH moved AS (DELETE FROM st_mail WHERE id = 11 RETURNING *) INSERT INTO st_call SELECT id, who, th, txt, at, agent FROM moved;
SELECT count(*) FROM st;

-- INSERT ... ON CONFLICT DO UPDATE: new rows and changed ones in one statement, twice
INSERT INTO st_mail (id, who, txt, agent) VALUES (1, 'sue@st.test', 'a', NULL), (2, 'tom@st.test', 'a', :a), (3, 'tom@st.test', 'a', :a)
ON CONFLICT (id) DO UPDATE SET who = excluded.who, txt = excluded.txt, agent = excluded.agent;
INSERT INTO st_mail (id, who, txt, agent) VALUES (3, 'tom@st.test', 'b', NULL), (4, 'tom@st.test', 'b', NULL), (2, 'tom@st.test', 'b', :a)
ON CONFLICT (id) DO UPDATE SET who = excluded.who, txt = excluded.txt, agent = excluded.agent;
INSERT INTO st_mail (id, who, txt) VALUES (4, 'tom@st.test', 'c') ON CONFLICT (id) DO UPDATE SET txt = 'never' WHERE false;
INSERT INTO st_mail (id, who, txt) VALUES (4, 'tom@st.test', 'c'), (5, 'tom@st.test', 'c') ON CONFLICT DO NOTHING;
SELECT source_key, who, body, a FROM st WHERE source_key <= '5';
SELECT * FROM st_sums;

-- MERGE: inserts, updates and deletes
MERGE INTO st_mail AS m USING (VALUES (2, 'd', NULL), (3, 'd', :a), (6, 'd', :a), (5, NULL, NULL)) AS v (id, txt, agent) ON m.id = v.id
WHEN MATCHED AND v.txt IS NULL THEN DELETE
WHEN MATCHED THEN UPDATE SET txt = v.txt, agent = v.agent
WHEN NOT MATCHED THEN INSERT (id, who, txt, agent) VALUES (v.id, 'uma@st.test', v.txt, v.agent);
SELECT source_key, who, body, a FROM st WHERE source_key <= '6';
SELECT * FROM st_sums;

-- Subtransactions that take part of it back
SAVEPOINT one;
INSERT INTO st_mail (id, th, txt) VALUES (20, 'S2', 'kept?');
SAVEPOINT two;
INSERT INTO st_mail (id, who, th, txt, agent) VALUES (21, 'vic@st.test', 'S2', 'vic', :a);
UPDATE st_mail SET agent = :a WHERE id = 4;
ROLLBACK TO two;
INSERT INTO st_mail (id, who, th, txt) VALUES (22, 'will@st.test', 'S2', 'will');
RELEASE one;
INSERT INTO st_mail (id, who, th, txt) VALUES (23, 'vic@st.test', 'S2', 'vic');
DO $$ BEGIN
	FOR i IN 30..35 LOOP
		BEGIN
			INSERT INTO st_mail (id, who, th) VALUES (i, 'xena@st.test', 'S3'), (i + 100, NULL, 'S3');
			IF i % 2 = 0 THEN RAISE division_by_zero; END IF;
		EXCEPTION WHEN division_by_zero THEN NULL;
		END;
	END LOOP;
END $$;
SELECT source_key, who, thread, request = min(request) OVER (PARTITION BY thread) AS first_request FROM st WHERE source_key >= '13' AND source_key < '4' ORDER BY 1;
SELECT * FROM st_sums;

-- A trigger of the application's own that writes another tracked table
CREATE FUNCTION st_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO st_call (id, who, th, txt) VALUES (new.id + 1000, new.who, new.th, 'noted'); RETURN NULL; END $$;
CREATE TRIGGER a_note AFTER INSERT ON st_mail FOR EACH ROW EXECUTE FUNCTION st_note();
INSERT INTO st_mail (id, who, th) VALUES (40, NULL, 'S4'), (41, 'yves@st.test', 'S4'), (42, NULL, 'S4');
SELECT source_key, who, thread, dense_rank() OVER (ORDER BY request) AS request FROM st WHERE thread = 'S4' ORDER BY 1;

-- Where a replica applies rows, only what was asked for is logged
SET LOCAL session_replication_role = replica;
INSERT INTO st_mail (id, who) VALUES (50, 'zoe@st.test');
UPDATE st_mail SET txt = 'replicated' WHERE id = 4;
SET LOCAL session_replication_role = origin;
SELECT omnichannel.track('st_mail', channel => 'email', customer => '{who}', kind => 'email', thread => '{th}', body => '{txt}', occurred_at => '{at}', agent => '{agent}', updates => true, source => 'st', on_replica => true) > '' AS tracked;
SET LOCAL session_replication_role = replica;
INSERT INTO st_mail (id, who, th, agent) VALUES (51, NULL, 'S5', :a), (52, 'zoe@st.test', 'S5', :a);
UPDATE st_mail SET txt = 'replicated' WHERE id = 4;
SET LOCAL session_replication_role = origin;
SELECT source_key, who, thread, body, a FROM st WHERE source_key IN ('4', '50', '51', '52');
SELECT * FROM st_sums;
SELECT count(*) AS of_nobody FROM omnichannel.contact AS c LEFT JOIN omnichannel.customer AS k USING (customer_id) WHERE k.customer_id IS NULL;
ROLLBACK;
