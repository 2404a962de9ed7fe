CREATE FUNCTION omnichannel.require_whole() RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM omnichannel.require_setup();
	IF NOT EXISTS (SELECT FROM pg_trigger AS fired JOIN pg_proc AS called ON called.oid = fired.tgfoid
		WHERE fired.tgrelid = to_regclass('omnichannel.company') AND called.proname = 'invalidate_cache') THEN
		RAISE EXCEPTION 'the tables of omnichannel in database "%" are not whole', current_database()
			USING ERRCODE = 'object_not_in_prerequisite_state',
				DETAIL = 'DROP EXTENSION omnichannel CASCADE has taken the triggers from them, and the columns of its types.',
				HINT = 'Restore them from a dump made before.';
	END IF;
END
$$;
COMMENT ON FUNCTION omnichannel.require_whole() IS
'Returns nothing, or raises 55000 before setup() and where the tables are there but their triggers are not, as after DROP EXTENSION ... CASCADE and CREATE EXTENSION.';

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
		PERFORM omnichannel.require_whole();
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
	script := replace(script, '@country@', quote_literal(country));
	script := replace(script, '@time_zone@', quote_literal(time_zone));
	EXECUTE script;

	IF NOT EXISTS (SELECT FROM omnichannel.currency AS known WHERE known.currency = setup.currency) THEN
		RAISE EXCEPTION 'currency "%" is not in ISO 4217', currency
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Use a code of its list one, as in ''EUR''.';
	END IF;
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
	PERFORM omnichannel.require_whole();
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
'Migrates the tables and views to the version of the extension, all or nothing, and returns that version; does nothing where they have it. For the owner of the tables. Raises 55000 before setup(), where DROP EXTENSION ... CASCADE has taken columns and triggers from the tables, and where no upgrade leads from the one version to the other.';

CREATE FUNCTION omnichannel.tick() RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	done bigint := 0;
BEGIN
	PERFORM omnichannel.require_writer('tick()', 'sla_overlap', 'DELETE');
	-- Before the rooms, which would say so of functions that nobody has called.
	PERFORM omnichannel.require_read_committed('tick()');
	-- One line a room.
	-- Prices first: displayed ones take a while to check, and uses of promotions may have to be waited for, which
	-- nobody else is to wait for. Queues last: their locks, which stay until the end, keep nobody waiting for the
	-- rest, and tick_queues() waits for no queue for long (a second and a bit), whatever else is held by then.
	done := done + omnichannel.tick_prices();
	done := done + omnichannel.tick_sla();
	done := done + omnichannel.tick_erasure();
	done := done + omnichannel.tick_tracking();
	done := done + omnichannel.tick_queues();
	RETURN done;
END
$$;
COMMENT ON FUNCTION omnichannel.tick() IS
'Does what only time makes due, in every room, and returns how many things it did; for pg_cron to call each minute, or more often. Several at the same time do each thing once. Raises 55000 above READ COMMITTED and before setup(), 25006 in a read-only transaction, as on a standby, 42501 for others than supervisors.';

CREATE FUNCTION omnichannel.access_rule(OUT relation text, OUT app text, OUT agent text, OUT supervisor text, OUT for_supervisor text[]) RETURNS SETOF record
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	-- r SELECT, a INSERT, w UPDATE, d DELETE
	SELECT rule.*, own.columns
	FROM (VALUES
		-- what the company is told how to work: read by all, written by supervisors
		('agent', 'r', 'r', 'raw'),
		('agent_channel', 'r', 'r', 'rawd'),
		('calendar', 'r', 'r', 'rawd'),
		('calendar_exception', 'r', 'r', 'rawd'),
		('channel', 'r', 'r', 'rawd'),
		('company', 'r', 'r', 'rw'),
		('consent_purpose', 'r', 'r', 'raw'),
		('currency', 'r', 'r', 'raw'),
		('disposition', 'r', 'r', 'rawd'),
		('identity_kind', 'r', 'r', 'raw'),
		('presence_state', 'r', 'r', 'rawd'),
		('omnibus_rule', 'r', 'r', 'rawd'),
		('price', 'r', 'r', 'rawd'),
		('price_change', 'r', 'r', 'r'),
		('price_correction', 'r', 'r', 'r'),
		('price_list', 'r', 'r', 'raw'),
		('price_staging', NULL, NULL, 'rawd'),
		('product', 'r', 'r', 'rawd'),
		('promotion', 'r', 'r', 'raw'),
		('queue', 'r', 'r', 'rawd'),
		('queue_department', 'r', 'r', 'rawd'),
		('queue_member', 'r', 'r', 'rawd'),
		('routing_setting', 'r', 'r', 'rw'),
		('segment', 'r', 'r', 'raw'),
		('sla_policy', 'r', 'r', 'rawd'),
		('sla_setting', 'r', 'r', 'rw'),
		('segment_input', NULL, NULL, 'r'),
		-- what happens: written by the functions that applications and agents call
		('agent_state', 'raw', 'raw', 'raw'),
		('arrival', 'rd', 'rd', 'rd'),
		('assignment', 'rawd', 'rawd', 'rawd'),
		('assignment_history', 'ra', 'ra', 'ra'),
		('consent', 'ra', 'ra', 'raw'),
		('contact', 'ra', 'ra', 'raw'),
		('contact_key', 'ra', 'ra', 'rawd'),
		('contact_reject', '', '', 'rawd'),
		('thread', 'raw', 'raw', 'rawd'),
		('tracked_relations', '', '', 'r'),
		('tracked_table', '', '', 'rawd'),
		('tracking', '', '', 'r'),
		('erased_source', '', '', 'ra'),
		('erasure', '', '', 'rawd'),
		('erasure_salt', '', '', 'r'),
		('coupon', 'r', 'r', 'raw'),
		('customer', 'raw', 'raw', 'raw'),
		('customer_merge', 'raw', 'raw', 'raw'),
		('fact', 'ra', 'ra', 'rad'),
		('identity', 'raw', 'rawd', 'rawd'),
		('kept_place', 'rawd', 'rawd', 'rawd'),
		('lane', 'rawd', 'rawd', 'rawd'),
		('lane_head', 'rawd', 'rawd', 'rawd'),
		('presence', 'r', 'r', 'raw'),
		('locked_quote', 'r', 'r', 'rawd'),
		('shown_price', 'ra', 'ra', 'rawd'),
		('promotion_total', 'r', 'r', 'rawd'),
		('promotion_use', 'r', 'r', 'raw'),
		('promotion_used_up', 'r', 'r', 'rawd'),
		('refusal', 'rawd', 'rawd', 'rawd'),
		('relationship', 'raw', 'raw', 'rawd'),
		('request', 'raw', 'raw', 'raw'),
		('segment_member', 'raw', 'r', 'rawd'),
		('sla_behind', 'rad', 'rad', 'rawd'),
		('sla_clock', 'rawd', 'rawd', 'rawd'),
		('sla_customer', 'raw', 'raw', 'raw'),
		('sla_event', 'rw', 'rw', 'raw'),
		('sla_moment', 'ra', 'ra', 'rawd'),
		('sla_overlap', '', '', 'rawd'),
		('sla_stale', '', '', 'rawd'),
		('sla_status', 'r', 'r', 'r'),
		('assignment_all', '', '', 'r'),
		('queue_stay', '', '', 'r'),
		('waiting', 'rawd', 'rawd', 'rawd'),
		('waiting_history', 'r', 'r', 'ra')
	) AS rule (relation, app, agent, supervisor) LEFT JOIN (VALUES
		-- What is found out about a displayed price is not for who displays it to say.
		('shown_price', '{checked_at,expected,cause}'::text[])
	) AS own (relation, columns) ON own.relation = rule.relation;
END;
COMMENT ON FUNCTION omnichannel.access_rule() IS
'What grant_access() grants on each table and view, as the letters of an access privilege list: r SELECT, a INSERT, w UPDATE, d DELETE. for_supervisor: columns that nobody but a supervisor may insert or update; NULL: none.';

CREATE FUNCTION omnichannel.grant_access(role regrole, profile text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	granted record;
	numbering name;
BEGIN
	PERFORM omnichannel.require_setup();
	IF role IS NULL OR NOT EXISTS (SELECT FROM pg_roles WHERE oid = role::oid) THEN
		RAISE EXCEPTION 'role % does not exist', coalesce(role::text, 'NULL')
			USING ERRCODE = 'undefined_object', HINT = 'Name a role, as in grant_access(''web_shop'', ''app'').';
	END IF;
	IF profile IS NULL OR profile NOT IN ('app', 'agent', 'supervisor', 'bi') THEN
		RAISE EXCEPTION 'profile % does not exist', coalesce(quote_literal(profile), 'NULL')
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Profiles are app, agent, supervisor and bi.';
	END IF;
	IF NOT (SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = 'omnichannel') THEN
		RAISE EXCEPTION 'role "%" may not grant access to schema "omnichannel"', current_user
			USING ERRCODE = 'insufficient_privilege', HINT = 'Ask the owner of the schema and of its tables.';
	END IF;

	EXECUTE format('GRANT USAGE ON SCHEMA omnichannel TO %s', role);
	FOR granted IN
		SELECT rule.relation, string_agg(letter.privilege || CASE WHEN rule.for_supervisor IS NOT NULL AND letter.letter IN ('a', 'w') AND profile <> 'supervisor' THEN (
			SELECT format(' (%s)', string_agg(quote_ident(attname), ', ' ORDER BY attnum)) FROM pg_attribute
			WHERE attrelid = format('omnichannel.%I', rule.relation)::regclass AND attnum > 0 AND NOT attisdropped AND attname <> ALL (rule.for_supervisor))
			ELSE '' END, ', ') AS privileges
		FROM omnichannel.access_rule() AS rule,
			(VALUES ('r', 'SELECT'), ('a', 'INSERT'), ('w', 'UPDATE'), ('d', 'DELETE')) AS letter (letter, privilege)
		WHERE strpos(CASE profile WHEN 'app' THEN rule.app WHEN 'agent' THEN rule.agent WHEN 'supervisor' THEN rule.supervisor ELSE '' END,
			letter.letter) > 0
		GROUP BY rule.relation
		UNION ALL
		SELECT relname, 'SELECT'
		FROM pg_class
		WHERE relnamespace = 'omnichannel'::regnamespace AND relkind = 'v' AND starts_with(relname, 'report_') AND profile IN ('bi', 'supervisor')
		ORDER BY 1
	LOOP
		EXECUTE format('GRANT %s ON omnichannel.%I TO %s', granted.privileges, granted.relation, role);
		CONTINUE WHEN strpos(granted.privileges, 'INSERT') = 0;
		-- Who inserts also numbers.
		FOR numbering IN
			SELECT sequence.relname
			FROM pg_depend AS owned JOIN pg_class AS sequence ON sequence.oid = owned.objid AND sequence.relkind = 'S'
			WHERE owned.refobjid = format('omnichannel.%I', granted.relation)::regclass AND owned.deptype IN ('a', 'i')
		LOOP
			EXECUTE format('GRANT USAGE ON SEQUENCE omnichannel.%I TO %s', numbering, role);
		END LOOP;
	END LOOP;
END
$$;
COMMENT ON FUNCTION omnichannel.grant_access(regrole, text) IS
'Grants a role what its profile needs, on top of what it has: app (channel applications), agent (an agent''s desk), supervisor (also writes the configuration) or bi (reads the report_ views, which hold no personal data, and nothing else: functions that read tables raise 42501 for it). For the owner of the schema and the tables. Raises 22023 for an unknown profile, 42704 for an unknown role, 42501 for others, 55000 before setup().';

CREATE FUNCTION omnichannel.revoke_access(role regrole) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM omnichannel.require_setup();
	IF role IS NULL OR NOT EXISTS (SELECT FROM pg_roles WHERE oid = role::oid) THEN
		RAISE EXCEPTION 'role % does not exist', coalesce(role::text, 'NULL')
			USING ERRCODE = 'undefined_object', HINT = 'Name a role, as in revoke_access(''web_shop'').';
	END IF;
	IF NOT (SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = 'omnichannel') THEN
		RAISE EXCEPTION 'role "%" may not revoke access to schema "omnichannel"', current_user
			USING ERRCODE = 'insufficient_privilege', HINT = 'Ask the owner of the schema and of its tables.';
	END IF;
	IF role = (SELECT relowner FROM pg_class WHERE oid = 'omnichannel.company'::regclass) THEN
		RAISE EXCEPTION 'role "%" owns the tables', role
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Without its rights nobody''s contacts could be logged; REASSIGN OWNED gives the tables to another role.';
	END IF;
	EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA omnichannel FROM %s', role);
	EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA omnichannel FROM %s', role);
	EXECUTE format('REVOKE ALL ON SCHEMA omnichannel FROM %s', role);
END
$$;
COMMENT ON FUNCTION omnichannel.revoke_access(regrole) IS
'Takes back all that a role was granted in schema omnichannel, by grant_access() or otherwise. For the owner of the schema and the tables. Raises 42704 for an unknown role, 22023 for the owner, 42501 for others, 55000 before setup().';
