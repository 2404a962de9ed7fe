-- Whose a conversation is, and which request a contact is about.
\set SHOW_CONTEXT never
\set ON_ERROR_ROLLBACK on
BEGIN;
CREATE FUNCTION pg_temp.who(address text) RETURNS bigint LANGUAGE sql AS $$ SELECT omnichannel.identify('email', address || '@talk.test') $$;
CREATE FUNCTION pg_temp.refused(statement text) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(code || ' ' || regexp_replace(message, '\d+', 'N', 'g'), 'not refused') FROM public.raises(statement)
$$;
CREATE TABLE talk (id int PRIMARY KEY, who text, thread text, request bigint, direction text DEFAULT 'inbound', at timestamptz DEFAULT '2026-03-01 10:00+00', channel text DEFAULT 'email');
SELECT omnichannel.track('talk', channel => '{channel}', customer => '{who}', kind => 'email', thread => '{thread}', request => '{request}', direction => '{direction}', occurred_at => '{at}') > '' AS tracked;
CREATE TEMP VIEW talked AS
SELECT source_key::int AS id, coalesce((SELECT split_part(value, '@', 1) FROM omnichannel.identity AS i WHERE i.customer_id = c.customer_id), 'nobody') AS who,
	c.thread, dense_rank() OVER (ORDER BY c.request_id) AS request, coalesce((SELECT split_part(value, '@', 1) FROM omnichannel.identity AS i WHERE i.customer_id = t.customer_id), 'nobody') AS thread_of
FROM omnichannel.contact AS c LEFT JOIN omnichannel.thread AS t USING (source, thread) WHERE c.source = 'public.talk' ORDER BY 1;

-- A stranger with another's thread key, known or new, gets a conversation of his own; who says nothing is whose thread it is.
SELECT pg_temp.who('ben') > 0 AS ben;
INSERT INTO talk (id, who, thread) VALUES (1, 'anna@talk.test', 'T1');
UPDATE omnichannel.request SET state = 'waiting_customer', state_since = '2026-03-01 10:30+00' WHERE customer_id = pg_temp.who('anna');
INSERT INTO talk (id, who, thread) VALUES (2, 'ben@talk.test', 'T1');
INSERT INTO talk (id, who, thread) VALUES (3, 'new@talk.test', 'T1');
INSERT INTO talk (id, who, thread) VALUES (4, 'ben@talk.test', 'T1');
SELECT state FROM omnichannel.request WHERE customer_id = pg_temp.who('anna');
INSERT INTO talk (id, who, thread, at) VALUES (5, NULL, 'T1', '2026-03-01 11:00+00');
INSERT INTO talk (id, who, thread) VALUES (6, 'anna@talk.test', 'T1');
SELECT state FROM omnichannel.request WHERE customer_id = pg_temp.who('anna');
-- The same in one statement, the thread in it new: it is with whoever wrote first.
INSERT INTO talk (id, who, thread, at) VALUES (11, 'ben@talk.test', 'T2', '2026-03-01 12:00+00'), (12, NULL, 'T2', '2026-03-01 11:00+00'), (13, 'cleo@talk.test', 'T2', '2026-03-01 10:30+00'),
	(14, 'ben@talk.test', 'T1', '2026-03-01 12:00+00'), (15, NULL, 'T1', '2026-03-01 12:00+00');
-- Copies to others: an answer that goes to somebody else too
INSERT INTO talk (id, who, thread, direction) VALUES (16, 'ben@talk.test', 'T1', 'outbound'), (17, 'anna@talk.test', 'T1', 'outbound');
SELECT * FROM talked;

-- Nobody was named at first: whoever is named then is who it was.
INSERT INTO talk (id, thread) VALUES (21, 'T3'), (22, 'T4');
INSERT INTO talk (id, thread) VALUES (23, 'T3');
INSERT INTO talk (id, who, thread) VALUES (24, 'dora@talk.test', 'T3');
INSERT INTO talk (id, who, thread) VALUES (25, 'ben@talk.test', 'T4'), (26, 'anna@talk.test', 'T4'), (27, NULL, 'T4');
INSERT INTO talk (id, who, thread) VALUES (28, 'ben@talk.test', 'T3'), (29, NULL, 'T3');
SELECT * FROM talked WHERE id > 20;
SELECT count(*) AS of_dora FROM omnichannel.timeline(pg_temp.who('dora'));
SELECT count(*) AS requests FROM omnichannel.open_requests(pg_temp.who('dora'));
-- Logged again, such a row changes nothing.
INSERT INTO talk (id, thread) VALUES (30, 'T5');
SELECT omnichannel.log_contact('email', source => 'public.talk', source_key => '30', kind => 'email', value => 'ben@talk.test', thread => 'T5') > 0 AS again;
SELECT who, thread_of FROM talked WHERE id = 30;

-- One person with two addresses, once that is known, is no stranger.
SELECT pg_temp.who('anna2') > 0 AS known;
SELECT omnichannel.merge_customers(pg_temp.who('anna'), pg_temp.who('anna2')) > 0 AS merged;
INSERT INTO talk (id, who, thread) VALUES (41, 'anna2@talk.test', 'T1'), (42, NULL, 'T1');
SELECT m.*, m.request = (SELECT request FROM talked WHERE id = 1) AS same_request FROM talked AS m WHERE id > 40;

-- Requests that the application names
SELECT request_id AS annas FROM omnichannel.request WHERE customer_id = pg_temp.who('anna') ORDER BY 1 LIMIT 1 \gset
SELECT pg_temp.refused(format($$SELECT omnichannel.log_contact('phone', kind => 'email', value => 'ben@talk.test', request_id => %s)$$, :annas));
SELECT pg_temp.refused(format($$SELECT omnichannel.log_contact('phone', kind => 'email', value => 'ben@talk.test', request_id => %s, source => 'x', source_key => 'y')$$, :annas));
SELECT pg_temp.refused(format($$INSERT INTO talk (id, who, request) VALUES (51, 'stranger@talk.test', %s)$$, :annas));
SELECT pg_temp.refused(format($$INSERT INTO talk (id, who, request) VALUES (51, 'anna@talk.test', %s), (52, 'ben@talk.test', %1$s)$$, :annas));
INSERT INTO talk (id, who, request) VALUES (53, 'anna@talk.test', :annas), (54, 'anna2@talk.test', :annas), (55, NULL, :annas);
INSERT INTO talk (id, who, request) VALUES (56, NULL, :annas);
INSERT INTO talk (id, request, thread) VALUES (57, :annas, 'T2'), (58, -3, NULL);
INSERT INTO talk (id, request, thread) VALUES (57, :annas, 'T2');
SELECT id, who, thread, request = (SELECT request FROM talked WHERE id = 1) AS annas, thread_of FROM talked WHERE id > 50;
-- What a nameless customer began is of whoever goes on with it.
SELECT omnichannel.log_contact('chat', source => 'talk_chat', source_key => '1') AS chat \gset
SELECT request_id AS nobodys FROM omnichannel.contact WHERE contact_id = :chat \gset
SELECT omnichannel.log_contact('chat', kind => 'email', value => 'eve@talk.test', request_id => :nobodys) > 0 AS logged_in;
SELECT count(*), count(DISTINCT request_id) AS requests FROM omnichannel.timeline(pg_temp.who('eve'));
ROLLBACK;

-- How long a request may rest
BEGIN;
CREATE FUNCTION pg_temp.say(address text, days int, channel text DEFAULT 'email', direction text DEFAULT 'inbound') RETURNS text LANGUAGE sql AS $$
	SELECT channel || ' ' || days || ' days ago' WHERE omnichannel.log_contact(channel, kind => 'email', value => address || '@rest.test', direction => direction,
		occurred_at => now() - days * interval '24 hours', source => 'rest', source_key => address || channel || days || direction) > 0
$$;
CREATE TEMP VIEW said AS SELECT split_part(i.value, '@', 1) AS who, extract(day FROM now() - c.occurred_at) AS days_ago, c.channel, dense_rank() OVER (PARTITION BY i.value ORDER BY r.opened_at, c.request_id) AS request,
	extract(day FROM now() - r.opened_at) AS opened
FROM omnichannel.contact AS c JOIN omnichannel.identity AS i USING (customer_id) LEFT JOIN omnichannel.request AS r USING (request_id) WHERE c.source = 'rest' ORDER BY 1, c.contact_id;
-- It is measured from the last contact, in both directions of time.
SELECT pg_temp.say('a', 60), pg_temp.say('a', 35), pg_temp.say('a', 29), pg_temp.say('a', 1, direction => 'outbound'), pg_temp.say('a', 0);
SELECT pg_temp.say('b', 0), pg_temp.say('b', 1000), pg_temp.say('b', 20), pg_temp.say('b', 990, 'forum'), pg_temp.say('b', 500, 'forum'), pg_temp.say('b', 1, 'forum');
-- What resumes or moves a request keeps it awake.
SELECT pg_temp.say('c', 60);
UPDATE omnichannel.request SET state = 'waiting_customer' WHERE customer_id = omnichannel.identify('email', 'c@rest.test');
SELECT pg_temp.say('c', 0);
SELECT * FROM said;
-- The same in one statement
CREATE TABLE rest (address text, days int, channel text DEFAULT 'email', direction text DEFAULT 'inbound', at timestamptz, PRIMARY KEY (address, channel, days, direction));
SELECT omnichannel.track('rest', channel => '{channel}', customer => '{address}@all.test', kind => 'email', direction => '{direction}', occurred_at => '{at}', source => 'rest') > '' AS tracked;
INSERT INTO rest SELECT 'd', days, channel, direction, now() - days * interval '24 hours' FROM (VALUES (0, 'email', 'inbound'), (29, 'email', 'inbound'), (60, 'email', 'inbound'), (35, 'chat', 'inbound'), (1, 'email', 'outbound')) AS v (days, channel, direction);
INSERT INTO rest SELECT 'd', days, channel, 'outbound', now() - days * interval '24 hours' FROM (VALUES (2, 'chat'), (70, 'email'), (1000, 'email')) AS v (days, channel);
SELECT * FROM said WHERE who = 'd';
-- After a merge the requests of both are looked at: an own one that rests hides no other.
SELECT pg_temp.say('e', 50), pg_temp.say('f', 5);
SELECT omnichannel.merge_customers(omnichannel.identify('email', 'e@rest.test'), omnichannel.identify('email', 'f@rest.test')) > 0 AS merged;
SELECT pg_temp.say('e', 4), pg_temp.say('f', 45), pg_temp.say('e', 3, 'chat');
SELECT who, days_ago, channel, opened FROM said WHERE who IN ('e', 'f');
INSERT INTO rest SELECT address, days, channel, 'inbound', now() - days * interval '24 hours' FROM (VALUES ('g', 50, 'email'), ('h', 5, 'email')) AS v (address, days, channel);
SELECT omnichannel.merge_customers(omnichannel.identify('email', 'g@all.test'), omnichannel.identify('email', 'h@all.test')) > 0 AS merged;
INSERT INTO rest SELECT address, days, channel, 'inbound', now() - days * interval '24 hours' FROM (VALUES ('g', 4, 'email'), ('h', 45, 'email'), ('g', 3, 'chat')) AS v (address, days, channel);
SELECT who, days_ago, channel, opened FROM said WHERE who IN ('g', 'h');
-- Two who are one open one request together.
SELECT omnichannel.identify('email', 'i@all.test') > 0 AS known, omnichannel.identify('email', 'j@all.test') > 0 AS known;
SELECT omnichannel.merge_customers(omnichannel.identify('email', 'i@all.test'), omnichannel.identify('email', 'j@all.test')) > 0 AS merged;
INSERT INTO rest VALUES ('i', 1, 'email', 'inbound', now() - interval '1 day'), ('j', 2, 'sms', 'inbound', now() - interval '2 days');
SELECT count(*) FROM omnichannel.open_requests(omnichannel.identify('email', 'i@all.test'));
ROLLBACK;
