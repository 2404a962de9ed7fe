-- Personal data: known table by table, handed over, erased everywhere.
\set SHOW_CONTEXT never
-- Each table stands in the registry, and each entry is a table. For a new one: see personal_data().
SELECT relname AS not_in_the_registry FROM pg_catalog.pg_class
WHERE relnamespace = 'omnichannel'::regnamespace AND relkind IN ('r', 'p', 'm') AND NOT relispartition AND relname NOT LIKE 'cache\_%'
EXCEPT SELECT relation FROM omnichannel.personal_data() ORDER BY 1;
SELECT relation AS not_a_table FROM omnichannel.personal_data() WHERE to_regclass('omnichannel.' || relation) IS NULL ORDER BY 1;
SELECT relation AS twice FROM omnichannel.personal_data() GROUP BY 1 HAVING count(*) > 1;
-- Columns that stay but are not there (renamed or dropped).
SELECT relation, column_name AS kept_but_not_there FROM omnichannel.personal_data(), unnest(kept) AS column_name
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = ('omnichannel.' || relation)::regclass AND attname = column_name AND attnum > 0);
-- Every other column of a table about customers is erased. A new column shows here: is it personal, or does it go to kept?
SELECT relation, string_agg(attname, ', ' ORDER BY attnum) AS erased
FROM omnichannel.personal_data()
JOIN pg_catalog.pg_attribute ON attrelid = ('omnichannel.' || relation)::regclass AND attnum > 0 AND NOT attisdropped
WHERE on_erasure = 'blank' AND attname <> ALL (kept)
GROUP BY relation ORDER BY relation;
-- Tables that say nothing of customers: no column leads to one, and those about requests have no other column.
SELECT relation, attname AS leads_to_customers
FROM omnichannel.personal_data()
JOIN pg_catalog.pg_attribute ON attrelid = ('omnichannel.' || relation)::regclass AND attnum > 0 AND NOT attisdropped
WHERE on_erasure = 'none' AND (attname LIKE '%customer\_id%' OR kept IS NULL AND attname IN ('request_id', 'contact_id') OR attname <> ALL (kept)
	OR EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE contype = 'f' AND conrelid = attrelid AND attnum = ANY (conkey)
		AND confrelid IN ('omnichannel.customer'::regclass, 'omnichannel.identity'::regclass, 'omnichannel.request'::regclass)))
ORDER BY 1, 2;

BEGIN;
SET LOCAL TIME ZONE 'UTC';
SET LOCAL datestyle = 'ISO, YMD';
-- Where a text is found: every column of every table, view and partition of the schema.
CREATE FUNCTION pg_temp.traces(VARIADIC texts text[]) RETURNS TABLE (place text, rows bigint) LANGUAGE plpgsql AS $$
DECLARE searched record; hits bigint;
BEGIN
	FOR searched IN
		SELECT relname, attname FROM pg_catalog.pg_class JOIN pg_catalog.pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
		WHERE relnamespace = 'omnichannel'::regnamespace AND relkind IN ('r', 'p', 'v', 'm') AND NOT relispartition ORDER BY 1, 2
	LOOP
		EXECUTE format('SELECT count(*) FROM omnichannel.%I WHERE EXISTS (SELECT FROM unnest($1) AS t WHERE strpos(lower(%I::text), lower(t)) > 0)',
			searched.relname, searched.attname) INTO hits USING texts;
		IF hits > 0 THEN
			place := searched.relname || '.' || searched.attname; rows := hits; RETURN NEXT;
		END IF;
	END LOOP;
END
$$;
INSERT INTO omnichannel.agent (agent_id, name) VALUES (9201, 'Ewa');
INSERT INTO omnichannel.segment (segment) VALUES ('regress.gold');
INSERT INTO omnichannel.customer (customer_id, created_at) SELECT id, '2025-01-01 00:00+00' FROM generate_series(9201, 9204) AS id;
-- one person under three ids, and a bystander
SELECT omnichannel.set_customer(9201, 'Zoraida Quillfeather', '1971-02-03', 'eo', 'phone'), omnichannel.set_customer(9202, 'Z. Quillfeather');
SELECT omnichannel.link_identity(9201, 'email', 'zq@quill.example', true), omnichannel.link_identity(9202, 'phone', '601 920 201'),
	omnichannel.link_identity(9203, 'account', 'ZQ-4711', true), omnichannel.link_identity(9204, 'email', 'bystander@example.com');
SELECT omnichannel.remember(9202, 'pet', '"a parrot named Quillfeather"', 'zq@quill.example', '2026-01-01 00:00+00') IS NOT NULL AS fact,
	omnichannel.give_consent(9203, 'marketing', proof => '{"signed": "Zoraida Quillfeather"}', source => 'shop', since => '2026-01-01 00:00+00') IS NOT NULL AS consent,
	omnichannel.remember(9204, 'pet', '"a cat"') IS NOT NULL AS of_another;
SELECT omnichannel.merge_customers(9202, 9203, 'Quillfeather said so') IS NOT NULL AS merged, omnichannel.merge_customers(9201, 9202) IS NOT NULL AS merged;
ALTER TABLE omnichannel.request ALTER request_id RESTART WITH 9221;
-- in quarantine, because the outcome is none
CREATE TABLE regress_letter (id int PRIMARY KEY, "from" text, outcome text);
SELECT omnichannel.track('regress_letter', channel => 'post', kind => 'email', customer => '{from}', outcome => '{outcome}', on_error => 'quarantine');
INSERT INTO regress_letter VALUES (1, 'Zoraida Quillfeather <ZQ@quill.example>', 'lost'), (2, 'bystander@example.com', 'lost');
INSERT INTO omnichannel.segment_member (customer_id, segment) VALUES (9202, 'regress.gold'), (9204, 'regress.gold');
INSERT INTO omnichannel.promotion (promotion, name, kind, value) VALUES ('regress.privacy', 'Tenth', 'percent', 10);
INSERT INTO omnichannel.request (request_id, customer_id, kind, channel, subject, data, opened_at) VALUES
	(9201, 9202, 'complaint', 'email', 'The parrot of Quillfeather', '{"from": "zq@quill.example"}', '2026-01-01 00:00+00'),
	(9204, 9204, 'complaint', 'email', 'The cat', '{"from": "bystander@example.com"}', '2026-01-01 00:00+00');
SELECT count(omnichannel.log_contact('email', customer_id => customer, agent_id => 9201, request_id => 9201, occurred_at => '2026-01-02 00:00+00', thread => thread,
	subject => 'Quillfeather', body => 'Yours, Zoraida Quillfeather', payload => '{"to": ["zq@quill.example"]}', source => 'regress.mail', source_key => key))
FROM (VALUES (9201, 'zq@quill.example/1', '17'), (9202, NULL, '18'), (9203, NULL, 'zq@quill.example:19'), (9203, NULL, 'n-601920201')) AS said (customer, thread, key);
SELECT omnichannel.log_contact('email', customer_id => 9204, request_id => 9204, occurred_at => '2026-01-03 00:00+00', body => 'My cat', source => 'regress.mail', source_key => '20') IS NOT NULL AS of_another;
-- what the company added itself is erased too
ALTER TABLE omnichannel.customer ADD COLUMN nickname text;
UPDATE omnichannel.customer SET nickname = 'Quillfeather' WHERE customer_id = 9203;
CREATE TABLE omnichannel.contact_2025 PARTITION OF omnichannel.contact FOR VALUES FROM ('2025-06-01 00:00+00') TO ('2025-07-01 00:00+00');
SELECT omnichannel.log_contact('branch', customer_id => 9201, occurred_at => '2025-06-15 00:00+00', body => 'Quillfeather called') IS NOT NULL AS older;

-- (service levels keep their own copies of threads)
SELECT * FROM pg_temp.traces('quill', 'zoraida', '601920201', 'zq-4711', 'parrot', '1971-02-03') WHERE split_part(place, '.', 1) IN (SELECT relation FROM omnichannel.personal_data() WHERE relation NOT LIKE 'sla\_%');

-- Handed over: all rows, of all ids.
SELECT jsonb_object_agg(key, jsonb_array_length(value)) FROM jsonb_each(omnichannel.export_customer(9203) -> 'data') WHERE value <> '[]' AND key NOT LIKE 'sla\_%';
SELECT omnichannel.export_customer(9203) -> 'customer_id' AS customer_id, omnichannel.export_customer(9203) -> 'merged' AS merged;
SELECT jsonb_path_query_array(omnichannel.export_customer(9201), '$.data.identity[*].value') AS identities,
	jsonb_path_query_array(omnichannel.export_customer(9201), '$.data.fact[*].value') AS facts,
	jsonb_path_query_array(omnichannel.export_customer(9201), '$.data.contact[*].body') AS bodies,
	omnichannel.export_customer(9201)::text LIKE '%bystander%' AS of_others;

-- Not while somebody still waits for an answer.
SELECT raised($$SELECT omnichannel.erase_customer(9203)$$);
UPDATE omnichannel.request SET state = 'done' WHERE customer_id IN (9201, 9202, 9203) AND closed_at IS NULL;
CREATE TEMP TABLE before ON COMMIT DROP AS
SELECT (SELECT count(*) FROM omnichannel.contact) AS contacts, (SELECT count(*) FROM omnichannel.request) AS requests,
	(SELECT count(*) FROM omnichannel.customer) AS customers, (SELECT count(*) FROM omnichannel.segment_member) AS members;
SELECT jsonb_object_agg(key, value) AS erased FROM jsonb_each(omnichannel.erase_customer(9203)) WHERE key NOT LIKE 'sla\_%';
-- not a trace; what was there of the bystander still is
SELECT * FROM pg_temp.traces('quill', 'zoraida', '601920201', 'zq-4711', 'parrot', '1971-02-03');
SELECT * FROM pg_temp.traces('bystander', 'cat"', 'regress.mail') WHERE split_part(place, '.', 1) IN (SELECT relation FROM omnichannel.personal_data() WHERE relation NOT LIKE 'sla\_%');
-- counts are the same
SELECT before = ROW((SELECT count(*) FROM omnichannel.contact), (SELECT count(*) FROM omnichannel.request),
	(SELECT count(*) FROM omnichannel.customer), (SELECT count(*) FROM omnichannel.segment_member))::record AS counts_kept FROM before;
SELECT customer_id, merged_into, erased_at = now() AS erased, created_at FROM omnichannel.customer WHERE customer_id BETWEEN 9201 AND 9204 ORDER BY 1;
SELECT customer_id, occurred_at, channel, agent_id, request_id, source, source_key FROM omnichannel.contact WHERE customer_id BETWEEN 9201 AND 9204 ORDER BY contact_id;
SELECT request_id, kind, state, channel, subject, data FROM omnichannel.request WHERE request_id IN (9201, 9204) ORDER BY 1;
SELECT customer_id, purpose, granted, since, proof, source FROM omnichannel.consent WHERE customer_id = 9203;
SELECT jsonb_object_agg(key, jsonb_array_length(value)) FROM jsonb_each(omnichannel.export_customer(9201) -> 'data') WHERE value <> '[]' AND key NOT LIKE 'sla\_%';
-- keys still keep a row from being logged twice; of those with traces the digest does
SELECT source_key FROM omnichannel.contact_key WHERE source = 'regress.mail' ORDER BY 1;
SELECT count(*) AS masked, bool_and(source_key ~ '^[0-9a-f]{64}$') AS digests FROM omnichannel.contact_key WHERE source = 'erased' AND customer_id = 9203;
SELECT omnichannel.log_contact('email', customer_id => 9203, body => 'Quillfeather', source => 'regress.mail', source_key => key) = contact_id AS same
FROM (VALUES ('zq@quill.example:19'), ('n-601920201')) AS again (key) JOIN omnichannel.contact_key AS logged
	ON source = 'erased' AND source_key = omnichannel.erasure_digest('regress.mail', key);
-- a second time there is nothing left
SELECT omnichannel.erase_customer(9201), omnichannel.tick_erasure();
-- whoever comes back is new, and nothing can be recorded of the one who is gone
SELECT omnichannel.identify('email', 'zq@quill.example') NOT BETWEEN 9201 AND 9204 AS new_customer;
SELECT raised(statement) FROM (VALUES
	($$SELECT omnichannel.remember(9202, 'pet', '"a dog"')$$),
	($$SELECT omnichannel.merge_customers(9204, 9201)$$),
	($$SELECT omnichannel.unmerge_customers(merge_id) FROM omnichannel.customer_merge WHERE duplicate_id = 9202$$),
	($$SELECT omnichannel.erase_customer(9299)$$),
	($$SELECT omnichannel.erase_customer(NULL)$$),
	($$SELECT omnichannel.export_customer(9299)$$),
	($$SELECT omnichannel.export_customer(NULL)$$)
) AS bad (statement);
-- a column that cannot be blanked is told before anything is lost
ALTER TABLE omnichannel.customer ADD COLUMN stubborn text NOT NULL DEFAULT '';
ALTER TABLE omnichannel.customer ALTER stubborn DROP DEFAULT;
UPDATE omnichannel.request SET state = 'done' WHERE customer_id = 9204 AND closed_at IS NULL;
SELECT raised($$SELECT omnichannel.erase_customer(9204)$$);
SELECT * FROM pg_temp.traces('bystander') WHERE split_part(place, '.', 1) IN (SELECT relation FROM omnichannel.personal_data() WHERE relation NOT LIKE 'sla\_%');
ALTER TABLE omnichannel.customer DROP COLUMN stubborn;

-- Supervisors may; agents and applications may not.
CREATE ROLE regress_privacy_supervisor;
CREATE ROLE regress_privacy_agent;
SELECT omnichannel.grant_access('regress_privacy_supervisor', 'supervisor'), omnichannel.grant_access('regress_privacy_agent', 'agent');
SET LOCAL ROLE regress_privacy_agent;
SELECT raised($$SELECT omnichannel.erase_customer(9204)$$);
SET LOCAL ROLE regress_privacy_supervisor;
SELECT omnichannel.export_customer(9204) -> 'data' -> 'identity' -> 0 ->> 'value' AS identity;
SELECT jsonb_object_agg(key, value) AS erased FROM jsonb_each(omnichannel.erase_customer(9204)) WHERE key NOT LIKE 'sla\_%';
ROLLBACK;
