-- The configuration cache as one session sees it; what concurrent sessions see is in test/isolation.
\set SHOW_CONTEXT never
SELECT omnichannel.default_currency(), omnichannel.default_time_zone();
SELECT cache, valid, built > 0 AS built, bytes > 0 AS bytes FROM omnichannel.cache_status() WHERE cache = 'company';

-- Repeated answers do not build it again; a change of the table does, once.
SELECT built AS before FROM omnichannel.cache_status() WHERE cache = 'company' \gset
SELECT count(omnichannel.default_currency()) FROM generate_series(1, 1000);
SELECT built - :before AS rebuilt FROM omnichannel.cache_status() WHERE cache = 'company';
UPDATE omnichannel.company SET currency = 'EUR';
SELECT valid FROM omnichannel.cache_status() WHERE cache = 'company';
SELECT count(omnichannel.default_currency()) FROM generate_series(1, 1000);
SELECT built - :before AS rebuilt, valid FROM omnichannel.cache_status() WHERE cache = 'company';
UPDATE omnichannel.company SET currency = 'PLN';

-- A volatile caller sees its own earlier writes, and no longer sees those it rolled back.
DO $$
BEGIN
	FOR i IN 1 .. 3 LOOP
		UPDATE omnichannel.company SET currency = (ARRAY['EUR', 'GBP', 'CHF'])[i];
		RAISE NOTICE '%', omnichannel.default_currency();
	END LOOP;
	BEGIN
		UPDATE omnichannel.company SET currency = 'SEK';
		RAISE NOTICE '%', omnichannel.default_currency();
		RAISE division_by_zero;
	EXCEPTION WHEN division_by_zero THEN
		RAISE NOTICE 'back to %', omnichannel.default_currency();
	END;
	UPDATE omnichannel.company SET currency = 'PLN';
END
$$;

-- A trigger of the user's on a configuration table reads the new row: the cache's own triggers fire first.
CREATE FUNCTION pg_temp.say() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN RAISE NOTICE 'trigger reads %', omnichannel.default_currency(); RETURN NULL; END$$;
CREATE TRIGGER "1_say" AFTER UPDATE ON omnichannel.company FOR EACH ROW EXECUTE FUNCTION pg_temp.say();
SELECT omnichannel.default_currency();
UPDATE omnichannel.company SET currency = 'NOK';
DROP TRIGGER "1_say" ON omnichannel.company;
UPDATE omnichannel.company SET currency = 'PLN';

-- Parallel workers answer too.
BEGIN;
SELECT count(set_config(name, 'on', true)) AS forced FROM pg_catalog.pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
UPDATE omnichannel.company SET currency = 'DKK';
SELECT count(*) > 0 AS found FROM pg_catalog.pg_class WHERE omnichannel.default_currency() = 'DKK';
ROLLBACK;
SELECT omnichannel.default_currency();

-- A hostile search_path changes nothing.
CREATE SCHEMA hostile;
CREATE FUNCTION hostile.wrong(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT false';
CREATE OPERATOR hostile.= (LEFTARG = text, RIGHTARG = text, FUNCTION = hostile.wrong);
CREATE TABLE hostile.company AS SELECT 'XXX' AS currency;
SET search_path = hostile, pg_catalog;
UPDATE omnichannel.company SET currency = 'HUF';
SELECT omnichannel.default_currency();
SHOW search_path;
RESET search_path;
UPDATE omnichannel.company SET currency = 'PLN';
SET client_min_messages = warning;
DROP SCHEMA hostile CASCADE;
RESET client_min_messages;

-- Whoever may not read the table is not answered from the cache either; a grant or a revoke counts at once.
CREATE ROLE regress_omni_reader;
GRANT USAGE ON SCHEMA omnichannel TO regress_omni_reader;
SET ROLE regress_omni_reader;
SELECT omnichannel.default_currency();
RESET ROLE;
GRANT SELECT ON omnichannel.company TO regress_omni_reader;
SET ROLE regress_omni_reader;
SELECT omnichannel.default_currency();
RESET ROLE;
REVOKE SELECT ON omnichannel.company FROM regress_omni_reader;
SET ROLE regress_omni_reader;
SELECT omnichannel.default_currency();
RESET ROLE;
-- through a membership that comes and goes
CREATE ROLE regress_omni_team;
GRANT SELECT ON omnichannel.company TO regress_omni_team;
GRANT regress_omni_team TO regress_omni_reader;
SET ROLE regress_omni_reader;
SELECT omnichannel.default_currency();
RESET ROLE;
REVOKE regress_omni_team FROM regress_omni_reader;
SET ROLE regress_omni_reader;
SELECT omnichannel.default_currency();
RESET ROLE;

-- Row-level security: who sees no row gets no answer, and spoils nobody else's.
GRANT SELECT ON omnichannel.company TO regress_omni_reader;
ALTER TABLE omnichannel.company ENABLE ROW LEVEL SECURITY;
SELECT omnichannel.default_currency();
SET ROLE regress_omni_reader;
SELECT omnichannel.default_currency();
RESET ROLE;
CREATE POLICY regress_seen ON omnichannel.company TO regress_omni_reader USING (current_setting('regress.seen', true) = 'yes');
SET ROLE regress_omni_reader;
SET regress.seen = 'yes';
SELECT omnichannel.default_currency();
SET regress.seen = 'no';
SELECT omnichannel.default_currency();
RESET ROLE;
SELECT omnichannel.default_currency();
DROP POLICY regress_seen ON omnichannel.company;
-- a policy that needs the cache to read the cache's table
CREATE POLICY regress_circle ON omnichannel.company TO regress_omni_reader USING (omnichannel.default_currency() = 'PLN');
SET ROLE regress_omni_reader;
SELECT omnichannel.default_currency();
RESET ROLE;
SELECT omnichannel.default_currency();
DROP POLICY regress_circle ON omnichannel.company;
ALTER TABLE omnichannel.company DISABLE ROW LEVEL SECURITY;
DROP OWNED BY regress_omni_reader, regress_omni_team;
DROP ROLE regress_omni_reader, regress_omni_team;

-- The trigger function defends itself.
SELECT omnichannel.invalidate_cache();
CREATE TABLE regress_config (x int);
CREATE TRIGGER a AFTER INSERT ON regress_config FOR EACH ROW EXECUTE FUNCTION omnichannel.invalidate_cache('company');
INSERT INTO regress_config VALUES (1);
DROP TABLE regress_config;
CREATE TABLE omnichannel.regress_config (x int);
CREATE TRIGGER a BEFORE INSERT ON omnichannel.regress_config FOR EACH ROW EXECUTE FUNCTION omnichannel.invalidate_cache('company');
INSERT INTO omnichannel.regress_config VALUES (1);
DROP TRIGGER a ON omnichannel.regress_config;
CREATE TRIGGER a AFTER INSERT ON omnichannel.regress_config FOR EACH ROW EXECUTE FUNCTION omnichannel.invalidate_cache();
INSERT INTO omnichannel.regress_config VALUES (1);
DROP TRIGGER a ON omnichannel.regress_config;
CREATE TRIGGER a AFTER INSERT ON omnichannel.regress_config FOR EACH ROW EXECUTE FUNCTION omnichannel.invalidate_cache('no_such_cache');
INSERT INTO omnichannel.regress_config VALUES (1);
DROP TABLE omnichannel.regress_config;

-- The company's row is checked.
UPDATE omnichannel.company SET currency = 'zloty';
UPDATE omnichannel.company SET country = 'Poland';
UPDATE omnichannel.company SET calling_code = '48';
UPDATE omnichannel.company SET rounding = 'up';
UPDATE omnichannel.company SET time_zone = 'Europe/Warschau';
INSERT INTO omnichannel.company SELECT * FROM omnichannel.company;
SELECT omnichannel.upgrade_script('1.0') IS NULL AS newest, omnichannel.upgrade_script(NULL) IS NULL AS of_null;
SELECT omnichannel.setup_script() ~ 'CREATE TABLE omnichannel.company' AS readable;

-- Settings: a name that there is not is refused once the library is loaded, and a value out of bounds always.
SET omnichannel.no_such_setting = 1;
SET omnichannel.price_cache = '1kB';
SHOW omnichannel.price_cache;
