-- Any row that cannot be logged is kept, whatever its columns hold, and is the same row when it is tried again.
BEGIN;
SELECT plan(52);

-- A column of type json holds what no jsonb can; the writer's settings do not matter.
CREATE TYPE public.pair AS (a int, b json);
CREATE TABLE public.odd (id int PRIMARY KEY, who text, res text, at timestamptz, raw json, span interval, day date, days date[], amount float8,
	bytes bytea, class regclass, couple public.pair, note char(5), twice int GENERATED ALWAYS AS (id * 2) STORED);
SELECT omnichannel.track('public.odd', channel => 'phone', customer => '{who}', kind => 'phone', outcome => '{res}', occurred_at => '{at}',
	payload => '{raw}', body => '{span}|{day}|{days}|{amount}|{bytes}|{class}|{couple}|{note}|{twice}', on_error => 'quarantine') \g /dev/null
CREATE FUNCTION public.add_odd(id int, res text, raw json) RETURNS void LANGUAGE sql AS $$
	INSERT INTO public.odd VALUES (id, '601234001', res, '2026-03-01 10:00+00', raw, '-1 day -02:03:04.5', '2026-02-03', '{2026-02-03,NULL,infinity}',
		0.1 + 0.2, '\x00ff27', 'public.odd', ROW(7, raw), 'ab')
$$;
SET LOCAL datestyle = 'SQL, DMY';
SET LOCAL intervalstyle = 'sql_standard';
SET LOCAL extra_float_digits = -10;
SET LOCAL bytea_output = 'escape';
SELECT lives_ok($$SELECT public.add_odd(1, 'answered', '{"a": 1}')$$, 'a good row is logged');
SELECT lives_ok($$SELECT public.add_odd(2, 'BOGUS', '{"a": 1}')$$, 'a bad one is written');
SELECT lives_ok($$SELECT public.add_odd(3, 'BOGUS', '{"a": "\u0000"}')$$, 'also with \u0000');
SELECT lives_ok($$SELECT public.add_odd(4, 'BOGUS', '{"a": 1e400000}')$$, 'with a number that no numeric holds');
SELECT lives_ok($$SELECT public.add_odd(5, 'answered', '{"a": "\u0000"}')$$, 'and where nothing else is wrong');
SELECT results_eq($$SELECT (data ->> 'id')::int, as_text, sqlstate FROM omnichannel.contact_reject ORDER BY reject_id$$,
	$$VALUES (2, false, '22023'), (3, true, '22P05'), (4, true, '22003'), (5, true, '22P05')$$, 'all are kept');
RESET datestyle;
RESET intervalstyle;
RESET extra_float_digits;
RESET bytea_output;
SELECT is(omnichannel.retry_rejects(), 0::bigint, 'and tried again in vain');
SELECT is((SELECT min(tries) FROM omnichannel.contact_reject), 2, 'which is counted');
SELECT omnichannel.track('public.odd', channel => 'phone', customer => '{who}', kind => 'phone', outcome => '{res}', occurred_at => '{at}', thread => 'x/{raw}',
	body => '{span}|{day}|{days}|{amount}|{bytes}|{class}|{couple}|{note}|{twice}', on_error => 'quarantine', value_maps => '{"outcome": {"BOGUS": "answered"}}') \g /dev/null
SELECT is(omnichannel.retry_rejects(), 4::bigint, 'until the mapping suits');
SELECT results_eq($$SELECT source_key, thread FROM omnichannel.contact WHERE source = 'public.odd' AND source_key > '1' ORDER BY 1$$,
	$$VALUES ('2', 'x/{"a": 1}'), ('3', 'x/{"a": "\u0000"}'), ('4', 'x/{"a": 1e400000}'), ('5', 'x/{"a": "\u0000"}')$$, 'with its JSON');
SELECT is((SELECT count(DISTINCT regexp_replace(body, '(?:[(]7.*[)])|[0-9]+$', '', 'g')) FROM omnichannel.contact WHERE source = 'public.odd'), 1::bigint, 'and every value as the row that was good');

-- Columns that are renamed or added since: what the row had not is read from the table, or the row stays.
CREATE TABLE public.renamed (id int PRIMARY KEY, mail text, at timestamptz DEFAULT '2026-03-01 10:00+00');
SELECT omnichannel.track('public.renamed', channel => 'email', customer => '{mail}', kind => 'email', occurred_at => '{at}', on_error => 'quarantine') \g /dev/null
ALTER TABLE public.renamed RENAME mail TO address;
INSERT INTO public.renamed VALUES (1, 'n1@renamed.test');
ALTER TABLE public.renamed RENAME address TO mail;
ALTER TABLE public.renamed ALTER at TYPE text;
INSERT INTO public.renamed VALUES (2, 'n2@renamed.test', '2026-03-01 10:00+00'), (3, 'n3@renamed.test', '2026-03-01 10:00+00');
ALTER TABLE public.renamed ALTER at TYPE timestamptz USING at::timestamptz;
ALTER TABLE public.renamed RENAME mail TO address;
DELETE FROM public.renamed WHERE id = 3;
SELECT results_eq($$SELECT (data ->> 'id')::int, sqlstate FROM omnichannel.contact_reject ORDER BY reject_id$$,
	$$VALUES (1, '42703'), (2, '42804'), (3, '42804')$$, 'three rows wait');
SELECT omnichannel.track('public.renamed', channel => 'email', customer => '{address}', kind => 'email', occurred_at => '{at}', on_error => 'quarantine') \g /dev/null
SELECT is(omnichannel.retry_rejects(), 2::bigint, 'those that the table has are logged');
SELECT results_eq($$SELECT c.source_key, i.value FROM omnichannel.contact AS c LEFT JOIN omnichannel.identity AS i USING (customer_id)
	WHERE source = 'public.renamed' ORDER BY 1$$, $$VALUES ('1', 'n1@renamed.test'), ('2', 'n2@renamed.test')$$, 'of their customers');
SELECT results_eq($$SELECT data ->> 'id', sqlstate, message FROM omnichannel.contact_reject$$,
	$$VALUES ('3', '42703', 'the row as it was written has no column address')$$, 'and the other stays');
ALTER TABLE public.renamed RENAME address TO mail;
SELECT omnichannel.track('public.renamed', channel => 'email', customer => '{mail}', kind => 'email', occurred_at => '{at}', on_error => 'quarantine') \g /dev/null
SELECT is(omnichannel.retry_rejects(), 1::bigint, 'until it is read as it was');

-- A column that is dropped since does not matter where it is not read.
ALTER TABLE public.renamed RENAME mail TO address;
INSERT INTO public.renamed VALUES (4, 'n4@renamed.test');
ALTER TABLE public.renamed RENAME address TO mail;
ALTER TABLE public.renamed DROP COLUMN at;
SELECT omnichannel.track('public.renamed', channel => 'email', customer => '{mail}', kind => 'email', on_error => 'quarantine') \g /dev/null
SELECT is(omnichannel.retry_rejects(), 1::bigint, 'the row was right but for a column that is gone');
SELECT is((SELECT count(*) FROM omnichannel.contact_reject), 0::bigint, 'nothing waits');
SELECT is((SELECT count(*) FROM omnichannel.contact WHERE source = 'public.renamed'), 4::bigint, 'and every row is logged once');
-- Rows that wait when the keys start again are of the source that they were written under.
CREATE TABLE public.restart (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, who text, res text, at timestamptz);
CREATE FUNCTION public.track_restart(source text, maps jsonb DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
	SELECT omnichannel.track('public.restart', channel => 'phone', customer => '{who}', kind => 'phone', outcome => '{res}', occurred_at => '{at}', source => source,
		value_maps => maps, on_error => 'quarantine', updates => true)
$$;
SELECT public.track_restart('restart 1') \g /dev/null
INSERT INTO public.restart VALUES (1, '601234001', 'BOGUS', '2026-03-01 10:00+00'), (2, '601234001', 'missed', '2026-03-01 10:00+00');
TRUNCATE public.restart RESTART IDENTITY;
INSERT INTO public.restart VALUES (2, '601234002', 'missed', '2026-03-02 10:00+00');
SELECT public.track_restart('restart 2', '{"outcome": {"BOGUS": "answered"}}') \g /dev/null
INSERT INTO public.restart VALUES (1, '601234003', 'busy', '2026-03-03 10:00+00');
SELECT is(omnichannel.retry_rejects(), 2::bigint, 'rows of before are logged');
SELECT results_eq($$SELECT source, source_key, outcome, occurred_at FROM omnichannel.contact WHERE source LIKE 'restart%' ORDER BY 1, 2$$,
	$$VALUES ('restart 1', '1', 'answered', '2026-03-01 10:00+00'::timestamptz), ('restart 1', '2', 'missed', '2026-03-01 10:00+00'),
	('restart 2', '1', 'busy', '2026-03-03 10:00+00'), ('restart 2', '2', 'missed', '2026-03-02 10:00+00')$$, 'where they belong');
-- Of a key one row waits, the last that was written, until it is logged.
CREATE TABLE public.once (id int PRIMARY KEY, who text, res text, ref text, at timestamptz DEFAULT '2026-03-01 10:00+00');
CREATE FUNCTION public.track_once(updates boolean, source text DEFAULT 'once', source_key text DEFAULT '{id}') RETURNS text LANGUAGE sql AS $$
	SELECT omnichannel.track('public.once', channel => 'phone', customer => '{who}', kind => 'phone', outcome => '{res}', occurred_at => '{at}',
		source => source, source_key => source_key, on_error => 'quarantine', updates => updates)
$$;
CREATE VIEW public.waiting AS SELECT source, source_key, data ->> 'who' AS who, live, updated, tries FROM omnichannel.contact_reject ORDER BY reject_id;
SELECT public.track_once(false) \g /dev/null
INSERT INTO public.once VALUES (1, 'nobody', 'missed');
SELECT omnichannel.backfill('public.once'), omnichannel.backfill('public.once') \g /dev/null
UPDATE public.once SET who = 'no one';
SELECT omnichannel.backfill('public.once') \g /dev/null
SELECT results_eq('TABLE public.waiting', $$VALUES ('once', '1', 'no one', true, false, 4)$$, 'a row that is read again waits once, as it is now');
SELECT public.track_once(false, 'once more') \g /dev/null
SELECT omnichannel.backfill('public.once') \g /dev/null
SELECT results_eq('SELECT source, live FROM public.waiting', $$VALUES ('once', true), ('once more', false)$$, 'for each source');
SELECT public.track_once(false) \g /dev/null
UPDATE public.once SET who = '601234001';
SELECT is(omnichannel.backfill('public.once'), 1::bigint, 'backfill() logs it');
SELECT results_eq('SELECT source FROM public.waiting', $$VALUES ('once more')$$, 'and clears what waited');
SELECT public.track_once(true) \g /dev/null
DELETE FROM omnichannel.contact_reject;
INSERT INTO public.once VALUES (2, 'nobody', 'missed');
UPDATE public.once SET who = 'no one' WHERE id = 2;
SELECT results_eq('SELECT who, updated FROM public.waiting', $$VALUES ('no one', false)$$, 'a row that changes waits once');
UPDATE public.once SET who = '601234001' WHERE id = 2;
SELECT is_empty('TABLE public.waiting', 'until it is right');
UPDATE public.once SET res = 'BOGUS' WHERE id = 2;
SELECT omnichannel.backfill('public.once') \g /dev/null
SELECT results_eq('SELECT source_key, updated FROM public.waiting', $$VALUES ('2', true)$$, 'so does what would revise a contact');
UPDATE public.once SET res = 'busy' WHERE id = 2;
SELECT is_empty('TABLE public.waiting', 'until it does');
INSERT INTO public.once VALUES (3, 'nobody', 'missed');
UPDATE public.once SET id = 4, who = '601234001' WHERE id = 3;
SELECT is_empty('TABLE public.waiting', 'or has another key');
-- a row under another's key is not logged when that one is written again
UPDATE public.once SET at = '2026-03-02 10:00+00' WHERE id = 4;
DELETE FROM public.once WHERE id = 2;
INSERT INTO public.once VALUES (2, '601234002', 'missed');
UPDATE public.once SET res = 'answered' WHERE id = 2;
SET LOCAL client_min_messages = error;
SELECT omnichannel.backfill('public.once') \g /dev/null
RESET client_min_messages;
SELECT results_eq('SELECT source_key, who FROM public.waiting', $$VALUES ('2', '601234002')$$, 'a row under another''s key waits on');
DELETE FROM omnichannel.contact_reject;
-- many at once
INSERT INTO public.once SELECT n, 'nobody', 'missed' FROM generate_series(10, 14) AS n;
DELETE FROM public.once WHERE id >= 10;
INSERT INTO public.once SELECT n, CASE WHEN n <> 12 THEN '601234001' ELSE 'no one' END, 'missed' FROM generate_series(10, 16) AS n;
SELECT results_eq('SELECT source_key, who, tries FROM public.waiting', $$VALUES ('12', 'no one', 2)$$, 'the rows of a statement are cleared');
UPDATE omnichannel.contact_reject SET data = jsonb_set(data, '{who}', '"601234001"');
SELECT public.track_once(false) \g /dev/null
SELECT is(omnichannel.retry_rejects(), 1::bigint, 'or tried again');
SELECT is_empty('TABLE public.waiting', 'and nothing waits');
-- what would revise a contact is not cleared by the row's being logged, and neither is another row under its key
CREATE FUNCTION public.track_codes(maps jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT omnichannel.track('public.once', channel => 'phone', customer => '{who}', kind => 'phone', outcome => '{res}', occurred_at => '{at}', source => 'codes',
		value_maps => maps, on_error => 'quarantine', updates => true)
$$;
DELETE FROM public.once;
SELECT public.track_codes(NULL) \g /dev/null
INSERT INTO public.once VALUES (60, '601234001', 'missed'), (61, '601234001', 'missed');
UPDATE public.once SET res = 'BOGUS' WHERE id = 60;
DELETE FROM public.once WHERE id = 61;
INSERT INTO public.once VALUES (61, '601234001', 'BOGUS', NULL, '2026-03-02 10:00+00');
SELECT public.track_codes('{"outcome": {"BOGUS": "answered"}}') \g /dev/null
SET LOCAL client_min_messages = error;
SELECT is(omnichannel.backfill('public.once'), 0::bigint, 'rows whose keys are logged');
RESET client_min_messages;
SELECT results_eq('SELECT source_key, updated FROM public.waiting ORDER BY 1', $$VALUES ('60', true), ('61', false)$$, 'wait on');
SELECT is(omnichannel.retry_rejects(), 1::bigint, 'one revises its contact');
SELECT results_eq($$SELECT source_key, outcome, occurred_at FROM omnichannel.contact WHERE source = 'codes' ORDER BY 1$$,
	$$VALUES ('60', 'answered', '2026-03-01 10:00+00'::timestamptz), ('61', 'missed', '2026-03-01 10:00+00')$$, 'the other does not take the place of what is logged');
SELECT results_eq('SELECT source_key, sqlstate FROM omnichannel.contact_reject', $$VALUES ('61', '23505')$$, 'and says why it waits');
DELETE FROM omnichannel.contact_reject;
-- a table that is renamed takes along what waits
SELECT public.track_codes(NULL) \g /dev/null
INSERT INTO public.once VALUES (62, 'nobody', 'missed');
ALTER TABLE public.once RENAME TO renamed_once;
SELECT is(omnichannel.track('public.renamed_once'), 'public.renamed_once', 'a table that was renamed is tracked');
SELECT results_eq('SELECT tracking, source, source_key FROM omnichannel.contact_reject', $$VALUES ('public.renamed_once', 'codes', '62')$$, 'with what waits of it');
UPDATE omnichannel.contact_reject SET data = jsonb_set(data, '{who}', '"601234001"');
UPDATE public.renamed_once SET who = '601234001' WHERE id = 62;
SELECT is_empty('TABLE public.waiting', 'which is cleared when it is logged');
ALTER TABLE public.renamed_once RENAME TO once;
-- a mapping that no longer suits: the key still tells the rows
SELECT public.track_once(false) \g /dev/null
DELETE FROM public.once;
INSERT INTO public.once VALUES (50, '601234001', 'missed');
ALTER TABLE public.once RENAME who TO caller;
INSERT INTO public.once VALUES (51, '601234001', 'missed');
SELECT omnichannel.backfill('public.once'), omnichannel.backfill('public.once') \g /dev/null
SELECT results_eq('SELECT source_key, live, tries FROM public.waiting ORDER BY 1', $$VALUES ('50', false, 2), ('51', true, 3)$$, 'rows whose mapping does not fit wait once');
ALTER TABLE public.once RENAME caller TO who;
SELECT is(omnichannel.backfill('public.once'), 1::bigint, 'when it fits they are logged');
SELECT is_empty('TABLE public.waiting', 'and nothing waits');
-- keys that nobody can tell
SELECT public.track_once(false, source_key => '{ref}') \g /dev/null
INSERT INTO public.once VALUES (20, 'nobody', 'missed', NULL), (21, 'nobody', 'missed', NULL), (22, 'nobody', 'missed', repeat('x', 1001)), (23, 'nobody', 'missed', '');
ALTER TABLE public.once RENAME ref TO reference;
INSERT INTO public.once VALUES (24, '601234001', 'missed', 'r'), (25, '601234001', 'missed', 'r');
SELECT results_eq('SELECT source_key, count(*) FROM public.waiting GROUP BY 1', 'VALUES (NULL, 6::bigint)', 'rows without a key all wait');
-- but each once
SELECT omnichannel.backfill('public.once'), omnichannel.backfill('public.once') \g /dev/null
SELECT is_empty('SELECT data FROM omnichannel.contact_reject GROUP BY 1 HAVING count(*) > 1', 'once, however often they are read');
SELECT is((SELECT max(tries) FROM omnichannel.contact_reject), 3, 'which is counted');
UPDATE public.once SET who = who WHERE id = 24;
SELECT is((SELECT tries FROM omnichannel.contact_reject WHERE data ->> 'id' = '24'), 3, 'updates are not tracked');
ALTER TABLE public.once RENAME reference TO ref;
DELETE FROM omnichannel.contact_reject;
-- the largest that fits
SELECT public.track_once(false, repeat('s', 1000), '{ref}') \g /dev/null
INSERT INTO public.once SELECT 30, 'nobody', 'missed', string_agg(chr(33 + (n * n) % 90), '') FROM generate_series(1, 1000) AS n;
SELECT is((SELECT length(source_key) FROM public.waiting), 1000, 'a long key is one');
SELECT ok(omnichannel.export_customer(omnichannel.identify('phone', '601234002')) -> 'data' -> 'contact_reject' = '[]', 'which is nobody''s');
-- A primary key whose type has its = in another schema, and one that includes a column that changes.
DELETE FROM omnichannel.contact_reject;
CREATE TABLE public.labelled (id ltree, note text, n int, who text, PRIMARY KEY (n, id) INCLUDE (note));
SELECT omnichannel.track('public.labelled', channel => 'phone', customer => '{who}', kind => 'phone', on_error => 'quarantine', updates => true) \g /dev/null
INSERT INTO public.labelled VALUES ('a.b', 'first', 1, 'nobody'), ('a.b', 'other', 2, '601234001');
ALTER TABLE public.labelled DISABLE TRIGGER ALL;
UPDATE public.labelled SET who = '601234003', note = 'second' WHERE n = 1;
ALTER TABLE public.labelled ENABLE TRIGGER ALL;
SELECT is(omnichannel.retry_rejects('public.labelled'), 1::bigint, 'the present row is found by any primary key');
SELECT * FROM finish();
ROLLBACK;
