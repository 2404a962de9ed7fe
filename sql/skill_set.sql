-- The type skill_set: text and binary form, operators, indexes, errors.
SET search_path = omnichannel, pg_catalog;
\set SHOW_CONTEXT never

-- The SQLSTATE, message, detail and hint of a statement's error.
CREATE FUNCTION pg_temp.error(statement text) RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN code IS NULL THEN 'no error' ELSE concat_ws(E'\n', code || ' ' || message, nullif(detail, ''), nullif(hint, '')) END
	FROM public.raises(statement)
$$;

-- canonical text
SELECT ''::skill_set AS empty, '  '::skill_set AS blank, 'lang.pl:5,billing:4'::skill_set AS sorted,
	E' Billing\t: 10 ,\nLANG-pl.x_1 ,a'::skill_set AS loose;
SELECT repeat('a', 63)::skill_set;
SELECT count(*), min(level), max(level)
FROM skills((SELECT string_agg(format('s%s:%s', n, n % 10 + 1), ',') FROM generate_series(1, 1000) AS n)::skill_set);

-- errors
SELECT literal, pg_temp.error(format('SELECT %L::skill_set', literal)) AS error
FROM unnest(ARRAY[
	'billing:', 'billing:0', 'billing:11', 'billing:99999999999999999999', 'billing:4.5', 'billing:-1', 'billing:4x',
	':4', ',', 'a,', 'a,,b', '4you', '_a', 'a.', 'a..b', '.a', 'a-.b', 'język:3', 'a b', 'a:1 b:2', 'a;b',
	'a:1, b:2, A:1', 'lang.pl:5 :4'
]) AS literal;
SELECT pg_temp.error(format('SELECT %L::skill_set', repeat('a', 64)));
SELECT pg_temp.error(format('SELECT %L::skill_set', repeat('ż', 10000)));
SELECT pg_temp.error(format('SELECT %L::skill_set', (SELECT string_agg('s' || n, ',') FROM generate_series(1, 1001) AS n)));

-- binary form
SELECT skill_set_send('lang.pl:5, billing:4');
CREATE TEMPORARY TABLE received (skills skill_set);
DO $$
DECLARE
	form bytea;
	path text := current_setting('data_directory') || '/skill_set.bin';
	sent bytea;
	state text;
BEGIN
	-- A binary COPY file with one field of one row, made by hand.
	FOREACH form IN ARRAY ARRAY['\x01', '\x010762696c6c696e6704076c616e672e706c05', '\x', '\x02', '\x0101', '\x01016104ff',
		'\x01016100', '\x0101610b', '\x01014104', '\x01016204016104', '\x01016104016104', '\x0101ff04',
		'\x0140' || convert_to(repeat('a', 64), 'UTF8') || '\x01', '\x01000a']::bytea[]
	LOOP
		sent := '\x5047434f50590aff0d0a000000000000000000' || '\x0001'::bytea || int4send(length(form)) || form || '\xffff'::bytea;
		PERFORM lo_from_bytea(424242, sent);
		PERFORM lo_export(424242, path);
		PERFORM lo_unlink(424242);
		BEGIN
			EXECUTE format('COPY pg_temp.received FROM %L (FORMAT binary)', path);
			state := 'ok ' || (SELECT skills::text FROM pg_temp.received);
			TRUNCATE pg_temp.received;
		EXCEPTION WHEN OTHERS THEN
			state := SQLSTATE || ' ' || SQLERRM;
		END;
		RAISE INFO '% %', form, state;
	END LOOP;
END
$$;

-- containment
SELECT has, asked, has @> asked AS contains, asked <@ has AS contained
FROM (VALUES ('billing:4, lang.pl:5', 'billing:4'), ('billing:4, lang.pl:5', 'billing:5'), ('billing:4', ''), ('', ''),
	('', 'billing'), ('billing:4, lang.pl:5', 'lang'), ('a:2, b:2, c:2', 'a:1, c:2'), ('a:2, c:2', 'a, b, c'),
	('lang.pl:10', 'lang.pl:10, zeta')) AS pair (a, b), LATERAL (SELECT a::skill_set, b::skill_set) AS sets (has, asked);

-- order and equality
SELECT string_agg(format('{%s}', skills), ' < ' ORDER BY skills)
FROM unnest(ARRAY['b', 'a:2', 'a:1, b', '', 'a:10', 'ab:1', 'a']::skill_set[]) AS skills;
SELECT 'a:1, b:2'::skill_set = 'B:2, A'::skill_set AS eq, 'a'::skill_set <> 'a:2'::skill_set AS ne,
	skill_set_hash('a:1, b:2') = skill_set_hash('b:2,a') AS hash,
	(skill_set_hash_extended('a', 0) & 4294967295) = (skill_set_hash('a')::bigint & 4294967295) AS hash_low,
	skill_set_hash_extended('a', 1) <> skill_set_hash_extended('a', 0) AS seeded,
	'a'::skill_set < 'b'::skill_set AS lt, 'b'::skill_set <= 'a'::skill_set AS le,
	'a'::skill_set > 'b'::skill_set AS gt, 'b'::skill_set >= 'b'::skill_set AS ge;

-- what is inside
SELECT skill_level('billing:4, lang.pl:5', 'LANG.pl'), skill_level('billing:4', 'lang') AS missing,
	skill_level('', '') AS nothing, skill_level(NULL, 'a') AS of_null, skill_level('a', repeat('a', 100000)) AS overlong;
SELECT * FROM skills('lang.pl:5, billing:4');

-- the indexes say what the operators say
CREATE TEMPORARY TABLE person AS
SELECT n AS person_id,
	(SELECT coalesce(string_agg(format('s%s:%s', s, 1 + (n * s) % 10), ','), '')
	FROM generate_series(1, 12) AS s WHERE (n / s) % 4 = 1)::skill_set AS skills
FROM generate_series(1, 3000) AS n;
INSERT INTO person VALUES (0, NULL), (-1, '');
CREATE TEMPORARY TABLE answer (query integer, way text, matches bigint, sum numeric);
CREATE TEMPORARY TABLE question AS SELECT row_number() OVER ()::integer AS query, operator, literal
FROM unnest(ARRAY['@>', '<@', '=']) AS operator,
	unnest(ARRAY['', 's1:5', 's1:10', 's3:2, s4:7', 's9', 'none:1', 's1:9, s2:9, s3:9, s4:9, s5:9, s6:9, s7:9, s8:9, s12:9',
		's2:1']) AS literal;
CREATE FUNCTION pg_temp.ask(way text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	asked record;
BEGIN
	FOR asked IN SELECT * FROM pg_temp.question
	LOOP
		EXECUTE format('INSERT INTO pg_temp.answer SELECT %s, %L, count(*), sum(person_id) FROM pg_temp.person '
			'WHERE skills OPERATOR(omnichannel.%s) %L', asked.query, way, asked.operator, asked.literal);
	END LOOP;
END
$$;
SELECT pg_temp.ask('table');
CREATE INDEX person_skills ON person USING gin (skills);
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT * FROM person WHERE skills @> 's1:5';
SELECT pg_temp.ask('gin');
-- rows of the index's pending list, and lossy pages
INSERT INTO person SELECT person_id + 10000, skills FROM person WHERE person_id > 0;
DELETE FROM person WHERE person_id BETWEEN 1 AND 9999;
UPDATE person SET person_id = person_id - 10000 WHERE person_id > 10000;
SELECT pg_temp.ask('gin after changes');
SET work_mem = '64kB';
SELECT pg_temp.ask('gin, lossy');
RESET work_mem;
DROP INDEX person_skills;
CREATE INDEX person_skills ON person USING hash (skills);
SELECT pg_temp.ask('hash');
DROP INDEX person_skills;
CREATE INDEX person_skills ON person (skills);
SELECT pg_temp.ask('btree');
RESET enable_seqscan;
SELECT q.operator, q.literal, min(a.matches) AS matches,
	count(*) = 6 AND count(DISTINCT (a.matches, a.sum)) = 1 AS all_agree
FROM question AS q JOIN answer AS a USING (query) GROUP BY q.query, q.operator, q.literal ORDER BY q.query;

-- estimates come from the column's values: within a factor of two for a common skill
ANALYZE person;
CREATE FUNCTION pg_temp.estimate(condition text) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) SELECT FROM pg_temp.person WHERE ' || condition INTO plan;
	RETURN plan -> 0 -> 'Plan' ->> 'Plan Rows';
END
$$;
SELECT pg_temp.estimate($$skills OPERATOR(omnichannel.@>) 's12:1'$$)
	BETWEEN 0.5 * (SELECT count(*) FROM person WHERE skills @> 's12:1') AND 2 * (SELECT count(*) FROM person WHERE skills @> 's12:1');
