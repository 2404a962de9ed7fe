-- Several identities of one customer, and two customers who are one person.
\set SHOW_CONTEXT never
BEGIN;
-- Who is whom: each customer with the one that it was merged into.
CREATE FUNCTION pg_temp.groups() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(concat(customer_id - 9000, '>' || merged_into - 9000), ' ' ORDER BY customer_id)
	FROM omnichannel.customer WHERE customer_id BETWEEN 9001 AND 9099
$$;
INSERT INTO omnichannel.customer (customer_id, name) SELECT 9000 + i, 'Customer ' || i FROM generate_series(1, 8) AS i;
INSERT INTO omnichannel.customer (customer_id, erased_at) VALUES (9050, '2026-01-01 00:00+00');
ALTER TABLE omnichannel.customer_merge ALTER merge_id RESTART WITH 901;
SET LOCAL TIME ZONE 'UTC';
SET LOCAL datestyle = 'ISO, YMD';

-- Identities: several a customer, in normal form, of the company's own kinds too.
INSERT INTO omnichannel.identity_kind (kind, name, normal_form, pattern, strong) VALUES
	('regress_card', 'Loyalty card', 'exact', '[0-9]{8}', true), ('regress_mobile', 'Mobile', 'phone', NULL, false);
SELECT omnichannel.link_identity(9001, 'email', 'Merge.One@Example.com'), omnichannel.link_identity(9001, 'phone', '601 900 001'),
	omnichannel.link_identity(9001, 'regress_card', ' 12345678 ', verified => true);
SELECT omnichannel.identify('regress_card', '12345678') AS card, omnichannel.identify('phone', '+48601900001') AS phone;
-- linked again: nothing changes, and verified stays verified
SELECT omnichannel.link_identity(9001, 'regress_card', '12345678');
SELECT kind, value, verified_at IS NOT NULL AS verified FROM omnichannel.identity WHERE customer_id = 9001 ORDER BY kind;
SELECT omnichannel.verify_identity('email', 'MERGE.ONE@example.com', '2026-02-03 10:00+00');
SELECT verified_at FROM omnichannel.identity WHERE kind = 'email' AND value = 'merge.one@example.com';
-- an earlier proof does not undo a later one
SELECT omnichannel.verify_identity('email', 'merge.one@example.com', '2026-01-01 10:00+00');
SELECT verified_at FROM omnichannel.identity WHERE kind = 'email' AND value = 'merge.one@example.com';
SELECT raised(statement) FROM (VALUES
	($$SELECT omnichannel.link_identity(9002, 'email', 'merge.one@example.com')$$),
	($$SELECT omnichannel.link_identity(9001, 'regress_card', '87654321', verified => true)$$),
	($$SELECT omnichannel.link_identity(9001, 'regress_card', '1234')$$),
	($$SELECT omnichannel.link_identity(9001, 'regress_none', '1234')$$),
	($$SELECT omnichannel.link_identity(9001, 'email', NULL)$$),
	($$SELECT omnichannel.link_identity(NULL, 'email', 'a@example.com')$$),
	($$SELECT omnichannel.link_identity(9099, 'email', 'a@example.com')$$),
	($$SELECT omnichannel.link_identity(9050, 'email', 'a@example.com')$$),
	($$SELECT omnichannel.verify_identity('email', 'nobody@example.com')$$),
	($$SELECT omnichannel.verify_identity('email', 'merge.one@example.com', 'infinity')$$),
	($$SELECT omnichannel.verify_identity('email', 'merge.one@example.com', NULL)$$),
	($$SELECT omnichannel.verify_identity('email', 'merge.one@example.com', '2999-01-01 UTC')$$)
) AS bad (statement);
-- a second card may be on record, but not be verified as well
SELECT omnichannel.link_identity(9001, 'regress_card', '87654321');
SELECT raised($$SELECT omnichannel.verify_identity('regress_card', '87654321')$$);
SELECT omnichannel.unlink_identity('regress_card', '87654321') AS was, omnichannel.unlink_identity('regress_card', '87654321') AS gone;
-- a number that changed hands
SELECT omnichannel.unlink_identity('phone', '601900001');
SELECT omnichannel.link_identity(9002, 'phone', '601900001', verified => true);
SELECT omnichannel.identify('phone', '601900001');

-- Names, language and channel.
SELECT omnichannel.set_customer(9001, language => 'pl', preferred_channel => 'email', birth_date => '1990-05-01');
SELECT name, birth_date, language, preferred_channel FROM omnichannel.customer WHERE customer_id = 9001;
SELECT raised(statement) FROM (VALUES
	($$SELECT omnichannel.set_customer(9001, name => '')$$),
	($$SELECT omnichannel.set_customer(9001, language => 'polish!')$$),
	($$SELECT omnichannel.set_customer(9001, preferred_channel => 'pigeon')$$),
	($$SELECT omnichannel.set_customer(9001, birth_date => 'infinity')$$),
	($$SELECT omnichannel.set_customer(9050, name => 'Zoe')$$),
	($$SELECT omnichannel.set_customer(9099, name => 'Zoe')$$)
) AS bad (statement);

-- Merged: one in every channel, known as the one that was kept.
SELECT omnichannel.merge_customers(9001, 9002, 'same address') AS merge_id;
SELECT pg_temp.groups();
SELECT omnichannel.identify('phone', '601900001') AS found, omnichannel.customer_root(9002) AS root, omnichannel.customer_group(9002);
-- the duplicate's address keeps to it; what is linked now goes where it is asked to
SELECT customer_id FROM omnichannel.identity WHERE kind = 'phone' AND value = '+48601900001';
SELECT omnichannel.link_identity(9001, 'regress_mobile', '601900009'), omnichannel.link_identity(9002, 'email', 'merge.two@example.com');
SELECT customer_id, kind FROM omnichannel.identity WHERE value IN ('+48601900009', 'merge.two@example.com') ORDER BY 1;
-- names are written to the one who stands for both
SELECT omnichannel.set_customer(9002, name => 'Anna');
SELECT customer_id, name FROM omnichannel.customer WHERE customer_id IN (9001, 9002) ORDER BY 1;
SELECT merge_id, kept_id, duplicate_id, reason, forced, merged_by = session_user AS by_me, unmerged_at FROM omnichannel.customer_merge WHERE kept_id = 9001;

-- What cannot be merged.
SELECT raised(statement) FROM (VALUES
	($$SELECT omnichannel.merge_customers(9003, 9003)$$),
	($$SELECT omnichannel.merge_customers(9003, NULL)$$),
	($$SELECT omnichannel.merge_customers(NULL, 9003)$$),
	($$SELECT omnichannel.merge_customers(9003, 9099)$$),
	($$SELECT omnichannel.merge_customers(9099, 9003)$$),
	($$SELECT omnichannel.merge_customers(9003, 9050)$$),
	($$SELECT omnichannel.merge_customers(9050, 9003)$$),
	($$SELECT omnichannel.merge_customers(9003, 9002)$$),
	($$SELECT omnichannel.merge_customers(9002, 9003)$$),
	($$SELECT omnichannel.merge_customers(9002, 9001)$$),
	($$SELECT omnichannel.merge_customers(9001, 9002)$$),
	($$SELECT omnichannel.merge_customers(9003, 9004, '')$$),
	($$SELECT omnichannel.unmerge_customers(NULL)$$),
	($$SELECT omnichannel.unmerge_customers(999999999)$$)
) AS bad (statement);
SELECT pg_temp.groups();

-- Different persons, unless one insists: also through those merged before.
SELECT omnichannel.link_identity(9003, 'regress_card', '33333333', verified => true);
SELECT raised($$SELECT omnichannel.merge_customers(9001, 9003)$$);
SELECT omnichannel.merge_customers(9004, 9003) AS merge_id;
SELECT raised($$SELECT omnichannel.merge_customers(9004, 9001)$$);
SELECT omnichannel.merge_customers(9004, 9001, 'sisters? no: she lost her card', force => true) AS merge_id;
SELECT pg_temp.groups();
SELECT merge_id, forced FROM omnichannel.customer_merge WHERE merge_id > 901 ORDER BY 1;

-- Undone, in any order: 2 into 1 (901), 3 into 4 (902), 1 into 4 (903).
SAVEPOINT a;
SELECT omnichannel.unmerge_customers(903) AS alone, pg_temp.groups();
SELECT omnichannel.unmerge_customers(901) AS alone, pg_temp.groups();
SELECT omnichannel.unmerge_customers(902) AS alone, pg_temp.groups();
ROLLBACK TO a;
SELECT omnichannel.unmerge_customers(901) AS alone, pg_temp.groups();
SELECT omnichannel.unmerge_customers(902) AS alone, pg_temp.groups();
SELECT raised($$SELECT omnichannel.merge_customers(9004, 9001)$$);
SELECT omnichannel.unmerge_customers(903) AS alone, pg_temp.groups();
SELECT raised($$SELECT omnichannel.unmerge_customers(903)$$);
ROLLBACK TO a;
-- 5 into 2 cannot be, 2 is merged; but 4 into 5 takes all along, and 901 still parts 2 from the rest.
SELECT omnichannel.merge_customers(9005, 9004) AS merge_id, pg_temp.groups();
SELECT omnichannel.unmerge_customers(901) AS alone, pg_temp.groups();
SELECT omnichannel.unmerge_customers(903) AS alone, pg_temp.groups();
SELECT omnichannel.merge_customers(9002, 9005) AS merge_id, pg_temp.groups();
SELECT omnichannel.unmerge_customers(904) AS alone, pg_temp.groups();
SELECT omnichannel.unmerge_customers(905) AS alone, pg_temp.groups();
SELECT omnichannel.unmerge_customers(902) AS alone, pg_temp.groups();

-- The log keeps its addresses; timeline and relationship are one while merged, and apart again afterwards.
INSERT INTO omnichannel.agent (agent_id, name) VALUES (9001, 'Ewa');
SELECT count(omnichannel.log_contact('phone', customer_id => customer, agent_id => 9001, occurred_at => timestamptz '2026-03-01 09:00+00' + customer * interval '1 minute', subject => subject))
FROM (VALUES (9006, 'six'), (9007, 'seven'), (9007, 'seven again')) AS said (customer, subject);
SELECT omnichannel.merge_customers(9006, 9007) AS merge_id \gset
SELECT count(omnichannel.log_contact('phone', customer_id => 9007, agent_id => 9001, occurred_at => '2026-07-01 09:00+00', subject => 'while merged'));
SELECT subject, logged_as FROM omnichannel.timeline(9006);
SELECT subject, logged_as FROM omnichannel.timeline(9007, max_rows => 2);
-- pages are stable where times are equal, across those merged
SELECT subject FROM omnichannel.timeline(9007, '2026-06-01 00:00+00', 1) AS page;
SELECT next.subject FROM omnichannel.timeline(9007, '2026-06-01 00:00+00', 1) AS page,
	omnichannel.timeline(9007, page.occurred_at, 5, page.contact_id) AS next ORDER BY next.occurred_at DESC, next.contact_id DESC;
SELECT customer_id, contacts FROM omnichannel.relationship WHERE agent_id = 9001 ORDER BY 1;
SELECT omnichannel.unmerge_customers(:merge_id);
SELECT subject, logged_as FROM omnichannel.timeline(9006);
SELECT subject, logged_as FROM omnichannel.timeline(9007);

-- Who may be one person.
SELECT a, b, round(omnichannel.name_similarity(a, b)::numeric, 2) AS alike FROM (VALUES
	('Łukasz Żółć', 'ZOLC, Lukasz'), ('Anna Nowak', 'Anna Nowak'), ('Anna Nowak', 'A. Nowak'), ('Anna Nowak', 'Ana Nowak'),
	('Anna Maria Nowak', 'Anna Nowak'), ('Anna Nowak', 'Jan Kowalski'), ('Bjørn Åse', 'Bjorn Ase'), ('O''Brien', 'OBrien'),
	('Anna', ''), ('', ''), ('...', 'Anna'), ('Straße', 'Strasse')
) AS names (a, b);
SELECT omnichannel.name_similarity(repeat('x', 5000), repeat('x', 6000)) AS long, omnichannel.name_similarity(repeat('a b ', 500), 'b a') AS many;
INSERT INTO omnichannel.customer (customer_id, name, birth_date) VALUES
	(9061, 'Maria Wiśniewska', '1985-03-02'), (9062, 'WISNIEWSKA Maria', '1985-03-02'), (9063, 'Marie Wisniewska', '1985-03-02'),
	(9064, 'Piotr Zieliński', '1985-03-02'), (9065, NULL, NULL), (9066, 'Maria Wiśniewska', '1999-09-09');
SELECT omnichannel.link_identity(9061, 'phone', '601 900 061', true), omnichannel.link_identity(9065, 'regress_mobile', '601 900 061', true),
	omnichannel.link_identity(9066, 'email', 'm.w@example.com'), omnichannel.link_identity(9062, 'email', 'm.w+shop@example.com');
SELECT * FROM omnichannel.merge_candidates() WHERE kept_id BETWEEN 9060 AND 9069;
SELECT duplicate_id, score FROM omnichannel.merge_candidates(9062);
SELECT duplicate_id, score FROM omnichannel.merge_candidates(9062, min_score => 0.85);
SELECT count(*) FROM omnichannel.merge_candidates(9062, max_rows => 0);
-- different cards speak against it
SELECT omnichannel.link_identity(9061, 'regress_card', '61616161', true), omnichannel.link_identity(9062, 'regress_card', '62626262', true);
SELECT kept_id, duplicate_id, conflict FROM omnichannel.merge_candidates(9062);
-- merged, they are one candidate; taken apart, they are none; erased, they are not looked at
SELECT omnichannel.merge_customers(9061, 9063) AS merge_id \gset
SELECT kept_id, duplicate_id, score FROM omnichannel.merge_candidates(9063);
SELECT omnichannel.unmerge_customers(:merge_id);
SELECT kept_id, duplicate_id, score FROM omnichannel.merge_candidates(9063);
SELECT raised(statement) FROM (VALUES
	($$SELECT omnichannel.merge_candidates(9099)$$),
	($$SELECT omnichannel.merge_candidates(max_rows => -1)$$),
	($$SELECT omnichannel.merge_candidates(min_score => 1.5)$$),
	($$SELECT omnichannel.customer_group(NULL)$$),
	($$SELECT omnichannel.customer_group(9099)$$)
) AS bad (statement);

-- Customers who are made by the very statement
SELECT omnichannel.merge_customers(omnichannel.identify('email', 'one@same.example'), omnichannel.identify('email', 'two@same.example')) IS NOT NULL AS merged;
SELECT omnichannel.merge_customers(omnichannel.identify('email', 'two@same.example', "create" => false), 9064);
SELECT omnichannel.remember(omnichannel.identify('email', 'three@same.example'), 'pet', '"cat"') IS NOT NULL AS remembered;
SELECT omnichannel.link_identity(omnichannel.identify('email', 'four@same.example'), 'regress_card', '64646464', verified => true);
ROLLBACK;
