CREATE FUNCTION omnichannel.personal_data(OUT relation text, OUT of_customer text, OUT on_erasure text, OUT kept text[], OUT searched text[]) RETURNS SETOF record
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	VALUES
		-- whose rows go
		('fact', 't.customer_id = ANY ($1)', 'delete', NULL::text[], NULL::text[]),
		('identity', 't.customer_id = ANY ($1)', 'delete', NULL, NULL),
		('relationship', 't.customer_id = ANY ($1)', 'delete', NULL, NULL),
		('thread', 't.customer_id = ANY ($1)', 'delete', NULL, NULL),
		('contact_reject', 't.reject_id = ANY ($2)', 'delete', NULL, NULL),
		-- whose keys are masked where they name the customer; others stay, so that nothing is logged again
		('contact_key', 't.customer_id = ANY ($1)', 'mask', NULL, NULL),
		-- whose rows stay, without what is personal: every column but those kept, and of these the
		-- searched ones where they name the customer
		('assignment', 't.customer_id = ANY ($1)', 'blank',
			'{request_id,customer_id,agent_id,lane_id,cost,priority,due_at,entered_at,queued_at,offered_at,expires_at,accepted_at,owner_id}', NULL),
		('assignment_history', 't.customer_id = ANY ($1)', 'blank',
			'{assignment_id,request_id,customer_id,agent_id,queue,channel,entered_at,queued_at,offered_at,accepted_at,ended_at,outcome}', NULL),
		('consent', 't.customer_id = ANY ($1)', 'blank',
			'{customer_id,consent_id,purpose,channel,granted,since,expires_at,recorded_at}', NULL),
		('contact', 't.customer_id = ANY ($1)', 'blank',
			'{customer_id,contact_id,occurred_at,channel,direction,outcome,agent_id,request_id,source,logged_at,still}', '{source}'),
		('coupon', 't.customer_id = ANY ($1)', 'blank',
			'{coupon,promotion,batch,customer_id,use_limit,uses,valid,created_at}', '{batch}'),
		('customer', 't.customer_id = ANY ($1)', 'blank',
			'{customer_id,merged_into,created_at,erased_at}', NULL),
		('customer_merge', 't.kept_id = ANY ($1) OR t.duplicate_id = ANY ($1)', 'blank',
			'{merge_id,kept_id,duplicate_id,forced,merged_at,merged_by,unmerged_at,unmerged_by}', NULL),
		('erasure', 't.customer_id = ANY ($1)', 'blank',
			'{customer_id,identities,erased_at,running}', NULL),
		('locked_quote', 't.customer_id = ANY ($1)', 'blank',
			'{quote_id,key,customer_id,product,quantity,currency,unit_price,line_total,locked_at,valid_until,inputs,rules,result,digest}', '{key}'),
		('price_correction', '(t.relation = ''segment_member'' AND t.key = ANY ($1::text[])) '
			'OR (t.relation IN (''coupon'', ''promotion_use'') AND coalesce(t.before, t.after) ->> ''customer_id'' = ANY ($1::text[]))', 'blank',
			'{correction_id,corrected_at,corrected_by,relation,key,before,after}', NULL),
		('promotion_use', 't.customer_id = ANY ($1)', 'blank',
			'{key,promotion,customer_id,coupon,amount,state,reserved_at,expires_at,released_at,former}', '{key}'),
		('request', 't.customer_id = ANY ($1)', 'blank',
			'{request_id,customer_id,kind,state,channel,current_channel,queue,priority,requires,prefers,agent_id,version,opened_at,state_since,closed_at,disposition}', '{kind}'),
		('segment_member', 't.customer_id = ANY ($1)', 'blank',
			'{customer_id,segment,valid}', NULL),
		('shown_price', 't.customer_id = ANY ($1)', 'blank',
			'{shown_id,shown_at,channel,place,customer_id,product,quantity,currency,coupons,quote_id,price,checked_at,expected,cause}', '{place}'),
		('sla_behind', 't.customer_id = ANY ($1)', 'blank',
			'{behind_id,customer_id,since,noted_at,known_from}', NULL),
		('sla_clock', 't.customer_id = ANY ($1)', 'blank',
			'{customer_id,clock_id,metric,policy,request_id,channel,moment_id,started_at,target,calendar,pauses,due_at,time_left,stopped_at,outcome,elapsed,worked,warn_at,tell_at,warned_at,breached_at,notice_at}', NULL),
		('sla_customer', 't.customer_id = ANY ($1)', 'blank',
			'{customer_id,last_at,last_rank,next_at,next_rank,late,grouped,oldest_at,settled_until,waits_request_id,waits_channel,waits_place}', NULL),
		('sla_event', 't.customer_id = ANY ($1)', 'blank',
			'{event_id,customer_id,clock_id,event,metric,policy,request_id,due_at,told_at,withdrawn_at,notified,withdrawal_told_at}', NULL),
		('sla_moment', 't.customer_id = ANY ($1)', 'blank',
			'{customer_id,at,moment_id,what,request_id,contact_id,channel,outcome,state,kind,queue,priority,version}', '{kind}'),
		('waiting', 't.customer_id = ANY ($1)', 'blank',
			'{request_id,customer_id,lane_id,rank,due_at,entered_at,queued_at,priority}', NULL),
		('waiting_history', 't.customer_id = ANY ($1)', 'blank',
			'{event_id,request_id,customer_id,queue,channel,entered_at,queued_at,happened_at,event}', NULL),
		-- that say nothing of a customer; those about requests with their columns, so that a new one is thought about
		('arrival', NULL, 'none', '{arrival_id,request_id,noted_at}', NULL),
		('kept_place', NULL, 'none', '{request_id,entered_at,until,queued_at}', NULL),
		('lane_head', NULL, 'none', '{lane_id,rank,due_at,entered_at,request_id,used_at}', NULL),
		('refusal', NULL, 'none', '{request_id,agent_id,until}', NULL),
		-- configuration, products, prices and the company's own people
		('agent', NULL, 'none', NULL, NULL),
		('agent_channel', NULL, 'none', NULL, NULL),
		('agent_state', NULL, 'none', NULL, NULL),
		('calendar', NULL, 'none', NULL, NULL),
		('calendar_exception', NULL, 'none', NULL, NULL),
		('channel', NULL, 'none', NULL, NULL),
		('company', NULL, 'none', NULL, NULL),
		('consent_purpose', NULL, 'none', NULL, NULL),
		('currency', NULL, 'none', NULL, NULL),
		('disposition', NULL, 'none', NULL, NULL),
		('erased_source', NULL, 'none', NULL, NULL),
		('erasure_salt', NULL, 'none', NULL, NULL),
		('identity_kind', NULL, 'none', NULL, NULL),
		('lane', NULL, 'none', NULL, NULL),
		('omnibus_rule', NULL, 'none', NULL, NULL),
		('presence', NULL, 'none', NULL, NULL),
		('presence_state', NULL, 'none', NULL, NULL),
		('price', NULL, 'none', NULL, NULL),
		('price_list', NULL, 'none', NULL, NULL),
		('price_staging', NULL, 'none', NULL, NULL),
		('product', NULL, 'none', NULL, NULL),
		('promotion', NULL, 'none', NULL, NULL),
		('promotion_total', NULL, 'none', NULL, NULL),
		('price_change', NULL, 'none', NULL, NULL),
		('promotion_used_up', NULL, 'none', NULL, NULL),
		('queue', NULL, 'none', NULL, NULL),
		('queue_department', NULL, 'none', NULL, NULL),
		('queue_member', NULL, 'none', NULL, NULL),
		('routing_setting', NULL, 'none', NULL, NULL),
		('segment', NULL, 'none', NULL, NULL),
		('sla_overlap', NULL, 'none', NULL, NULL),
		('sla_policy', NULL, 'none', NULL, NULL),
		('sla_setting', NULL, 'none', NULL, NULL),
		('sla_stale', NULL, 'none', NULL, NULL),
		('tracked_table', NULL, 'none', NULL, NULL),
		('tracking', NULL, 'none', NULL, NULL);
END;
COMMENT ON FUNCTION omnichannel.personal_data() IS
'The registry of personal data, one row a table, which export_customer() and erase_customer() work from. of_customer: the condition on a row t that makes it one of the customers $1 (bigint[]), whose rows in contact_reject are $2 (bigint[], as customer_rejects() returns them), or NULL where no row is. on_erasure: delete: the rows go; mask: keys that names_trace() of the customer are replaced by their digest; blank: the rows stay, and every column that kept does not name is set to NULL or, where it must not be NULL, to its default, also columns that the company has added; none: the table holds nothing of customers. searched: columns that are kept, but hold what applications write: they are blanked too where they name the customer.';

CREATE FUNCTION omnichannel.customer_traces(who bigint[]) RETURNS text[]
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM omnichannel.require_setup();
	RETURN ARRAY(
		SELECT identity.value FROM omnichannel.identity WHERE identity.customer_id = ANY (who)
		UNION
		-- One word alone is too often something else.
		SELECT customer.name FROM omnichannel.customer WHERE customer.customer_id = ANY (who) AND customer.name ~ '\S\s+\S'
		ORDER BY 1
	);
END
$$;
COMMENT ON FUNCTION omnichannel.customer_traces(bigint[]) IS
'By what customers are recognised in their own records'' texts: their identities, and names of two words or more. Raises 55000 before setup().';

CREATE FUNCTION omnichannel.names_trace(found text, traces text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN EXISTS (
	SELECT FROM unnest(traces) AS trace
	WHERE strpos(lower(found), lower(trace)) > 0
			AND (length(trace) >= 6
				OR lower(found) ~ ('(^|[^[:alnum:]])' || regexp_replace(lower(trace), '([^[:alnum:]])', '\\\1', 'g') || '($|[^[:alnum:]])'))
		-- however a telephone number is written
		OR trace ~ '^[+][0-9]{7,}$' AND strpos(regexp_replace(found, '[^0-9]', '', 'g'), right(trace, 8)) > 0
);
COMMENT ON FUNCTION omnichannel.names_trace(text, text[]) IS
'Whether a text contains one of these traces, as customer_traces() returns them; those of less than six characters with neither a letter nor a digit beside them, of telephone numbers the last eight digits, however they are separated. It may find too much and is for texts of the customer''s own records only.';

CREATE FUNCTION omnichannel.export_customer(customer_id bigint) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	who bigint[] := omnichannel.customer_group(export_customer.customer_id);
	rejects bigint[] := omnichannel.customer_rejects(who, omnichannel.identity_digests(who));
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
		INTO found_rows USING who, rejects;
		exported := jsonb_set(exported, ARRAY[registered.relation], found_rows);
	END LOOP;
	RETURN jsonb_build_object('customer_id', who[1], 'merged', to_jsonb(who[2:]), 'exported_at', now(), 'data', exported);
END
$$;
COMMENT ON FUNCTION omnichannel.export_customer(bigint) IS
'All that the tables hold of a customer and of those merged with this one, as JSON for the customer to keep (Regulation (EU) 2016/679, articles 15 and 20): customer_id, merged, exported_at, and data with the rows of each table. For roles that may read all of them, as supervisors may. Raises 23503 for an unknown customer, 22023 for NULL, 42501 for roles without the rights, 55000 before setup().';

CREATE FUNCTION omnichannel.mask_keys(who bigint[], traces text[]) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	masked bigint;
BEGIN
	PERFORM omnichannel.require_setup();
	WITH named AS MATERIALIZED (
		SELECT key.source, key.source_key FROM omnichannel.contact_key AS key
		WHERE traces IS NOT NULL AND key.customer_id = ANY (who) AND key.source <> 'erased'
			AND (omnichannel.names_trace(key.source, traces) OR omnichannel.names_trace(key.source_key, traces))
		UNION
		SELECT contact.source, contact.source_key FROM omnichannel.contact
		WHERE traces IS NULL AND contact.customer_id = ANY (who) AND contact.source_key IS NOT NULL
	), looked_up_by_digest AS (
		INSERT INTO omnichannel.erased_source (source)
		SELECT DISTINCT omnichannel.erasure_digest(named.source, '') FROM named
		ON CONFLICT (source) DO NOTHING
	), digest AS MATERIALIZED (
		SELECT named.*, omnichannel.erasure_digest(named.source, named.source_key) AS masked FROM named
	), repeated AS (
		-- Logged again by who had waited for the erasure: its digest stands there already.
		DELETE FROM omnichannel.contact_key AS key USING digest
		WHERE key.source = digest.source AND key.source_key = digest.source_key
			AND EXISTS (SELECT FROM omnichannel.contact_key AS done WHERE done.source = 'erased' AND done.source_key = digest.masked)
	)
	UPDATE omnichannel.contact_key AS key SET source = 'erased', source_key = digest.masked
	FROM digest
	WHERE key.source = digest.source AND key.source_key = digest.source_key
		AND NOT EXISTS (SELECT FROM omnichannel.contact_key AS done WHERE done.source = 'erased' AND done.source_key = digest.masked);
	GET DIAGNOSTICS masked = ROW_COUNT;
	RETURN masked;
END
$$;
COMMENT ON FUNCTION omnichannel.mask_keys(bigint[], text[]) IS
'Replaces the keys of these customers in contact_key that name one of the traces by their digest, under the source ''erased'', and returns how many: their rows are still not logged again. traces NULL: those of all contacts that still have their key. Raises 42501 for roles without the rights, 55000 before setup().';

CREATE FUNCTION omnichannel.blank_rows(relation text, who bigint[], traces text[]) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	registered record;
	assignments text;
	differences text;
	stuck text;
	changed bigint;
BEGIN
	PERFORM omnichannel.require_setup();
	SELECT data.* INTO registered FROM omnichannel.personal_data() AS data
	WHERE data.relation = blank_rows.relation AND data.on_erasure = 'blank';
	IF NOT FOUND THEN
		RAISE EXCEPTION 'rows of table % are not blanked', coalesce(quote_literal(left(blank_rows.relation, 100)), 'NULL')
			USING ERRCODE = 'invalid_parameter_value', HINT = 'personal_data() says what becomes of the rows of each table.';
	END IF;
	SELECT
		string_agg(format(CASE WHEN search.also THEN '%1$I = CASE WHEN $2 IS NULL OR omnichannel.names_trace(t.%1$I::text, $2) THEN %2$s ELSE t.%1$I END'
			ELSE '%1$I = %2$s' END, attribute.attname, blank.value), ', '),
		string_agg(format(CASE WHEN search.also THEN '$2 IS NOT NULL AND omnichannel.names_trace(t.%1$I::text, $2)'
			ELSE 't.%1$I IS DISTINCT FROM %2$s' END, attribute.attname, blank.value), ' OR '),
		min(attribute.attname) FILTER (WHERE blank.value IS NULL)
	INTO assignments, differences, stuck
	FROM pg_attribute AS attribute
	LEFT JOIN pg_attrdef AS preset ON preset.adrelid = attribute.attrelid AND preset.adnum = attribute.attnum
	CROSS JOIN LATERAL (SELECT attribute.attname = ANY (coalesce(registered.searched, '{}')) AS also) AS search
	CROSS JOIN LATERAL (
		SELECT CASE
			WHEN NOT attribute.attnotnull THEN 'NULL'
			WHEN preset.adbin IS NOT NULL OR NOT search.also THEN pg_get_expr(preset.adbin, preset.adrelid)
			-- A key stays one: what has it already is found again.
			WHEN EXISTS (SELECT FROM pg_index AS index WHERE index.indrelid = attribute.attrelid AND index.indisunique
				AND attribute.attnum = ANY (index.indkey::smallint[]))
				THEN format('omnichannel.erasure_digest(%L, t.%I)', registered.relation || '.' || attribute.attname, attribute.attname)
			ELSE '''erased'''
		END AS value
	) AS blank
	WHERE attribute.attrelid = format('omnichannel.%I', registered.relation)::regclass
		AND attribute.attnum > 0 AND NOT attribute.attisdropped AND attribute.attgenerated = ''
		AND (search.also OR attribute.attname <> ALL (registered.kept));
	IF stuck IS NOT NULL THEN
		RAISE EXCEPTION 'column "%" of table "%" cannot be blanked', stuck, registered.relation
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Give it a default, or let it be NULL.';
	END IF;
	IF assignments IS NULL THEN
		RETURN 0;
	END IF;
	EXECUTE format('UPDATE omnichannel.%I AS t SET %s WHERE (%s) AND (%s)', registered.relation, assignments, registered.of_customer, differences)
	USING who, traces;
	GET DIAGNOSTICS changed = ROW_COUNT;
	RETURN changed;
END
$$;
COMMENT ON FUNCTION omnichannel.blank_rows(text, bigint[], text[]) IS
'What erase_group() does to a table whose rows personal_data() says to blank: returns how many were changed. traces NULL: the searched columns of rows that are to be blanked are blanked whatever they hold. Raises 55000 for a column that can be neither NULL nor a default, and before setup(), 22023 for another table.';

CREATE FUNCTION omnichannel.erase_group(who bigint[], identities text[], until timestamptz DEFAULT 'infinity') RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	registered record;
	traces text[];
	rejects bigint[] := omnichannel.customer_rejects(who, identities, until);
	changed bigint;
	ended bigint;
	report jsonb := jsonb '{}';
BEGIN
	ended := omnichannel.cancel_clocks(who);
	-- Of those who were erased before nobody knows any more what names them: all of it goes.
	IF EXISTS (SELECT FROM omnichannel.customer WHERE customer.customer_id = ANY (who) AND customer.erased_at IS NULL) THEN
		traces := omnichannel.customer_traces(who);
	END IF;
	FOR registered IN
		SELECT data.relation, data.of_customer, data.on_erasure FROM omnichannel.personal_data() AS data
		WHERE data.of_customer IS NOT NULL
		ORDER BY array_position('{mask,delete,blank}', data.on_erasure), data.relation
	LOOP
		CASE registered.on_erasure
			WHEN 'mask' THEN
				changed := omnichannel.mask_keys(who, traces);
			WHEN 'delete' THEN
				EXECUTE format('DELETE FROM omnichannel.%I AS t WHERE %s', registered.relation, registered.of_customer)
				USING who, rejects;
				GET DIAGNOSTICS changed = ROW_COUNT;
			ELSE
				changed := omnichannel.blank_rows(registered.relation, who, traces);
		END CASE;
		IF changed > 0 THEN
			report := jsonb_set(report, ARRAY[registered.relation], to_jsonb(changed));
		END IF;
	END LOOP;
	-- Clocks that others hold are left: with them something is found, so that the sweep goes on.
	IF ended IS DISTINCT FROM 0 THEN
		report := jsonb_set(report, '{sla_clock}', to_jsonb(greatest((report ->> 'sla_clock')::bigint, ended, 0)));
	END IF;
	UPDATE omnichannel.customer SET erased_at = now() WHERE customer_id = ANY (who) AND erased_at IS NULL;
	RETURN report;
END
$$;
COMMENT ON FUNCTION omnichannel.erase_group(bigint[], text[], timestamptz) IS
'What erase_customer() does to a group of customers that it has locked, and whose identities had these digests until then: returns the number of rows deleted or changed, by table. Raises 55000 for a column that can be neither NULL nor a default, and before setup().';

CREATE FUNCTION omnichannel.erase_customer(customer_id bigint) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	who bigint[];
	identities text[];
	open_requests bigint[];
	report jsonb;
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
	identities := omnichannel.identity_digests(who);
	report := omnichannel.erase_group(who, identities);

	-- The logger does not wait for this, nor this for it: what it logs meanwhile is swept after.
	INSERT INTO omnichannel.erasure (customer_id, identities) VALUES (who[1], identities)
	ON CONFLICT (customer_id) DO UPDATE SET running = NULL;
	RETURN report;
END
$$;
COMMENT ON FUNCTION omnichannel.erase_customer(bigint) IS
'Erases the personal data of a customer and of those merged with this one from every table, as personal_data() says (Regulation (EU) 2016/679, article 17), and returns the number of rows deleted or changed, by table.

Contacts, requests, uses of promotions and segments stay, with nothing that names a person, so that counts and revenue do not change.

It cannot be undone; merges of the customer cannot be undone afterwards.
What transactions that run at the same time log of the customer, tick() erases, until they have ended.
Service levels that no request has (of a forum, say) and that are open end as cancelled, or breached where they were due before (those that another transaction holds with the first tick() after it).
Nothing moves any of the customer''s service levels afterwards.

Not erased: what the applications keep in their own tables, backups, the WAL, and samples in the planner''s statistics until the next ANALYZE.

For roles that may write all of these tables, as supervisors may.

Raises 55000 while the customer has open requests and before setup(), 23503 for an unknown customer, 22023 for NULL, 42501 for roles without the rights.';

CREATE FUNCTION omnichannel.tick_erasure() RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	done record;
	running_now text[];
	erased bigint := 0;
BEGIN
	PERFORM omnichannel.require_read_committed('tick_erasure()');
	IF NOT has_table_privilege('omnichannel.erasure', 'DELETE') THEN
		RETURN 0;
	END IF;
	PERFORM omnichannel.require_writer('tick_erasure()', 'erasure', 'DELETE');
	-- Who has not seen the erasure may have read the customer's identity before, and logs under the erased id. All of these
	-- transactions ran when the erasure was first seen here. Once none of them runs any more and nothing is found, nothing
	-- can come: who began later saw the erasure. What is found others may have read too, so that it begins anew.
	FOR done IN
		SELECT * FROM omnichannel.erasure ORDER BY erasure.customer_id FOR UPDATE SKIP LOCKED
	LOOP
		running_now := ARRAY(
			SELECT DISTINCT lock.virtualxid FROM pg_locks AS lock LEFT JOIN pg_stat_activity AS backend ON backend.pid = lock.pid
			WHERE lock.locktype = 'virtualxid' AND lock.pid <> pg_backend_pid()
				AND coalesce(backend.datname, current_database()) = current_database()
			ORDER BY 1);
		IF omnichannel.erase_group(omnichannel.customer_group(done.customer_id), done.identities, done.erased_at) <> '{}' THEN
			erased := erased + 1;
			UPDATE omnichannel.erasure SET running = NULL WHERE erasure.customer_id = done.customer_id;
		ELSIF done.running IS NULL THEN
			UPDATE omnichannel.erasure SET running = running_now WHERE erasure.customer_id = done.customer_id;
		ELSIF NOT done.running && running_now
			AND NOT EXISTS (SELECT FROM pg_prepared_xacts AS prepared WHERE prepared.database = current_database())
		THEN
			DELETE FROM omnichannel.erasure WHERE erasure.customer_id = done.customer_id;
		END IF;
	END LOOP;
	RETURN erased;
END
$$;
COMMENT ON FUNCTION omnichannel.tick_erasure() IS
'Part of tick(): erases what transactions that ran during an erasure have logged of the customer since, until all of them have ended, and returns the number of customers of whom there was something, or whose clocks another transaction holds. Roles that may not erase sweep nothing. Raises 55000 above READ COMMITTED and before setup(), 25006 in a read-only transaction.';
