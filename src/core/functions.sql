CREATE FUNCTION omnichannel.require_setup() RETURNS void
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_require_setup';
COMMENT ON FUNCTION omnichannel.require_setup() IS
'Returns nothing, or raises 55000 where setup() has not run in this database.';

CREATE FUNCTION omnichannel.require_writer(caller text, relation text, privilege text) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM omnichannel.require_setup();
	IF current_setting('transaction_read_only')::boolean THEN
		RAISE EXCEPTION '% writes, which a read-only transaction cannot', caller
			USING ERRCODE = 'read_only_sql_transaction', HINT = 'Call it on the primary server, in a transaction that may write.';
	END IF;
	IF to_regclass(format('omnichannel.%I', relation)) IS NULL THEN
		RAISE EXCEPTION 'omnichannel has no table "%"', relation
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Name a table of the schema omnichannel.';
	END IF;
	IF NOT has_table_privilege(format('omnichannel.%I', relation), privilege) THEN
		RAISE EXCEPTION 'role "%" may not call %', current_user, caller
			USING ERRCODE = 'insufficient_privilege',
				HINT = format('It takes %s on omnichannel.%I, as grant_access() gives it to the profile supervisor.', privilege, relation);
	END IF;
END
$$;
COMMENT ON FUNCTION omnichannel.require_writer(text, text, text) IS
'Returns nothing, or says in whose name a function cannot go on: raises 25006 in a read-only transaction, 42501 where the role lacks a privilege on a table of the schema that the function writes, 22023 for an unknown table or privilege, 55000 before setup().';

CREATE FUNCTION omnichannel.require_read_committed(caller text,
	hint text DEFAULT 'Call it in a READ COMMITTED transaction: what others have committed since must be seen.') RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM omnichannel.require_setup();
	IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
		RAISE EXCEPTION '% cannot run at isolation level %', caller, upper(current_setting('transaction_isolation'))
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = hint;
	END IF;
END
$$;
COMMENT ON FUNCTION omnichannel.require_read_committed(text, text) IS
'Returns nothing, or says in whose name a function cannot go on, and what to do: raises 55000 above READ COMMITTED, where what others commit is not seen, and before setup().';

CREATE FUNCTION omnichannel.change_moment(since timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE WHEN coalesce(since OPERATOR(pg_catalog.<=) pg_catalog.now(), true) THEN pg_catalog.now()
	WHEN since OPERATOR(pg_catalog.<) pg_catalog.statement_timestamp() THEN pg_catalog.statement_timestamp() ELSE pg_catalog.clock_timestamp() END;
COMMENT ON FUNCTION omnichannel.change_moment(timestamptz) IS
'From when a change counts of what began at since: from the start of the transaction, or, where that began before it, of the statement, or from now on.';

CREATE FUNCTION omnichannel.refuse_long(what text, code text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RAISE EXCEPTION '% "%..." is longer than 500 bytes', what, left(code, 40)
		USING ERRCODE = 'string_data_right_truncation', HINT = 'It identifies; what it says belongs in a name.';
END
$$;
COMMENT ON FUNCTION omnichannel.refuse_long(text, text) IS
'Called by the checks on codes that indexes hold: raises 22001, with what the code is of. An index in which codes of 1,000 bytes and more come together can be damaged by them.';

CREATE FUNCTION omnichannel.invalidate_cache() RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'omnichannel_invalidate_cache';
COMMENT ON FUNCTION omnichannel.invalidate_cache() IS
'Trigger function of the configuration tables: marks the caches that its arguments name, in every session, when the transaction commits.';

CREATE FUNCTION omnichannel.create_config_cache(cache text, VARIADIC tables text[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	config_table text;
BEGIN
	EXECUTE format('CREATE TABLE omnichannel.%I ()', 'cache_' || cache);
	EXECUTE format('COMMENT ON TABLE omnichannel.%I IS %L', 'cache_' || cache,
		format('Stays empty: a change of %s is told to the sessions that cache it as a change of this table.',
			array_to_string(tables, ', ')));
	FOREACH config_table IN ARRAY tables
	LOOP
		-- The names sort first: whatever other triggers read must be read afresh.
		EXECUTE format('CREATE TRIGGER %I AFTER INSERT OR UPDATE OR DELETE ON omnichannel.%I '
			'FOR EACH ROW EXECUTE FUNCTION omnichannel.invalidate_cache(%L)',
			'00_config_changed_' || cache, config_table, cache);
		EXECUTE format('CREATE TRIGGER %I AFTER TRUNCATE ON omnichannel.%I '
			'FOR EACH STATEMENT EXECUTE FUNCTION omnichannel.invalidate_cache(%L)',
			'00_config_truncated_' || cache, config_table, cache);
		EXECUTE format('ALTER TABLE omnichannel.%I ENABLE ALWAYS TRIGGER %I, ENABLE ALWAYS TRIGGER %I',
			config_table, '00_config_changed_' || cache, '00_config_truncated_' || cache);
	END LOOP;
END
$$;
COMMENT ON FUNCTION omnichannel.create_config_cache(text, text[]) IS
'Called by setup(): creates the proxy table of a configuration cache and the triggers on the tables whose rows it holds.';

CREATE FUNCTION omnichannel.default_currency() RETURNS text
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_default_currency';
COMMENT ON FUNCTION omnichannel.default_currency() IS
'The company''s currency, an ISO 4217 code. Raises 55000 before setup(), 42501 without SELECT on company.';

CREATE FUNCTION omnichannel.default_time_zone() RETURNS text
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_default_time_zone';
COMMENT ON FUNCTION omnichannel.default_time_zone() IS
'The company''s time zone, an IANA name. Raises 55000 before setup(), 42501 without SELECT on company.';

CREATE FUNCTION omnichannel.cache_status(OUT cache text, OUT valid boolean, OUT built bigint, OUT bytes bigint) RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'omnichannel_cache_status';
COMMENT ON FUNCTION omnichannel.cache_status() IS
'The configuration caches that this session has used: whether they hold what the tables hold, how often they were built, and the memory they take in bytes. leaves: what it remembers of where the leaves of indexes and pages of tables lie, which is looked at before it is believed, 9 MB at most; how often that was read of an index.';
