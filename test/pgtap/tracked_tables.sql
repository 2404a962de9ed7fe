-- Tables of every shape: which can be tracked, and that their rows are logged as they are.
BEGIN;
SELECT plan(44);
INSERT INTO omnichannel.identity_kind (kind, name, normal_form) VALUES ('login', 'Login', 'exact');

-- What is no table of an application is refused.
CREATE TABLE public.plain (id int PRIMARY KEY, who text);
CREATE VIEW public.plain_view AS TABLE public.plain;
CREATE MATERIALIZED VIEW public.plain_copy AS TABLE public.plain;
CREATE SEQUENCE public.plain_seq;
CREATE TYPE public.plain_type AS (id int);
CREATE TEMPORARY TABLE passing (id int PRIMARY KEY);
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere;
CREATE FOREIGN TABLE public.far_away (id int) SERVER nowhere;
SELECT throws_ok(format('SELECT omnichannel.track(%L, channel => ''chat'')', name), '42809', NULL, name || ' is refused')
FROM unnest('{public.plain_view,public.plain_copy,public.plain_seq,public.plain_pkey,public.plain_type,public.far_away,pg_temp.passing,pg_catalog.pg_class,
	information_schema.sql_features,omnichannel.contact,omnichannel.tracked_relations,0,4294967295}'::text[]) AS name;
SELECT is_empty('TABLE omnichannel.tracking', 'and nothing stays');

-- Names that must be quoted, in a schema that is in nobody's search_path
CREATE SCHEMA "Odd ""Schema"".";
CREATE TABLE "Odd ""Schema""."."Töble {a} 'x' %s" ("Pri mary" int, "{who}" text, "select" text, "a}b" text, "T" timestamptz, "é""'%I" text, PRIMARY KEY ("Pri mary"));
SELECT is(omnichannel.track('"Odd ""Schema""."."Töble {a} ''x'' %s"', channel => 'chat', customer => '{select}', kind => 'login', occurred_at => '{T}', body => '{é"''%I}'),
	'"Odd ""Schema""."."Töble {a} ''x'' %s"', 'an odd name');
INSERT INTO "Odd ""Schema""."."Töble {a} 'x' %s" VALUES (1, 'x', 'ola', 'y', '2026-03-01 10:00+00', 'text');
SELECT results_eq($$SELECT source, source_key, body FROM omnichannel.contact$$, $$VALUES ('"Odd ""Schema""."."Töble {a} ''x'' %s"', '1', 'text')$$, 'is logged');
SELECT is(omnichannel.backfill('"Odd ""Schema""."."Töble {a} ''x'' %s"'), 0::bigint, 'and back-filled');
SELECT throws_ok($$SELECT omnichannel.track('"Odd ""Schema""."."Töble {a} ''x'' %s"', channel => 'chat', body => '{{who}}')$$, '22023', NULL, 'a column whose name holds braces cannot be read');
SELECT omnichannel.track('"Odd ""Schema""."."Töble {a} ''x'' %s"', channel => '{select}', on_error => 'quarantine') \g /dev/null
INSERT INTO "Odd ""Schema""."."Töble {a} 'x' %s" ("Pri mary", "select") VALUES (2, 'no channel');
UPDATE omnichannel.contact_reject SET data = jsonb_set(data, '{select}', '"chat"');
SELECT is(omnichannel.retry_rejects(), 1::bigint, 'retried');
SELECT ok(omnichannel.untrack('"Odd ""Schema""."."Töble {a} ''x'' %s"'), 'and untracked');

-- Keys: composite, of odd types, whatever the session's settings
CREATE DOMAIN public.code AS varchar(10) CHECK (VALUE <> '');
CREATE TYPE public.kind_of AS ENUM ('q', 'a');
CREATE TABLE public.keys (span interval, amount float8, bytes bytea, day date, at timestamptz, moment timestamp, box int4range, flags bit(3), kind public.kind_of, code public.code,
	padded char(5), days date[], big numeric, id uuid, ok boolean, net inet,
	PRIMARY KEY (span, amount, bytes, day, at, moment, box, flags, kind, code, padded, days, big, id, ok, net));
SELECT is(omnichannel.track('public.keys', channel => 'chat', occurred_at => '{at}'), 'public.keys', 'a key of sixteen types');
CREATE TABLE public.keys_row AS SELECT interval '-1 day -2:03' AS span, 0.1::float8 + 0.2 AS amount, '\x00ff'::bytea AS bytes, date '2026-02-03' AS day,
	timestamptz '2026-03-01 10:00+00' AS at, timestamp '2026-03-01 10:00:00.5' AS moment, int4range(1, 5) AS box, B'101' AS flags, 'q'::public.kind_of AS kind,
	'c'::public.code AS code, 'ab'::char(5) AS padded, '{2026-02-03}'::date[] AS days, 1.10 AS big, '00000000-0000-0000-0000-00000000000a'::uuid AS id, true AS ok, inet '10.0.0.1/8' AS net;
INSERT INTO public.keys TABLE public.keys_row;
SELECT is((SELECT source_key FROM omnichannel.contact WHERE source = 'public.keys'),
	'-1 days -02:03:00/0.30000000000000004/\\x00ff/2026-02-03/2026-03-01T10:00:00+00:00/2026-03-01T10:00:00.5/[1,5)/101/q/c/ab/{2026-02-03}/1.10/00000000-0000-0000-0000-00000000000a/t/10.0.0.1\/8',
	'is the same text');
SET LOCAL intervalstyle = 'iso_8601';
SET LOCAL extra_float_digits = -5;
SET LOCAL bytea_output = 'escape';
SET LOCAL datestyle = 'German';
SET LOCAL timezone = 'Asia/Kathmandu';
DELETE FROM public.keys;
SELECT lives_ok('INSERT INTO public.keys TABLE public.keys_row', 'whoever writes it');
SELECT is(omnichannel.backfill('public.keys'), 0::bigint, 'or reads it again');
SELECT is((SELECT count(*) FROM omnichannel.contact WHERE source = 'public.keys'), 1::bigint, 'it is logged once');
RESET ALL;

-- No primary key: every row is logged, and none is known again.
CREATE TABLE public.keyless (who text, at timestamptz);
SELECT is(omnichannel.track('public.keyless', channel => 'chat', customer => '{who}', kind => 'login', occurred_at => '{at}'), 'public.keyless', 'a table without a key');
INSERT INTO public.keyless VALUES ('ola', '2026-03-01 10:00+00'), ('ola', '2026-03-01 10:00+00');
SELECT is((SELECT count(*) FROM omnichannel.contact WHERE source = 'public.keyless' AND source_key IS NULL), 2::bigint, 'logs each row');
SELECT throws_ok($$SELECT omnichannel.backfill('public.keyless')$$, '55000', 'rows of table "public.keyless" have no key', 'and cannot be back-filled');
CREATE TABLE public.keyless_parts (who text, at timestamptz) PARTITION BY RANGE (at);
CREATE TABLE public.keyless_old PARTITION OF public.keyless_parts FOR VALUES FROM (MINVALUE) TO ('2026-03-02');
CREATE TABLE public.keyless_new PARTITION OF public.keyless_parts DEFAULT;
SELECT omnichannel.track('public.keyless_parts', channel => 'chat', customer => '{who}', kind => 'login', occurred_at => '{at}') \g /dev/null
INSERT INTO public.keyless_parts VALUES ('ola', '2026-03-01 10:00+00'), ('ola', '2026-03-01 10:00+00');
UPDATE public.keyless_parts SET at = '2026-03-05 10:00+00';
SELECT is((SELECT count(*) FROM omnichannel.contact WHERE source = 'public.keyless_parts'), 2::bigint, 'a row without a key that moves is not logged again');

-- As many columns as there can be, some of them dropped, the mapped one last
DO $$
BEGIN
	EXECUTE (SELECT format('CREATE TABLE public.wide (id int PRIMARY KEY, %s, who text, word text GENERATED ALWAYS AS (upper(who)) STORED)', string_agg('c' || n || ' smallint', ', '))
		FROM generate_series(1, 1595) AS n);
	EXECUTE (SELECT 'ALTER TABLE public.wide ' || string_agg('DROP COLUMN c' || n, ', ') FROM generate_series(5, 1500, 5) AS n);
END
$$;
SELECT is(omnichannel.track('public.wide', channel => 'chat', customer => '{who}', kind => 'login', body => '{word}', payload => '{*}', outcome => '{word}', on_error => 'quarantine',
	value_maps => '{"outcome": {"OLA": "received"}}'), 'public.wide', 'a table of 1,598 columns');
INSERT INTO public.wide (id, c1594, who) VALUES (1, 7, 'ola'), (2, 8, 'eve');
SELECT results_eq($$SELECT source_key, body, payload ->> 'c1594' FROM omnichannel.contact WHERE source = 'public.wide'$$, $$VALUES ('1', 'OLA', '7')$$, 'is logged');
SELECT omnichannel.track('public.wide', channel => 'chat', customer => '{who}', kind => 'login', body => '{word}', payload => '{*}') \g /dev/null
SELECT is(omnichannel.retry_rejects(), 1::bigint, 'also when it is tried again');
SELECT results_eq($$SELECT source_key, body, payload ->> 'c1594' FROM omnichannel.contact WHERE source = 'public.wide' AND source_key = '2'$$, $$VALUES ('2', 'EVE', '8')$$, 'with every column');

-- Inheritance: each table is tracked by itself.
CREATE TABLE public.parent (id int PRIMARY KEY, who text);
CREATE TABLE public.child (more int, PRIMARY KEY (id)) INHERITS (public.parent);
SELECT omnichannel.track('public.parent', channel => 'chat', customer => '{who}', kind => 'login') \g /dev/null
INSERT INTO public.parent VALUES (1, 'ola');
INSERT INTO public.child VALUES (1, 'ola', 1);
SELECT is((SELECT count(*) FROM omnichannel.contact WHERE source IN ('public.parent', 'public.child')), 1::bigint, 'a child is no part of its parent');
SELECT lives_ok($$SELECT omnichannel.track('public.child', channel => 'chat', customer => '{who}', kind => 'login', updates => true)$$, 'a child can be tracked');
INSERT INTO public.child VALUES (2, 'ola', 1);
UPDATE public.parent SET who = 'eve' WHERE id = 2;
SELECT is((SELECT count(*) FROM omnichannel.contact WHERE source = 'public.child'), 1::bigint, 'and is logged');

-- Unlogged tables are tables; the log keeps what a crash takes from them.
CREATE UNLOGGED TABLE public.quick (id int PRIMARY KEY, who text);
SELECT lives_ok($$SELECT omnichannel.track('public.quick', channel => 'chat', customer => '{who}', kind => 'login')$$, 'an unlogged table');
SELECT lives_ok($$INSERT INTO public.quick VALUES (1, 'ola')$$, 'is logged');

-- A table of one column, and none
CREATE TABLE public.single (id int PRIMARY KEY);
CREATE TABLE public.columnless ();
SELECT lives_ok($$SELECT omnichannel.track('public.single', channel => 'chat', on_error => 'quarantine', agent => '{id}', source_key => '{id}')$$, 'one column');
SELECT lives_ok($$SELECT omnichannel.track('public.columnless', channel => 'chat', payload => '{*}')$$, 'no column');
INSERT INTO public.single VALUES (-5);
INSERT INTO public.columnless DEFAULT VALUES;
SELECT is((SELECT payload FROM omnichannel.contact WHERE source = 'public.columnless'), '{}', 'is logged');
SELECT omnichannel.track('public.single', channel => 'chat') \g /dev/null
SELECT is(omnichannel.retry_rejects(), 1::bigint, 'a row of one column is tried again');

-- Several tracked tables in one statement and one transaction, by triggers of the application and by foreign keys
CREATE TABLE public.first (id int PRIMARY KEY, who text);
CREATE TABLE public.second (id int PRIMARY KEY, who text, first int REFERENCES public.first ON UPDATE CASCADE);
SELECT omnichannel.track('public.first', channel => 'chat', customer => '{who}', kind => 'login'), omnichannel.track('public.second', channel => 'email', customer => '{who}', kind => 'login', subject => '{first}', updates => true) \g /dev/null
CREATE FUNCTION public.follow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.second VALUES (new.id, new.who, new.id);
	RETURN NULL;
END
$$;
CREATE TRIGGER follow AFTER INSERT ON public.first FOR EACH ROW EXECUTE FUNCTION public.follow();
WITH more AS (INSERT INTO public.first SELECT n, 'm' || n FROM generate_series(1, 1500) AS n RETURNING *), other AS (INSERT INTO public.plain SELECT id, who FROM more)
INSERT INTO public.keyless SELECT who, '2026-03-01 10:00+00' FROM more;
UPDATE public.first SET id = 5000 WHERE id = 7;
SELECT results_eq($$SELECT source, count(*), count(DISTINCT customer_id) FROM omnichannel.contact WHERE source IN ('public.first', 'public.second', 'public.keyless') GROUP BY 1 ORDER BY 1$$,
	$$VALUES ('public.first', 1500::bigint, 1500::bigint), ('public.keyless', 1502, 1501), ('public.second', 1500, 1500)$$, 'three tables at once');
SELECT is((SELECT subject FROM omnichannel.contact WHERE source = 'public.second' AND source_key = '7'), '5000', 'and a cascade');
SELECT * FROM finish();
ROLLBACK;
