CREATE FUNCTION omnichannel.remember(customer_id bigint, key text, value jsonb, source text DEFAULT NULL, since timestamptz DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	from_then_on timestamptz := coalesce(remember.since, now());
	family bigint[];
	known record;
	fact_id bigint;
BEGIN
	PERFORM omnichannel.require_customer(remember.customer_id);
	PERFORM omnichannel.check_fact(remember.key, remember.source, from_then_on);
	IF remember.value IS NULL THEN
		RAISE EXCEPTION 'the value of fact "%" is NULL', remember.key
			USING ERRCODE = 'invalid_parameter_value', HINT = 'forget() retracts a fact; a JSON null is written ''null''.';
	END IF;
	IF pg_column_size(remember.value) > 1048576 THEN
		RAISE EXCEPTION 'the value of fact "%" has % bytes, more than 1048576', remember.key, pg_column_size(remember.value)
			USING ERRCODE = 'program_limit_exceeded', HINT = 'Keep it where it is and remember a reference to it.';
	END IF;

	-- What is known already from the same source is not written again.
	family := omnichannel.customer_group(remember.customer_id);
	SELECT * INTO known FROM omnichannel.fact
	WHERE fact.customer_id = ANY (family)
		AND fact.key = remember.key AND fact.since <= from_then_on
	ORDER BY fact.since DESC, fact.fact_id DESC LIMIT 1;
	IF known.value = remember.value AND known.source IS NOT DISTINCT FROM remember.source THEN
		RETURN known.fact_id;
	END IF;
	INSERT INTO omnichannel.fact (customer_id, key, value, since, source)
	VALUES (remember.customer_id, remember.key, remember.value, from_then_on, remember.source)
	RETURNING fact.fact_id INTO fact_id;
	RETURN fact_id;
END
$$;
COMMENT ON FUNCTION omnichannel.remember(bigint, text, jsonb, text, timestamptz) IS
'Records a fact about a customer and returns its fact_id. The latest wins, by since (NULL for now), of equals the one that was recorded last; the history stays. source: who says so. What the same source said last changes nothing. Raises 23503 for an unknown customer, 22023 for a bad key or source or a NULL value, 22008 for an infinite time, 54000 for a value over 1 MB, 55000 for an erased customer and before setup().';

CREATE FUNCTION omnichannel.check_fact(key text, source text, since timestamptz) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF key IS NULL OR key !~ '^[[:alnum:]_.-]{1,63}$' THEN
		RAISE EXCEPTION '% is no key of a fact', coalesce(quote_literal(left(key, 100)), 'NULL')
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Use letters, digits, underscore, dot and hyphen, at most 63, as in loyalty.tier.';
	END IF;
	IF source = '' OR octet_length(source) > 1000 THEN
		RAISE EXCEPTION 'the source of fact "%" has % bytes', key, octet_length(source)
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Name it in 1 to 1000 bytes, or leave it NULL.';
	END IF;
	IF NOT isfinite(since) THEN
		RAISE EXCEPTION 'fact "%" cannot hold since %', key, since
			USING ERRCODE = 'datetime_field_overflow', HINT = 'Give the time from which it holds, or NULL for now.';
	END IF;
END
$$;
COMMENT ON FUNCTION omnichannel.check_fact(text, text, timestamptz) IS
'Returns nothing, or raises what is wrong with a fact: 22023 for its key or source, 22008 for an infinite time.';

CREATE FUNCTION omnichannel.forget(customer_id bigint, key text, source text DEFAULT NULL, since timestamptz DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	from_then_on timestamptz := coalesce(forget.since, now());
BEGIN
	PERFORM omnichannel.require_customer(forget.customer_id);
	PERFORM omnichannel.check_fact(forget.key, forget.source, from_then_on);
	PERFORM FROM omnichannel.facts(forget.customer_id, from_then_on) AS known WHERE known.key = forget.key;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	INSERT INTO omnichannel.fact (customer_id, key, since, source)
	VALUES (forget.customer_id, forget.key, from_then_on, forget.source);
	RETURN true;
END
$$;
COMMENT ON FUNCTION omnichannel.forget(bigint, text, text, timestamptz) IS
'Retracts a fact from since on (NULL for now; the fact''s own since where it never was true) and returns whether there was one. The history stays; erase_customer() is what removes it. Raises what remember() raises.';

CREATE FUNCTION omnichannel.facts(
	customer_id bigint,
	at timestamptz DEFAULT now(),
	known_at timestamptz DEFAULT 'infinity',
	OUT key text,
	OUT value jsonb,
	OUT since timestamptz,
	OUT source text,
	OUT recorded_at timestamptz,
	OUT recorded_as bigint,
	OUT fact_id bigint
) RETURNS SETOF record
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	PERFORM omnichannel.require_setup();
	RETURN QUERY
	SELECT latest.key, latest.value, latest.since, latest.source, latest.recorded_at, latest.customer_id, latest.fact_id
	FROM (
		SELECT DISTINCT ON (fact.key) fact.*
		FROM omnichannel.fact
		WHERE fact.customer_id = ANY (omnichannel.customer_group(facts.customer_id))
			AND fact.since <= facts.at AND fact.recorded_at <= facts.known_at
		ORDER BY fact.key, fact.since DESC, fact.fact_id DESC
	) AS latest
	WHERE latest.value IS NOT NULL
	ORDER BY latest.key;
END
$$;
COMMENT ON FUNCTION omnichannel.facts(bigint, timestamptz, timestamptz) IS
'The facts about a customer, one row a key, with those recorded of customers merged with this one (recorded_as says of which): as they were at the time at, as far as was known at the time known_at. Retracted ones are left out. Raises 23503 for an unknown customer, 22023 for NULL, 55000 before setup().';

CREATE FUNCTION omnichannel.fact_history(
	customer_id bigint,
	of_key text DEFAULT NULL,
	OUT key text,
	OUT value jsonb,
	OUT since timestamptz,
	OUT source text,
	OUT recorded_at timestamptz,
	OUT recorded_as bigint,
	OUT fact_id bigint
) RETURNS SETOF record
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	PERFORM omnichannel.require_setup();
	RETURN QUERY
	SELECT fact.key, fact.value, fact.since, fact.source, fact.recorded_at, fact.customer_id, fact.fact_id
	FROM omnichannel.fact
	WHERE fact.customer_id = ANY (omnichannel.customer_group(fact_history.customer_id))
		AND (fact_history.of_key IS NULL OR fact.key = fact_history.of_key)
	ORDER BY fact.key, fact.since DESC, fact.fact_id DESC;
END
$$;
COMMENT ON FUNCTION omnichannel.fact_history(bigint, text) IS
'All that was recorded of a customer''s facts, or of one of them, the latest first; a NULL value is a retraction. Raises 23503 for an unknown customer, 22023 for NULL, 55000 before setup().';
