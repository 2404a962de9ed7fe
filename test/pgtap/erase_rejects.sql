-- Whose a row in quarantine is: erasure deletes, and export hands over, the customer's rows, all of them and no other's.
BEGIN;
SELECT plan(34);

INSERT INTO omnichannel.identity_kind (kind, name, normal_form, pattern) VALUES ('card', 'Loyalty card', 'exact', '[A-Z][0-9]+');
-- Each column of a mapping that can say whose it is; the outcome keeps every row from the log.
CREATE TABLE public.said (id int PRIMARY KEY, kind text, who text, target text, direction text, thread text, outcome text DEFAULT 'BOGUS', body text);
CREATE TABLE public.visit (id int PRIMARY KEY, customer text, outcome text DEFAULT 'BOGUS', thread text, body text);
CREATE TABLE public.mail (id int PRIMARY KEY, box text, host text, outcome text DEFAULT 'BOGUS', body text);
SELECT omnichannel.track('public.said', channel => 'forum', kind => '{kind}', customer => '{who}', recipient => '{target}', direction => '{direction}',
	thread => '{thread}', outcome => '{outcome}', on_error => 'quarantine', source => 'said',
	value_maps => '{"kind": {"tel": "phone"}, "direction": {"I": "inbound", "O": "outbound"}, "customer": {"the owner": "anna@x.test"}}'),
	omnichannel.track('public.visit', channel => 'branch', customer => '{customer}', outcome => '{outcome}', thread => '{thread}', on_error => 'quarantine', source => 'said'),
	omnichannel.track('public.mail', channel => 'email', kind => 'email', customer => '{box}@{host}', outcome => '{outcome}', on_error => 'quarantine') \g /dev/null

INSERT INTO omnichannel.customer (customer_id, name) VALUES (1001, 'Test'), (1002, 'Test'), (1003, NULL), (1004, NULL);
SELECT omnichannel.link_identity(1001, 'email', 'anna@x.test'), omnichannel.link_identity(1001, 'phone', '601 234 567'),
	omnichannel.link_identity(1001, 'account', 'K17'), omnichannel.link_identity(1003, 'card', 'C5'), omnichannel.link_identity(1004, 'email', 'other@x.test'),
	omnichannel.merge_customers(1001, 1003) \g /dev/null
INSERT INTO omnichannel.thread (source, thread, customer_id) VALUES ('said', 'of-anna', 1003), ('said', 'of-other', 1004), ('else', 'of-other', 1001);

-- theirs says whose the row is; the ids are those of the rejects' rows
CREATE TABLE public.expected (line text PRIMARY KEY, theirs boolean);
CREATE FUNCTION public.said(id int, theirs boolean, kind text, who text, direction text DEFAULT 'I', target text DEFAULT NULL, thread text DEFAULT NULL, body text DEFAULT 'x')
	RETURNS void LANGUAGE sql AS $$
	INSERT INTO public.expected VALUES ('said ' || id, theirs);
	INSERT INTO public.said (id, kind, who, direction, target, thread, body) VALUES (id, kind, who, direction, target, thread, body);
$$;
SELECT
	-- written in any way
	public.said(1, true, 'email', 'Anna <ANNA@X.test>'), public.said(2, true, 'tel', '601-234-567'), public.said(3, true, 'phone', '+48 (601) 234 567'),
	public.said(4, true, 'phone', '0048601234567'), public.said(5, true, 'account', ' K17 '), public.said(6, true, 'card', 'C5'),
	public.said(7, true, 'email', 'the owner'),
	-- of others, whose addresses contain hers, who write of her, or whose number is of another kind
	public.said(10, false, 'email', 'marianna@x.test'), public.said(11, false, 'email', 'anna@x.test.example'), public.said(12, false, 'email', 'jo.anna@x.test'),
	public.said(13, false, 'phone', '602 234 567'), public.said(14, false, 'phone', '+49 601234567'), public.said(15, false, 'account', 'K171'), public.said(16, false, 'account', 'k17'),
	public.said(17, false, 'card', 'K17'), public.said(18, false, 'email', 'other@x.test', body => 'I met anna@x.test, 601 234 567, K17, 1001, Test'),
	-- the recipient of what was sent, and nobody who only is a recipient
	public.said(20, true, 'email', 'desk@shop.test', 'O', 'anna@x.test'), public.said(21, false, 'email', 'anna@x.test', 'O', 'other@x.test'),
	public.said(22, false, 'email', 'other@x.test', 'I', 'anna@x.test'), public.said(23, true, 'email', 'other@x.test', 'sideways', 'anna@x.test'),
	-- by the conversation: nobody is named, or nobody can tell who
	public.said(30, true, 'email', NULL, thread => 'of-anna'), public.said(31, true, 'email', '  ', thread => 'of-anna'), public.said(32, true, 'email', 'scrawl', thread => 'of-anna'),
	public.said(33, false, 'email', NULL, thread => 'of-other'), public.said(34, false, 'email', 'other@x.test', thread => 'of-anna'), public.said(35, false, 'email', NULL),
	public.said(36, true, 'email', 'anna@x.test', thread => 'of-other'),
	-- what is no identity, but holds one
	public.said(40, true, 'email', 'anna@x.test, boss@x.test'), public.said(41, true, 'phone', '601 234 567 ext. 5 (Anna)'), public.said(42, true, 'nonsense', 'anna@x.test'),
	public.said(43, false, 'email', 'marianna@x.test, jo.anna@x.test'), public.said(44, false, 'email', 'scrawl'), public.said(45, false, 'nonsense', 'other@x.test'),
	public.said(46, true, 'card', 'card C5!') \g /dev/null
INSERT INTO public.visit (id, customer, thread) VALUES (1, '1001', NULL), (2, '1003', NULL), (3, ' +1001 ', NULL), (4, '10011', NULL), (5, '1004', 'of-anna'), (6, 'no id', 'of-anna'), (7, 'no id', NULL);
INSERT INTO public.expected VALUES ('visit 1', true), ('visit 2', true), ('visit 3', true), ('visit 4', false), ('visit 5', false), ('visit 6', true), ('visit 7', false);
INSERT INTO public.mail (id, box, host) VALUES (1, 'anna', 'x.test'), (2, 'other', 'x.test'), (3, NULL, 'anna@x.test');
INSERT INTO public.expected VALUES ('mail 1', true), ('mail 2', false), ('mail 3', false);

CREATE VIEW public.rejects AS
	SELECT reject_id, replace(tracking, 'public.', '') || ' ' || (data ->> 'id') AS line FROM omnichannel.contact_reject;
SELECT set_eq('SELECT line FROM public.rejects', 'SELECT line FROM public.expected', 'all rows are in quarantine');
SELECT set_eq(
	$$SELECT line FROM public.rejects JOIN jsonb_array_elements(omnichannel.export_customer(1001) -> 'data' -> 'contact_reject') AS r ON (r ->> 'reject_id')::bigint = reject_id$$,
	'SELECT line FROM public.expected WHERE theirs', 'the customer''s rows are exported, and no others');
SELECT is(omnichannel.export_customer(1003) -> 'data' -> 'contact_reject', omnichannel.export_customer(1001) -> 'data' -> 'contact_reject', 'of all who were merged');
SELECT set_eq(
	$$SELECT line FROM public.rejects JOIN jsonb_array_elements(omnichannel.export_customer(1004) -> 'data' -> 'contact_reject') AS r ON (r ->> 'reject_id')::bigint = reject_id$$,
	$$VALUES ('said 18'), ('said 21'), ('said 22'), ('said 23'), ('said 33'), ('said 34'), ('said 45'), ('visit 5'), ('mail 2')$$, 'as are another''s');
SELECT is(omnichannel.export_customer(1002) -> 'data' -> 'contact_reject', '[]', 'a name is nobody''s');

SELECT is((omnichannel.erase_customer(1003) ->> 'contact_reject')::bigint, (SELECT count(*) FROM public.expected WHERE theirs), 'as many are erased');
SELECT set_eq('SELECT line FROM public.rejects', 'SELECT line FROM public.expected WHERE NOT theirs', 'the others'' stay');

-- Tried again, what stays is logged of the others, and nothing of the erased.
UPDATE public.said SET outcome = 'received';
SELECT omnichannel.track('public.said', channel => 'forum', kind => '{kind}', customer => '{who}', recipient => '{target}', direction => '{direction}',
	thread => '{thread}', on_error => 'quarantine', source => 'said', value_maps => '{"kind": {"tel": "phone"}, "direction": {"I": "inbound", "O": "outbound"}}') \g /dev/null
SELECT cmp_ok(omnichannel.retry_rejects(), '>', 5::bigint, 'rows of others are logged at last');
SELECT is_empty($$SELECT FROM omnichannel.contact WHERE customer_id IN (1001, 1003)$$, 'none of them of the erased customer');
SELECT is((SELECT count(*) FROM omnichannel.contact WHERE customer_id = 1004 AND source_key IN ('18', '21', '22')), 3::bigint, 'what others write is theirs');

-- A kept row whose mapping is gone or reads other columns now.
DELETE FROM omnichannel.contact_reject;
SELECT omnichannel.track('public.mail', channel => 'email', kind => 'email', customer => '{box}', outcome => '{outcome}', on_error => 'quarantine') \g /dev/null
INSERT INTO omnichannel.customer (customer_id) VALUES (1005);
SELECT omnichannel.link_identity(1005, 'email', 'ewa@x.test'), omnichannel.link_identity(1005, 'phone', '601 555 000'), omnichannel.link_identity(1005, 'account', '7') \g /dev/null
INSERT INTO public.mail (id, box, body) VALUES (7, 'Ewa <ewa@x.test>', 'a'), (8, 'other@x.test', 'I met ewa@x.test'), (9, 'eewa@x.test', 'b'), (10, 'scrawl', '601-555-000');
SELECT is(jsonb_array_length(omnichannel.export_customer(1005) -> 'data' -> 'contact_reject'), 1, 'by the mapping there is one');
ALTER TABLE public.mail RENAME box TO sender;
SELECT omnichannel.track('public.mail', channel => 'email', kind => 'email', customer => '{sender}', outcome => '{outcome}', on_error => 'quarantine') \g /dev/null
SELECT results_eq($$SELECT (r -> 'data' ->> 'id')::int FROM jsonb_array_elements(omnichannel.export_customer(1005) -> 'data' -> 'contact_reject') AS r ORDER BY 1$$, '{7,10}'::int[],
	'where the column was renamed, texts that are an identity as a whole count; numbers do not');
SELECT omnichannel.untrack('public.mail') \g /dev/null
SELECT results_eq($$SELECT (r -> 'data' ->> 'id')::int FROM jsonb_array_elements(omnichannel.export_customer(1005) -> 'data' -> 'contact_reject') AS r ORDER BY 1$$, '{7,10}'::int[],
	'so where the table is no longer tracked');
DROP TABLE public.mail;
SELECT is((omnichannel.erase_customer(1005) ->> 'contact_reject')::int, 2, 'and where it is gone');
SELECT results_eq('SELECT (data ->> ''id'')::int FROM omnichannel.contact_reject ORDER BY 1', '{8,9}'::int[], 'the others'' stay here too');

-- The pieces.
SELECT is(omnichannel.reject_subject('nothing', '{}')::text, '(,,,,,)', 'nobody knows of a mapping that is not there');
SELECT is(omnichannel.reject_subject('public.visit', '{"customer": 5, "thread": null}')::text, '(t,,5,,,said)', 'a customer_id, as JSON has it');
SELECT is(omnichannel.reject_subject('public.visit', '[1]')::text, '(,,,,,)', 'what is no row');
SELECT is(omnichannel.reject_subject('public.visit', '{"customer": {"a": true}, "thread": true}')::text, '(t,,"{""a"": true}",,t,said)', 'nested, and a boolean');
SELECT is(omnichannel.identity_or_null('phone', '601 234 567'), '+48601234567', 'a number in normal form');
SELECT is(omnichannel.identity_or_null('phone', 'abc'), NULL, 'what is none');
SELECT is(omnichannel.identity_or_null('card', 'c5'), NULL, 'against its pattern');
SELECT is(omnichannel.identity_or_null('nonsense', 'x'), NULL, 'of no kind');
SELECT is(omnichannel.identity_or_null(NULL, NULL), NULL, 'nothing');
SELECT is(length(omnichannel.erasure_digest('a', 'b')), 64, 'a digest');
SELECT isnt(omnichannel.erasure_digest('ab', 'c'), omnichannel.erasure_digest('a', 'bc'), 'of both texts apart');

-- Wrong roles.
CREATE ROLE reject_app;
CREATE ROLE reject_supervisor;
SELECT omnichannel.grant_access('reject_app', 'app'), omnichannel.grant_access('reject_supervisor', 'supervisor') \g /dev/null
SET LOCAL ROLE reject_app;
SELECT throws_ok($$SELECT omnichannel.erasure_digest('email', 'other@x.test')$$, '42501', NULL, 'an application cannot make digests');
SELECT throws_ok($$SELECT omnichannel.identity_digests('{1004}')$$, '42501', NULL, 'nor of customers');
SELECT throws_ok($$SELECT omnichannel.customer_rejects('{1004}', '{}')$$, '42501', NULL, 'nor read the quarantine');
SELECT throws_ok($$SELECT omnichannel.export_customer(1004)$$, '42501', NULL, 'nor export');
SELECT throws_ok($$SELECT omnichannel.erase_customer(1002)$$, '42501', NULL, 'nor erase');
SELECT throws_ok($$SELECT omnichannel.mask_keys('{1004}', '{}')$$, '42501', NULL, 'nor mask keys');
SELECT is(omnichannel.tick_erasure(), 0::bigint, 'nor sweep, which is no error: tick() is for all');
SET LOCAL ROLE reject_supervisor;
SELECT is(omnichannel.erase_customer(1002), '{"customer": 1}', 'a supervisor can');
RESET ROLE;
SELECT * FROM finish();
ROLLBACK;
