CREATE PROCEDURE omnichannel.setup(currency text, country text, time_zone text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	code text;
	ltree_schema text;
	script text := omnichannel.setup_script();
BEGIN
	IF to_regclass('omnichannel.company') IS NOT NULL THEN
		RAISE EXCEPTION 'omnichannel is already set up in database "%"', current_database()
			USING ERRCODE = 'object_not_in_prerequisite_state',
				HINT = 'After ALTER EXTENSION omnichannel UPDATE, SELECT omnichannel.upgrade() migrates the tables.';
	END IF;
	IF NOT has_schema_privilege('omnichannel', 'CREATE') THEN
		RAISE EXCEPTION 'role "%" may not create tables in schema "omnichannel"', current_user
			USING ERRCODE = 'insufficient_privilege',
				HINT = format('As its owner, run ALTER SCHEMA omnichannel OWNER TO %I.', current_user);
	END IF;
	IF currency IS NULL OR currency !~ '^[A-Z]{3}$' THEN
		RAISE EXCEPTION 'currency % is not an ISO 4217 code', coalesce(quote_literal(currency), 'NULL')
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Three capital letters, as in ''EUR''.';
	END IF;
	IF country IS NULL OR country !~ '^[A-Z]{2}$' THEN
		RAISE EXCEPTION 'country % is not an ISO 3166-1 alpha-2 code', coalesce(quote_literal(country), 'NULL')
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Two capital letters, as in ''DE''.';
	END IF;
	code := omnichannel.calling_code(country);
	IF code IS NULL THEN
		RAISE EXCEPTION 'country "%" has no telephone calling code known here', country
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Use an assigned ISO 3166-1 alpha-2 code, as in ''DE''.';
	END IF;
	IF time_zone IS NULL OR NOT EXISTS (SELECT FROM pg_timezone_names AS zone WHERE zone.name = setup.time_zone) THEN
		RAISE EXCEPTION 'time zone % is not known', coalesce(quote_literal(time_zone), 'NULL')
			USING ERRCODE = 'invalid_parameter_value',
				HINT = 'Use an IANA name, as in ''Europe/Berlin''; pg_timezone_names lists them.';
	END IF;

	SELECT quote_ident(namespace.nspname) INTO STRICT ltree_schema
	FROM pg_extension AS extension JOIN pg_namespace AS namespace ON namespace.oid = extension.extnamespace
	WHERE extension.extname = 'ltree';

	script := replace(script, '@ltree@', ltree_schema);
	script := replace(script, '@currency@', quote_literal(currency));
	script := replace(script, '@country@', quote_literal(country));
	script := replace(script, '@time_zone@', quote_literal(time_zone));
	EXECUTE script;

	INSERT INTO omnichannel.company (currency, country, calling_code, time_zone, version)
	SELECT setup.currency, setup.country, code, setup.time_zone, extension.extversion
	FROM pg_extension AS extension WHERE extension.extname = 'omnichannel';
END
$$;
COMMENT ON PROCEDURE omnichannel.setup(text, text, text) IS
'Creates the tables, views and seed rows in schema omnichannel, owned by the caller, all or nothing. currency: ISO 4217; country: ISO 3166-1 alpha-2; time_zone: IANA name. Raises 55000 where it has run before, 42501 without CREATE on the schema, 22023 for an unknown currency, country or zone.';

CREATE FUNCTION omnichannel.upgrade_script(version text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
-- A release that changes tables adds a WHEN: the script that leads from this version's tables to the next one's.
RETURN CASE version WHEN '1.0' THEN NULL END;
COMMENT ON FUNCTION omnichannel.upgrade_script(text) IS
'The SQL that upgrade() runs to lead tables of this version to those of the next, or NULL where it is the newest; it ends by setting company.version.';

CREATE FUNCTION omnichannel.upgrade() RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	found_version text;
	script text;
	extension_version text;
BEGIN
	PERFORM omnichannel.require_setup();
	SELECT extension.extversion INTO STRICT extension_version
	FROM pg_extension AS extension WHERE extension.extname = 'omnichannel';

	SELECT company.version INTO STRICT found_version FROM omnichannel.company FOR UPDATE;
	WHILE found_version <> extension_version
	LOOP
		script := omnichannel.upgrade_script(found_version);
		IF script IS NULL THEN
			RAISE EXCEPTION 'no way leads from tables of version % to version %', found_version, extension_version
				USING ERRCODE = 'object_not_in_prerequisite_state',
					HINT = 'Run ALTER EXTENSION omnichannel UPDATE first, to a version not older than the tables.';
		END IF;
		EXECUTE script;
		SELECT company.version INTO STRICT found_version FROM omnichannel.company;
	END LOOP;
	RETURN found_version;
END
$$;
COMMENT ON FUNCTION omnichannel.upgrade() IS
'Migrates the tables and views to the version of the extension, all or nothing, and returns that version; does nothing where they have it. For the owner of the tables. Raises 55000 before setup() and where no upgrade leads from the one version to the other.';
