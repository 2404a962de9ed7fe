-- What a segment's rule may hold: whoever refreshes runs it, with more rights than its author has.
BEGIN;
SET LOCAL search_path = omnichannel, public;
CREATE ROLE low;
CREATE SCHEMA evil AUTHORIZATION low;
SELECT grant_access('low', 'supervisor') \g /dev/null
INSERT INTO customer (customer_id, language, birth_date) VALUES (1, 'pl', '1980-02-29');
CREATE TABLE evil.ran (who text);
GRANT INSERT ON evil.ran TO PUBLIC;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
SET LOCAL ROLE low;
CREATE FUNCTION evil.run(text) RETURNS boolean LANGUAGE sql VOLATILE AS $$INSERT INTO evil.ran VALUES (current_user) RETURNING true$$;
CREATE DOMAIN evil.trap AS text CHECK (evil.run(VALUE));
CREATE TYPE evil.span AS RANGE (subtype = text);
CREATE FUNCTION evil.lower(text) RETURNS text LANGUAGE sql AS $$SELECT 'pl'$$;
CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = starts_with);
CREATE TEMP TABLE refused (rule text);
INSERT INTO refused VALUES
	-- input functions take the type to make as an oid, others its name
	($$domain_in('1', 'evil.trap'::regtype, -1) IS NOT NULL$$),
	($$array_in('{1}', 'evil.trap'::regtype, -1) IS NOT NULL$$),
	($$record_in('(1)', 'omnichannel.segment'::regtype, -1) IS NOT NULL$$),
	($$range_in('[a,b]', 'evil.span'::regtype, -1) IS NOT NULL$$),
	($$multirange_in('{}', 'evil.span'::regtype, -1) IS NOT NULL$$),
	($$enum_in('a', 'evil.trap'::regtype) IS NOT NULL$$),
	($$int4in('1') = 1$$),
	($$to_regtype('evil.trap') IS NOT NULL$$),
	($$language::evil.trap IS NULL$$),
	($$ARRAY[language]::evil.trap[] IS NULL$$),
	($$isempty(evil.span('a', 'b'))$$),
	-- what reads tables or settings, or leaves a trace
	($$database_to_xml(true, true, '') IS NULL$$),
	($$schema_to_xml('omnichannel', true, true, '') IS NULL$$),
	($$table_to_xml('omnichannel.customer', true, true, '') IS NULL$$),
	($$current_setting('is_superuser') = 'on'$$),
	($$has_table_privilege('omnichannel.customer', 'SELECT')$$),
	($$current_user = 'postgres'$$),
	($$txid_current() > 0$$),
	($$pg_current_xact_id() IS NOT NULL$$),
	-- what is not a plain value
	($$customer IS NOT NULL$$),
	($$(customer_id, language) < (5, 'pl')$$),
	($$row_to_json(customer) IS NULL$$),
	($$xmlelement(name a) IS NULL$$),
	-- what is not PostgreSQL's
	($$evil.lower(language) = 'pl'$$),
	($$language OPERATOR(evil.=) 'pl'$$),
	-- what makes much of little
	($$repeat('x', 1000000000) = ''$$),
	($$lpad('x', 1000000000) = ''$$),
	(format('length(%s%L%s) > 1', repeat('replace(', 5), repeat('a', 100), repeat(format(', %L, %L)', 'a', repeat('a', 100)), 5))),
	($$length(replace(replace(language, '', language), 'a', language)) > 1$$),
	($$regexp_replace(regexp_replace(language, '.', '\&\&\&\&', 'g'), '.', language, 'g') = ''$$),
	($$array_to_string(string_to_array(language, NULL), language) = ''$$),
	($$concat_ws(language, VARIADIC string_to_array(language, NULL)) = ''$$),
	($$array_to_string(array_replace(string_to_array(language, NULL), 'a', language), '') = ''$$),
	($$array_length(regexp_match(language, '(((((((((((((((((((.*)))))))))))))))))))') || regexp_match(language, language), 1) = 1$$),
	($$replace((10::numeric ^ 100000)::text, '0', (10::numeric ^ 100000)::text) = ''$$),
	($$jsonb_path_query_array(facts, '$.**.**') IS NULL$$),
	($$facts @? '$[0,0,0,0,0,0,0,0,0,0][0,0,0,0,0,0,0,0,0,0][0,0,0,0,0,0,0,0,0,0][0,0,0,0,0,0,0,0,0,0][0,0,0,0,0,0,0,0,0,0]'$$),
	($$jsonb_path_exists(facts, language::jsonpath)$$),
	(format('length(%slanguage%s) > 1', repeat('ARRAY[', 30), repeat(']::text', 30))),
	(format('length(%slanguage%s) > 1', repeat('to_jsonb(', 30), repeat(')::text', 30))),
	(format('jsonb_path_query_array(facts, %L) IS NULL', '$' || repeat('.keyvalue()', 18))),
	(format('jsonb_path_query_array(facts, %L) IS NULL', '$' || repeat('[0,0,0,0,0,0,0,0,0,$[0]]', 10))),
	(format('jsonb_path_query_array(facts, %L) IS NULL', '$' || repeat('[0,0,0,0,0,0,0,0,0,$[0] ? (@ == "]")]', 10))),
	(format('jsonb_path_exists(facts, %L)', '$' || repeat('[$', 40) || repeat('.a]', 40))),
	(format('length(%slanguage%s) > 1', repeat('like_escape(', 30), repeat(', ''#'')', 30))),
	(format('length(%slanguage%s) > 1', repeat('similar_to_escape(', 28), repeat(', ''#'')', 28))),
	(format('length(%slanguage%s) > 1', repeat('concat(ARRAY[', 28), repeat('])', 28))),
	(format('length(%slanguage%s) > 1', repeat('concat_ws('''', ARRAY[', 28), repeat('])', 28))),
	($$language IN (SELECT 'pl')$$),
	($$generate_series(1, 2) = 1$$),
	-- what is more than one expression
	($$true OFFSET 0$$),
	($$true LIMIT 1$$),
	($$true ORDER BY 1$$),
	($$true FOR UPDATE$$);
SELECT plan(18 + count(*)::integer) FROM refused;
SELECT throws_ok(format('INSERT INTO segment (segment, rule) VALUES (''x'', %L)', rule), '22023', NULL, rule) FROM refused;
RESET ROLE;
SELECT is_empty('SELECT * FROM evil.ran', 'nothing of the author has run');

-- What was written before the check was as strict, or by hand, is refused when it is applied.
ALTER TABLE segment DISABLE TRIGGER segment_rule;
INSERT INTO segment (segment, rule) VALUES ('x', $$domain_in('1', 'evil.trap'::regtype, -1) IS NOT NULL$$);
ALTER TABLE segment ENABLE TRIGGER segment_rule;
SELECT throws_ok($$SELECT * FROM refresh_segments('x')$$, '22023');
SELECT is_empty('SELECT * FROM evil.ran', 'nor when it is applied');
DELETE FROM segment;

-- What people want to say.
SELECT lives_ok(format('INSERT INTO segment (segment, rule) VALUES (%L, %L)', rule, rule), rule)
FROM unnest(ARRAY[
	$$language ILIKE 'p_' OR lower(language) IN ('pl', 'de') AND NOT language SIMILAR TO 'x%'$$,
	$$extract(year FROM age(now(), birth_date)) >= 18 AND date_part('month', birth_date) = extract(month FROM current_date AT TIME ZONE 'UTC')$$,
	$$birth_date + make_interval(years => 18) <= now()::timestamp AND (birth_date, birth_date) OVERLAPS (date '1980-01-01', date '1990-01-01')$$,
	$$(facts ->> 'revenue')::numeric(12, 2) > 1e3 AND facts @> '{"tier": "gold"}' AND jsonb_array_length(facts -> 'children') > 0$$,
	$$jsonb_path_exists(facts, '$.children[*] ? (@ < 3)') AND facts #>> '{a,b}' ~ '^x'$$,
	$$CASE WHEN contacts > 5 THEN true ELSE coalesce(greatest(open_requests, 1) > 1, false) END$$,
	$$created_at <@ tstzrange('2020-01-01', NULL) AND last_contact_at > date_trunc('month', now()) - interval '1 month'$$,
	$$mod(hashint8(customer_id), 10) = 3 AND customer_id = ANY ('{1,2}') AND customer_id IS DISTINCT FROM 7$$,
	$$replace(replace(replace(replace(lower(language), 'ä', 'ae'), 'ö', 'oe'), 'ß', 'ss'), '-', '') = 'deutsch'$$,
	$$regexp_replace(regexp_replace(facts ->> 'phone', '[^0-9+]', '', 'g'), '^00', '+') LIKE '+48%' AND (regexp_match(facts ->> 'mail', '@(.*)$'))[1] = 'x'$$,
	$$jsonb_path_exists(facts, '$.**.vip') AND to_char(birth_date, 'MM-DD') = to_char(now(), 'MM-DD') AND array_to_string(string_to_array(language, '-'), ', ') = 'x'$$,
	$$jsonb_path_exists(facts, '$.keyvalue() ? (@.key == "a,[,,],]" && @.value == 1)') AND jsonb_path_exists(facts, '$.a[0, 1, $.b[2]]') AND concat(facts ->> 'a', ' ', string_to_array(language, '-')) <> ''$$,
	$$replace(round((facts ->> 'revenue')::numeric, 2)::text, '.', ',') = '1,00' AND concat_ws(' ', language, preferred_channel) <> ' '$$,
	$$left(btrim(preferred_channel), 2) || 'x' = concat('a', 'b') COLLATE "C" AND (string_to_array(language, '-'))[1] = 'pl'$$]) AS rule;
SELECT lives_ok('SELECT refresh_segments()', 'and all of it can be applied');
SELECT * FROM finish();
ROLLBACK;
