-- What is logged already makes no customer of whomever the row names by now, be it read again, changed or sent again.
BEGIN;
SELECT plan(17);
INSERT INTO omnichannel.identity_kind (kind, name, normal_form) VALUES ('login', 'Login', 'exact');
CREATE TABLE public.post (id int PRIMARY KEY, who text, body text, at timestamptz DEFAULT now());
CREATE TABLE public.frozen (LIKE public.post INCLUDING ALL);
SELECT omnichannel.track(name::regclass, channel => 'forum', kind => 'login', customer => '{who}', body => '{body}', occurred_at => '{at}',
	updates => name = 'public.post') FROM unnest('{public.post,public.frozen}'::text[]) AS name \g /dev/null
CREATE FUNCTION public.known() RETURNS TABLE (value text, contacts bigint) LANGUAGE sql AS $$
	SELECT i.value, (SELECT count(*) FROM omnichannel.contact AS c WHERE c.customer_id = ANY (omnichannel.customer_group(i.customer_id)))
	FROM omnichannel.identity AS i WHERE i.kind = 'login' ORDER BY i.value
$$;
CREATE FUNCTION public.customers() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM omnichannel.customer WHERE erased_at IS NULL';

INSERT INTO public.post VALUES (1, 'ann', 'hi'), (2, 'dan', 'hi');
UPDATE public.post SET who = 'dan' WHERE id = 1;
SELECT results_eq('SELECT * FROM public.known()', $$VALUES ('ann', 1::bigint), ('dan', 1)$$, 'a contact stays its customer''s');
SELECT omnichannel.erase_customer(omnichannel.identify('login', 'dan')) \g /dev/null
UPDATE public.post SET body = 'hi!' WHERE id = 1;
SELECT results_eq('SELECT * FROM public.known()', $$VALUES ('ann', 1::bigint)$$, 'an erased one does not come back by a row that changes');
SELECT is((SELECT body FROM omnichannel.contact WHERE source_key = '1'), 'hi!', 'which revises its contact');
UPDATE public.post SET body = body || '?';
SELECT results_eq('SELECT * FROM public.known()', $$VALUES ('ann', 1::bigint)$$, 'nor by many');
SELECT is((SELECT body FROM omnichannel.contact WHERE source_key = '1'), 'hi!?', 'which revise theirs');
SELECT is(omnichannel.backfill('public.post'), 0::bigint, 'nor when all are read again');
SELECT results_eq('SELECT * FROM public.known()', $$VALUES ('ann', 1::bigint)$$, 'nobody is there but who has contacts');

-- Rows that were corrected where updates do not count.
INSERT INTO public.frozen VALUES (1, 'eva', 'hi'), (2, 'eva', 'hi'), (3, 'eva', 'hi');
UPDATE public.frozen SET who = 'stranger ' || id WHERE id < 3;
SELECT is(omnichannel.backfill('public.frozen'), 0::bigint, 'they are left out');
SELECT results_eq('SELECT * FROM public.known()', $$VALUES ('ann', 1::bigint), ('eva', 3)$$, 'and make nobody');
CREATE TABLE public.frozen_copy AS TABLE public.frozen;
DELETE FROM public.frozen;
SELECT throws_ok($$INSERT INTO public.frozen TABLE public.frozen_copy$$, '23505', NULL, 'rows of strangers under logged keys are refused');
SELECT throws_ok($$INSERT INTO public.frozen SELECT * FROM public.frozen_copy WHERE id = 1$$, '23505', NULL, 'one alone too');

-- Sent again under another name.
SELECT omnichannel.log_contact('forum', kind => 'login', value => 'fay', source => 'api', source_key => '1') AS first \gset
SELECT is(omnichannel.log_contact('forum', kind => 'login', value => 'gil', source => 'api', source_key => '1'), :first::bigint, 'the first contact is returned');
SELECT results_eq('SELECT * FROM public.known()', $$VALUES ('ann', 1::bigint), ('eva', 3), ('fay', 1)$$, 'and nobody is made');

-- A nameless customer is still named by a row that is corrected.
INSERT INTO public.post VALUES (5, NULL, 'who?'), (6, NULL, 'who else?'), (7, NULL, 'and who?');
SELECT public.customers() AS before \gset
UPDATE public.post SET who = 'hal' WHERE id = 5;
UPDATE public.post SET who = 'ian' WHERE id > 5;
SELECT results_eq($$SELECT * FROM public.known() WHERE value > 'g'$$, $$VALUES ('hal', 1::bigint), ('ian', 2)$$, 'alone and with others');
SELECT is(public.customers(), :before::bigint + 2, 'each is one new customer');
UPDATE public.post SET who = 'jon' WHERE id > 4;
SELECT is_empty($$SELECT FROM public.known() WHERE value = 'jon'$$, 'who is named is known, and stays');
SELECT is(public.customers(), :before::bigint + 2, 'and nobody is made');

SELECT * FROM finish();
ROLLBACK;
