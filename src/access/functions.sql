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

CREATE FUNCTION omnichannel.tick() RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	done bigint := 0;
BEGIN
	PERFORM omnichannel.require_setup();
	-- One line a room.
	-- Queues first: whoever changes a request takes its queue's lock before its clocks.
	done := done + omnichannel.tick_queues();
	done := done + omnichannel.tick_sla();
	done := done + omnichannel.tick_erasure();
	done := done + omnichannel.tick_prices();
	done := done + omnichannel.tick_tracking();
	RETURN done;
END
$$;
COMMENT ON FUNCTION omnichannel.tick() IS
'Does what only time makes due, in every room, and returns how many things it did; for pg_cron to call each minute, or more often. Several at the same time do each thing once. Raises 55000 above READ COMMITTED and before setup(), 25006 on a standby.';

CREATE FUNCTION omnichannel.access_rule(OUT relation text, OUT app text, OUT agent text, OUT supervisor text) RETURNS SETOF record
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	-- r SELECT, a INSERT, w UPDATE, d DELETE
	VALUES
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
		('segment_input', 'r', 'r', 'r'),
		-- what happens: written by the functions that applications and agents call
		('agent_state', 'raw', 'raw', 'raw'),
		('arrival', 'rd', 'rd', 'rd'),
		('assignment', 'rawd', 'rawd', 'rawd'),
		('assignment_history', 'ra', 'ra', 'ra'),
		('consent', 'ra', 'ra', 'raw'),
		('contact', 'ra', 'ra', 'raw'),
		('contact_key', 'ra', 'ra', 'rad'),
		('contact_reject', '', '', 'rawd'),
		('thread', 'raw', 'raw', 'rawd'),
		('tracked_relations', '', '', 'r'),
		('tracked_table', '', '', 'rawd'),
		('tracking', '', '', 'r'),
		('coupon', 'rw', 'r', 'raw'),
		('customer', 'raw', 'raw', 'raw'),
		('customer_merge', 'raw', 'raw', 'raw'),
		('fact', 'ra', 'ra', 'rad'),
		('identity', 'raw', 'rawd', 'rawd'),
		('kept_place', 'rawd', 'rawd', 'rawd'),
		('lane', 'rad', 'rad', 'rad'),
		('lane_head', 'rawd', 'rawd', 'rawd'),
		('presence', 'raw', 'raw', 'raw'),
		('locked_quote', 'ra', 'ra', 'rawd'),
		('shown_price', 'raw', 'r', 'rawd'),
		('price_correction', 'r', 'r', 'ra'),
		('promotion_total', 'raw', 'r', 'rawd'),
		('promotion_use', 'raw', 'r', 'raw'),
		('promotion_used_up', 'rawd', 'r', 'rawd'),
		('refusal', 'rawd', 'rawd', 'rawd'),
		('relationship', 'raw', 'raw', 'rawd'),
		('request', 'raw', 'raw', 'raw'),
		('segment_member', 'raw', 'r', 'rawd'),
		('sla_behind', 'rad', 'rad', 'rawd'),
		('sla_clock', 'rawd', 'rawd', 'rawd'),
		('sla_customer', 'raw', 'raw', 'raw'),
		('sla_event', 'rw', 'rw', 'raw'),
		('sla_moment', 'ra', 'ra', 'raw'),
		('sla_stale', '', '', 'rawd'),
		('sla_status', 'r', 'r', 'r'),
		('waiting', 'rawd', 'rawd', 'rawd');
END;
COMMENT ON FUNCTION omnichannel.access_rule() IS
'What grant_access() grants on each table and view, as the letters of an access privilege list: r SELECT, a INSERT, w UPDATE, d DELETE.';

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
		SELECT rule.relation, string_agg(letter.privilege, ', ') AS privileges
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
'Grants a role what its profile needs, on top of what it has: app (channel applications), agent (an agent''s desk), supervisor (also writes the configuration) or bi (reads the report_ views, which hold no personal data). For the owner of the schema and the tables. Raises 22023 for an unknown profile, 42704 for an unknown role, 42501 for others.';

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
	EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA omnichannel FROM %s', role);
	EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA omnichannel FROM %s', role);
	EXECUTE format('REVOKE ALL ON SCHEMA omnichannel FROM %s', role);
END
$$;
COMMENT ON FUNCTION omnichannel.revoke_access(regrole) IS
'Takes back all that a role was granted in schema omnichannel, by grant_access() or otherwise. For the owner of the schema and the tables. Raises 42704 for an unknown role.';

CREATE FUNCTION omnichannel.personal_data(OUT relation text, OUT of_customer text, OUT on_erasure text, OUT kept text[]) RETURNS SETOF record
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	VALUES
		-- whose rows go
		('fact', 't.customer_id = ANY ($1)', 'delete', NULL::text[]),
		('identity', 't.customer_id = ANY ($1)', 'delete', NULL),
		('relationship', 't.customer_id = ANY ($1)', 'delete', NULL),
		('thread', 't.customer_id = ANY ($1)', 'delete', NULL),
		-- whose rows go where they contain an identity or the name; surrogate keys stay, so that nothing is logged again
		('contact_reject', 'omnichannel.has_trace(to_jsonb(t), $2)', 'traces', NULL),
		('contact_key', '(t.source, t.source_key) IN (SELECT c.source, c.source_key FROM omnichannel.contact AS c WHERE c.customer_id = ANY ($1))',
			'traces', NULL),
		-- whose rows stay, without what is personal: every column but these
		('assignment', 't.customer_id = ANY ($1)', 'blank',
			'{request_id,customer_id,agent_id,lane_id,cost,priority,due_at,entered_at,offered_at,expires_at,accepted_at}'),
		('assignment_history', 't.customer_id = ANY ($1)', 'blank',
			'{assignment_id,request_id,customer_id,agent_id,queue,channel,entered_at,offered_at,accepted_at,ended_at,outcome}'),
		('consent', 't.customer_id = ANY ($1)', 'blank',
			'{customer_id,consent_id,purpose,channel,granted,since,expires_at,recorded_at}'),
		('contact', 't.customer_id = ANY ($1)', 'blank',
			'{customer_id,contact_id,occurred_at,channel,direction,outcome,agent_id,request_id,source,logged_at}'),
		('coupon', 't.customer_id = ANY ($1)', 'blank',
			'{coupon,promotion,batch,customer_id,use_limit,uses,valid,created_at}'),
		('customer', 't.customer_id = ANY ($1)', 'blank',
			'{customer_id,merged_into,created_at,erased_at}'),
		('customer_merge', 't.kept_id = ANY ($1) OR t.duplicate_id = ANY ($1)', 'blank',
			'{merge_id,kept_id,duplicate_id,forced,merged_at,merged_by,unmerged_at,unmerged_by}'),
		('locked_quote', 't.customer_id = ANY ($1)', 'blank',
			'{quote_id,key,customer_id,product,quantity,currency,unit_price,line_total,locked_at,valid_until,inputs,rules,result,digest}'),
		('price_correction', 't.relation = ''segment_member'' AND t.key = ANY ($1::text[])', 'blank',
			'{correction_id,corrected_at,corrected_by,relation,key,before,after}'),
		('promotion_use', 't.customer_id = ANY ($1)', 'blank',
			'{key,promotion,customer_id,coupon,amount,state,reserved_at,expires_at}'),
		('request', 't.customer_id = ANY ($1)', 'blank',
			'{request_id,customer_id,kind,state,channel,queue,priority,requires,prefers,agent_id,version,opened_at,state_since,closed_at,disposition}'),
		('segment_member', 't.customer_id = ANY ($1)', 'blank',
			'{customer_id,segment,valid}'),
		('shown_price', 't.customer_id = ANY ($1)', 'blank',
			'{shown_id,shown_at,channel,place,customer_id,product,quantity,currency,coupons,quote_id,price,checked_at,expected,cause}'),
		('sla_behind', 't.customer_id = ANY ($1)', 'blank',
			'{behind_id,customer_id,since}'),
		('sla_clock', 't.customer_id = ANY ($1)', 'blank',
			'{customer_id,clock_id,metric,policy,request_id,channel,moment_id,started_at,target,calendar,pauses,due_at,time_left,stopped_at,outcome,elapsed,worked,warn_at,tell_at,warned_at,breached_at,notice_at}'),
		('sla_customer', 't.customer_id = ANY ($1)', 'blank',
			'{customer_id,last_at,last_rank,next_at,next_rank,late}'),
		('sla_event', 't.customer_id = ANY ($1)', 'blank',
			'{event_id,customer_id,clock_id,event,metric,policy,request_id,due_at,told_at,withdrawn_at}'),
		('sla_moment', 't.customer_id = ANY ($1)', 'blank',
			'{customer_id,at,moment_id,what,request_id,contact_id,channel,outcome,state,kind,queue,priority,version}'),
		('waiting', 't.customer_id = ANY ($1)', 'blank',
			'{request_id,customer_id,lane_id,level,due_at,entered_at,owner_id,priority}'),
		-- that say nothing of a customer; those about requests with their columns, so that a new one is thought about
		('arrival', NULL, 'none', '{request_id}'),
		('kept_place', NULL, 'none', '{request_id,entered_at,until}'),
		('lane_head', NULL, 'none', '{lane_id,rank,due_at,entered_at,request_id,used_at}'),
		('refusal', NULL, 'none', '{request_id,agent_id,until}'),
		-- configuration, products, prices and the company's own people
		('agent', NULL, 'none', NULL),
		('agent_channel', NULL, 'none', NULL),
		('agent_state', NULL, 'none', NULL),
		('calendar', NULL, 'none', NULL),
		('calendar_exception', NULL, 'none', NULL),
		('channel', NULL, 'none', NULL),
		('company', NULL, 'none', NULL),
		('consent_purpose', NULL, 'none', NULL),
		('currency', NULL, 'none', NULL),
		('disposition', NULL, 'none', NULL),
		('identity_kind', NULL, 'none', NULL),
		('lane', NULL, 'none', NULL),
		('omnibus_rule', NULL, 'none', NULL),
		('presence', NULL, 'none', NULL),
		('presence_state', NULL, 'none', NULL),
		('price', NULL, 'none', NULL),
		('price_list', NULL, 'none', NULL),
		('price_staging', NULL, 'none', NULL),
		('product', NULL, 'none', NULL),
		('promotion', NULL, 'none', NULL),
		('promotion_total', NULL, 'none', NULL),
		('promotion_used_up', NULL, 'none', NULL),
		('queue', NULL, 'none', NULL),
		('queue_department', NULL, 'none', NULL),
		('queue_member', NULL, 'none', NULL),
		('routing_setting', NULL, 'none', NULL),
		('segment', NULL, 'none', NULL),
		('sla_policy', NULL, 'none', NULL),
		('sla_setting', NULL, 'none', NULL),
		('sla_stale', NULL, 'none', NULL),
		('tracked_table', NULL, 'none', NULL),
		('tracking', NULL, 'none', NULL);
END;
COMMENT ON FUNCTION omnichannel.personal_data() IS
'The registry of personal data, one row a table, which export_customer() and erase_customer() work from. of_customer: the condition on a row t that makes it one of the customers $1 (bigint[]), whose traces are $2 (text[]), or NULL where no row is. on_erasure: delete: the rows go; traces: those go that has_trace() of the customer; blank: the rows stay, and every column that kept does not name is set to NULL or, where it must not be NULL, to its default, also columns that the company has added; none: the table holds nothing of customers.';

CREATE FUNCTION omnichannel.customer_traces(who bigint[]) RETURNS text[]
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM omnichannel.require_setup();
	RETURN ARRAY(
		-- At least four characters, so that nothing is taken for a trace by accident.
		SELECT DISTINCT lower(found.trace)
		FROM (
			SELECT identity.value FROM omnichannel.identity WHERE identity.customer_id = ANY (who)
			UNION ALL
			-- however a telephone number is written
			SELECT right(identity.value, 8)
			FROM omnichannel.identity
			JOIN omnichannel.identity_kind ON identity_kind.kind = identity.kind AND identity_kind.normal_form = 'phone'
			WHERE identity.customer_id = ANY (who)
			UNION ALL
			SELECT customer.name FROM omnichannel.customer WHERE customer.customer_id = ANY (who)
		) AS found (trace)
		WHERE length(found.trace) >= 4
		ORDER BY 1
	);
END
$$;
COMMENT ON FUNCTION omnichannel.customer_traces(bigint[]) IS
'By what customers are found in texts, in small letters: their identities, the last eight digits of telephone numbers, and their names. Raises 55000 before setup().';

CREATE FUNCTION omnichannel.has_trace(found_row jsonb, traces text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
-- As JSON writes them: with quotes and backslashes escaped.
RETURN EXISTS (
	SELECT FROM unnest(traces) AS trace
	WHERE strpos(lower(found_row::text), substr(to_json(trace)::text, 2, length(to_json(trace)::text) - 2)) > 0
);
COMMENT ON FUNCTION omnichannel.has_trace(jsonb, text[]) IS
'Whether one of these traces, as customer_traces() returns them, is found anywhere in a row.';

CREATE FUNCTION omnichannel.export_customer(customer_id bigint) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	who bigint[] := omnichannel.customer_group(export_customer.customer_id);
	traces text[] := omnichannel.customer_traces(who);
	registered record;
	sort text;
	found_rows jsonb;
	exported jsonb := jsonb '{}';
BEGIN
	FOR registered IN
		SELECT data.relation, data.of_customer FROM omnichannel.personal_data() AS data
		WHERE data.of_customer IS NOT NULL ORDER BY data.relation
	LOOP
		SELECT string_agg(format('t.%I', attribute.attname), ', ' ORDER BY part.place) INTO sort
		FROM pg_index AS index
		CROSS JOIN LATERAL unnest(index.indkey::smallint[]) WITH ORDINALITY AS part (number, place)
		JOIN pg_attribute AS attribute ON attribute.attrelid = index.indrelid AND attribute.attnum = part.number
		WHERE index.indrelid = format('omnichannel.%I', registered.relation)::regclass AND index.indisprimary;
		EXECUTE format('SELECT coalesce(jsonb_agg(to_jsonb(t) ORDER BY %s), ''[]'') FROM omnichannel.%I AS t WHERE %s',
			coalesce(sort, 'to_jsonb(t)::text'), registered.relation, registered.of_customer)
		INTO found_rows USING who, traces;
		exported := jsonb_set(exported, ARRAY[registered.relation], found_rows);
	END LOOP;
	RETURN jsonb_build_object('customer_id', who[1], 'merged', to_jsonb(who[2:]), 'exported_at', now(), 'data', exported);
END
$$;
COMMENT ON FUNCTION omnichannel.export_customer(bigint) IS
'All that the tables hold of a customer and of those merged with this one, as JSON for the customer to keep (Regulation (EU) 2016/679, articles 15 and 20): customer_id, merged, exported_at, and data with the rows of each table. For roles that may read all of them, as supervisors may. Raises 23503 for an unknown customer, 22023 for NULL, 42501 for roles without the rights, 55000 before setup().';

CREATE FUNCTION omnichannel.erase_group(who bigint[]) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	registered record;
	traces text[];
	assignments text;
	differences text;
	stuck text;
	changed bigint;
	report jsonb := jsonb '{}';
BEGIN
	PERFORM omnichannel.require_setup();
	traces := omnichannel.customer_traces(who);
	FOR registered IN
		SELECT data.relation, data.of_customer, data.on_erasure, data.kept FROM omnichannel.personal_data() AS data
		WHERE data.of_customer IS NOT NULL
		ORDER BY array_position('{traces,delete,blank}', data.on_erasure), data.relation
	LOOP
		CASE registered.on_erasure
			WHEN 'traces' THEN
				EXECUTE format('DELETE FROM omnichannel.%I AS t WHERE (%s) AND omnichannel.has_trace(to_jsonb(t), $2)',
					registered.relation, registered.of_customer) USING who, traces;
				GET DIAGNOSTICS changed = ROW_COUNT;
			WHEN 'delete' THEN
				EXECUTE format('DELETE FROM omnichannel.%I AS t WHERE %s', registered.relation, registered.of_customer) USING who, traces;
				GET DIAGNOSTICS changed = ROW_COUNT;
			ELSE
				SELECT string_agg(format('%I = %s', attribute.attname, blank.value), ', '),
					string_agg(format('t.%I IS DISTINCT FROM %s', attribute.attname, blank.value), ' OR '),
					min(attribute.attname) FILTER (WHERE blank.value IS NULL)
				INTO assignments, differences, stuck
				FROM pg_attribute AS attribute
				LEFT JOIN pg_attrdef AS preset ON preset.adrelid = attribute.attrelid AND preset.adnum = attribute.attnum
				CROSS JOIN LATERAL (
					SELECT CASE WHEN attribute.attnotnull THEN pg_get_expr(preset.adbin, preset.adrelid) ELSE 'NULL' END AS value
				) AS blank
				WHERE attribute.attrelid = format('omnichannel.%I', registered.relation)::regclass
					AND attribute.attnum > 0 AND NOT attribute.attisdropped AND attribute.attgenerated = ''
					AND attribute.attname <> ALL (registered.kept);
				IF stuck IS NOT NULL THEN
					RAISE EXCEPTION 'column "%" of table "%" cannot be blanked', stuck, registered.relation
						USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Give it a default, or let it be NULL.';
				END IF;
				CONTINUE WHEN assignments IS NULL;
				EXECUTE format('UPDATE omnichannel.%I AS t SET %s WHERE (%s) AND (%s)',
					registered.relation, assignments, registered.of_customer, differences) USING who, traces;
				GET DIAGNOSTICS changed = ROW_COUNT;
		END CASE;
		IF changed > 0 THEN
			report := jsonb_set(report, ARRAY[registered.relation], to_jsonb(changed));
		END IF;
	END LOOP;
	UPDATE omnichannel.customer SET erased_at = now() WHERE customer_id = ANY (who) AND erased_at IS NULL;
	RETURN report;
END
$$;
COMMENT ON FUNCTION omnichannel.erase_group(bigint[]) IS
'What erase_customer() does to a group of customers that it has locked: returns the number of rows deleted or blanked, by table. Raises 55000 for a column that can be neither NULL nor a default, and before setup().';

CREATE FUNCTION omnichannel.erase_customer(customer_id bigint) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	who bigint[];
	open_requests bigint[];
BEGIN
	-- Writers hold the customer's row until they commit; merges hold the root's, so the group is looked at again after the lock.
	LOOP
		who := omnichannel.customer_group(erase_customer.customer_id);
		PERFORM FROM omnichannel.customer WHERE customer.customer_id = ANY (who) ORDER BY customer.customer_id FOR UPDATE;
		EXIT WHEN who = omnichannel.customer_group(erase_customer.customer_id);
	END LOOP;
	SELECT array_agg(request.request_id ORDER BY request.request_id) INTO open_requests
	FROM omnichannel.request WHERE request.customer_id = ANY (who) AND request.closed_at IS NULL;
	IF open_requests IS NOT NULL THEN
		RAISE EXCEPTION 'customer % has open requests: %', who[1], array_to_string(open_requests, ', ')
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Finish or cancel them first: nobody could answer them any more.';
	END IF;
	RETURN omnichannel.erase_group(who);
END
$$;
COMMENT ON FUNCTION omnichannel.erase_customer(bigint) IS
'Erases the personal data of a customer and of those merged with this one from every table, as personal_data() says (Regulation (EU) 2016/679, article 17), and returns the number of rows deleted or blanked, by table. Contacts, requests, uses of promotions and segments stay, with nothing that names a person, so that counts and revenue do not change. It cannot be undone; merges of the customer cannot be undone afterwards. Erasing again erases what came in meanwhile. Not erased: what the applications keep in their own tables, backups, the WAL, and samples in the planner''s statistics until the next ANALYZE. For roles that may write all of these tables, as supervisors may. Raises 55000 while the customer has open requests and before setup(), 23503 for an unknown customer, 22023 for NULL, 42501 for roles without the rights.';

CREATE FUNCTION omnichannel.tick_erasure() RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	root bigint;
	erased bigint := 0;
BEGIN
	PERFORM omnichannel.require_setup();
	IF NOT has_table_privilege('omnichannel.contact_key', 'DELETE') THEN
		RETURN 0;
	END IF;
	FOR root IN
		SELECT customer.customer_id FROM omnichannel.customer
		WHERE customer.erased_at > now() - interval '7 days' AND customer.merged_into IS NULL
		ORDER BY customer.customer_id FOR UPDATE SKIP LOCKED
	LOOP
		IF omnichannel.erase_group(omnichannel.customer_group(root)) <> '{}' THEN
			erased := erased + 1;
		END IF;
	END LOOP;
	RETURN erased;
END
$$;
COMMENT ON FUNCTION omnichannel.tick_erasure() IS
'Part of tick(): erases what transactions that ran during an erasure have logged of the customer since, for 7 days after it, and returns the number of customers of whom there was something. Roles that may not erase sweep nothing. Raises 55000 before setup().';
