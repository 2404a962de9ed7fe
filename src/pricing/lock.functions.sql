CREATE FUNCTION omnichannel.quote_segments_of(customer_id bigint, at timestamptz) RETURNS text[]
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM omnichannel.require_setup();
	RETURN ARRAY(SELECT DISTINCT member.segment FROM omnichannel.segment_member AS member
		WHERE member.customer_id = ANY ((SELECT CASE WHEN $1 IS NOT NULL THEN omnichannel.customer_group($1) END)::bigint[]) AND member.valid @> $2
		ORDER BY member.segment);
END
$$;
COMMENT ON FUNCTION omnichannel.quote_segments_of(bigint, timestamptz) IS
'The segments of a customer, and of those merged with it, at a moment; none for NULL. Raises 55000 before setup().';

CREATE FUNCTION omnichannel.rule_body(kind text, body jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN $2 - CASE $1 WHEN 'product' THEN '{name,unit,data,created_at}'::text[] WHEN 'price' THEN '{price_id,created_at}'
	ELSE '{name,created_at,approved_by,approved_at}' END;
COMMENT ON FUNCTION omnichannel.rule_body(text, jsonb) IS
'What a row says of prices: a product, price, price list or promotion as jsonb, without its names and what is only kept about it.';

CREATE FUNCTION omnichannel.quote_rules(product text, currency text, at timestamptz, promotions text[]) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM omnichannel.require_setup();
	RETURN (
	WITH RECURSIVE chain AS (
		SELECT sold.product, sold.parent, sold.category::text AS category, 0 AS level, to_jsonb(sold) AS body
		FROM omnichannel.product AS sold WHERE sold.product = $1
		UNION ALL
		SELECT above.product, above.parent, above.category::text, chain.level + 1, to_jsonb(above)
		FROM chain JOIN omnichannel.product AS above ON above.product = omnichannel.parent_above(chain.parent, chain.level)
	), category AS (
		SELECT array_to_string((string_to_array(place.path, '.'))[:depth], '.') AS path
		FROM (SELECT chain.category AS path FROM chain WHERE chain.category IS NOT NULL ORDER BY chain.level LIMIT 1) AS place,
			generate_series(1, cardinality(string_to_array(place.path, '.'))) AS depth
	), priced AS (
		SELECT price.price_id, price.price_list, to_jsonb(price) AS body
		FROM omnichannel.price JOIN omnichannel.price_list AS list USING (price_list)
		WHERE price.valid @> $3 AND list.currency = $2
			AND (price.product = ANY (ARRAY(SELECT chain.product FROM chain))
				OR price.category_path = ANY (ARRAY(SELECT category.path FROM category)) OR price.everything)
	)
	SELECT jsonb_build_object(
		'product', (SELECT jsonb_object_agg(chain.product, omnichannel.rule_body('product', chain.body)) FROM chain),
		'price', (SELECT coalesce(jsonb_object_agg(priced.price_id, omnichannel.rule_body('price', priced.body)), '{}') FROM priced),
		'price list', (SELECT coalesce(jsonb_object_agg(list.price_list, omnichannel.rule_body('price list', to_jsonb(list))), '{}')
			FROM omnichannel.price_list AS list WHERE list.price_list IN (SELECT priced.price_list FROM priced)),
		'promotion', (SELECT coalesce(jsonb_object_agg(applied.promotion, omnichannel.rule_body('promotion', to_jsonb(applied))), '{}')
			FROM omnichannel.promotion AS applied WHERE applied.promotion = ANY ($4)),
		'setting', (SELECT jsonb_build_object('company', jsonb_build_object('rounding', company.rounding, 'tax_inclusive', company.tax_inclusive),
			'currency', jsonb_build_object('minor_units', (SELECT unit.minor_units FROM omnichannel.currency AS unit WHERE unit.currency = $2)))
			FROM omnichannel.company)));
END
$$;
COMMENT ON FUNCTION omnichannel.quote_rules(text, text, timestamptz, text[]) IS
'The rows that a price at that moment follows from, as jsonb: the product with its ancestors, the prices that concern it with their lists, these promotions, and the company''s rounding and tax_inclusive. lock_quote() keeps them, verify_quote() compares them. Raises 55000 before setup().';

CREATE FUNCTION omnichannel.quote_digest(inputs jsonb, rules jsonb, result jsonb) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN sha256(convert_to(jsonb_build_array(inputs, rules, result)::text, 'UTF8'));
COMMENT ON FUNCTION omnichannel.quote_digest(jsonb, jsonb, jsonb) IS
'SHA-256 over what was asked, the rules and the answer, in the text form of jsonb.';

CREATE FUNCTION omnichannel.keep_quote_as_owner(customer_id bigint, product text, quantity numeric, currency text, coupons text[],
	hold interval, key text) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	answer omnichannel.price_quote;
	rules jsonb;
	inputs jsonb;
	result jsonb;
	made record;
	found_one boolean := false;
BEGIN
	PERFORM omnichannel.require_setup();
	IF hold IS NULL OR NOT (hold > interval '0' AND hold <= interval '10 years') THEN
		RAISE EXCEPTION 'a quote cannot be held for %', coalesce(hold::text, 'NULL')
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Hold it for more than no time and at most ten years, as in interval ''24 hours''.';
	END IF;
	IF key = '' THEN
		RAISE EXCEPTION 'the key of a quote must not be empty'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Pass a key of the application''s own, or NULL.';
	END IF;
	IF customer_id IS NOT NULL THEN
		PERFORM omnichannel.require_customer(customer_id);
	END IF;
	IF key IS NOT NULL THEN
		SELECT found.* INTO made FROM omnichannel.locked_quote AS found WHERE found.key = keep_quote_as_owner.key;
		found_one := FOUND;
	END IF;

	IF NOT found_one THEN
		-- A rule that changes between the answer and the reading of the rules would make them contradict each other: they are
		-- read between two answers that are the same.
		FOR attempt IN 1 .. 10
		LOOP
			answer := omnichannel.quote(customer_id, product, quantity, currency, now(), coupons);
			EXIT WHEN result = to_jsonb(answer);
			result := to_jsonb(answer);
			rules := omnichannel.quote_rules(product, currency, now(), answer.promotions);
		END LOOP;
		IF answer.line_total IS NULL THEN
			RAISE EXCEPTION 'product "%" has no price to lock: %', product, answer.reason
				USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'explain_quote() shows every candidate.';
		END IF;
		inputs := jsonb_build_object('customer_id', customer_id, 'segments', omnichannel.quote_segments_of(customer_id, now()),
			'product', product, 'quantity', quantity, 'currency', currency, 'coupons', coupons, 'at', now(), 'valid_until', now() + hold);
		INSERT INTO omnichannel.locked_quote AS held (key, customer_id, product, quantity, currency, unit_price, line_total, locked_at, valid_until,
			inputs, rules, result, digest)
		VALUES (key, customer_id, product, quantity, currency, answer.unit_price, answer.line_total, now(), now() + hold,
			inputs, rules, result, omnichannel.quote_digest(inputs, rules, result))
		ON CONFLICT ON CONSTRAINT locked_quote_key DO NOTHING
		RETURNING held.* INTO made;
		IF FOUND THEN
			RETURN made.quote_id;
		END IF;
		-- Another session has just locked it under the same key.
		SELECT found.* INTO STRICT made FROM omnichannel.locked_quote AS found WHERE found.key = keep_quote_as_owner.key;
	END IF;

	IF (made.customer_id, made.product, made.quantity, made.currency, made.inputs -> 'coupons')
		IS DISTINCT FROM (customer_id, product, quantity, currency, to_jsonb(coupons))
	THEN
		RAISE EXCEPTION 'key "%" belongs to quote %, which was asked for something else', key, made.quote_id
			USING ERRCODE = 'unique_violation', HINT = 'Use one key for one question: customer, product, quantity, currency and coupons.';
	END IF;
	IF made.valid_until <= now() THEN
		RAISE EXCEPTION 'quote % under key "%" held until %', made.quote_id, key, made.valid_until
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Lock the price of now under another key.';
	END IF;
	RETURN made.quote_id;
END
$$;
COMMENT ON FUNCTION omnichannel.keep_quote_as_owner(bigint, text, numeric, text, text[], interval, text) IS
'Does the work of keep_quote(), which calls it with the rights of the tables'' owner; called by itself it has those of its caller. Raises what that raises.';

CREATE FUNCTION omnichannel.keep_quote(customer_id bigint, product text, quantity numeric, currency text, coupons text[],
	hold interval, key text) RETURNS bigint
LANGUAGE c
AS 'MODULE_PATHNAME', 'omnichannel_keep_quote';
COMMENT ON FUNCTION omnichannel.keep_quote(bigint, text, numeric, text, text[], interval, text) IS
'Called by lock_quote(): writes what quote() answers now to locked_quote, with the rights of the tables'' owner, for whoever may read that and is answered the same: who may not ask for a price cannot have it locked either. Raises what lock_quote() raises.';

CREATE FUNCTION omnichannel.lock_quote(customer_id bigint, product text, quantity numeric DEFAULT 1, currency text DEFAULT NULL,
	coupons text[] DEFAULT '{}', hold interval DEFAULT '24 hours', key text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	code text := coalesce(currency, omnichannel.default_currency());
	-- As quote() reads them: case and spaces do not matter.
	given text[] := ARRAY(SELECT upper(btrim(typed.coupon)) FROM unnest(coupons) WITH ORDINALITY AS typed (coupon, place) ORDER BY typed.place);
BEGIN
	PERFORM omnichannel.require_setup();
	RETURN omnichannel.keep_quote(customer_id, product, quantity, code, given, hold, key);
END
$$;
COMMENT ON FUNCTION omnichannel.lock_quote(bigint, text, numeric, text, text[], interval, text) IS
'Locks the price that quote() answers now and returns its quote_id, which locked_quote() honours in every channel for the time of hold, whatever happens to prices and promotions. customer_id NULL: a visitor who is not known. key: the application''s own, so that a call that is repeated returns the same quote, also under concurrency. Limited promotions are not used up by it: see reserve_use(). Raises what quote() raises, 55000 where there is no price, the customer was erased or the quote of the key no longer holds, 42501 for who may not read locked_quote or not all that the price follows from, 22001 for a key over 500 bytes, 22023 for a hold that is not above zero or beyond ten years, 23505 for a key of another question.';

CREATE FUNCTION omnichannel.locked_quote(customer_id bigint, quote_id bigint, at timestamptz DEFAULT now()) RETURNS omnichannel.price_quote
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	held record;
	answer omnichannel.price_quote;
BEGIN
	PERFORM omnichannel.require_setup();
	IF at IS NULL THEN
		RAISE EXCEPTION 'at must not be NULL'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave it out for the price of now.';
	END IF;
	-- Numbers can be guessed: another customer's quote is as unknown as none.
	SELECT found.* INTO held FROM omnichannel.locked_quote AS found WHERE found.quote_id = locked_quote.quote_id
		AND (found.customer_id IS NULL OR found.customer_id = ANY ((SELECT CASE WHEN $1 IS NOT NULL THEN omnichannel.customer_group($1) END)::bigint[]));
	IF NOT FOUND THEN
		RAISE EXCEPTION 'quote % is not known for customer %', coalesce(quote_id::text, 'NULL'), coalesce($1::text, 'NULL')
			USING ERRCODE = 'foreign_key_violation', HINT = 'Use a number that lock_quote() returned for this customer; locked_quotes() lists them.';
	END IF;
	IF at < held.locked_at OR at >= held.valid_until THEN
		RAISE EXCEPTION 'quote % holds from % until %', quote_id, held.locked_at, held.valid_until
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Ask quote() for the price of now.';
	END IF;
	answer := jsonb_populate_record(NULL::omnichannel.price_quote, held.result);
	answer.valid_until := held.valid_until;
	RETURN answer;
END
$$;
COMMENT ON FUNCTION omnichannel.locked_quote(bigint, bigint, timestamptz) IS
'The locked price, as quote() gave it, valid_until being the end of the lock: the same for every channel that asks. What was locked for a customer is answered for this customer only, under any number that was merged with it; what was locked for a visitor, for whoever has its number. Raises 23503 for a quote that is unknown or another customer''s, 55000 where it does not hold at that moment, 22023 where at is NULL.';

CREATE FUNCTION omnichannel.locked_quotes(customer_id bigint, OUT quote_id bigint, OUT product text, OUT quantity numeric, OUT currency text,
	OUT unit_price numeric, OUT line_total numeric, OUT locked_at timestamptz, OUT valid_until timestamptz) RETURNS SETOF record
LANGUAGE plpgsql STABLE ROWS 5
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	PERFORM omnichannel.require_setup();
	RETURN QUERY SELECT held.quote_id, held.product, held.quantity, held.currency, held.unit_price, held.line_total, held.locked_at, held.valid_until
	FROM omnichannel.locked_quote AS held
	WHERE held.customer_id = ANY ((SELECT omnichannel.customer_group(locked_quotes.customer_id))::bigint[]) AND held.valid_until > now()
	ORDER BY held.valid_until, held.quote_id;
END
$$;
COMMENT ON FUNCTION omnichannel.locked_quotes(bigint) IS
'The quotes of a customer, and of those merged with it, that hold now, those that end first in front. Raises 55000 before setup().';

CREATE FUNCTION omnichannel.rules_beside(rules_then jsonb, rules_now jsonb, at timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	prices bigint[] := ARRAY(SELECT jsonb_object_keys((rules_then -> 'price') || (rules_now -> 'price'))::bigint);
	lists text[] := ARRAY(SELECT jsonb_object_keys((rules_then -> 'price list') || (rules_now -> 'price list')));
	products text[] := ARRAY(SELECT jsonb_object_keys((rules_then -> 'product') || (rules_now -> 'product')));
BEGIN
	PERFORM omnichannel.require_setup();
	RETURN jsonb_build_object(
		'product', (SELECT coalesce(jsonb_object_agg(sold.product, omnichannel.rule_body('product', to_jsonb(sold))), '{}')
			FROM omnichannel.product AS sold WHERE sold.product = ANY (products) AND (rules_then -> 'product' ? sold.product OR sold.created_at < at)),
		'price', (SELECT coalesce(jsonb_object_agg(price.price_id, omnichannel.rule_body('price', to_jsonb(price))), '{}')
			FROM omnichannel.price WHERE price.price_id = ANY (prices) AND (rules_then -> 'price' ? price.price_id::text OR price.created_at < at)),
		'price list', (SELECT coalesce(jsonb_object_agg(list.price_list, omnichannel.rule_body('price list', to_jsonb(list))), '{}')
			FROM omnichannel.price_list AS list WHERE list.price_list = ANY (lists) AND (rules_then -> 'price list' ? list.price_list OR list.created_at < at)));
END
$$;
COMMENT ON FUNCTION omnichannel.rules_beside(jsonb, jsonb, timestamptz) IS
'Of the products, prices and price lists in two answers of quote_rules() for a moment those that there were then and still are, in the same form, whether they still concern the price or not. Raises 55000 before setup().';

CREATE FUNCTION omnichannel.rule_changes(rules_then jsonb, rules_now jsonb, beside jsonb DEFAULT '{}') RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
-- It looks dear by far, as what jsonb_each() returns is not known.
SET jit = off
AS $$
	WITH before AS (
		SELECT part.key AS kind, entry.key AS code, entry.value AS body FROM jsonb_each($1) AS part, jsonb_each(part.value) AS entry
	), after AS (
		SELECT part.key AS kind, entry.key AS code, entry.value AS body FROM jsonb_each($2) AS part, jsonb_each(part.value) AS entry
	), change AS (
		SELECT coalesce(before.kind, after.kind) AS kind, coalesce(before.code, after.code) AS code, before.body AS old, after.body AS new,
			coalesce(after.body, found.body) AS present, found.body IS NOT NULL AS stands
		FROM before FULL JOIN after ON after.kind = before.kind AND after.code = before.code
			CROSS JOIN LATERAL (SELECT $3 -> coalesce(before.kind, after.kind) -> coalesce(before.code, after.code) AS body) AS found
		WHERE before.body IS DISTINCT FROM after.body
	)
	SELECT coalesce(array_agg(format('%s %s %s', change.kind, change.code,
		CASE WHEN change.present IS NULL THEN 'is gone'
			WHEN change.old IS NULL THEN CASE WHEN change.stands THEN 'concerns the product now' ELSE 'is new' END
			WHEN change.old = change.present THEN 'concerns the product no more'
			ELSE 'has changed: ' || (
				SELECT string_agg(format('%s from %s to %s', name.key, coalesce(change.old ->> name.key, 'NULL'), coalesce(change.present ->> name.key, 'NULL')),
					', ' ORDER BY name.key)
				FROM jsonb_object_keys(change.old || change.present) AS name (key)
				WHERE change.old -> name.key IS DISTINCT FROM change.present -> name.key) END)
		ORDER BY change.kind, change.code), '{}')
	FROM change
	-- A list without prices of the product says nothing, and a price that the same one took over from has not changed.
	WHERE NOT (change.kind = 'price list' AND change.stands AND coalesce(change.old, change.present) = change.present)
		AND NOT (change.kind = 'price' AND change.new IS NULL AND EXISTS (SELECT FROM after WHERE after.kind = 'price' AND after.body - 'valid' = change.old - 'valid'))
		AND NOT (change.kind = 'price' AND change.old IS NULL AND EXISTS (SELECT FROM before WHERE before.kind = 'price' AND before.body - 'valid' = change.new - 'valid'))
$$;
COMMENT ON FUNCTION omnichannel.rule_changes(jsonb, jsonb, jsonb) IS
'How two answers of quote_rules() differ, in words. beside: the answer of rules_beside(), which tells what is gone or new from what does not concern the product any more, or did not before.';

CREATE FUNCTION omnichannel.verify_quote(quote_id bigint, OUT same boolean, OUT reason text, OUT locked omnichannel.price_quote,
	OUT recomputed omnichannel.price_quote, OUT changes text[])
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	held record;
	asked timestamptz;
	coupons text[];
	segments text[];
	rules jsonb;
	known text[];
	unseen timestamptz[];
	former bigint[];
	then_one bigint[];
	segments_now text[];
	hidden boolean;
	other omnichannel.price_quote;
BEGIN
	PERFORM omnichannel.require_setup();
	SELECT found.* INTO held FROM omnichannel.locked_quote AS found WHERE found.quote_id = verify_quote.quote_id;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'quote % is not known', coalesce(quote_id::text, 'NULL')
			USING ERRCODE = 'foreign_key_violation', HINT = 'Use a number that lock_quote() returned.';
	END IF;
	asked := (held.inputs ->> 'at')::timestamptz;
	coupons := ARRAY(SELECT jsonb_array_elements_text(held.inputs -> 'coupons'));
	segments := ARRAY(SELECT jsonb_array_elements_text(held.inputs -> 'segments'));
	locked := jsonb_populate_record(NULL::omnichannel.price_quote, held.result);
	known := ARRAY(SELECT given FROM unnest(coupons) AS given WHERE EXISTS (
		SELECT FROM omnichannel.coupon AS found WHERE found.coupon = upper(btrim(given))));
	recomputed := omnichannel.quote(held.customer_id, held.product, held.quantity, held.currency, asked, known);
	rules := omnichannel.quote_rules(held.product, held.currency, asked, locked.promotions);
	-- What policies hide from the caller has not changed, and is not told.
	hidden := EXISTS (SELECT FROM unnest('{company,coupon,currency,customer,customer_merge,omnibus_rule,price,price_change,price_list,product,promotion,promotion_use,promotion_used_up,segment,segment_member}'::text[]) AS read (name)
		WHERE row_security_active('omnichannel.' || read.name));
	changes := CASE WHEN hidden THEN '{}' ELSE omnichannel.rule_changes(held.rules, rules, omnichannel.rules_beside(held.rules, rules, asked)) END;

	IF held.digest <> omnichannel.quote_digest(held.inputs, held.rules, held.result)
		OR (held.customer_id, held.product, held.quantity, held.currency, held.unit_price, held.line_total, held.locked_at, held.valid_until)
			IS DISTINCT FROM ((held.inputs ->> 'customer_id')::bigint, held.inputs ->> 'product', (held.inputs ->> 'quantity')::numeric,
				held.inputs ->> 'currency', locked.unit_price, locked.line_total, asked, (held.inputs ->> 'valid_until')::timestamptz)
	THEN
		same := false;
		reason := 'the record of the quote was altered after it was made';
		RETURN;
	END IF;

	-- When it ends is known better later, and no part of the price.
	same := to_jsonb(locked) - 'valid_until' = to_jsonb(recomputed) - 'valid_until';
	IF same THEN
		reason := CASE WHEN hidden THEN 'the rules that may be seen give the same price' WHEN changes = '{}' THEN 'the same rules give the same price' ELSE 'the same price, although rules have changed' END;
		RETURN;
	END IF;

	-- Who turned out later to be one customer was not then.
	IF held.customer_id IS NOT NULL THEN
		then_one := omnichannel.customer_group_at(held.customer_id, asked);
		IF then_one @> omnichannel.customer_group(held.customer_id) AND then_one <@ omnichannel.customer_group(held.customer_id) THEN
			then_one := NULL;
		END IF;
	END IF;
	-- Nobody saw what was changed in a transaction that had not committed yet, nor customers merged in one.
	FOR unseen, former IN
		SELECT change.unseen, one.former
		FROM (SELECT '{}'::timestamptz[] UNION ALL SELECT omnichannel.unseen_changes(asked, held.customer_id, known)) AS change (unseen),
			(SELECT NULL::bigint[], 0::bigint UNION ALL SELECT * FROM omnichannel.former_groups(held.customer_id, asked) WITH ORDINALITY) AS one (former, place)
		WHERE change.unseen <> '{}' OR one.former IS NOT NULL
		ORDER BY cardinality(change.unseen), one.place
	LOOP
		other := omnichannel.quote_unseen(held.customer_id, held.product, held.quantity, held.currency, asked, known, unseen, former);
		IF unseen = '{}' AND former = then_one THEN
			recomputed := other;
		END IF;
		IF to_jsonb(locked) - 'valid_until' = to_jsonb(other) - 'valid_until' THEN
			same := true;
			recomputed := other;
			reason := CASE WHEN former IS NULL THEN 'the same price as before a change that was under way' ELSE 'the same price as before customers were merged or parted' END;
			RETURN;
		END IF;
	END LOOP;

	IF hidden THEN
		RAISE EXCEPTION 'role "%" may not see all that the price of quote % follows from', current_user, quote_id
			USING ERRCODE = 'insufficient_privilege', HINT = 'Let a role verify it that row-level security shows the products, prices, lists and promotions.';
	END IF;
	segments_now := CASE WHEN then_one IS NULL THEN omnichannel.quote_segments_of(held.customer_id, asked) ELSE ARRAY(
		SELECT DISTINCT member.segment FROM omnichannel.segment_member AS member WHERE member.customer_id = ANY (then_one) AND member.valid @> asked ORDER BY 1) END;
	IF segments IS DISTINCT FROM segments_now THEN
		changes := changes || format('the customer''s segments at that time have changed from {%s} to {%s}', array_to_string(segments, ','),
			array_to_string(segments_now, ','));
	END IF;
	changes := changes || ARRAY(
		SELECT format('coupon %s %s', given, CASE WHEN found.coupon IS NULL THEN 'is gone' ELSE 'has been used since' END)
		FROM unnest(coupons) AS given LEFT JOIN omnichannel.coupon AS found ON found.coupon = upper(btrim(given))
		WHERE found.coupon IS NULL OR found.uses >= found.use_limit ORDER BY given);
	changes := changes || ARRAY(
		SELECT format('promotion %s %s', promotion.promotion, CASE WHEN promotion.promotion <> ALL (locked.promotions) THEN 'takes part now'
			ELSE 'no longer takes part: ' || CASE WHEN recomputed.line_total IS NULL THEN 'there is no price' ELSE coalesce(candidate.verdict, 'not for the product') END END)
		FROM omnichannel.promotion LEFT JOIN (
			SELECT explained.candidate AS promotion, min(explained.verdict) AS verdict
			FROM omnichannel.explain_quote(held.customer_id, held.product, held.quantity, held.currency, asked, known) AS explained
			WHERE explained.kind = 'promotion' GROUP BY 1
		) AS candidate ON candidate.promotion = promotion.promotion
		WHERE (promotion.promotion = ANY (locked.promotions)) <> (promotion.promotion = ANY (recomputed.promotions)) ORDER BY 1);
	reason := CASE WHEN changes = '{}' THEN 'the rules are the same, the answer is not: compare locked and recomputed'
		ELSE 'rules of that time have changed since: ' || array_to_string(changes, '; ') END;
END
$$;
COMMENT ON FUNCTION omnichannel.verify_quote(bigint) IS
'Computes a locked quote again as of then. same: whether the same price, list, promotions and tax come out; reason says why or why not; changes lists every rule of that time that reads otherwise now. A change that was under way then, and that nobody else could see, makes no difference, and segments, uses and coupons count of those who were one customer then; nor does a change that could be seen for less than a second, as the moment of that is not known better (where commits wait for standbys longer than that, it may be). A record altered by hand does not match its digest and is not the same. Raises 23503 for an unknown quote, 42501 where row-level security may hide from the caller why the price is another one, 55000 before setup().';
