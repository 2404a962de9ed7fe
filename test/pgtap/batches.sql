-- What a statement of several batches keeps from one to the next: who was found.
BEGIN;
SELECT plan(11);
SET LOCAL work_mem = '64kB';
CREATE TABLE public.many (id bigint PRIMARY KEY, who text, kind text);
SELECT omnichannel.track('public.many', channel => 'email', customer => '{who}', kind => '{kind}') \g /dev/null
CREATE VIEW public.astray AS
SELECT m.id FROM public.many AS m LEFT JOIN omnichannel.contact AS c ON c.source = 'public.many' AND c.source_key = m.id::text
LEFT JOIN omnichannel.identity AS i ON i.kind = m.kind AND i.value = m.who
WHERE c.customer_id IS DISTINCT FROM i.customer_id OR i.customer_id IS NULL;

INSERT INTO public.many SELECT n, 'a' || n % 2500 || '@x.test', CASE WHEN n % 3 = 0 THEN 'account' ELSE 'email' END FROM generate_series(1, 14000) AS n;
SELECT is_empty('TABLE public.astray', 'each is of whom it names, by kind and value, and more than work_mem holds');
SELECT is((SELECT count(*) FROM omnichannel.customer), 5000::bigint, 'each once');

-- Who was erased
SELECT omnichannel.untrack('public.many') \g /dev/null
INSERT INTO omnichannel.identity (kind, value, customer_id) SELECT 'email', 'gone@x.test', min(customer_id) FROM omnichannel.customer;
SELECT customer_id AS gone FROM omnichannel.identity WHERE value = 'gone@x.test' \gset
UPDATE omnichannel.request SET state = 'cancelled' WHERE customer_id = :gone;
SELECT omnichannel.erase_customer(:gone) \g /dev/null
CREATE TABLE public.old (id bigint PRIMARY KEY, customer bigint, at timestamptz NOT NULL DEFAULT now());
INSERT INTO public.old SELECT n, CASE WHEN n % 1000 = 7 THEN :gone ELSE :gone + n % 300 END FROM generate_series(1, 13000) AS n;
SELECT omnichannel.track('public.old', channel => 'email', customer => '{customer}', occurred_at => '{at}') \g /dev/null
SELECT is(omnichannel.backfill('public.old'), (SELECT count(*) FROM public.old WHERE customer <> :gone), 'history of an erased customer is left out of each batch');
SELECT is_empty($$SELECT source_key, customer_id FROM omnichannel.contact WHERE source = 'public.old'
	EXCEPT SELECT id::text, customer FROM public.old$$, 'the rest is of its customers');
SELECT throws_ok(format($$INSERT INTO public.old SELECT 20000 + n, CASE WHEN n = 9000 THEN %s ELSE %s + 1 END FROM generate_series(1, 10000) AS n$$, :gone, :gone),
	'55000', NULL, 'a live contact of an erased customer is refused in a late batch');
SELECT throws_ok(format($$INSERT INTO public.old SELECT 20000 + n, CASE WHEN n = 9000 THEN 0 - 7 ELSE %s + 1 END FROM generate_series(1, 10000) AS n$$, :gone),
	'23503', NULL, 'so is one of nobody');

-- Who was made in a batch that was given up
RESET work_mem;
CREATE TABLE public.served (id bigint PRIMARY KEY, who text, agent bigint);
INSERT INTO omnichannel.agent (agent_id, name) VALUES (880001, 'Ewa');
SELECT omnichannel.track('public.served', channel => 'email', customer => '{who}', kind => 'email', direction => 'internal', agent => '{agent}', on_error => 'quarantine') \g /dev/null
INSERT INTO public.served SELECT n, 'b' || n % 40 || '@x.test', CASE WHEN n = 500 THEN 880009 ELSE 880001 END FROM generate_series(1, 2500) AS n;
SELECT is((SELECT count(*) FROM omnichannel.contact_reject), 1::bigint, 'a row of an agent who is not there waits');
SELECT is((SELECT count(*) FROM omnichannel.contact AS c JOIN public.served AS m ON m.id::text = c.source_key JOIN omnichannel.identity AS i USING (customer_id)
	WHERE c.source = 'public.served' AND i.value = m.who), 2499::bigint, 'the others are of customers who are there');
SELECT is((SELECT count(*) FROM omnichannel.contact AS c LEFT JOIN omnichannel.customer USING (customer_id) WHERE customer.customer_id IS NULL), 0::bigint, 'all are');

-- Whose requests a statement's rows continue, among customers who are one
CREATE TABLE public.asked (id bigint PRIMARY KEY, who text);
SELECT omnichannel.track('public.asked', channel => 'email', customer => '{who}', kind => 'email') \g /dev/null
INSERT INTO public.asked VALUES (1, 'alone@x.test'), (2, 'kept@x.test'), (3, 'other@x.test');
SELECT omnichannel.merge_customers(omnichannel.identify('email', 'kept@x.test'), omnichannel.identify('email', 'merged@x.test')) \g /dev/null
-- Returns what each row between two continues: the number of the row that opened it.
CREATE FUNCTION pg_temp.continued(low int, high int) RETURNS text LANGUAGE sql AS
	$$SELECT string_agg(opened.source_key, ' ' ORDER BY c.source_key::int) FROM omnichannel.contact AS c
	LEFT JOIN LATERAL (SELECT o.source_key FROM omnichannel.contact AS o WHERE o.request_id = c.request_id AND o.source = 'public.asked'
		ORDER BY o.source_key::int LIMIT 1) AS opened ON true
	WHERE c.source = 'public.asked' AND c.source_key::int BETWEEN low AND high$$;
INSERT INTO public.asked VALUES (11, 'alone@x.test'), (12, 'kept@x.test'), (13, 'merged@x.test'), (14, 'new@x.test'), (15, 'other@x.test');
SELECT is(pg_temp.continued(11, 15), '1 2 2 14 3', 'each its own, that of whom it was merged with, or a new one');
INSERT INTO public.asked VALUES (21, 'new@x.test'), (22, 'alone@x.test'), (23, 'newer@x.test'), (24, 'alone@x.test');
SELECT is(pg_temp.continued(21, 24), '14 1 23 1', 'where nobody is one');
SELECT * FROM finish();
ROLLBACK;
