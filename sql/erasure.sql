-- After an erasure: nothing personal comes to the erased customer any more, whatever is written, changed or read again.
\set SHOW_CONTEXT never
BEGIN;
SET LOCAL TIME ZONE 'UTC';
SET LOCAL datestyle = 'ISO, YMD';
INSERT INTO omnichannel.agent (agent_id, name) VALUES (9301, 'Ewa');
INSERT INTO omnichannel.customer (customer_id, name) VALUES (9301, 'Zofia'), (9302, 'Another');
SELECT omnichannel.link_identity(9301, 'email', 'zofia@regress.example'), omnichannel.link_identity(9302, 'email', 'another@regress.example');
-- an application that identifies by address, and one that knows the customers' ids
CREATE TABLE regress_mail (id int PRIMARY KEY, at timestamptz NOT NULL DEFAULT '2026-01-01 00:00Z', who text, agent bigint, thread text, body text);
CREATE TABLE regress_visit (id int PRIMARY KEY, at timestamptz NOT NULL DEFAULT '2026-01-01 00:00Z', customer bigint, body text);
SELECT omnichannel.track('regress_mail', channel => 'forum', kind => 'email', customer => '{who}', body => '{body}', agent => '{agent}',
	thread => '{thread}', occurred_at => '{at}', updates => true),
	omnichannel.track('regress_visit', channel => 'branch', customer => '{customer}', body => '{body}', occurred_at => '{at}', updates => true,
	on_error => 'quarantine');
INSERT INTO regress_mail (id, who, thread, body) VALUES (1, 'zofia@regress.example', 'T1', 'I am ill'), (2, 'another@regress.example', 'T2', 'I am well'),
	(3, 'zofia@regress.example', NULL, 'I am ill');
INSERT INTO regress_visit (id, customer, body) VALUES (1, 9301, 'I am ill'), (2, 9302, 'I am well');
SELECT omnichannel.erase_customer(9301);
CREATE VIEW pg_temp.logged AS
	SELECT source, customer_id BETWEEN 9301 AND 9302 AS known, nullif(customer_id, 9301) IS NULL AS erased, agent_id, thread, body, source_key
	FROM omnichannel.contact WHERE source LIKE '%regress\_%' ORDER BY contact_id;
CREATE VIEW pg_temp.known AS
	SELECT (SELECT count(*) FROM omnichannel.customer WHERE created_at = now()) AS customers, (SELECT count(*) FROM omnichannel.identity WHERE value LIKE '%@regress.example') AS identities,
		(SELECT string_agg(thread, ' ') FROM omnichannel.thread WHERE source LIKE '%regress\_%') AS threads;

-- A row that changes, alone and with others, and all of them read again: the erased stays as it is and nobody is made new.
SELECT * FROM pg_temp.known;
UPDATE regress_mail SET body = 'I am ill, Zofia', agent = 9301 WHERE id = 1;
UPDATE regress_mail SET body = body || '!', agent = 9301;
UPDATE regress_visit SET body = body || '!';
SELECT omnichannel.backfill('regress_mail') AS mail, omnichannel.backfill('regress_visit') AS visit;
SELECT count(*) AS rejects FROM omnichannel.contact_reject WHERE tracking LIKE '%regress\_%';
SELECT * FROM pg_temp.logged;
SELECT * FROM pg_temp.known;
SELECT customer_id, agent_id, contacts FROM omnichannel.relationship WHERE agent_id = 9301;

INSERT INTO omnichannel.product (product, tax_rate) VALUES ('regress-mug', 23);
INSERT INTO omnichannel.price_list (price_list, kind) VALUES ('regress', 'base');
INSERT INTO omnichannel.price (price_list, product, amount) VALUES ('regress', 'regress-mug', 9.99);
INSERT INTO omnichannel.promotion (promotion, kind, value) VALUES ('regress_tenth', 'percent', 10);
-- By the id nothing is taken, by the quarantine only which row it is; what was logged already is answered as ever.
SELECT raised(statement) FROM (VALUES
	($$SELECT omnichannel.log_contact('branch', customer_id => 9301, body => 'x')$$),
	($$SELECT omnichannel.log_contact('branch', customer_id => 9301, source => 'regress_desk', source_key => '1', body => 'x')$$),
	($$SELECT omnichannel.open_request(9301, 'complaint', 'email')$$),
	($$SELECT omnichannel.lock_quote(9301, 'regress-mug', key => 'basket of Zofia')$$),
	($$SELECT omnichannel.shown_price('app', 'regress-mug', 9.99, customer_id => 9301, place => 'page of Zofia')$$),
	($$SELECT omnichannel.reserve_use('regress_tenth', key => 'order of Zofia', customer_id => 9301)$$),
	($$SELECT omnichannel.reserve_use('regress_tenth', key => 'order of nobody', customer_id => -1)$$)
) AS refused (statement);
SELECT omnichannel.log_contact('branch', customer_id => 9301, source => source, source_key => '1', body => 'x') = contact_id AS same
FROM omnichannel.contact WHERE source LIKE '%regress\_visit' AND customer_id = 9301;
INSERT INTO regress_visit (id, customer, body) VALUES (3, 9301, 'x');
INSERT INTO regress_visit (id, customer, body) VALUES (4, 9302, 'x'), (5, 9301, 'x'), (6, 9302, 'x');
UPDATE regress_visit SET body = 'y' WHERE id = 3;
SELECT omnichannel.retry_rejects(), data, sqlstate FROM omnichannel.contact_reject WHERE tracking LIKE '%regress\_visit' ORDER BY source_key;
SELECT omnichannel.erase_customer(9301) ->> 'contact_reject' AS rejects;
DELETE FROM regress_visit WHERE id > 2;
-- history that was not logged yet is left out
ALTER TABLE regress_visit DISABLE TRIGGER USER;
INSERT INTO regress_visit (id, customer, body) VALUES (7, 9301, 'older'), (8, 9302, 'older'), (9, 9301, 'older');
ALTER TABLE regress_visit ENABLE TRIGGER USER;
SELECT omnichannel.backfill('regress_visit') AS visit;
SELECT * FROM pg_temp.logged WHERE source LIKE '%visit';

-- Whoever writes again is a new customer, in a conversation of their own.
INSERT INTO regress_mail (id, who, thread, body) VALUES (4, 'zofia@regress.example', 'T1', 'Me again');
INSERT INTO regress_mail (id, who, thread, body) VALUES (5, 'Zofia <Zofia@regress.example>', 'T1', 'And again'), (6, NULL, 'T1', 'And again');
SELECT * FROM pg_temp.known;
SELECT count(DISTINCT customer_id) AS customers, bool_or(customer_id = 9301) AS erased FROM omnichannel.contact WHERE source LIKE '%regress\_mail' AND source_key > '3';
-- who is back already does not get the old rows back either
UPDATE regress_mail SET body = body || '!';
SELECT omnichannel.backfill('regress_mail') AS mail;
SELECT * FROM pg_temp.logged WHERE source LIKE '%mail';

-- A key that names the customer is masked, and keeps its row from being logged again all the same; so does a source.
CREATE TABLE regress_box (file text PRIMARY KEY, at timestamptz NOT NULL DEFAULT '2026-01-01 00:00Z', who text, body text);
SELECT omnichannel.track('regress_box', channel => 'forum', kind => 'email', customer => '{who}', body => '{body}', occurred_at => '{at}', updates => true);
INSERT INTO regress_box (file, who, body) VALUES ('1.hanna@regress.example', 'hanna@regress.example', 'I am ill'), ('2.johanna@regress.example', 'johanna@regress.example', 'I am well'),
	('3', 'hanna@regress.example', 'I am ill');
SELECT omnichannel.link_identity(omnichannel.identify('email', 'hanna@regress.example'), 'phone', '601 930 300') AS phone,
	omnichannel.set_customer(omnichannel.identify('email', 'hanna@regress.example'), name => 'Hanna Gold') > 0 AS named;
SELECT count(omnichannel.log_contact('forum', kind => 'email', value => 'hanna@regress.example', source => source, source_key => key))
FROM (VALUES ('regress_pbx', '601930300-17'), ('regress_pbx', '(601) 93-03-00/18'), ('regress_pbx', '601930399-19'), ('regress_desk', 'hanna gold 1'), ('regress_desk', 'Hanna Golden'),
	('mailbox hanna@regress.example', '1'), ('regress_HANNA@regress.example', '2')) AS logged (source, key);
SELECT omnichannel.log_contact('forum', kind => 'email', value => 'johanna@regress.example', source => 'mailbox hanna@regress.example', source_key => '3') > 0 AS of_another;
SELECT omnichannel.erase_customer(omnichannel.identify('email', 'hanna@regress.example')) ->> 'contact_key' AS masked;
SELECT source, source_key FROM omnichannel.contact_key WHERE source LIKE '%regress\_%' OR source LIKE 'mailbox%' ORDER BY 1, 2;
SELECT source, count(*) FROM omnichannel.contact WHERE contact_id >= (SELECT min(contact_id) FROM omnichannel.contact WHERE source LIKE '%regress\_box') GROUP BY source ORDER BY source;
UPDATE regress_box SET body = body || '!';
SELECT omnichannel.backfill('regress_box') AS box;
SELECT omnichannel.log_contact('forum', kind => 'email', value => 'hanna@regress.example', source => source, source_key => key) AS logged_again
FROM (VALUES ('regress_pbx', '601930300-17'), ('mailbox hanna@regress.example', '1')) AS logged (source, key)
EXCEPT SELECT contact_id FROM omnichannel.contact_key;
SELECT source, count(*) FROM omnichannel.contact WHERE contact_id >= (SELECT min(contact_id) FROM omnichannel.contact WHERE source LIKE '%regress\_box') GROUP BY source ORDER BY source;
SELECT count(*) AS back FROM omnichannel.identity WHERE value = 'hanna@regress.example';
-- a row that is new is logged, of the same source
INSERT INTO regress_box (file, who, body) VALUES ('4.hanna@regress.example', 'hanna@regress.example', 'Me again');
SELECT body, source_key FROM omnichannel.contact WHERE source LIKE '%regress\_box' AND body IS NOT NULL ORDER BY contact_id;

-- A row of an erased customer whose key changes stays the erased's: whether the key was masked, again and back, or named nobody.
CREATE VIEW pg_temp.changed AS
	SELECT (SELECT count(*) FROM omnichannel.contact WHERE source LIKE '%regress\_box') AS contacts,
		(SELECT count(*) FROM omnichannel.contact WHERE source LIKE '%regress\_box' AND body IS NULL AND source_key IS NULL) AS blank,
		(SELECT count(*) FROM omnichannel.identity WHERE value LIKE '%ewa@regress.example') AS identities,
		(SELECT string_agg(source_key, ' ' ORDER BY source_key) FROM omnichannel.contact_key WHERE source LIKE '%regress\_box') AS keys;
DELETE FROM omnichannel.erased_source;
INSERT INTO regress_box (file, who, body) VALUES ('5.ewa@regress.example', 'ewa@regress.example', 'I am ill'), ('6', 'ewa@regress.example', 'I am ill'),
	('7', 'adam@regress.example', 'I am well');
SELECT omnichannel.erase_customer(omnichannel.identify('email', 'ewa@regress.example')) ->> 'contact_key' AS masked;
SELECT * FROM pg_temp.changed;
UPDATE regress_box SET file = 'ewa@regress.example 5', body = body || '!' WHERE file = '5.ewa@regress.example';
UPDATE regress_box SET file = '5', at = at + interval '1 hour' WHERE file = 'ewa@regress.example 5';
UPDATE regress_box SET file = 'ewa@regress.example 5', at = at - interval '1 hour' WHERE file = '5';
DELETE FROM omnichannel.erased_source;
UPDATE regress_box SET file = '<6.ewa@regress.example>', body = body || '!' WHERE file = '6';
SELECT * FROM pg_temp.changed;
UPDATE regress_box SET body = body || '!' WHERE who = 'ewa@regress.example';
SELECT omnichannel.backfill('regress_box') AS box;
SELECT * FROM pg_temp.changed;
-- it takes no other row's key, nor another row its
DELETE FROM regress_box WHERE file IN ('7', 'ewa@regress.example 5');
SELECT raised($$UPDATE regress_box SET file = '7', at = '2026-01-02 00:00Z' WHERE file = '<6.ewa@regress.example>'$$);
INSERT INTO regress_box (file, who, body) VALUES ('8', 'adam@regress.example', 'I am well');
SELECT raised($$UPDATE regress_box SET file = 'ewa@regress.example 5', at = '2026-01-02 00:00Z' WHERE file = '8'$$) LIKE '23505 %' AS refused;
SELECT * FROM pg_temp.changed;
-- of others what a row says of its time may change with its key
UPDATE regress_box SET file = '9', at = at + interval '1 hour', body = 'Better' WHERE file = '8';
SELECT body, source_key FROM omnichannel.contact WHERE source LIKE '%regress\_box' AND source_key >= '5' ORDER BY contact_id;
ROLLBACK;
