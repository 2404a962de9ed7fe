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
