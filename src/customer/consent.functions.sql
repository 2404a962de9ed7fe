CREATE FUNCTION omnichannel.record_consent(
	customer_id bigint,
	purpose text,
	channel text,
	granted boolean,
	proof jsonb,
	source text,
	since timestamptz,
	expires_at timestamptz
) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	decided_at timestamptz := coalesce(record_consent.since, now());
	consent_id bigint;
BEGIN
	PERFORM omnichannel.require_customer(record_consent.customer_id);
	PERFORM omnichannel.check_consent_codes(record_consent.purpose, record_consent.channel);
	IF NOT isfinite(decided_at) OR decided_at > clock_timestamp() + interval '1 minute' THEN
		RAISE EXCEPTION 'a consent cannot have been decided on at %', decided_at
			USING ERRCODE = 'datetime_field_overflow', HINT = 'Give the time at which the customer decided, or NULL for now.';
	END IF;
	IF record_consent.expires_at <= decided_at THEN
		RAISE EXCEPTION 'a consent given at % cannot expire at %', decided_at, record_consent.expires_at
			USING ERRCODE = 'datetime_field_overflow', HINT = 'Give a later time, or NULL for a consent that holds until it is withdrawn.';
	END IF;
	IF record_consent.source = '' OR octet_length(record_consent.source) > 1000 THEN
		RAISE EXCEPTION 'the source of a consent has % bytes', octet_length(record_consent.source)
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Name it in 1 to 1000 bytes, or leave it NULL.';
	END IF;
	IF pg_column_size(record_consent.proof) > 1048576 THEN
		RAISE EXCEPTION 'the proof of a consent has % bytes, more than 1048576', pg_column_size(record_consent.proof)
			USING ERRCODE = 'program_limit_exceeded', HINT = 'Keep it where it is and record a reference to it.';
	END IF;
	INSERT INTO omnichannel.consent (customer_id, purpose, channel, granted, since, expires_at, proof, source)
	VALUES (record_consent.customer_id, record_consent.purpose, record_consent.channel, record_consent.granted, decided_at,
		record_consent.expires_at, record_consent.proof, record_consent.source)
	RETURNING consent.consent_id INTO consent_id;
	RETURN consent_id;
END
$$;
COMMENT ON FUNCTION omnichannel.record_consent(bigint, text, text, boolean, jsonb, text, timestamptz, timestamptz) IS
'What give_consent() and withdraw_consent() do.';

CREATE FUNCTION omnichannel.check_consent_codes(purpose text, channel text) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	PERFORM omnichannel.require_setup();
	IF NOT EXISTS (SELECT FROM omnichannel.consent_purpose WHERE consent_purpose.purpose = check_consent_codes.purpose) THEN
		RAISE EXCEPTION 'purpose % does not exist', coalesce(quote_literal(check_consent_codes.purpose), 'NULL')
			USING ERRCODE = 'foreign_key_violation',
				HINT = 'The table omnichannel.consent_purpose lists the purposes; insert a row for a new one.';
	END IF;
	IF check_consent_codes.channel IS NOT NULL THEN
		PERFORM omnichannel.require_channel(check_consent_codes.channel);
	END IF;
END
$$;
COMMENT ON FUNCTION omnichannel.check_consent_codes(text, text) IS
'Returns nothing, or raises 23503 for a purpose or a channel that does not exist; a NULL channel stands for all. Raises 55000 before setup().';

CREATE FUNCTION omnichannel.check_consent_time(at timestamptz) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF at IS NULL THEN
		RAISE EXCEPTION 'consents are asked for as of a time, not NULL'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave the time out for now.';
	END IF;
END
$$;
COMMENT ON FUNCTION omnichannel.check_consent_time(timestamptz) IS
'Returns nothing, or raises 22023 for NULL.';

CREATE FUNCTION omnichannel.give_consent(
	customer_id bigint,
	purpose text,
	channel text DEFAULT NULL,
	proof jsonb DEFAULT NULL,
	source text DEFAULT NULL,
	since timestamptz DEFAULT NULL,
	expires_at timestamptz DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM omnichannel.require_setup();
	IF proof IS NULL OR proof IN ('null', '""', '{}', '[]') THEN
		RAISE EXCEPTION 'the consent to % has no proof', coalesce(quote_literal(purpose), 'NULL')
			USING ERRCODE = 'invalid_parameter_value',
				HINT = 'Say what shows that it was given, as in proof => ''{"form": "signup", "version": 3, "words": "Send me news"}''.';
	END IF;
	RETURN omnichannel.record_consent(customer_id, purpose, channel, true, proof, source, since, expires_at);
END
$$;
COMMENT ON FUNCTION omnichannel.give_consent(bigint, text, text, jsonb, text, timestamptz, timestamptz) IS
'Records that a customer agreed to a purpose, in one channel or (NULL) in all, and returns the consent_id. proof: what shows it, which the company must be able to demonstrate (Regulation (EU) 2016/679, article 7 (1)). since: when the customer decided, NULL for now; expires_at: until when, NULL for until withdrawn. Raises 23503 for an unknown customer, purpose or channel, 22023 without proof, also an empty one, or for a bad source, 22008 for a time that is infinite, to come or out of order, 54000 for a proof over 1 MB, 55000 for an erased customer and before setup().';

CREATE FUNCTION omnichannel.withdraw_consent(
	customer_id bigint,
	purpose text,
	channel text DEFAULT NULL,
	proof jsonb DEFAULT NULL,
	source text DEFAULT NULL,
	since timestamptz DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM omnichannel.require_setup();
	RETURN omnichannel.record_consent(customer_id, purpose, channel, false, proof, source, since, NULL);
END
$$;
COMMENT ON FUNCTION omnichannel.withdraw_consent(bigint, text, text, jsonb, text, timestamptz) IS
'Records that a customer no longer agrees to a purpose, or refused, in one channel or (NULL) in all, and returns the consent_id. It needs no consent before it and no proof: withdrawing is as easy as giving (Regulation (EU) 2016/679, article 7 (3)). Raises what give_consent() raises.';

CREATE FUNCTION omnichannel.consents(
	customer_id bigint,
	at timestamptz DEFAULT now(),
	OUT purpose text,
	OUT channel text,
	OUT granted boolean,
	OUT since timestamptz,
	OUT expires_at timestamptz,
	OUT proof jsonb,
	OUT source text,
	OUT recorded_as bigint,
	OUT consent_id bigint
) RETURNS SETOF record
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	PERFORM omnichannel.require_setup();
	PERFORM omnichannel.check_consent_time(consents.at);
	RETURN QUERY
	WITH decision AS (
		SELECT DISTINCT ON (consent.purpose, consent.channel) consent.*,
			(SELECT customer.erased_at <= consents.at FROM omnichannel.customer WHERE customer.customer_id = consent.customer_id) AS erased
		FROM omnichannel.consent
		WHERE consent.customer_id = ANY (omnichannel.customer_group(consents.customer_id)) AND consent.since <= consents.at
		ORDER BY consent.purpose, consent.channel, consent.since DESC, consent.consent_id DESC
	)
	SELECT decision.purpose, decision.channel, decision.granted AND decision.erased IS NOT TRUE AND coalesce(decision.expires_at > consents.at, true),
		decision.since, decision.expires_at, decision.proof, decision.source, decision.customer_id, decision.consent_id
	FROM decision
	WHERE decision.channel IS NULL OR NOT EXISTS (
		-- A later decision for all channels replaces those for one.
		SELECT FROM decision AS general
		WHERE general.purpose = decision.purpose AND general.channel IS NULL
			AND (general.since, general.consent_id) > (decision.since, decision.consent_id)
	)
	ORDER BY decision.purpose, decision.channel NULLS FIRST;
END
$$;
COMMENT ON FUNCTION omnichannel.consents(bigint, timestamptz) IS
'What a customer has decided, as it stood at that time: one row a purpose for all channels (channel NULL), and one for each channel decided on since. granted: whether it holds, false once it has expired or the customer was erased. With the decisions recorded of customers merged with this one (recorded_as says of which). Raises 23503 for an unknown customer, 22023 for NULL, 55000 before setup().';

CREATE FUNCTION omnichannel.has_consent(customer_id bigint, purpose text, channel text DEFAULT NULL, at timestamptz DEFAULT now()) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	given boolean;
BEGIN
	PERFORM omnichannel.check_consent_codes(has_consent.purpose, has_consent.channel);
	PERFORM omnichannel.check_consent_time(has_consent.at);
	SELECT consent.granted AND coalesce(consent.expires_at > has_consent.at, true) AND NOT EXISTS (
			SELECT FROM omnichannel.customer WHERE customer.customer_id = consent.customer_id AND customer.erased_at <= has_consent.at)
		INTO given
	FROM omnichannel.consent
	WHERE consent.customer_id = ANY (omnichannel.customer_group(has_consent.customer_id))
		AND consent.purpose = has_consent.purpose AND consent.since <= has_consent.at
		AND (consent.channel IS NULL OR consent.channel = has_consent.channel)
	ORDER BY consent.since DESC, consent.consent_id DESC
	LIMIT 1;
	RETURN coalesce(given, false);
END
$$;
COMMENT ON FUNCTION omnichannel.has_consent(bigint, text, text, timestamptz) IS
'Whether a customer agrees to a purpose in a channel at that time: the last decision that names this channel or all of them says so, and has not expired; without any decision the answer is no, and once the customer was erased. channel NULL asks for the decision on all channels. Raises 23503 for an unknown customer, purpose or channel, 22023 for NULL, 55000 before setup().';
