-- What defaults and checks hold stays what it is from batch to batch of a session, which compiles them once.
BEGIN;
SELECT plan(14);
CREATE TABLE public.mail (key text, sender text, subject text);
SELECT omnichannel.track('public.mail', channel => 'forum', customer => '{sender}', kind => 'email', subject => '{subject}',
	source => 'mail', source_key => '{key}') \g /dev/null
CREATE FUNCTION public.write(prefix text, subject text, rows int) RETURNS void LANGUAGE sql AS $$
	INSERT INTO public.mail (key, sender, subject) SELECT prefix || i, prefix || i || '@example.com', subject FROM generate_series(1, rows) AS i$$;
CREATE FUNCTION public.write_batches(prefix text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1..8 LOOP
		PERFORM public.write(prefix || i || '-', repeat('subject ', i), 2 + 20 * i);
	END LOOP;
END$$;
SET LOCAL app.tenant = 'first';
ALTER TABLE omnichannel.contact ADD COLUMN tenant text DEFAULT 'a tenant', ADD COLUMN rate numeric DEFAULT 12345678901234567890.12345,
	ADD COLUMN marks jsonb DEFAULT '{"a": [1, 2, {"b": "c"}]}', ADD COLUMN tags text[] DEFAULT '{x,yy,zzz}',
	ADD COLUMN setting text DEFAULT current_setting('app.tenant', true), ADD COLUMN joined text DEFAULT concat('abc', now()::text, 'def'),
	ADD CHECK (subject <> 'forbidden'), ADD CHECK (subject LIKE 'subject %' OR subject = 'second' OR subject IN ('lost', 'forbidden')),
	ADD CHECK (rate <> 99999999999999999999.9), ADD CHECK (NOT marks @> '{"bad": true}');
ALTER TABLE omnichannel.contact_key ADD COLUMN tenant text DEFAULT 'key tenant', ADD CHECK (source_key NOT LIKE 'never%'),
	ADD CHECK (NOT (contact_key IS NULL)), ADD CHECK (to_jsonb(contact_key) ? 'source_key');

SELECT lives_ok($$SELECT public.write_batches('e')$$, 'many batches');
SELECT lives_ok($$SELECT public.write('g' || i || '-', 'second', 1) FROM generate_series(1, 9) AS i$$, 'many single rows');
DELETE FROM omnichannel.contact WHERE source_key ^@ 'g';
DELETE FROM omnichannel.contact_key WHERE source_key ^@ 'g';
SAVEPOINT s;
SELECT public.write('lost', 'lost', 30);
ROLLBACK TO s;
SELECT lives_ok($$SELECT public.write_batches('f')$$, 'and more after some were rolled back');
SELECT results_eq($$SELECT tenant, rate, marks, tags, setting, joined, count(*) FROM omnichannel.contact GROUP BY 1, 2, 3, 4, 5, 6$$,
	$$VALUES ('a tenant', 12345678901234567890.12345, '{"a": [1, 2, {"b": "c"}]}'::jsonb, '{x,yy,zzz}'::text[], 'first',
		concat('abc', now()::text, 'def'), 2 * (8 * 2 + 20 * 36)::bigint)$$, 'have the defaults');
SELECT results_eq($$SELECT tenant, count(*) FROM omnichannel.contact_key GROUP BY 1$$, $$VALUES ('key tenant', 2 * (8 * 2 + 20 * 36)::bigint)$$,
	'and so have their keys');

SET LOCAL app.tenant = 'second';
ALTER TABLE omnichannel.contact ALTER tenant SET DEFAULT 'another tenant', ALTER rate SET DEFAULT 0.5, ALTER marks SET DEFAULT '[]',
	ADD COLUMN late text DEFAULT 'late', DROP COLUMN tags;
SELECT lives_ok($$SELECT public.write_batches('j')$$, 'many batches after the table has changed');
SELECT results_eq($$SELECT tenant, rate, marks, setting, late, count(*) FROM omnichannel.contact WHERE source_key ^@ 'j' GROUP BY 1, 2, 3, 4, 5$$,
	$$VALUES ('another tenant', 0.5, '[]'::jsonb, 'second', 'late', (8 * 2 + 20 * 36)::bigint)$$, 'have the new defaults');

-- One row and many are refused alike, each time.
SELECT throws_ok(format('SELECT public.write(%L, %L, %s)', prefix, subject, rows), '23514', NULL, format('%s row(s) of %s, %s', rows, prefix, subject))
	FROM (VALUES ('never', 'second'), ('i', 'forbidden'), ('i', 'other')) AS v (prefix, subject), (VALUES (1), (3)) AS r (rows);
ALTER TABLE omnichannel.contact ALTER marks SET DEFAULT '{"bad": true}';
SELECT throws_ok($$SELECT public.write('i', 'second', 3)$$, '23514', NULL, 'a default against a check');
SELECT * FROM finish();
ROLLBACK;
