CREATE FUNCTION omnichannel.customer_chain(customer_id bigint) RETURNS bigint[]
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	PERFORM omnichannel.require_setup();
	RETURN (
		WITH RECURSIVE chain (customer_id, place) AS (
			SELECT customer_chain.customer_id, 1
			UNION ALL
			SELECT merge.kept_id, chain.place + 1
			FROM chain JOIN omnichannel.customer_merge AS merge ON merge.duplicate_id = chain.customer_id AND merge.unmerged_at IS NULL
		)
		SELECT array_agg(chain.customer_id ORDER BY chain.place) FROM chain
	);
END
$$;
COMMENT ON FUNCTION omnichannel.customer_chain(bigint) IS
'The customer, and whom it was merged into, one merge after the other, to the one that stands for all. Raises 55000 before setup().';

CREATE FUNCTION omnichannel.profile_set_by(set_by jsonb, customer_id bigint, by_id bigint, before jsonb, given jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN CASE
	WHEN given = '{}' OR set_by IS NULL AND by_id = customer_id THEN set_by
	ELSE coalesce(set_by, '{}') || coalesce((
		SELECT jsonb_object_agg(one.key,
			jsonb_path_query_array(coalesce(set_by -> one.key, jsonb_build_array(jsonb_build_object('by', customer_id, 'value', before -> one.key))),
				'$[*] ? (@.by != $by)', jsonb_build_object('by', by_id))
			|| jsonb_build_object('by', by_id, 'value', one.value))
		FROM jsonb_each(given) AS one
		WHERE by_id <> customer_id OR set_by ? one.key
	), '{}')
END;
COMMENT ON FUNCTION omnichannel.profile_set_by(jsonb, bigint, bigint, jsonb, jsonb) IS
'What customer.set_by of customer_id becomes when these columns are given of by_id, with the values that the columns had before.';

CREATE FUNCTION omnichannel.take_back_profile(kept bigint[], parted bigint[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	holder record;
	field text;
	said jsonb;
	rest jsonb;
	profile jsonb;
	left_over jsonb;
BEGIN
	PERFORM omnichannel.require_setup();
	FOR holder IN
		SELECT customer.customer_id, customer.set_by, jsonb_build_object('name', customer.name, 'birth_date', customer.birth_date,
			'language', customer.language, 'preferred_channel', customer.preferred_channel) AS profile
		FROM omnichannel.customer WHERE customer.customer_id = ANY (kept) AND customer.set_by IS NOT NULL ORDER BY customer.customer_id
	LOOP
		profile := holder.profile;
		left_over := holder.set_by;
		FOR field, said IN SELECT * FROM jsonb_each(holder.set_by)
		LOOP
			SELECT coalesce(jsonb_agg(entry.value ORDER BY entry.place), '[]') INTO rest
			FROM jsonb_array_elements(said) WITH ORDINALITY AS entry (value, place)
			WHERE (entry.value ->> 'by')::bigint <> ALL (parted);
			-- What somebody has written into the row otherwise stays.
			IF profile -> field = said -> -1 -> 'value' THEN
				profile := jsonb_set(profile, ARRAY[field], rest -> -1 -> 'value');
			END IF;
			left_over := CASE WHEN rest @? format('$[*] ? (@.by != %s)', holder.customer_id)::jsonpath
				THEN jsonb_set(left_over, ARRAY[field], rest) ELSE left_over - field END;
		END LOOP;
		UPDATE omnichannel.customer SET name = profile ->> 'name', birth_date = (profile ->> 'birth_date')::date,
			language = profile ->> 'language', preferred_channel = profile ->> 'preferred_channel', set_by = nullif(left_over, '{}')
		WHERE customer.customer_id = holder.customer_id;
	END LOOP;
END
$$;
COMMENT ON FUNCTION omnichannel.take_back_profile(bigint[], bigint[]) IS
'What unmerge_customers() does to the customers who were kept: names, birth dates, languages and preferred channels that were recorded of those who are parted from them go, and what holds without them is back. Raises 55000 before setup().';

CREATE FUNCTION omnichannel.set_customer(
	customer_id bigint,
	name text DEFAULT NULL,
	birth_date date DEFAULT NULL,
	language text DEFAULT NULL,
	preferred_channel text DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	chain bigint[];
	root bigint;
	one bigint;
BEGIN
	PERFORM omnichannel.require_setup();
	LOOP
		chain := omnichannel.customer_chain(set_customer.customer_id);
		PERFORM FROM omnichannel.customer WHERE customer.customer_id = ANY (chain) ORDER BY customer.customer_id FOR NO KEY UPDATE;
		-- Merged or taken out of the group while this waited for the lock: look again.
		EXIT WHEN chain = omnichannel.customer_chain(set_customer.customer_id);
	END LOOP;
	PERFORM omnichannel.require_customer(set_customer.customer_id);
	root := chain[cardinality(chain)];
	IF set_customer.name = '' OR octet_length(set_customer.name) > 1000 THEN
		RAISE EXCEPTION 'the name of customer % would have % bytes', root, octet_length(set_customer.name)
			USING ERRCODE = 'invalid_parameter_value', HINT = 'A name has 1 to 1000 bytes; pass NULL to leave it as it is.';
	END IF;
	IF set_customer.birth_date > current_date OR NOT isfinite(set_customer.birth_date) THEN
		RAISE EXCEPTION 'customer % cannot have been born on %', root, set_customer.birth_date
			USING ERRCODE = 'datetime_field_overflow', HINT = 'Give a day that is past; pass NULL to leave it as it is.';
	END IF;
	IF set_customer.language !~ '^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$' THEN
		RAISE EXCEPTION '"%" is no language', set_customer.language
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Use a tag of BCP 47, as in pl or pt-BR.';
	END IF;
	IF set_customer.preferred_channel IS NOT NULL THEN
		PERFORM omnichannel.require_channel(set_customer.preferred_channel);
	END IF;

	-- Also of whom this one was merged into, noting whose it is: who is parted again takes it along.
	FOREACH one IN ARRAY chain
	LOOP
		UPDATE omnichannel.customer SET
			name = coalesce(set_customer.name, customer.name),
			birth_date = coalesce(set_customer.birth_date, customer.birth_date),
			language = coalesce(set_customer.language, customer.language),
			preferred_channel = coalesce(set_customer.preferred_channel, customer.preferred_channel),
			set_by = omnichannel.profile_set_by(customer.set_by, one, set_customer.customer_id,
				jsonb_build_object('name', customer.name, 'birth_date', customer.birth_date, 'language', customer.language,
					'preferred_channel', customer.preferred_channel),
				jsonb_strip_nulls(jsonb_build_object('name', set_customer.name, 'birth_date', set_customer.birth_date,
					'language', set_customer.language, 'preferred_channel', set_customer.preferred_channel)))
		WHERE customer.customer_id = one;
	END LOOP;
	RETURN root;
END
$$;
COMMENT ON FUNCTION omnichannel.set_customer(bigint, text, date, text, text) IS
'Records a customer''s name, birth date, language (BCP 47) and the channel in which to be reached; NULL leaves what there is. Of merged customers it is recorded of all in the group that this one leads to, of whom the last, whose id it returns, stands for them; unmerge_customers() takes it back from those. To clear a column, UPDATE customer. Raises 23503 for an unknown customer or channel, 22023 for a bad name or language, 22008 for a birth date to come, 55000 for an erased customer and before setup().';
