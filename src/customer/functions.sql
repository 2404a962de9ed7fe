CREATE FUNCTION omnichannel.calling_code(country text) RETURNS text
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_calling_code';
COMMENT ON FUNCTION omnichannel.calling_code(text) IS
'Telephone calling code of a country (ISO 3166-1 alpha-2), with its plus, or NULL where none is known. Source: ITU-T E.164, list of assigned country codes.';

CREATE FUNCTION omnichannel.normalise_identity(kind text, value text) RETURNS text
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_normalise_identity';
COMMENT ON FUNCTION omnichannel.normalise_identity(text, text) IS
'The form in which identities of this kind are stored and compared:
e-mail addresses in lower case without a name around them (of a mailto URI by RFC 6068 what stands before its header fields; several addressees are refused; letters of other scripts in Unicode''s NFC, and none turns into one of ASCII; a domain in its own script and in punycode are two),
telephone numbers as in ITU-T E.164 (numbers without a plus are the company''s country''s; a tel URI''s parameters by RFC 3966, as ;ext=12, are left out: an extension is no part of the number, so who shares one shares the identity),
other kinds as identity_kind says.

Blanks around it, seen or not (U+00A0, U+200B ...), are left out. An internationalised domain keeps the spelling that it has: its letters and its xn-- form are two identities.

Raises 23503 for an unknown kind, 22023 for a value that is NULL, empty, longer than 1000 bytes or none of its kind, 55000 before setup().';

CREATE FUNCTION omnichannel.identify(kind text, value text, "create" boolean DEFAULT true) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'omnichannel_identify';
COMMENT ON FUNCTION omnichannel.identify(text, text, boolean) IS
'The customer_id of the customer with this identity, after merges. An unknown identity becomes a new customer, once also when several sessions meet it at the same time; with create => false the answer is NULL. Raises what normalise_identity() raises; 40001 under REPEATABLE READ and SERIALIZABLE where another transaction made the customer meanwhile.';

CREATE FUNCTION omnichannel.customer_root(customer_id bigint) RETURNS bigint
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_customer_root';
COMMENT ON FUNCTION omnichannel.customer_root(bigint) IS
'The customer that this one was merged into, or itself, or NULL where there is none. Raises 55000 before setup().';

CREATE FUNCTION omnichannel.customer_group(customer_id bigint) RETURNS bigint[]
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_customer_group';
COMMENT ON FUNCTION omnichannel.customer_group(bigint) IS
'The ids under which this customer is on record: first the one that the others were merged into, then those by id. What is recorded keeps its id; so read WHERE customer_id = ANY (customer_group(7)). Raises 23503 for an unknown customer, 22023 for NULL, 55000 before setup().';

CREATE FUNCTION omnichannel.require_channel(channel text) RETURNS void
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_require_channel';
COMMENT ON FUNCTION omnichannel.require_channel(text) IS
'Returns nothing, or raises 23503 for a channel that does not exist and for NULL. Raises 55000 before setup().';

CREATE FUNCTION omnichannel.require_customer(customer_id bigint) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	erased timestamptz;
BEGIN
	PERFORM omnichannel.require_setup();
	IF require_customer.customer_id IS NULL THEN
		RAISE EXCEPTION 'customer_id must not be NULL'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'identify(''email'', ''anna@example.com'') returns the customer of an address.';
	END IF;
	-- An erasure waits for this transaction, or this one for the erasure.
	SELECT customer.erased_at INTO erased FROM omnichannel.customer
	WHERE customer.customer_id = require_customer.customer_id FOR KEY SHARE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'customer % does not exist', require_customer.customer_id
			USING ERRCODE = 'foreign_key_violation', HINT = 'identify(''email'', ''anna@example.com'') returns the customer of an address.';
	END IF;
	IF erased IS NOT NULL THEN
		RAISE EXCEPTION 'customer % was erased', require_customer.customer_id
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Nothing personal is recorded of an erased customer; identify() makes a new one.';
	END IF;
END
$$;
COMMENT ON FUNCTION omnichannel.require_customer(bigint) IS
'Returns nothing, or raises that nothing can be recorded of this customer: 23503 where there is none, 55000 where it was erased and before setup(), 22023 for NULL. Until the transaction ends the customer cannot be erased.';

CREATE FUNCTION omnichannel.lock_customer(customer_id bigint) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	root bigint;
	merged_into bigint;
BEGIN
	LOOP
		PERFORM omnichannel.require_customer(lock_customer.customer_id);
		root := omnichannel.customer_root(lock_customer.customer_id);
		SELECT customer.merged_into INTO merged_into FROM omnichannel.customer
		WHERE customer.customer_id = root FOR NO KEY UPDATE;
		-- Merged or taken out of the group while this waited for the lock: look again.
		EXIT WHEN merged_into IS NULL AND root = omnichannel.customer_root(lock_customer.customer_id);
	END LOOP;
	RETURN root;
END
$$;
COMMENT ON FUNCTION omnichannel.lock_customer(bigint) IS
'Returns the customer that this one was merged into, or itself, locked: until the transaction ends nobody else merges, unmerges or erases it, or links identities to it. Raises what require_customer() raises.';

CREATE FUNCTION omnichannel.check_strong_identity(customer_id bigint, kind text, value text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	family bigint[];
	other text;
BEGIN
	PERFORM omnichannel.require_setup();
	-- Read before the query that uses it: the planner would ask under a snapshot to which a customer made by the same statement is unknown.
	family := omnichannel.customer_group(check_strong_identity.customer_id);
	SELECT identity.value INTO other
	FROM omnichannel.identity JOIN omnichannel.identity_kind ON identity_kind.kind = identity.kind AND identity_kind.strong
	WHERE identity.customer_id = ANY (family)
		AND identity.kind = check_strong_identity.kind AND identity.value <> check_strong_identity.value
		AND identity.verified_at IS NOT NULL
	ORDER BY identity.value LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'customer % is % "%" already, and cannot be "%" too', check_strong_identity.customer_id,
			check_strong_identity.kind, other, check_strong_identity.value
			USING ERRCODE = 'unique_violation',
				HINT = 'Kinds that identity_kind calls strong a person has once; unlink_identity() takes a wrong one away.';
	END IF;
END
$$;
COMMENT ON FUNCTION omnichannel.check_strong_identity(bigint, text, text) IS
'Returns nothing, or raises 23505 where the customer has another verified identity of this kind and the kind is one that a person has once, and 55000 before setup().';

CREATE FUNCTION omnichannel.link_identity(customer_id bigint, kind text, value text, verified boolean DEFAULT false) RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	normalised text;
	root bigint;
	holder bigint;
BEGIN
	root := omnichannel.lock_customer(link_identity.customer_id);
	normalised := omnichannel.normalise_identity(link_identity.kind, link_identity.value);
	IF verified THEN
		PERFORM omnichannel.check_strong_identity(root, link_identity.kind, normalised);
	END IF;

	INSERT INTO omnichannel.identity (kind, value, customer_id, verified_at)
	VALUES (link_identity.kind, normalised, link_identity.customer_id, CASE WHEN verified THEN now() END)
	ON CONFLICT (kind, value) DO UPDATE SET verified_at = coalesce(identity.verified_at, EXCLUDED.verified_at)
	RETURNING identity.customer_id INTO holder;

	IF omnichannel.customer_root(holder) <> root THEN
		RAISE EXCEPTION '% "%" belongs to customer %', link_identity.kind, normalised, holder
			USING ERRCODE = 'unique_violation',
				HINT = format('If both are one person, merge_customers(%s, %s); if it changed hands, unlink_identity(%L, %L) first.',
					root, omnichannel.customer_root(holder), link_identity.kind, normalised);
	END IF;
	RETURN normalised;
END
$$;
COMMENT ON FUNCTION omnichannel.link_identity(bigint, text, text, boolean) IS
'Records one more identity of a customer and returns it in normal form. verified: the customer has proved to hold it. Does nothing more where the customer has it already, but to verify it. Raises 23505 where it belongs to another customer, or where it is verified and the customer has another verified one of a kind that a person has once; 23503 for an unknown customer or kind, 22023 for a malformed value, 55000 for an erased customer and before setup().';

CREATE FUNCTION omnichannel.verify_identity(kind text, value text, at timestamptz DEFAULT now()) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	normalised text;
	holder bigint;
	root bigint;
BEGIN
	normalised := omnichannel.normalise_identity(verify_identity.kind, verify_identity.value);
	IF at IS NULL OR NOT isfinite(at) OR at > clock_timestamp() + interval '1 minute' THEN
		RAISE EXCEPTION 'an identity cannot have been verified at %', coalesce(at::text, 'NULL')
			USING ERRCODE = 'datetime_field_overflow', HINT = 'Give the time when it was verified, or leave it out for now.';
	END IF;
	SELECT identity.customer_id INTO holder FROM omnichannel.identity
	WHERE identity.kind = verify_identity.kind AND identity.value = normalised;
	IF NOT FOUND THEN
		RAISE EXCEPTION '% "%" belongs to nobody', verify_identity.kind, normalised
			USING ERRCODE = 'foreign_key_violation', HINT = 'link_identity() records it of a customer.';
	END IF;
	root := omnichannel.lock_customer(holder);
	PERFORM omnichannel.check_strong_identity(root, verify_identity.kind, normalised);
	UPDATE omnichannel.identity SET verified_at = greatest(identity.verified_at, at)
	WHERE identity.kind = verify_identity.kind AND identity.value = normalised AND identity.customer_id = holder;
	IF NOT FOUND THEN
		RAISE EXCEPTION '% "%" has just changed hands', verify_identity.kind, normalised
			USING ERRCODE = 'serialization_failure', HINT = 'Try again.';
	END IF;
	RETURN root;
END
$$;
COMMENT ON FUNCTION omnichannel.verify_identity(text, text, timestamptz) IS
'Records that the customer proved to hold this identity (a login, a code sent there) and returns the customer_id, after merges. Raises 23503 for an identity of nobody or an unknown kind, 23505 where the customer has another verified one of a kind that a person has once, 22023 for a malformed value, 22008 for a time that is infinite or to come, 55000 before setup(), 40001 where it changes hands meanwhile.';

CREATE FUNCTION omnichannel.unlink_identity(kind text, value text) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	holder bigint;
BEGIN
	PERFORM omnichannel.require_setup();
	DELETE FROM omnichannel.identity
	WHERE identity.kind = unlink_identity.kind
		AND identity.value = omnichannel.normalise_identity(unlink_identity.kind, unlink_identity.value)
	RETURNING identity.customer_id INTO holder;
	RETURN omnichannel.customer_root(holder);
END
$$;
COMMENT ON FUNCTION omnichannel.unlink_identity(text, text) IS
'Takes an identity away from its customer, as when a number is given to someone else, and returns whose it was, after merges, or NULL where it was nobody''s. What was logged stays; whoever comes with it next is a new customer. Raises 23503 for an unknown kind, 22023 for a malformed value, 55000 before setup().';

CREATE FUNCTION omnichannel.customers_regrouped(roots bigint[]) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'omnichannel_customers_regrouped';
COMMENT ON FUNCTION omnichannel.customers_regrouped(bigint[]) IS
'Called by merge_customers() and unmerge_customers() with the customers whose groups have changed: their open service levels are reckoned anew from what is known of all in the group. More than one: those who were one group and were taken apart, who then have the service levels that they would have had, also those that ended meanwhile. Raises 22023 for NULL among them, 55000 before setup().';

CREATE FUNCTION omnichannel.lock_groups(customers bigint[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	who bigint[];
BEGIN
	LOOP
		-- Rows of customers are locked in the order of ids by all who lock several: loggers lock those that others were merged
		-- into, whoever makes or parts groups all of them. If one has changed meanwhile, they are let go of again: who took
		-- what has come to it while holding those would be out of order.
		BEGIN
			who := omnichannel.groups_of(lock_groups.customers);
			PERFORM FROM omnichannel.customer WHERE customer.customer_id = ANY (who)
			ORDER BY customer.customer_id FOR NO KEY UPDATE;
			EXIT WHEN who = omnichannel.groups_of(lock_groups.customers);
			RAISE SQLSTATE 'OMNI1';
		EXCEPTION
			WHEN SQLSTATE 'OMNI1' THEN NULL;
		END;
	END LOOP;
END
$$;
COMMENT ON FUNCTION omnichannel.lock_groups(bigint[]) IS
'Returns nothing; locks customers and all who are one with them, in the order of ids: until the transaction ends nobody else merges, unmerges or erases any of them. merge_customers() and unmerge_customers() begin with it. Customers that do not exist, and NULL, are passed over. Raises 55000 before setup(), 40001 under REPEATABLE READ and SERIALIZABLE where another transaction changed one of them meanwhile.';

CREATE FUNCTION omnichannel.groups_of(customers bigint[]) RETURNS bigint[]
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	roots bigint[];
BEGIN
	PERFORM omnichannel.require_setup();
	roots := ARRAY(
		SELECT coalesce(customer.merged_into, customer.customer_id) FROM omnichannel.customer
		WHERE customer.customer_id = ANY (customers));
	RETURN ARRAY(
		SELECT customer.customer_id FROM omnichannel.customer WHERE customer.customer_id = ANY (roots)
		UNION
		SELECT customer.customer_id FROM omnichannel.customer WHERE customer.merged_into = ANY (roots)
		ORDER BY 1);
END
$$;
COMMENT ON FUNCTION omnichannel.groups_of(bigint[]) IS
'The ids of customers and of all who are one with them, in order; none for customers that do not exist. Raises 55000 before setup().';

CREATE FUNCTION omnichannel.customer_group_at(customer_id bigint, at timestamptz) RETURNS bigint[]
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM omnichannel.require_setup();
	RETURN ARRAY(
		WITH RECURSIVE one (customer_id) AS (
			SELECT customer_group_at.customer_id
			UNION
			SELECT other.customer_id
			FROM one CROSS JOIN LATERAL (
				SELECT merge.duplicate_id, merge.merged_at, merge.unmerged_at FROM omnichannel.customer_merge AS merge WHERE merge.kept_id = one.customer_id
				UNION ALL
				SELECT merge.kept_id, merge.merged_at, merge.unmerged_at FROM omnichannel.customer_merge AS merge WHERE merge.duplicate_id = one.customer_id
			) AS other (customer_id, merged_at, unmerged_at)
			WHERE other.merged_at <= customer_group_at.at AND coalesce(other.unmerged_at > customer_group_at.at, true)
		)
		SELECT one.customer_id FROM one WHERE one.customer_id IS NOT NULL ORDER BY 1);
END
$$;
COMMENT ON FUNCTION omnichannel.customer_group_at(bigint, timestamptz) IS
'The ids under which a customer was on record at a moment, by id: with those merged by then and not parted yet, as customer_merge has it; none for NULL. Raises 55000 before setup().';

CREATE FUNCTION omnichannel.merge_moment(customers bigint[]) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	who bigint[];
	last timestamptz;
BEGIN
	PERFORM omnichannel.require_setup();
	who := omnichannel.groups_of(customers);
	SELECT max(greatest(merge.merged_at, merge.unmerged_at)) INTO last
	FROM omnichannel.customer_merge AS merge WHERE merge.kept_id = ANY (who) OR merge.duplicate_id = ANY (who);
	-- Not before it by a clock that was set back, either.
	RETURN greatest(omnichannel.change_moment(last), last);
END
$$;
COMMENT ON FUNCTION omnichannel.merge_moment(bigint[]) IS
'From when a merge or parting of these customers counts, whom lock_groups() has locked: from the start of the transaction, or, where they or those who are one with them were merged or parted since, from later than that. Raises 55000 before setup().';

CREATE FUNCTION omnichannel.merge_customers(keep bigint, duplicate bigint, reason text DEFAULT NULL, force boolean DEFAULT false) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	one bigint;
	merged_into bigint;
	merge_id bigint;
	kept_family bigint[];
	family bigint[];
	conflict record;
BEGIN
	PERFORM omnichannel.require_setup();
	IF keep = duplicate THEN
		RAISE EXCEPTION 'customer % cannot be merged with itself', keep
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Name two customers: the one to keep, and its duplicate.';
	END IF;
	IF reason = '' OR octet_length(reason) > 10000 THEN
		RAISE EXCEPTION 'the reason of a merge has % bytes', octet_length(reason)
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Write 1 to 10000 bytes, or leave it NULL.';
	END IF;

	PERFORM omnichannel.lock_groups(ARRAY[keep, duplicate]);
	FOREACH one IN ARRAY ARRAY[keep, duplicate]
	LOOP
		PERFORM omnichannel.require_customer(one);
		SELECT customer.merged_into INTO merged_into FROM omnichannel.customer WHERE customer.customer_id = one;
		IF merged_into = ANY (ARRAY[keep, duplicate]) THEN
			RAISE EXCEPTION 'customer % is merged into customer % already', one, merged_into
				USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'They are one customer; unmerge_customers() parts them.';
		ELSIF merged_into IS NOT NULL THEN
			RAISE EXCEPTION 'customer % is merged into customer %', one, merged_into
				USING ERRCODE = 'object_not_in_prerequisite_state',
					HINT = format('Merge customer %s, or unmerge_customers() first.', merged_into);
		END IF;
	END LOOP;

	IF force IS NOT TRUE THEN
		kept_family := omnichannel.customer_group(keep);
		family := omnichannel.customer_group(duplicate);
		SELECT kept.kind, kept.value AS kept_value, other.value AS other_value INTO conflict
		FROM omnichannel.identity AS kept
		JOIN omnichannel.identity_kind ON identity_kind.kind = kept.kind AND identity_kind.strong
		JOIN omnichannel.identity AS other ON other.kind = kept.kind AND other.verified_at IS NOT NULL
			AND other.customer_id = ANY (family)
		WHERE kept.customer_id = ANY (kept_family) AND kept.verified_at IS NOT NULL
		ORDER BY 1, 2, 3 LIMIT 1;
		IF FOUND THEN
			RAISE EXCEPTION 'customers % and % are different persons: % "%" and "%" are verified',
				keep, duplicate, conflict.kind, conflict.kept_value, conflict.other_value
				USING ERRCODE = 'unique_violation',
					HINT = 'A person has one identity of this kind; if they are one person all the same, pass force => true.';
		END IF;
	END IF;

	INSERT INTO omnichannel.customer_merge (kept_id, duplicate_id, reason, forced, merged_at)
	VALUES (keep, duplicate, merge_customers.reason, force IS TRUE, omnichannel.merge_moment(ARRAY[keep, duplicate]))
	RETURNING customer_merge.merge_id INTO merge_id;
	-- The row of the kept one is written too: a transaction with an older snapshot that merges it must fail, not miss this.
	UPDATE omnichannel.customer SET merged_into = CASE customer_id WHEN keep THEN NULL ELSE keep END
	WHERE customer.customer_id IN (keep, duplicate) OR customer.merged_into = duplicate;
	PERFORM omnichannel.customers_regrouped(ARRAY[keep]);
	RETURN merge_id;
END
$$;
COMMENT ON FUNCTION omnichannel.merge_customers(bigint, bigint, text, boolean) IS
'Records that two customers are one person and returns the merge_id, with which unmerge_customers() undoes it. From then on both are one in every channel, known as keep; log, identities, requests, facts and consents keep the id that they were recorded with. Raises 23505 where the two have different verified identities of a kind that a person has once, unless force; 55000 where one of them is merged into another already, or erased, and before setup(); 23503 for an unknown customer, 22023 for NULL or a customer and itself, 40001 under REPEATABLE READ and SERIALIZABLE where another transaction merged them meanwhile.';

CREATE FUNCTION omnichannel.unmerge_customers(merge_id bigint) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	undone record;
	root bigint;
	chain bigint[];
	parted bigint[];
BEGIN
	PERFORM omnichannel.require_setup();
	SELECT * INTO undone FROM omnichannel.customer_merge AS merge WHERE merge.merge_id = unmerge_customers.merge_id;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'merge % does not exist', coalesce(unmerge_customers.merge_id::text, 'NULL')
			USING ERRCODE = 'foreign_key_violation', HINT = 'The table omnichannel.customer_merge lists the merges.';
	END IF;
	PERFORM omnichannel.lock_groups(ARRAY[undone.duplicate_id]);
	chain := omnichannel.customer_chain(undone.duplicate_id);
	root := omnichannel.customer_root(undone.duplicate_id);
	PERFORM omnichannel.require_customer(undone.duplicate_id);
	SELECT * INTO undone FROM omnichannel.customer_merge AS merge
	WHERE merge.merge_id = unmerge_customers.merge_id FOR UPDATE;
	IF undone.unmerged_at IS NOT NULL THEN
		RAISE EXCEPTION 'merge % is undone already', undone.merge_id
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'The customers are apart; merge_customers() merges them again.';
	END IF;

	UPDATE omnichannel.customer_merge AS merge SET unmerged_at = omnichannel.merge_moment(ARRAY[root]), unmerged_by = session_user
	WHERE merge.merge_id = undone.merge_id;
	-- Whoever came by way of the duplicate leaves with it; the row of the root is written as in merge_customers().
	WITH RECURSIVE part (customer_id) AS (
		SELECT undone.duplicate_id
		UNION ALL
		SELECT merge.duplicate_id
		FROM part JOIN omnichannel.customer_merge AS merge ON merge.kept_id = part.customer_id AND merge.unmerged_at IS NULL
	)
	SELECT array_agg(part.customer_id) INTO parted FROM part;
	UPDATE omnichannel.customer
	SET merged_into = CASE WHEN customer.customer_id NOT IN (root, undone.duplicate_id) THEN undone.duplicate_id END
	WHERE customer.customer_id = root OR customer.customer_id = ANY (parted);
	PERFORM omnichannel.take_back_profile(chain[2:], parted);
	PERFORM omnichannel.customers_regrouped(ARRAY[root, undone.duplicate_id]);
	RETURN undone.duplicate_id;
END
$$;
COMMENT ON FUNCTION omnichannel.unmerge_customers(bigint) IS
'Undoes a merge and returns the customer_id that stands for itself again. Everything is then with whom it was recorded of, whatever was merged or undone meanwhile: customers that had been merged into the duplicate leave with it, those merged into the other stay there. Raises 23503 for an unknown merge, 55000 where it is undone already or the customer was erased, and before setup(), 40001 as merge_customers() does.';

CREATE FUNCTION omnichannel.name_similarity(a text, b text) RETURNS double precision
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 20
AS 'MODULE_PATHNAME', 'omnichannel_name_similarity';
COMMENT ON FUNCTION omnichannel.name_similarity(text, text) IS
'How alike two names of persons are, from 0 to 1: word by word in any order, without accents and capitals, forgiving slips of the pen (Levenshtein distance) and initials.';

CREATE FUNCTION omnichannel.merge_candidates(
	customer_id bigint DEFAULT NULL,
	max_rows integer DEFAULT 100,
	min_score double precision DEFAULT 0.5,
	OUT kept_id bigint,
	OUT duplicate_id bigint,
	OUT score double precision,
	OUT reasons text[],
	OUT conflict text
) RETURNS SETOF record
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
	asked bigint[] := CASE WHEN merge_candidates.customer_id IS NOT NULL THEN omnichannel.customer_group(merge_candidates.customer_id) END;
BEGIN
	PERFORM omnichannel.require_setup();
	IF merge_candidates.max_rows IS NULL OR merge_candidates.max_rows < 0
		OR merge_candidates.min_score IS NULL OR NOT merge_candidates.min_score BETWEEN 0 AND 1
	THEN
		RAISE EXCEPTION 'merge_candidates(max_rows => %, min_score => %) has no answer',
			coalesce(merge_candidates.max_rows::text, 'NULL'), coalesce(merge_candidates.min_score::text, 'NULL')
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Ask for 0 rows or more, and a score from 0 to 1.';
	END IF;
	RETURN QUERY
	WITH birthday AS MATERIALIZED (
		-- A day that very many share stands for an unknown one.
		SELECT day.birth_date
		FROM (
			SELECT DISTINCT customer.birth_date FROM omnichannel.customer
			WHERE customer.birth_date IS NOT NULL AND (asked IS NULL OR customer.customer_id = ANY (asked))
		) AS day
		WHERE (
			SELECT count(*) <= 1000
			FROM (SELECT FROM omnichannel.customer AS born WHERE born.birth_date = day.birth_date LIMIT 1001) AS crowd
		)
	), person AS MATERIALIZED (
		SELECT customer.customer_id, coalesce(customer.merged_into, customer.customer_id) AS root, customer.name,
			CASE WHEN customer.name IS NOT NULL THEN birthday.birth_date END AS birth_date
		FROM omnichannel.customer LEFT JOIN birthday ON birthday.birth_date = customer.birth_date
		WHERE customer.erased_at IS NULL AND (asked IS NULL OR customer.customer_id = ANY (asked))
	), crowded AS MATERIALIZED (
		-- A mailbox by which somebody gives out names to others.
		SELECT regexp_replace(named.value, '[+][^@]*@', '@') AS mailbox
		FROM omnichannel.identity AS named
		WHERE named.value LIKE '%+%@%' AND (asked IS NULL OR regexp_replace(named.value, '[+][^@]*@', '@') IN (
			SELECT regexp_replace(own.value, '[+][^@]*@', '@') FROM omnichannel.identity AS own WHERE own.customer_id = ANY (asked)))
		GROUP BY 1 HAVING count(*) > 50
	), mine AS MATERIALIZED (
		SELECT person.root, identity.kind, identity.value, identity.verified_at, identity_kind.normal_form
		FROM person
		JOIN omnichannel.identity ON identity.customer_id = person.customer_id
		JOIN omnichannel.identity_kind ON identity_kind.kind = identity.kind AND identity_kind.normal_form IN ('email', 'phone')
		WHERE NOT EXISTS (SELECT FROM crowded WHERE crowded.mailbox = regexp_replace(identity.value, '[+][^@]*@', '@'))
	), evidence (a, b, sort, strength, reason) AS (
		-- The same number or mailbox: under another kind, or by another name of the mailbox (RFC 5233).
		SELECT mine.root, other.root, mine.normal_form,
			CASE num_nonnulls(mine.verified_at, theirs.verified_at) WHEN 2 THEN 0.95 WHEN 1 THEN 0.8 ELSE 0.6 END,
			CASE WHEN mine.value = theirs.value THEN format('%s and %s %s', least(mine.kind, theirs.kind), greatest(mine.kind, theirs.kind), mine.value)
				ELSE format('mailbox of %s and %s', least(mine.value, theirs.value), greatest(mine.value, theirs.value)) END
		FROM mine
		JOIN omnichannel.identity AS theirs
			ON regexp_replace(theirs.value, '[+][^@]*@', '@') = regexp_replace(mine.value, '[+][^@]*@', '@')
		JOIN omnichannel.identity_kind AS their_kind
			ON their_kind.kind = theirs.kind AND their_kind.normal_form = mine.normal_form
		JOIN LATERAL (
			SELECT coalesce(customer.merged_into, customer.customer_id) AS root
			FROM omnichannel.customer
			WHERE customer.customer_id = theirs.customer_id AND customer.erased_at IS NULL
		) AS other ON other.root <> mine.root
		UNION ALL
		-- The same birth date and a similar name.
		SELECT person.root, coalesce(other.merged_into, other.customer_id), 'birth',
			0.9 * alike.similarity * alike.similarity,
			format('born %s, named %s and %s', to_char(person.birth_date, 'YYYY-MM-DD'),
				least(person.name, other.name), greatest(person.name, other.name))
		FROM person
		JOIN omnichannel.customer AS other ON other.birth_date = person.birth_date AND other.erased_at IS NULL
			AND coalesce(other.merged_into, other.customer_id) <> person.root
			AND (asked IS NOT NULL OR person.root < coalesce(other.merged_into, other.customer_id))
		CROSS JOIN LATERAL omnichannel.name_similarity(person.name, other.name) AS alike (similarity)
		WHERE alike.similarity >= 0.75
	), pair AS (
		-- Of each sort of evidence the strongest; both ways round when one customer is asked for, once otherwise.
		SELECT DISTINCT ON (a, b, sort) a, b, strength, reason FROM evidence
		WHERE asked IS NOT NULL OR a < b
		ORDER BY a, b, sort, strength DESC, reason
	), candidate AS MATERIALIZED (
		SELECT a, b, 1 - exp(sum(ln(1 - strength::double precision))) AS score, array_agg(reason ORDER BY strength DESC, reason) AS reasons
		FROM pair GROUP BY a, b
		HAVING 1 - exp(sum(ln(1 - strength::double precision))) >= merge_candidates.min_score
	), member AS MATERIALIZED (
		SELECT named.root, named.root AS customer_id FROM (SELECT a AS root FROM candidate UNION SELECT b FROM candidate) AS named
		UNION ALL
		SELECT named.root, merged.customer_id
		FROM (SELECT a AS root FROM candidate UNION SELECT b FROM candidate) AS named
		JOIN omnichannel.customer AS merged ON merged.merged_into = named.root
	), strong AS MATERIALIZED (
		SELECT member.root, identity.kind, identity.value
		FROM member
		JOIN omnichannel.identity ON identity.customer_id = member.customer_id AND identity.verified_at IS NOT NULL
		JOIN omnichannel.identity_kind ON identity_kind.kind = identity.kind AND identity_kind.strong
	), against AS (
		SELECT a, b, string_agg(what, '; ' ORDER BY what) AS conflict
		FROM (
			SELECT DISTINCT candidate.a, candidate.b, format('%s %s and %s', mine.kind, mine.value, theirs.value) AS what
			FROM candidate
			JOIN strong AS mine ON mine.root = candidate.a
			JOIN strong AS theirs ON theirs.root = candidate.b AND theirs.kind = mine.kind AND theirs.value <> mine.value
			UNION ALL
			SELECT candidate.a, candidate.b, format('born %s and %s', to_char(mine.birth_date, 'YYYY-MM-DD'), to_char(theirs.birth_date, 'YYYY-MM-DD'))
			FROM candidate
			JOIN omnichannel.customer AS mine ON mine.customer_id = candidate.a
			JOIN omnichannel.customer AS theirs ON theirs.customer_id = candidate.b AND theirs.birth_date <> mine.birth_date
		) AS differs
		GROUP BY a, b
	), parted AS MATERIALIZED (
		-- Who was taken apart again is not suggested once more.
		SELECT omnichannel.customer_root(merge.kept_id) AS a, omnichannel.customer_root(merge.duplicate_id) AS b
		FROM omnichannel.customer_merge AS merge WHERE merge.unmerged_at IS NOT NULL
	)
	SELECT candidate.a, candidate.b, round(candidate.score::numeric, 3)::double precision, candidate.reasons, against.conflict
	FROM candidate LEFT JOIN against ON against.a = candidate.a AND against.b = candidate.b
	WHERE NOT EXISTS (SELECT FROM parted WHERE parted.a = candidate.a AND parted.b = candidate.b)
		AND NOT EXISTS (SELECT FROM parted WHERE parted.a = candidate.b AND parted.b = candidate.a)
	ORDER BY against.conflict IS NOT NULL, candidate.score DESC, candidate.a, candidate.b
	LIMIT merge_candidates.max_rows;
END
$$;
COMMENT ON FUNCTION omnichannel.merge_candidates(bigint, integer, double precision) IS
'Customers who may be one person, the likeliest first: kept_id and duplicate_id as merge_customers() takes them, a score from 0 to 1, and the reasons: the same telephone number or mailbox under two kinds of identity or two names (0.6; 0.8 with one of them verified, 0.95 with both), the same birth date with a similar name (up to 0.9). What a crowd shares says nothing: a mailbox of more than 50 names with a plus, a birth date of more than 1000 customers. conflict says what speaks against it, different verified identities of a kind that a person has once or different birth dates; such pairs come last. Pairs once merged and unmerged are left out. Nothing is merged. customer_id: only candidates for this one, or NULL for all. Raises 23503 for an unknown customer, 22023 for a bad number, 55000 before setup().';
