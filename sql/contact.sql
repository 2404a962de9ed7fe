-- The log, and the tables that are tracked into it.
\set SHOW_CONTEXT never
\set ON_ERROR_ROLLBACK on
BEGIN;
SELECT omnichannel.identify('email', 'anna@contact.test') AS anna \gset
INSERT INTO omnichannel.agent (name) VALUES ('Logged') RETURNING agent_id AS agent \gset

-- log_contact
SELECT omnichannel.log_contact('email', kind => 'email', value => 'Anna@Contact.test', subject => 'Hello', source => 'contact_test', source_key => '1',
	occurred_at => '2026-01-01 10:00+00') AS first \gset
SELECT omnichannel.log_contact('email', kind => 'email', value => 'anna@contact.test', subject => 'Again', source => 'contact_test', source_key => '1',
	occurred_at => '2026-01-05 10:00+00') = :first AS logged_once;
SELECT omnichannel.log_contact('phone', customer_id => :anna, outcome => 'missed', occurred_at => '2026-01-02 10:00+00') > 0;
SELECT omnichannel.log_contact('phone', customer_id => :anna, direction => 'outbound', outcome => 'answered', agent_id => :agent,
	occurred_at => '2026-01-02 11:00+00', payload => '{"seconds": 61}') > 0;
SELECT omnichannel.log_contact('branch', customer_id => :anna, occurred_at => '2026-01-02 11:00+00', agent_id => :agent, body => 'Visited') > 0;
SELECT channel, direction, outcome, agent_id IS NOT NULL AS agent, subject, body, payload, source, source_key, occurred_at
FROM omnichannel.contact WHERE customer_id = :anna ORDER BY contact_id;
SELECT contacts, first_at, last_at FROM omnichannel.relationship WHERE customer_id = :anna;
-- Nobody known: a new customer each time
SELECT omnichannel.log_contact('chat', body => 'nobody') > 0 AS one, omnichannel.log_contact('chat', body => 'nobody') > 0 AS two;
SELECT count(DISTINCT customer_id) FROM omnichannel.contact WHERE body = 'nobody';

-- Bad input
SELECT omnichannel.log_contact(NULL);
SELECT omnichannel.log_contact('fax');
SELECT omnichannel.log_contact(repeat('x', 100));
SELECT omnichannel.log_contact('chat', customer_id => -1);
SELECT omnichannel.log_contact('chat', customer_id => 0);
SELECT omnichannel.log_contact('chat', customer_id => -1, kind => 'email', value => 'anna@contact.test');
SELECT omnichannel.log_contact('chat', value => 'anna@contact.test');
SELECT omnichannel.log_contact('chat', kind => 'email', value => '');
SELECT omnichannel.log_contact('chat', kind => 'email', value => 'nobody');
SELECT omnichannel.log_contact('chat', direction => 'sideways');
SELECT omnichannel.log_contact('chat', direction => '');
SELECT omnichannel.log_contact('chat', outcome => 'so-so');
SELECT omnichannel.log_contact('chat', occurred_at => 'infinity');
SELECT omnichannel.log_contact('chat', occurred_at => '-infinity');
SELECT omnichannel.log_contact('chat', occurred_at => '9999-01-01 00:00+00');
SELECT omnichannel.log_contact('chat', agent_id => -1);
SELECT omnichannel.log_contact('chat', request_id => -1);
SELECT omnichannel.log_contact('chat', subject => repeat('s', 999));
SELECT omnichannel.log_contact('chat', body => repeat('b', 1048577));
SELECT omnichannel.log_contact('chat', payload => to_jsonb(repeat('p', 1048577)));
SELECT omnichannel.log_contact('chat', thread => '');
SELECT omnichannel.log_contact('chat', source => repeat('s', 1001));
SELECT omnichannel.log_contact('chat', source_key => '1');
\set VERBOSITY terse
INSERT INTO omnichannel.contact (customer_id, channel, direction) VALUES (:anna, 'chat', 'sideways');
INSERT INTO omnichannel.contact (customer_id, channel, occurred_at) VALUES (:anna, 'chat', 'infinity');
\set VERBOSITY default

-- The timeline, page by page, each row once though two have one time
SELECT channel, direction, occurred_at FROM omnichannel.timeline(:anna);
SELECT channel, occurred_at, contact_id FROM omnichannel.timeline(:anna, max_rows => 1) \gset page_
SELECT :'page_channel' AS channel, :'page_occurred_at' AS occurred_at;
SELECT channel, occurred_at, contact_id FROM omnichannel.timeline(:anna, :'page_occurred_at', 1, :page_contact_id) \gset page_
SELECT :'page_channel' AS channel, :'page_occurred_at' AS occurred_at;
SELECT channel, occurred_at FROM omnichannel.timeline(:anna, :'page_occurred_at', 10, :page_contact_id);
SELECT channel FROM omnichannel.timeline(:anna, before => '2026-01-02 10:00+00');
SELECT count(*) FROM omnichannel.timeline(:anna, max_rows => 0);
SELECT count(*) FROM omnichannel.timeline(-1);
SELECT omnichannel.timeline(NULL);
SELECT omnichannel.timeline(-1, max_rows => -1);
-- With those of merged customers
SELECT omnichannel.log_contact('sms', kind => 'phone', value => '601 234 000', occurred_at => '2026-01-01 11:00+00') > 0;
SELECT omnichannel.identify('phone', '601234000') AS other \gset
UPDATE omnichannel.customer SET merged_into = :anna WHERE customer_id = :other;
SELECT channel, logged_as = :anna AS own FROM omnichannel.timeline(:anna);
SELECT count(*) FROM omnichannel.timeline((SELECT customer_id FROM omnichannel.identity WHERE value = '+48601234000'));
ROLLBACK;

-- track(): a table in which nothing is called as here
BEGIN;
CREATE TABLE contact_mail (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, junk integer, sender varchar(200), flag char(4),
	content text, sent timestamp, clerk text, extra json, words integer GENERATED ALWAYS AS (length(content)) STORED);
ALTER TABLE contact_mail DROP COLUMN junk;
INSERT INTO omnichannel.agent (name) VALUES ('Tracked') RETURNING agent_id AS agent \gset
SELECT omnichannel.track('contact_mail', channel => 'email', customer => '{sender}', kind => 'email', direction => '{flag}', body => '{content}',
	occurred_at => '{sent}', agent => '{clerk}', payload => '{extra}', thread => 'mail/{id}', subject => '{words} letters',
	value_maps => json_build_object('direction', json_build_object('I', 'inbound', 'O', 'outbound', 'N', NULL), 'agent', json_build_object('ola', :agent))::jsonb);
INSERT INTO contact_mail (sender, flag, content, sent, clerk, extra) VALUES
	('Anna@Tracked.test', 'I', 'hello', '2026-07-01 12:00', NULL, '{"a": 1}'),
	('anna@tracked.test', 'O', 'good day', '2026-07-01 12:30', 'ola', NULL),
	('anna@tracked.test', 'N', 'a note', '2026-07-01 12:40', 'ola', NULL),
	(NULL, 'I', 'who am I', '2026-01-01 12:00', '', NULL);
INSERT INTO contact_mail (sender, flag, content, sent) VALUES ('anna@tracked.test', 'I', 'thanks', '2026-07-01 13:00');
COPY contact_mail (sender, flag, content, sent) FROM stdin;
ben@tracked.test	I	copied	2026-07-01 14:00
anna@tracked.test	I	\N	2026-07-01 14:00
\.
SELECT (SELECT i.value FROM omnichannel.identity AS i WHERE i.customer_id = c.customer_id) AS who, occurred_at, channel, direction,
	outcome, agent_id = :agent AS ola, subject, body, payload, thread, source, source_key
FROM omnichannel.contact AS c WHERE source = 'public.contact_mail' ORDER BY contact_id;
SELECT contacts FROM omnichannel.relationship WHERE agent_id = :agent;

-- What goes wrong is an error of the write, and nothing of it stays.
INSERT INTO contact_mail (sender, flag, sent) VALUES ('cleo@tracked.test', 'I', '2026-07-01 12:00'), ('cleo@tracked.test', 'X', '2026-07-01 12:00');
INSERT INTO contact_mail (sender, flag, sent, clerk) VALUES ('cleo@tracked.test', 'I', '2026-07-01 12:00', '-5');
INSERT INTO contact_mail (sender, flag, sent, clerk) VALUES ('cleo@tracked.test', 'I', '2026-07-01 12:00', 'eve');
INSERT INTO contact_mail (sender, flag, sent) VALUES ('', 'I', '2026-07-01 12:00');
INSERT INTO contact_mail (sender, flag, sent) VALUES ('cleo@tracked.test', 'I', 'infinity');
SELECT count(*) FROM contact_mail WHERE sender = 'cleo@tracked.test';
SELECT count(*) FROM omnichannel.identity WHERE value = 'cleo@tracked.test';

-- A subtransaction that rolls back, and a conflict
SAVEPOINT a;
INSERT INTO contact_mail (sender, flag, sent) VALUES ('dora@tracked.test', 'I', '2026-07-01 12:00');
ROLLBACK TO a;
INSERT INTO contact_mail (id, sender, flag, sent) OVERRIDING SYSTEM VALUE VALUES (1, 'dora@tracked.test', 'I', '2026-07-01 12:00') ON CONFLICT (id) DO NOTHING;
INSERT INTO contact_mail (id, sender, flag, sent) OVERRIDING SYSTEM VALUE VALUES (1, 'dora@tracked.test', 'I', '2026-07-01 12:00') ON CONFLICT (id) DO UPDATE SET content = 'changed';
SELECT count(*) FROM omnichannel.identity WHERE value = 'dora@tracked.test';
SELECT body FROM omnichannel.contact WHERE source = 'public.contact_mail' AND source_key = '1';

-- Columns that change
ALTER TABLE contact_mail RENAME content TO contents;
INSERT INTO contact_mail (sender, flag, sent) VALUES ('anna@tracked.test', 'I', '2026-07-01 12:00');
ALTER TABLE contact_mail RENAME contents TO content;
ALTER TABLE contact_mail ALTER sent TYPE text;
INSERT INTO contact_mail (sender, flag, sent) VALUES ('anna@tracked.test', 'I', '2026-07-01 12:00');
ALTER TABLE contact_mail ALTER sent TYPE timestamptz USING sent::timestamptz;
INSERT INTO contact_mail (sender, flag, sent) VALUES ('anna@tracked.test', 'I', '2026-07-02 12:00+00');
ALTER TABLE contact_mail DROP COLUMN clerk;
INSERT INTO contact_mail (sender, flag, sent) VALUES ('anna@tracked.test', 'I', '2026-07-01 12:00+00');
-- Tracked again, with what there is
SELECT omnichannel.track('contact_mail', 'email', '{sender}', kind => 'email', source => 'mail');
INSERT INTO contact_mail (sender) VALUES ('anna@tracked.test');
SELECT source, direction FROM omnichannel.contact WHERE source = 'mail';
SELECT tgname FROM pg_trigger WHERE tgrelid = 'contact_mail'::regclass;
SELECT omnichannel.untrack('contact_mail');
SELECT omnichannel.untrack('contact_mail');
INSERT INTO contact_mail (sender) VALUES ('anna@tracked.test');
SELECT count(*) FROM omnichannel.contact WHERE source = 'mail';

-- What cannot be tracked
SELECT omnichannel.track('contact_mail', 'email', '{nobody}');
SELECT omnichannel.track('contact_mail', 'fax');
SELECT omnichannel.track('contact_mail', NULL);
SELECT omnichannel.track(NULL, 'email');
SELECT omnichannel.track('contact_mail', 'email', '{sender}', kind => 'fax');
SELECT omnichannel.track('contact_mail', 'email', direction => 'up');
SELECT omnichannel.track('contact_mail', 'email', outcome => 'up');
SELECT omnichannel.track('contact_mail', 'email', agent => 'ola');
SELECT omnichannel.track('contact_mail', 'email', occurred_at => '{content}');
SELECT omnichannel.track('contact_mail', 'email', occurred_at => '2026-01-01');
SELECT omnichannel.track('contact_mail', 'email', payload => '{content}');
SELECT omnichannel.track('contact_mail', 'email', value_maps => '{"direction": {"I": "inbound"}}');
SELECT omnichannel.track('contact_mail', 'email', direction => '{flag}', value_maps => '{"direction": "inbound"}');
SELECT omnichannel.track('contact_mail', 'email', direction => '{flag}', value_maps => '{"direction": {"I": ["inbound"]}}');
SELECT omnichannel.track('contact_mail', 'email', direction => '{flag}', value_maps => '{"direction": {"I": "inwards"}}');
SELECT omnichannel.track('contact_mail', 'email', value_maps => '[]');
SELECT omnichannel.track('contact_mail', 'email', time_zone => 'Mars/Base');
SELECT omnichannel.track('contact_mail', 'email', on_error => 'ignore');
SELECT omnichannel.track('pg_catalog.pg_views', 'email');
SELECT omnichannel.track('omnichannel.customer', 'email');
CREATE TEMPORARY TABLE contact_short (a integer);
SELECT omnichannel.track('contact_short', 'email');
SELECT count(*) FROM omnichannel.tracking;

-- Triggers made by hand
CREATE TRIGGER t AFTER INSERT ON contact_mail FOR EACH ROW EXECUTE FUNCTION omnichannel.log_contact_trigger('nonsense');
INSERT INTO contact_mail (sender) VALUES ('anna@tracked.test');
DROP TRIGGER t ON contact_mail;
CREATE TRIGGER t AFTER INSERT ON contact_mail FOR EACH ROW EXECUTE FUNCTION omnichannel.log_contact_trigger();
INSERT INTO contact_mail (sender) VALUES ('anna@tracked.test');
DROP TRIGGER t ON contact_mail;
CREATE TRIGGER t AFTER INSERT ON contact_mail EXECUTE FUNCTION omnichannel.log_contact_trigger('x');
INSERT INTO contact_mail (sender) VALUES ('anna@tracked.test');
DROP TRIGGER t ON contact_mail;
CREATE TRIGGER t BEFORE INSERT ON contact_mail FOR EACH ROW EXECUTE FUNCTION omnichannel.log_contact_trigger('x');
INSERT INTO contact_mail (sender) VALUES ('anna@tracked.test');
DROP TRIGGER t ON contact_mail;
CREATE TRIGGER t AFTER DELETE ON contact_mail FOR EACH ROW EXECUTE FUNCTION omnichannel.log_contact_trigger('x');
DELETE FROM contact_mail;
DROP TRIGGER t ON contact_mail;
SELECT omnichannel.log_contact_trigger();
ROLLBACK;

-- Partitions, whose columns stand in another order, written to through the whole and straight
BEGIN;
CREATE TABLE contact_call (id bigint, caller text, began timestamptz NOT NULL, state text) PARTITION BY RANGE (began);
CREATE TABLE contact_call_a PARTITION OF contact_call FOR VALUES FROM ('2026-01-01 00:00+00') TO ('2026-02-01 00:00+00');
CREATE TABLE contact_call_b (state text, began timestamptz NOT NULL, gone integer, caller text, id bigint);
ALTER TABLE contact_call_b DROP COLUMN gone;
SELECT omnichannel.track('contact_call', 'phone', '{caller}', kind => 'phone', outcome => '{state}', occurred_at => '{began}', source_key => '{id}', time_zone => 'UTC');
ALTER TABLE contact_call ATTACH PARTITION contact_call_b FOR VALUES FROM ('2026-02-01 00:00+00') TO ('2026-03-01 00:00+00');
INSERT INTO contact_call VALUES (1, '601 234 001', '2026-01-10 00:00+00', 'missed'), (2, '601 234 001', '2026-02-10 00:00+00', 'answered');
INSERT INTO contact_call_a VALUES (3, '601 234 001', '2026-01-11 00:00+00', 'busy');
INSERT INTO contact_call_b (id, caller, began, state) VALUES (4, '601 234 001', '2026-02-11 00:00+00', 'voicemail');
SELECT source_key, outcome, occurred_at FROM omnichannel.timeline(omnichannel.identify('phone', '601234001')) JOIN omnichannel.contact USING (contact_id, occurred_at, outcome) ORDER BY 1;
-- Another table may not borrow the tracking.
CREATE TABLE contact_forged (LIKE contact_call);
CREATE TRIGGER t AFTER INSERT ON contact_forged FOR EACH ROW EXECUTE FUNCTION omnichannel.log_contact_trigger('public.contact_call');
INSERT INTO contact_forged VALUES (5, '601 234 001', '2026-01-11 00:00+00', 'busy');
-- As a replica
SET LOCAL session_replication_role = replica;
INSERT INTO contact_call VALUES (6, '601 234 001', '2026-01-12 00:00+00', 'busy');
SELECT count(*) FROM omnichannel.contact WHERE source = 'public.contact_call';
SET LOCAL session_replication_role = origin;
SELECT omnichannel.track('contact_call', 'phone', '{caller}', kind => 'phone', outcome => '{state}', occurred_at => '{began}', source_key => '{id}', on_replica => true);
SET LOCAL session_replication_role = replica;
INSERT INTO contact_call VALUES (7, '601 234 001', '2026-01-12 00:00+00', 'busy');
SELECT count(*) FROM omnichannel.contact WHERE source = 'public.contact_call';
ROLLBACK;
BEGIN;
CREATE TABLE contact_plain (id bigint PRIMARY KEY, who text);
SELECT omnichannel.track('contact_plain', 'chat', '{who}', kind => 'account', on_replica => true);
INSERT INTO contact_plain VALUES (1, 'k1');
SET LOCAL session_replication_role = replica;
INSERT INTO contact_plain VALUES (2, 'k1');
SELECT source_key FROM omnichannel.contact WHERE source = 'public.contact_plain' ORDER BY 1;
ROLLBACK;

-- A role without any right on the log
CREATE ROLE regress_contact;
CREATE TABLE contact_form (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, mail text, at timestamptz DEFAULT now());
GRANT INSERT ON contact_form TO regress_contact;
SELECT omnichannel.track('contact_form', 'web_form', '{mail}', kind => 'email', occurred_at => '{at}');
SET ROLE regress_contact;
INSERT INTO contact_form (mail) VALUES ('form@tracked.test');
COPY contact_form (mail) FROM stdin;
form@tracked.test
other@tracked.test
\.
SELECT omnichannel.log_contact('chat');
SELECT count(*) FROM omnichannel.contact;
RESET ROLE;
SELECT count(*) FROM omnichannel.contact WHERE source = 'public.contact_form';
DROP TABLE contact_form;
-- A table made again under the same name is not tracked, until it is.
CREATE TABLE contact_form (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, mail text);
INSERT INTO contact_form (mail) VALUES ('form@tracked.test');
SELECT omnichannel.track('contact_form', 'web_form', '{mail}', kind => 'email', source => 'form');
INSERT INTO contact_form (mail) VALUES ('form@tracked.test');
SELECT count(*) FROM omnichannel.contact WHERE source = 'form';
SELECT omnichannel.untrack('contact_form');
DROP TABLE contact_form;
DROP ROLE regress_contact;
DELETE FROM omnichannel.contact_key WHERE source IN ('form', 'public.contact_form');
DELETE FROM omnichannel.contact WHERE source IN ('form', 'public.contact_form');
DELETE FROM omnichannel.request WHERE customer_id IN (SELECT customer_id FROM omnichannel.identity WHERE value LIKE '%@tracked.test');
WITH gone AS (DELETE FROM omnichannel.identity WHERE value LIKE '%@tracked.test' RETURNING customer_id)
DELETE FROM omnichannel.customer WHERE customer_id IN (SELECT customer_id FROM gone);
