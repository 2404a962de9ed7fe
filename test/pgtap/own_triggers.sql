-- What the extension's trigger functions make of tables of somebody else's, whose columns are named alike and whose types
-- bring code along: nothing of his runs with other rights than his own, and no column is taken for what it is not.
BEGIN;
SELECT plan(8);
CREATE ROLE own_trigger_reader;
SELECT omnichannel.grant_access('own_trigger_reader', 'bi') \g /dev/null
-- Not undone with the statement.
CREATE SEQUENCE public.ran;
GRANT USAGE ON SEQUENCE public.ran TO PUBLIC;
CREATE TABLE public.outcome (function text, definition text, state text);
GRANT ALL ON public.outcome TO PUBLIC;
GRANT CREATE ON SCHEMA public TO own_trigger_reader;

SET ROLE own_trigger_reader;
CREATE TYPE public.spy AS ENUM ('a', 'b');
CREATE FUNCTION public.spy_json(public.spy) RETURNS json LANGUAGE plpgsql AS $$
BEGIN
	PERFORM nextval('public.ran');
	RETURN '1'::json;
END
$$;
CREATE FUNCTION public.spy_text(public.spy) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM nextval('public.ran');
	RETURN 'x';
END
$$;
CREATE CAST (public.spy AS json) WITH FUNCTION public.spy_json(public.spy);
CREATE CAST (public.spy AS text) WITH FUNCTION public.spy_text(public.spy) AS IMPLICIT;

-- All columns that any table of the extension has, as text and as the type above.
DO $$
BEGIN
	EXECUTE (SELECT format('CREATE TABLE public.mine (%s, spied public.spy)', string_agg(DISTINCT quote_ident(a.attname) || ' text', ', '))
		FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
		WHERE c.relnamespace = 'omnichannel'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped);
END
$$;
INSERT INTO public.mine (request_id, version, state, agent_id, price_list, spied) VALUES ('1', repeat('v', 100), repeat('s', 100), '1', 'x', 'a');

DO $$
DECLARE
	name text;
	definition text;
	state text;
BEGIN
	FOR name, definition IN
		SELECT p.proname, d FROM pg_catalog.pg_proc AS p,
			unnest(ARRAY['BEFORE INSERT OR UPDATE ON public.mine FOR EACH ROW', 'AFTER INSERT ON public.mine FOR EACH ROW',
				'AFTER UPDATE ON public.mine FOR EACH ROW', 'AFTER DELETE ON public.mine FOR EACH ROW',
				'BEFORE UPDATE ON public.mine', 'AFTER DELETE ON public.mine']) AS d
		WHERE p.pronamespace = 'omnichannel'::regnamespace AND p.prorettype = 'trigger'::regtype
			AND p.prolang = (SELECT oid FROM pg_catalog.pg_language WHERE lanname = 'c') AND p.proname <> 'log_contact_trigger'
	LOOP
		BEGIN
			EXECUTE format('CREATE TRIGGER t %s EXECUTE FUNCTION omnichannel.%I(%L)', definition, name, 'price_id');
			INSERT INTO public.mine (request_id, version, state, spied) VALUES ('2', repeat('w', 100), 'assigned', 'b');
			UPDATE public.mine SET state = repeat('t', 100), queue = 'q', spied = 'b';
			DELETE FROM public.mine;
			state := 'none';
			RAISE EXCEPTION USING ERRCODE = 'ZZ999';
		EXCEPTION WHEN OTHERS THEN
			state := SQLSTATE;
		END;
		INSERT INTO public.outcome VALUES (name, definition, state);
	END LOOP;
END
$$;
RESET ROLE;

SELECT cmp_ok((SELECT count(DISTINCT function) FROM public.outcome), '>', 8::bigint, 'there are such functions');
SELECT is_empty('SELECT * FROM public.outcome WHERE state <> ''39P01''', 'all of them refuse to be triggers of other tables');
SELECT ok(NOT is_called, 'without looking at a row') FROM public.ran;

-- Nor does a table of that name in a schema of one's own do, nor somebody else's in the extension's.
SET ROLE own_trigger_reader;
CREATE TABLE pg_temp.request (LIKE public.mine);
CREATE TRIGGER t BEFORE UPDATE ON pg_temp.request FOR EACH ROW EXECUTE FUNCTION omnichannel.guard_request();
INSERT INTO pg_temp.request (version, state) VALUES ('a', 'b');
SELECT throws_ok('UPDATE pg_temp.request SET state = ''c''', '39P01', 'function "guard_request" was called for table "request"', 'no table that is named alike');
RESET ROLE;
GRANT CREATE ON SCHEMA omnichannel TO own_trigger_reader;
SET ROLE own_trigger_reader;
CREATE TABLE omnichannel.own_trigger_table (price_id int, spied public.spy);
CREATE TRIGGER t AFTER INSERT ON omnichannel.own_trigger_table FOR EACH ROW EXECUTE FUNCTION omnichannel.note_correction('price_id');
SELECT throws_ok('INSERT INTO omnichannel.own_trigger_table VALUES (1, ''a'')', '39P01', NULL, 'nor one in the schema that the tables'' owner does not own');
RESET ROLE;

-- Where one of the extension's own tables was given to somebody else, the owners are named.
CREATE FUNCTION pg_temp.told(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	detail text;
BEGIN
	EXECUTE statement;
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
	RETURN concat_ws('; ', SQLSTATE, message, detail);
END
$$;
CREATE FUNCTION pg_temp.of_others(name text) RETURNS text LANGUAGE sql AS $$
	SELECT format('39P01; function "%s" was called for table "%s" of another owner; The table belongs to own_trigger_reader, the table omnichannel.company to %s.',
		split_part(name, ' ', 1), split_part(name, ' ', 2), relowner::regrole) FROM pg_class WHERE oid = 'omnichannel.company'::regclass
$$;
INSERT INTO omnichannel.customer (customer_id) VALUES (1);
INSERT INTO omnichannel.request (customer_id, kind, channel) VALUES (1, 'question', 'chat');
SET CONSTRAINTS ALL IMMEDIATE;
ALTER TABLE omnichannel.request OWNER TO own_trigger_reader;
SELECT is(pg_temp.told('UPDATE omnichannel.request SET priority = 1'), pg_temp.of_others('guard_request request'), 'where a table was given to somebody else, the owners are named');
ALTER TABLE omnichannel.agent_channel OWNER TO own_trigger_reader;
INSERT INTO omnichannel.agent (agent_id, name) VALUES (1, 'Anna');
SELECT is(pg_temp.told('INSERT INTO omnichannel.agent_channel VALUES (1, ''chat'')'), pg_temp.of_others('invalidate_cache agent_channel'), 'also of configuration');
ALTER TABLE omnichannel.request OWNER TO CURRENT_USER;
SELECT is(pg_temp.told('UPDATE omnichannel.request SET priority = 1'), 'done', 'and all is well when it is given back');
SELECT * FROM finish();
ROLLBACK;
