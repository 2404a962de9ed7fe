CREATE FUNCTION omnichannel.reject_subject(
	tracking text,
	data jsonb,
	OUT by_id boolean,
	OUT kind text,
	OUT customer text,
	OUT recipient text,
	OUT thread text,
	OUT source text
) RETURNS record
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_reject_subject';
COMMENT ON FUNCTION omnichannel.reject_subject(text, jsonb) IS
'Whom a row in contact_reject names, by the mapping of its table: by_id where customers are named by customer_id, else the kind of identity; customer or recipient, whichever the trigger would take, both where the direction is none; and the conversation. All NULL where the mapping is gone, or reads a column that the row has not. Raises 55000 before setup().';

CREATE FUNCTION omnichannel.reject_names(tracking text, data jsonb, OUT kind text, OUT value text) RETURNS SETOF record
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	subject record;
	given text;
BEGIN
	subject := omnichannel.reject_subject(reject_names.tracking, reject_names.data);
	IF subject.by_id THEN
		RETURN;
	END IF;

	-- The mapping does not say where the row names its customer: any text of it that is an identity may do so.
	IF subject.by_id IS NULL THEN
		RETURN QUERY
		SELECT identity_kind.kind, omnichannel.identity_or_null(identity_kind.kind, field.value #>> '{}')
		FROM jsonb_each(CASE jsonb_typeof(reject_names.data) WHEN 'object' THEN reject_names.data ELSE '{}' END) AS field
		CROSS JOIN omnichannel.identity_kind
		WHERE jsonb_typeof(field.value) = 'string'
			AND omnichannel.identity_or_null(identity_kind.kind, field.value #>> '{}') IS NOT NULL;
		RETURN;
	END IF;

	FOREACH given IN ARRAY ARRAY[subject.customer, subject.recipient]
	LOOP
		kind := subject.kind;
		value := omnichannel.identity_or_null(kind, given);
		IF value IS NOT NULL THEN
			RETURN NEXT;
			CONTINUE;
		END IF;
		-- What is no identity may hold some: a list, an address with a remark, a number with an extension.
		RETURN QUERY
		SELECT DISTINCT known.kind, omnichannel.identity_or_null(known.kind, part.value)
		FROM omnichannel.identity_kind AS known
		CROSS JOIN LATERAL (
			SELECT given AS value
			UNION ALL SELECT btrim(split.value, '.') FROM regexp_split_to_table(given, '[[:space:],;:!?|<>()"'']+') AS split (value)
			UNION ALL SELECT found.value[1] FROM regexp_matches(given, '[+]?[0-9](?:[ ()./-]{0,2}[0-9])+', 'g') AS found (value)
				WHERE known.normal_form = 'phone'
		) AS part
		WHERE (known.kind = subject.kind OR NOT EXISTS (SELECT FROM omnichannel.identity_kind AS one WHERE one.kind = subject.kind))
			AND omnichannel.identity_or_null(known.kind, part.value) IS NOT NULL;
	END LOOP;
END
$$;
COMMENT ON FUNCTION omnichannel.reject_names(text, jsonb) IS
'The identities in normal form by which a row in contact_reject names its customer. What is no identity of its kind is taken apart at blanks and punctuation, and a kind that does not exist stands for every kind; where the mapping is gone, or reads a column that the row has not, any text of the row that is an identity counts. Raises 55000 before setup().';

CREATE FUNCTION omnichannel.customer_rejects(who bigint[], identities text[], until timestamptz DEFAULT 'infinity') RETURNS bigint[]
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM omnichannel.require_setup();
	RETURN ARRAY(
		SELECT reject.reject_id
		FROM omnichannel.contact_reject AS reject
		CROSS JOIN LATERAL omnichannel.reject_subject(reject.tracking, reject.data) AS subject
		CROSS JOIN LATERAL (
			SELECT substring(subject.customer, '^\s*([+-]?[0-9]{1,18})\s*$')::bigint AS customer_id,
				substring(subject.recipient, '^\s*([+-]?[0-9]{1,18})\s*$')::bigint AS recipient_id
			WHERE subject.by_id
			UNION ALL
			SELECT NULL, NULL WHERE subject.by_id IS NOT TRUE
		) AS given
		CROSS JOIN LATERAL (
			SELECT CASE WHEN NOT subject.by_id THEN omnichannel.identity_or_null(subject.kind, subject.customer) END AS customer,
				CASE WHEN NOT subject.by_id THEN omnichannel.identity_or_null(subject.kind, subject.recipient) END AS recipient
		) AS normal
		WHERE CASE
				WHEN subject.by_id THEN given.customer_id = ANY (who) OR given.recipient_id = ANY (who)
				WHEN reject.rejected_at > until THEN false
				-- as nearly all do
				WHEN num_nonnulls(normal.customer, normal.recipient) = num_nonnulls(subject.customer, subject.recipient) AND NOT subject.by_id
					THEN omnichannel.erasure_digest(subject.kind, normal.customer) = ANY (identities)
						OR omnichannel.erasure_digest(subject.kind, normal.recipient) = ANY (identities)
				ELSE EXISTS (
					SELECT FROM omnichannel.reject_names(reject.tracking, reject.data) AS named
					WHERE omnichannel.erasure_digest(named.kind, named.value) = ANY (identities)
				)
			END
			-- Who is not named, or not so that anybody could tell, is whom the conversation is with.
			OR num_nonnulls(given.customer_id, given.recipient_id, normal.customer, normal.recipient) = 0 AND EXISTS (
				SELECT FROM omnichannel.thread
				WHERE thread.source = subject.source AND thread.thread = subject.thread AND thread.customer_id = ANY (who)
			)
		ORDER BY reject.reject_id
	);
END
$$;
COMMENT ON FUNCTION omnichannel.customer_rejects(bigint[], text[], timestamptz) IS
'The rows in contact_reject that are these customers'', by reject_id: which name one by customer_id, or by an identity whose erasure_digest() is among identities, exactly as the trigger would have compared them, or name nobody in a conversation of theirs. Raises 42501 without SELECT on what it reads, 55000 before setup().';

CREATE FUNCTION omnichannel.reject_queries(
	tracking text,
	data jsonb,
	as_text boolean,
	source text,
	OUT present text,
	OUT key jsonb,
	OUT kept text,
	OUT missing text
) RETURNS record
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	tracked record;
BEGIN
	PERFORM omnichannel.require_setup();
	SELECT t.* INTO tracked FROM omnichannel.tracking AS t
	JOIN pg_class AS c ON c.oid = t.relation WHERE t.tracking = reject_queries.tracking;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'tracking "%" does not exist', left(reject_queries.tracking, 60)
			USING ERRCODE = 'undefined_object', HINT = 'The view omnichannel.tracked_relations lists what is tracked.';
	END IF;

	-- The row as it was written, and the columns that the mapping reads and it has not.
	SELECT CASE
			WHEN as_text THEN format('SELECT ROW(%s)::%s', string_agg(format('CAST($1 ->> %L AS %s)',
				a.attname, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY a.attnum), tracked.relation)
			ELSE format('SELECT ROW(r.*)::%1$s FROM jsonb_populate_record(NULL::%1$s, $1) AS r', tracked.relation)
		END,
		string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
			FILTER (WHERE NOT reject_queries.data ? a.attname AND strpos(concat_ws(' ', tracked.channel, tracked.customer,
				tracked.recipient, tracked.kind, tracked.direction, tracked.outcome, tracked.occurred_at, tracked.agent,
				tracked.request, tracked.thread, tracked.subject, tracked.body, tracked.payload, tracked.source_key),
				'{' || a.attname || '}') > 0)
	INTO kept, missing
	FROM pg_attribute AS a WHERE a.attrelid = tracked.relation AND a.attnum > 0 AND NOT a.attisdropped;
	IF missing IS NOT NULL THEN
		kept := NULL;
	END IF;

	IF (tracked.updates OR missing IS NOT NULL) AND reject_queries.source IN ('', tracked.source) THEN
		-- The row as it is now: it may have changed since, and what is older must not undo that.
		-- The operators are the index's: a type's = need not be where names are looked up.
		SELECT format('SELECT ROW(t.*)::%1$s FROM %1$s AS t CROSS JOIN jsonb_populate_record(NULL::%1$s, $1) AS k WHERE %2$s',
				tracked.relation, string_agg(format('t.%1$I OPERATOR(%2$I.%3$s) k.%1$I', a.attname,
					coalesce(n.nspname, 'pg_catalog'), coalesce(o.oprname, '=')), ' AND ')),
			jsonb_object_agg(a.attname, reject_queries.data -> a.attname)
		INTO present, key
		FROM pg_index AS i
		CROSS JOIN unnest(i.indkey::smallint[], i.indclass::oid[]) AS part (attnum, class)
		JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = part.attnum
		JOIN pg_opclass AS class ON class.oid = part.class
		LEFT JOIN pg_amop AS amop ON amop.amopfamily = class.opcfamily AND amop.amopmethod = (SELECT oid FROM pg_am WHERE amname = 'btree')
			AND amop.amoplefttype = class.opcintype AND amop.amoprighttype = class.opcintype AND amop.amopstrategy = 3
		LEFT JOIN pg_operator AS o ON o.oid = amop.amopopr
		LEFT JOIN pg_namespace AS n ON n.oid = o.oprnamespace
		WHERE i.indrelid = tracked.relation AND i.indisprimary
		HAVING bool_and(reject_queries.data ? a.attname);
	END IF;
END
$$;
COMMENT ON FUNCTION omnichannel.reject_queries(text, jsonb, boolean, text) IS
'How log_reject() finds a row in contact_reject again: present, a query for the row as the table has it now, of its primary key as $1, NULL where it need not be read; key, that primary key; kept, a query for the row as it was written, of its data as $1, NULL where it has not all columns that the mapping reads; missing, those that it has not. Raises 42704 where the tracking or its table is gone, 55000 before setup().';

CREATE FUNCTION omnichannel.log_reject(tracking text, data jsonb, as_text boolean, live boolean, updated boolean, source text, renewed boolean) RETURNS boolean
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'omnichannel_log_reject';
COMMENT ON FUNCTION omnichannel.log_reject(text, jsonb, boolean, boolean, boolean, text, boolean) IS
'Logs one row of contact_reject, of whose columns these are, as retry_rejects() does, and returns what log_tracked_row() returns. renewed: under the source that the tracking has now. Casts, domains and output functions run with the rights of the table''s owner. Raises what log_tracked_row() raises, and 42703 for a row that lacks a column.';

CREATE FUNCTION omnichannel.retry_rejects(tracking text DEFAULT NULL, max_rows integer DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	reject record;
	error_state text;
	error_message text;
	logged bigint := 0;
BEGIN
	PERFORM omnichannel.require_setup();
	IF retry_rejects.max_rows < 0 THEN
		RAISE EXCEPTION 'max_rows cannot be %', retry_rejects.max_rows
			USING ERRCODE = 'invalid_parameter_value', HINT = 'It is a number of rows from 0 on, or NULL for all.';
	END IF;
	IF NOT EXISTS (SELECT FROM omnichannel.contact_reject AS r WHERE r.tracking = retry_rejects.tracking)
		AND NOT EXISTS (SELECT FROM omnichannel.tracking AS t WHERE t.tracking = retry_rejects.tracking)
		AND retry_rejects.tracking IS NOT NULL
	THEN
		RAISE EXCEPTION 'tracking "%" does not exist', left(retry_rejects.tracking, 60)
			USING ERRCODE = 'undefined_object', HINT = 'The view omnichannel.tracked_relations lists what is tracked.';
	END IF;
	FOR reject IN
		SELECT * FROM omnichannel.contact_reject AS r WHERE retry_rejects.tracking IS NULL OR r.tracking = retry_rejects.tracking
		ORDER BY r.reject_id LIMIT retry_rejects.max_rows FOR UPDATE SKIP LOCKED
	LOOP
		BEGIN
			-- Under the source that it was written under, unless its key is another row's there.
			PERFORM omnichannel.log_reject(reject.tracking, reject.data, reject.as_text, reject.live, reject.updated,
				coalesce(reject.source, ''), reject.sqlstate = '23505');
			DELETE FROM omnichannel.contact_reject AS r WHERE r.reject_id = reject.reject_id;
			logged := logged + 1;
		EXCEPTION WHEN OTHERS OR assert_failure THEN
			GET STACKED DIAGNOSTICS error_state = RETURNED_SQLSTATE, error_message = MESSAGE_TEXT;
			-- What has nothing to do with the row is for the caller to know.
			IF left(error_state, 2) IN ('25', '40', '53', '57', '58', '72', 'XX') OR error_state IN ('55006', '55P03') THEN
				RAISE;
			END IF;
			UPDATE omnichannel.contact_reject AS r SET sqlstate = error_state, message = error_message, tries = r.tries + 1
			WHERE r.reject_id = reject.reject_id;
		END;
	END LOOP;
	RETURN logged;
END
$$;
COMMENT ON FUNCTION omnichannel.retry_rejects(text, integer) IS
'Tries again to log the rows in contact_reject, of one tracking or of all, at most max_rows of them, and returns how many are logged now; the others keep the new error.

Where the tracking has updates, or reads a column that the row had not when it was written, rows are read from the table as they are now, by the primary key, which wants SELECT on it; with updates they revise their contact.
Other rows that lack such a column keep the error 42703.
Casts, domains and output functions run with the rights of the table''s owner.

A row is logged under the source that its tracking had when it was written; one whose key is another row''s there (23505) under the one that it has now.
Rows that another session retries are left to it.

With the caller''s rights on the log.

Raises 42704 for a tracking that there is not and of which no row waits, 22023 for a negative max_rows, 55000 before setup().';
