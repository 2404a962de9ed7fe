-- What the log does with conversations, requests, changed rows, rows that do not fit, and rows that were there before.
\set SHOW_CONTEXT never
\set ON_ERROR_ROLLBACK on
BEGIN;
INSERT INTO omnichannel.agent (name) VALUES ('Ola') RETURNING agent_id AS ola \gset
-- A help desk: messages with a type flag and a conversation key
CREATE TABLE desk_message (id bigint PRIMARY KEY, ticket text, flag "char", author text, clerk text, content text, sent timestamp NOT NULL);
SELECT omnichannel.track('desk_message', channel => 'email', customer => '{author}', recipient => '', kind => 'email', direction => '{flag}',
	agent => '{clerk}', thread => '{ticket}', body => '{content}', occurred_at => '{sent}',
	value_maps => json_build_object('direction', json_build_object('Q', 'inbound', 'A', 'outbound', 'N', NULL), 'agent', json_build_object('ola', :ola))::jsonb);
INSERT INTO desk_message VALUES (1, 'T1', 'Q', 'anna@desk.test', NULL, 'broken', '2026-03-01 10:00');
INSERT INTO desk_message VALUES (2, 'T1', 'A', 'desk@shop.test', 'ola', 'sorry', '2026-03-01 11:00');
INSERT INTO desk_message VALUES (3, 'T2', 'Q', 'anna@desk.test', NULL, 'another matter', '2026-03-01 12:00'),
	(4, 'T1', 'N', 'desk@shop.test', 'ola', 'a note', '2026-03-01 12:30'), (5, 'T1', 'Q', 'anna@desk.test', NULL, 'thanks', '2026-03-01 13:00'),
	(7, 'T3', 'A', 'desk@shop.test', 'ola', 'answer before question', '2026-03-01 14:00'), (6, 'T3', 'Q', 'ben@desk.test', NULL, 'hello', '2026-03-01 13:30');
SELECT source_key, (SELECT value FROM omnichannel.identity AS i WHERE i.customer_id = c.customer_id) AS who, direction, agent_id = :ola AS ola, thread,
	dense_rank() OVER (ORDER BY request_id) AS request
FROM omnichannel.contact AS c WHERE source = 'public.desk_message' ORDER BY source_key;
SELECT thread, t.customer_id = r.customer_id AS same, r.kind, r.state, r.channel, r.opened_at FROM omnichannel.thread AS t JOIN omnichannel.request AS r USING (request_id) WHERE source = 'public.desk_message' ORDER BY 1;
-- A closed request is not continued; waiting for the customer ends with the answer.
UPDATE omnichannel.request SET state = 'done' WHERE request_id = (SELECT request_id FROM omnichannel.thread WHERE thread = 'T1');
UPDATE omnichannel.request SET state = 'waiting_customer', state_since = '2026-03-01 14:00+00' WHERE request_id = (SELECT request_id FROM omnichannel.thread WHERE thread = 'T2');
INSERT INTO desk_message VALUES (8, 'T1', 'Q', 'anna@desk.test', NULL, 'broken again', '2026-03-02 10:00'), (9, 'T2', 'Q', 'anna@desk.test', NULL, 'here is the number', '2026-03-02 10:00');
SELECT source_key, r.state, r.opened_at FROM omnichannel.contact AS c JOIN omnichannel.request AS r USING (request_id) WHERE source = 'public.desk_message' AND thread IN ('T1', 'T2') ORDER BY 1;
-- Without a thread: the customer's open request, of the same channel first; a visit opens none.
SELECT omnichannel.log_contact('email', kind => 'email', value => 'anna@desk.test', occurred_at => '2026-03-03 10:00+00', source => 'desk_loose', source_key => '1') > 0 AS logged;
SELECT omnichannel.log_contact('phone', kind => 'email', value => 'cleo@desk.test', occurred_at => '2026-03-03 10:00+00', source => 'desk_loose', source_key => '2') > 0 AS logged;
SELECT omnichannel.log_contact('chat', kind => 'email', value => 'cleo@desk.test', occurred_at => '2026-03-04 10:00+00', source => 'desk_loose', source_key => '3') > 0 AS logged;
SELECT omnichannel.log_contact('chat', kind => 'email', value => 'cleo@desk.test', occurred_at => '2026-06-04 10:00+00', source => 'desk_loose', source_key => '4') > 0 AS logged;
SELECT omnichannel.log_contact('branch', kind => 'email', value => 'dora@desk.test', occurred_at => '2026-03-04 10:00+00', source => 'desk_loose', source_key => '5') > 0 AS logged;
SELECT omnichannel.log_contact('email', direction => 'outbound', kind => 'email', value => 'dora@desk.test', occurred_at => '2026-03-04 10:00+00', source => 'desk_loose', source_key => '6') > 0 AS logged;
SELECT source_key, c.channel, r.channel AS opened_in, r.opened_at, r.kind FROM omnichannel.contact AS c LEFT JOIN omnichannel.request AS r USING (request_id) WHERE source = 'desk_loose' ORDER BY 1;
-- After a merge the request of the one is continued by the other.
SELECT omnichannel.identify('email', 'cleo@desk.test') AS cleo, omnichannel.identify('email', 'dora@desk.test') AS dora \gset
UPDATE omnichannel.customer SET merged_into = :cleo WHERE customer_id = :dora;
SELECT omnichannel.log_contact('sms', kind => 'email', value => 'dora@desk.test', occurred_at => '2026-06-05 10:00+00', source => 'desk_loose', source_key => '7') > 0 AS logged;
SELECT count(DISTINCT request_id) FROM omnichannel.contact WHERE source = 'desk_loose' AND source_key IN ('4', '7');
-- Into the channel's queue
INSERT INTO omnichannel.queue (queue) VALUES ('desk');
UPDATE omnichannel.channel SET queue = 'desk', request_kind = 'mail' WHERE channel = 'email';
INSERT INTO desk_message VALUES (10, 'T9', 'Q', 'eve@desk.test', NULL, 'queue', '2026-03-02 10:00');
SELECT r.kind, r.queue, r.state FROM omnichannel.request AS r JOIN omnichannel.thread USING (request_id) WHERE thread = 'T9';
ROLLBACK;

-- A telephone exchange's call records, which change while the call lasts
BEGIN;
INSERT INTO omnichannel.agent (name) VALUES ('Ola') RETURNING agent_id AS ola \gset
CREATE TABLE exchange_cdr (uniqueid text PRIMARY KEY, src text, dst text, calldate timestamptz NOT NULL, disposition text, dcontext text, billsec integer, operator bigint);
SELECT omnichannel.track('exchange_cdr', channel => 'phone', customer => '{src}', recipient => '{dst}', kind => 'phone', direction => '{dcontext}', outcome => '{disposition}',
	occurred_at => '{calldate}', agent => '{operator}', payload => '{*}', updates => true, source => 'exchange',
	value_maps => '{"direction": {"from-pstn": "inbound", "from-internal": "outbound"}, "outcome": {"ANSWERED": "answered", "NO ANSWER": "missed", "BUSY": "busy", "FAILED": "failed", "RINGING": null}}');
INSERT INTO exchange_cdr VALUES ('c1', '601234002', '48221000000', '2026-03-01 10:00+00', 'RINGING', 'from-pstn', 0, NULL);
SELECT count(*) FROM omnichannel.contact WHERE source = 'exchange';
UPDATE exchange_cdr SET disposition = 'NO ANSWER' WHERE uniqueid = 'c1';
SELECT outcome, agent_id FROM omnichannel.contact WHERE source = 'exchange';
UPDATE exchange_cdr SET disposition = 'ANSWERED', operator = :ola, billsec = 42 WHERE uniqueid = 'c1';
UPDATE exchange_cdr SET disposition = 'ANSWERED' WHERE uniqueid = 'c1';
SELECT outcome, agent_id = :ola AS ola, payload ->> 'billsec' AS seconds FROM omnichannel.contact WHERE source = 'exchange';
SELECT contacts FROM omnichannel.relationship WHERE agent_id = :ola;
INSERT INTO exchange_cdr VALUES ('c2', '48221000000', '+48 601 234 002', '2026-03-01 11:00+00', 'BUSY', 'from-internal', 0, :ola)
ON CONFLICT (uniqueid) DO UPDATE SET disposition = excluded.disposition;
INSERT INTO exchange_cdr VALUES ('c2', '48221000000', '+48 601 234 002', '2026-03-01 11:00+00', 'ANSWERED', 'from-internal', 10, :ola)
ON CONFLICT (uniqueid) DO UPDATE SET disposition = excluded.disposition, billsec = excluded.billsec;
SELECT source_key, direction, outcome, (SELECT count(DISTINCT customer_id) FROM omnichannel.contact WHERE source = 'exchange') AS customers FROM omnichannel.contact WHERE source = 'exchange' ORDER BY 1;
ROLLBACK;

-- A shop's orders, by a customer number of its own, partitioned, with a total that the database computes
BEGIN;
CREATE TABLE shop_order (order_id uuid NOT NULL, customer_no integer, placed date NOT NULL, lines jsonb, total numeric GENERATED ALWAYS AS ((lines ->> 'sum')::numeric) STORED,
	PRIMARY KEY (order_id, placed)) PARTITION BY LIST (placed);
CREATE TABLE shop_order_1 PARTITION OF shop_order FOR VALUES IN ('2026-03-01');
CREATE TABLE shop_order_rest PARTITION OF shop_order DEFAULT;
SELECT omnichannel.track('shop_order', channel => 'app', customer => 'shop/{customer_no}', kind => 'account', occurred_at => '{placed}', subject => 'Order of {total}', payload => '{lines}');
INSERT INTO shop_order VALUES ('00000000-0000-0000-0000-000000000001', 17, '2026-03-01', '{"sum": 12.5}'), ('00000000-0000-0000-0000-000000000002', 17, '2026-03-02', '{"sum": 1}'), ('00000000-0000-0000-0000-000000000003', NULL, '2026-03-02', '{}');
SELECT source_key, (SELECT value FROM omnichannel.identity AS i WHERE i.customer_id = c.customer_id) AS who, occurred_at, subject, payload FROM omnichannel.contact AS c WHERE source = 'public.shop_order' ORDER BY 1;
ROLLBACK;

-- An e-mail archive: headers as they came
BEGIN;
CREATE TABLE mail_archive (message_id text PRIMARY KEY, in_reply_to text, "From" text, "To" text, "Subject" varchar, received timestamptz, body bytea, folder text);
SELECT omnichannel.track('mail_archive', channel => 'email', customer => '{From}', recipient => '{To}', kind => 'email', direction => '{folder}', subject => '{Subject}', occurred_at => '{received}', thread => '{in_reply_to}',
	value_maps => '{"direction": {"INBOX": "inbound", "Sent": "outbound", "*": null}}');
INSERT INTO mail_archive VALUES ('<1@x>', '', '"Anna N." <Anna@Archive.test>', 'Shop <shop@shop.test>', 'Hi', '2026-03-01 10:00+01', '\x00ff', 'INBOX'),
	('<2@shop>', '<1@x>', 'shop@shop.test', 'anna@archive.test', 'Re: Hi', '2026-03-01 11:00+01', NULL, 'Sent'), ('<3@x>', NULL, 'spam@spam.test', 'shop@shop.test', 'Win', '2026-03-01 11:00+01', NULL, 'Spam');
SELECT source_key, (SELECT value FROM omnichannel.identity AS i WHERE i.customer_id = c.customer_id) AS who, direction, subject, thread FROM omnichannel.contact AS c WHERE source = 'public.mail_archive' ORDER BY 1;
ROLLBACK;

-- Rows that cannot be logged are written and kept, where the tracking says so.
BEGIN;
CREATE TABLE form_entry (id integer PRIMARY KEY, mail text, at timestamptz DEFAULT '2026-03-01 10:00+00', note text);
SELECT omnichannel.track('form_entry', channel => 'web_form', customer => '{mail}', kind => 'email', occurred_at => '{at}', body => '{note}', on_error => 'quarantine');
INSERT INTO form_entry SELECT i, CASE WHEN i % 5 = 0 THEN 'no address' ELSE 'm' || i || '@form.test' END FROM generate_series(1, 10) AS i;
INSERT INTO form_entry VALUES (11, 'one@form.test', 'infinity', NULL), (12, '@', DEFAULT, NULL);
INSERT INTO form_entry VALUES (13, '@');
ALTER TABLE form_entry RENAME mail TO address;
INSERT INTO form_entry VALUES (14, 'renamed@form.test', DEFAULT, 'kept');
SELECT count(*) FROM omnichannel.contact WHERE source = 'public.form_entry';
SELECT data ->> 'id' AS id, sqlstate, message, tries FROM omnichannel.contact_reject WHERE tracking = 'public.form_entry' ORDER BY reject_id;
SELECT tracking, state, rejects FROM omnichannel.tracked_relations;
SELECT omnichannel.retry_rejects();
ALTER TABLE form_entry RENAME address TO mail;
SELECT omnichannel.retry_rejects('public.form_entry', max_rows => 2);
-- A form that names no kind of address logs them all.
SELECT omnichannel.track('form_entry', channel => 'web_form', customer => '', kind => 'email', body => '{note}', on_error => 'quarantine');
SELECT omnichannel.retry_rejects('public.other');
SELECT omnichannel.retry_rejects('public.form_entry');
SELECT count(*) FROM omnichannel.contact_reject;
SELECT count(*) FROM omnichannel.contact WHERE source = 'public.form_entry';
ALTER TABLE form_entry DISABLE TRIGGER omnichannel_log_contact;
SELECT tracking, state, rejects FROM omnichannel.tracked_relations;
DROP TABLE form_entry;
SELECT tracking, state FROM omnichannel.tracked_relations;
ROLLBACK;

-- Rows that were there before
BEGIN;
CREATE TABLE old_mail (id integer PRIMARY KEY, gone text, sender text, at timestamptz, ticket text);
INSERT INTO old_mail SELECT i, 'x', CASE WHEN i % 7 > 0 THEN 'o' || i % 10 || '@old.test' END, '2026-01-01 00:00+00'::timestamptz + i * interval '1 minute', 'T' || i % 30 FROM generate_series(1, 2500) AS i;
ALTER TABLE old_mail DROP COLUMN gone;
SELECT omnichannel.backfill('old_mail');
SELECT omnichannel.track('old_mail', channel => 'email', customer => '{sender}', kind => 'email', thread => '{ticket}');
SELECT omnichannel.backfill('old_mail');
SELECT omnichannel.track('old_mail', channel => 'email', customer => '{sender}', kind => 'email', occurred_at => '{at}', thread => '{ticket}');
INSERT INTO old_mail VALUES (2501, 'o1@old.test', '2026-02-01 00:00+00', 'T-new');
SELECT omnichannel.backfill('old_mail'), omnichannel.backfill('old_mail') AS again;
SELECT count(*), count(DISTINCT customer_id) AS customers, min(occurred_at), max(occurred_at), count(request_id) AS with_request FROM omnichannel.contact WHERE source = 'public.old_mail';
SELECT count(*) FROM omnichannel.thread WHERE source = 'public.old_mail';
-- The same rows logged as they are written give the same contacts.
CREATE TABLE new_mail (LIKE old_mail INCLUDING ALL);
SELECT omnichannel.track('new_mail', channel => 'email', customer => '{sender}', kind => 'email', occurred_at => '{at}', thread => '{ticket}');
INSERT INTO new_mail SELECT * FROM old_mail WHERE id <= 2500;
SELECT count(*) AS different FROM (
	SELECT source_key, occurred_at, direction, outcome, channel, thread FROM omnichannel.contact WHERE source = 'public.old_mail' AND source_key <> '2501'
	EXCEPT ALL SELECT source_key, occurred_at, direction, outcome, channel, thread FROM omnichannel.contact WHERE source = 'public.new_mail') AS d;
SELECT count(*) > 0 AS opened FROM omnichannel.contact WHERE source = 'public.new_mail' AND request_id IS NOT NULL;
ROLLBACK;

-- Keys that start again are not taken for what was logged before.
BEGIN;
CREATE TABLE again (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, who text, at timestamptz);
SELECT omnichannel.track('again', channel => 'email', customer => '{who}', kind => 'email');
INSERT INTO again (who) VALUES ('t1@again.test');
TRUNCATE again RESTART IDENTITY;
INSERT INTO again (who) VALUES ('t2@again.test');
TRUNCATE again RESTART IDENTITY;
INSERT INTO again (who) VALUES ('T1@again.test');
DROP TABLE again;
CREATE TABLE again (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, who text, at timestamptz);
SELECT omnichannel.track('again', channel => 'email', customer => '{who}', kind => 'email', occurred_at => '{at}');
SELECT omnichannel.track('again', channel => 'email', customer => '{who}', kind => 'email', occurred_at => '{at}', source => 'again 2', on_error => 'quarantine');
INSERT INTO again (who, at) VALUES ('t3@again.test', '2026-03-01 10:00+00');
TRUNCATE again RESTART IDENTITY;
INSERT INTO again (who, at) VALUES ('t3@again.test', '2026-03-02 10:00+00');
SELECT omnichannel.backfill('again');
SELECT sqlstate, message FROM omnichannel.contact_reject WHERE tracking = 'public.again';
SELECT omnichannel.track('again', channel => 'email', customer => '{who}', kind => 'email', occurred_at => '{at}', source => 'again 3');
SELECT omnichannel.retry_rejects('public.again');
SELECT source, source_key, occurred_at FROM omnichannel.contact WHERE source LIKE '%again%' AND source <> 'public.again' ORDER BY 1;
-- The same rows may come again under the source, where one says so; and a key that is not the table's may repeat.
DROP TABLE again;
DELETE FROM omnichannel.tracked_table WHERE source = 'again 3';
CREATE TABLE again (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, who text, at timestamptz);
SELECT omnichannel.track('again', channel => 'email', customer => '{who}', kind => 'email', source_key => '{who}', occurred_at => '{at}', source => 'again 3');
INSERT INTO again (who, at) VALUES ('t4@again.test', '2026-03-02 10:00+00');
INSERT INTO again (who, at) VALUES ('t4@again.test', '2026-03-03 10:00+00');
SELECT count(*) FROM omnichannel.contact WHERE source = 'again 3';
ROLLBACK;

-- A row that moves to another partition revises its contact, also where that changes its time.
BEGIN;
CREATE TABLE moving (id int, st text, src text, res text, at timestamptz, PRIMARY KEY (id, st)) PARTITION BY LIST (st);
CREATE TABLE moving_open PARTITION OF moving FOR VALUES IN ('open');
CREATE TABLE moving_closed PARTITION OF moving FOR VALUES IN ('closed');
SELECT omnichannel.track('moving', channel => 'phone', customer => '{src}', kind => 'phone', outcome => '{res}', occurred_at => '{at}', source_key => '{id}', updates => true);
INSERT INTO moving VALUES (1, 'open', '601234009', 'answered', '2026-03-01 10:00+00');
UPDATE moving SET st = 'closed', res = 'voicemail', at = '2026-03-01 10:05+00';
SELECT outcome, occurred_at FROM omnichannel.contact WHERE source = 'public.moving';
ROLLBACK;

-- An updated row that could not be logged revises its contact when it is tried again, as the row is by then.
BEGIN;
CREATE TABLE revised (id int PRIMARY KEY, src text, res text, r text);
SELECT omnichannel.track('revised', channel => 'phone', customer => '{src}', kind => 'phone', outcome => '{res}', subject => '{r}', updates => true, on_error => 'quarantine');
INSERT INTO revised VALUES (1, '601234009', 'missed', 'a'), (2, '601234009', 'missed', 'a'), (3, '601234009', 'missed', 'a');
UPDATE revised SET res = 'TALKED', r = 'b';
UPDATE revised SET res = 'voicemail', r = 'c' WHERE id = 2;
DELETE FROM revised WHERE id = 3;
SELECT omnichannel.track('revised', channel => 'phone', customer => '{src}', kind => 'phone', outcome => '{res}', subject => '{r}', updates => true, on_error => 'quarantine', value_maps => '{"outcome": {"TALKED": "answered"}}');
SELECT omnichannel.retry_rejects('public.revised');
SELECT source_key, outcome, subject FROM omnichannel.contact WHERE source = 'public.revised' ORDER BY 1;
ROLLBACK;

-- A brace that is not closed is no constant; a tracked table cannot become a partition, whose whole would not be tracked.
BEGIN;
CREATE TABLE attached (id int PRIMARY KEY, who text);
SELECT omnichannel.track('attached', channel => 'email', customer => '{who', kind => 'email');
SELECT omnichannel.track('attached', channel => 'email', customer => '{}{who}', kind => 'email');
SELECT omnichannel.track('attached', channel => 'email', customer => '{who}', kind => 'email');
CREATE TABLE whole (id int PRIMARY KEY, who text) PARTITION BY RANGE (id);
ALTER TABLE whole ATTACH PARTITION attached DEFAULT;
SELECT state FROM omnichannel.tracked_relations WHERE tracking = 'public.attached';
INSERT INTO attached VALUES (1, 'a1@attached.test');
SELECT omnichannel.untrack('attached');
ALTER TABLE whole ATTACH PARTITION attached DEFAULT;
SELECT omnichannel.track('whole', channel => 'email', customer => '{who}', kind => 'email');
INSERT INTO whole VALUES (2, 'a2@attached.test');
SELECT source, source_key FROM omnichannel.contact WHERE source IN ('public.attached', 'public.whole') ORDER BY 1;
ROLLBACK;

-- Blank senders, also as parts, and what a value map says are customers nobody knows yet, each another one.
BEGIN;
CREATE TABLE withheld (id int PRIMARY KEY, kind text DEFAULT 'phone', who text, no text, ticket text);
SELECT omnichannel.track('withheld', channel => 'phone', customer => '{who}', kind => '{kind}', thread => '{ticket}',
	value_maps => '{"customer": {"anonymous": "", "test": null}}');
INSERT INTO withheld (id, who, ticket) VALUES (1, '', NULL), (2, E' \t', NULL), (3, 'anonymous', NULL), (4, NULL, NULL), (5, 'test', NULL),
	(6, '601 234 003', 'W'), (7, '', 'W');
INSERT INTO withheld (id, who) VALUES (8, 'nonsense');
SELECT omnichannel.track('withheld', channel => 'phone', customer => 'shop/{no}', kind => 'account');
INSERT INTO withheld (id, no) VALUES (11, ' '), (12, NULL), (13, '0');
SELECT omnichannel.track('withheld', channel => 'phone', customer => '{no}');
INSERT INTO withheld (id, no) VALUES (21, ' '), (22, '');
SELECT source_key, dense_rank() OVER (ORDER BY customer_id) AS customer, (SELECT value FROM omnichannel.identity AS i WHERE i.customer_id = c.customer_id) AS who
FROM omnichannel.contact AS c WHERE source = 'public.withheld' ORDER BY source_key::int;
ROLLBACK;
