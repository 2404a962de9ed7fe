-- Any row that cannot be logged is kept, whatever its columns hold, and is the same row when it is tried again.
BEGIN;
SELECT plan(21);

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
SELECT * FROM finish();
ROLLBACK;
