-- A statement that writes more rows than work_mem holds: its transition table is on disk, and every row is logged.
BEGIN;
SELECT plan(3);
CREATE TABLE public.spilled (id bigint PRIMARY KEY, sender text, subject text, at timestamptz);
SELECT omnichannel.track('public.spilled', channel => 'email', customer => '{sender}', kind => 'email', subject => '{subject}', occurred_at => '{at}');
SET LOCAL work_mem = '64kB';
SELECT lives_ok($$INSERT INTO public.spilled SELECT n, 'sender' || n % 70 || '@example.com', 'subject ' || n || repeat(' x', 100), timestamptz '2026-01-01 00:00+00' + n * interval '1 second' FROM generate_series(1, 25000) AS n$$,
	'rows on disk are logged');
SELECT is_empty($$SELECT id, subject, at FROM public.spilled EXCEPT SELECT source_key::bigint, subject, occurred_at FROM omnichannel.contact$$,
	'as they are');
SELECT is((SELECT count(DISTINCT customer_id) FROM omnichannel.contact WHERE source = 'public.spilled'), 70::bigint, 'of their customers');
SELECT * FROM finish();
ROLLBACK;
