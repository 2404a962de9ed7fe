CREATE FUNCTION omnichannel.check_segments() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	missing text;
BEGIN
	-- The lock keeps a segment from being deleted while this transaction makes use of it.
	PERFORM FROM omnichannel.segment WHERE segment.segment = ANY (NEW.segments_any || NEW.segments_all) FOR KEY SHARE;
	SELECT named.segment INTO missing
	FROM unnest(NEW.segments_any || NEW.segments_all) AS named (segment)
	WHERE NOT EXISTS (SELECT FROM omnichannel.segment WHERE segment.segment = named.segment)
	LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'segment "%" is not known', missing
			USING ERRCODE = 'foreign_key_violation', HINT = 'Insert it into omnichannel.segment first.';
	END IF;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION omnichannel.check_segments() IS
'Trigger function of tables with segments_any and segments_all: raises 23503 for a segment that is not known.';

CREATE FUNCTION omnichannel.check_segment_unused() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	used_by text;
BEGIN
	SELECT list.price_list INTO used_by FROM omnichannel.price_list AS list
	WHERE OLD.segment = ANY (list.segments_any || list.segments_all) LIMIT 1;
	IF NOT FOUND THEN
		SELECT promotion.promotion INTO used_by FROM omnichannel.promotion
		WHERE OLD.segment = ANY (promotion.segments_any || promotion.segments_all) LIMIT 1;
	END IF;
	IF FOUND THEN
		RAISE EXCEPTION 'segment "%" is used by "%"', OLD.segment, used_by
			USING ERRCODE = 'foreign_key_violation', HINT = 'Take it out of segments_any and segments_all first.';
	END IF;
	RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END
$$;
COMMENT ON FUNCTION omnichannel.check_segment_unused() IS
'Trigger function of segment: raises 23503 where a segment that a price list names is deleted or renamed.';

CREATE FUNCTION omnichannel.check_price_base() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	refused boolean;
BEGIN
	IF TG_TABLE_NAME = 'price' THEN
		-- Whatever its kind is, it stays so until the price can be seen.
		SELECT list.kind = 'base' INTO refused FROM omnichannel.price_list AS list
		WHERE list.price_list = NEW.price_list FOR SHARE;
	ELSE
		refused := EXISTS (SELECT FROM omnichannel.price WHERE price.price_list = NEW.price_list AND price.amount IS NULL);
	END IF;
	IF refused THEN
		RAISE EXCEPTION 'base price list "%" cannot adjust the base price', NEW.price_list
			USING ERRCODE = 'check_violation',
				HINT = 'Give its prices an amount; adjust and surcharge are for lists of kind override and sale.';
	END IF;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION omnichannel.check_price_base() IS
'Trigger function of price and price_list: raises 23514 where a list of kind base would hold a price without an amount.';

CREATE FUNCTION omnichannel.check_promotion_products() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	missing text;
BEGIN
	-- The lock keeps a product from being deleted while this transaction makes use of it.
	PERFORM FROM omnichannel.product WHERE product.product = ANY (NEW.products || NEW.except_products) ORDER BY product.product FOR KEY SHARE;
	SELECT named.product INTO missing FROM unnest(NEW.products || NEW.except_products) AS named (product)
	WHERE NOT EXISTS (SELECT FROM omnichannel.product WHERE product.product = named.product) LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'product "%" is not known', missing
			USING ERRCODE = 'foreign_key_violation', HINT = 'Insert it into omnichannel.product first.';
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION omnichannel.check_promotion_products() IS
'Trigger function of promotion: raises 23503 for a product that is not known.';

CREATE FUNCTION omnichannel.check_product_unused() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	used record;
BEGIN
	SELECT gone.product, promotion.promotion INTO used
	FROM omnichannel.promotion, unnest(promotion.products || promotion.except_products) AS named (product)
	JOIN gone_product AS gone ON gone.product = named.product
	WHERE NOT EXISTS (SELECT FROM omnichannel.product AS kept WHERE kept.product = gone.product)
	ORDER BY promotion.promotion, gone.product LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'product "%" is used by promotion "%"', used.product, used.promotion
			USING ERRCODE = 'foreign_key_violation', HINT = 'Take it out of products and except_products first.';
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION omnichannel.check_product_unused() IS
'Trigger function of product: raises 23503 where a product that a promotion names is deleted or renamed.';

CREATE FUNCTION omnichannel.check_promotion() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF NEW.kind NOT IN ('percent', 'amount', 'fixed_price', 'buy_get', 'order_percent', 'order_amount') THEN
		RAISE EXCEPTION 'promotion "%" is of an unknown kind "%"', NEW.promotion, NEW.kind
			USING ERRCODE = 'check_violation', HINT = 'Kinds are percent, amount, fixed_price, buy_get, order_percent and order_amount.';
	END IF;
	IF NEW.currency IS NULL AND (NEW.kind IN ('amount', 'fixed_price', 'order_amount') OR NEW.cap IS NOT NULL
		OR NEW.min_subtotal > 0 OR NEW.budget IS NOT NULL) THEN
		NEW.currency := omnichannel.default_currency();
	END IF;
	IF NEW.value > 100 AND NEW.kind IN ('percent', 'buy_get', 'order_percent') THEN
		RAISE EXCEPTION 'promotion "%" would take % percent off', NEW.promotion, NEW.value
			USING ERRCODE = 'check_violation', HINT = 'A percentage is at most 100.';
	END IF;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION omnichannel.check_promotion() IS
'Trigger function of promotion: fills in the company''s currency where there are amounts; raises 23514 for an unknown kind and for more than 100 percent.';

CREATE FUNCTION omnichannel.note_approval() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- What was taken back to draft or retired needs a new approval; to make an approved one active is none.
	IF TG_OP = 'UPDATE' THEN
		NEW.approved_by := OLD.approved_by;
		NEW.approved_at := OLD.approved_at;
		IF OLD.status IN ('approved', 'active') THEN
			RETURN NEW;
		END IF;
	ELSE
		NEW.approved_by := NULL;
		NEW.approved_at := NULL;
	END IF;
	IF NEW.status IN ('approved', 'active') THEN
		NEW.approved_by := session_user;
		NEW.approved_at := now();
	END IF;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION omnichannel.note_approval() IS
'Trigger function of price_list and promotion: notes who approved it and when, each time that it comes from draft or retired; whatever else is written there is not taken.';

CREATE FUNCTION omnichannel.round_to_step(amount numeric, step numeric, rounding text) RETURNS numeric
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN CASE
	WHEN 2 * abs(amount % step) < step THEN amount - amount % step
	WHEN 2 * abs(amount % step) = step
		AND (rounding = 'half_down' OR (rounding = 'half_even' AND div(amount, step) % 2 = 0)) THEN amount - amount % step
	ELSE amount - amount % step + sign(amount) * step
END;
COMMENT ON FUNCTION omnichannel.round_to_step(numeric, numeric, text) IS
'The multiple of step that is nearest to the amount; of two, the one that rounding of omnichannel.company says: half_up (away from zero), half_even or half_down.';

CREATE FUNCTION omnichannel.adjusted_price(base numeric, adjust numeric, surcharge numeric, round_to numeric, rounding text) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN base IS NOT NULL THEN greatest(0, CASE WHEN round_to OPERATOR(pg_catalog.>) 0
	THEN omnichannel.round_to_step(base OPERATOR(pg_catalog.*) (100 OPERATOR(pg_catalog.+) coalesce(adjust, 0)) OPERATOR(pg_catalog.*) 0.01
		OPERATOR(pg_catalog.+) coalesce(surcharge, 0), round_to, rounding)
	ELSE base OPERATOR(pg_catalog.*) (100 OPERATOR(pg_catalog.+) coalesce(adjust, 0)) OPERATOR(pg_catalog.*) 0.01
		OPERATOR(pg_catalog.+) coalesce(surcharge, 0) END) END;
COMMENT ON FUNCTION omnichannel.adjusted_price(numeric, numeric, numeric, numeric, text) IS
'What a percentage and a surcharge make of a price, rounded to a multiple of round_to where there is one, never below zero; NULL where base is.';

CREATE FUNCTION omnichannel.tax_amount(amount numeric, tax_rate numeric, tax_inclusive boolean, with_tax boolean) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN tax_inclusive OPERATOR(pg_catalog.=) with_tax OR tax_rate IS NULL THEN amount
	WHEN with_tax THEN amount OPERATOR(pg_catalog.*) (100 OPERATOR(pg_catalog.+) tax_rate) OPERATOR(pg_catalog.*) 0.01
	ELSE amount OPERATOR(pg_catalog.*) 100 OPERATOR(pg_catalog./) (100 OPERATOR(pg_catalog.+) tax_rate) END;
COMMENT ON FUNCTION omnichannel.tax_amount(numeric, numeric, boolean, boolean) IS
'An amount that contains a tax of so many percent, or does not, with it or without it; not rounded. The same where no rate is known.';

CREATE FUNCTION omnichannel.adjusted_beside(base numeric, base_with_tax boolean, tax_rate numeric, with_tax boolean, adjust numeric, surcharge numeric,
	round_to numeric, rounding text) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN base_with_tax AND NOT with_tax AND tax_rate IS NOT NULL THEN
	CASE WHEN round_to OPERATOR(pg_catalog.>) 0 THEN pg_catalog.div(omnichannel.adjusted_price(base, adjust, omnichannel.tax_amount(surcharge, tax_rate, false, true),
			omnichannel.tax_amount(round_to, tax_rate, false, true), rounding), omnichannel.tax_amount(round_to, tax_rate, false, true)) OPERATOR(pg_catalog.*) round_to
		ELSE omnichannel.tax_amount(omnichannel.adjusted_price(base, adjust, omnichannel.tax_amount(surcharge, tax_rate, false, true), NULL, rounding), tax_rate, true, false) END
	ELSE omnichannel.adjusted_price(omnichannel.tax_amount(base, tax_rate, base_with_tax, with_tax), adjust, surcharge, round_to, rounding) END;
COMMENT ON FUNCTION omnichannel.adjusted_beside(numeric, boolean, numeric, boolean, numeric, numeric, numeric, text) IS
'What adjusted_price() is in a list with tax, or without it, of a base price that contains it, or does not. As in quote() tax is taken out last, so that nothing is rounded twice.';

CREATE FUNCTION omnichannel.derived_price(INOUT amount numeric, INOUT adjust numeric, INOUT surcharge numeric, INOUT round_to numeric,
	derived_adjust numeric, derived_surcharge numeric, derived_round_to numeric, rounding text) RETURNS SETOF record
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 1
BEGIN ATOMIC
	SELECT pg_catalog.trim_scale(omnichannel.adjusted_price($1, $5, $6, $7, $8)),
		CASE WHEN $1 IS NULL THEN ((100 OPERATOR(pg_catalog.+) coalesce($2, 0)) OPERATOR(pg_catalog.*) (100 OPERATOR(pg_catalog.+) coalesce($5, 0))
			OPERATOR(pg_catalog.-) 10000) OPERATOR(pg_catalog./) 100 END,
		CASE WHEN $1 IS NULL THEN pg_catalog.trim_scale(coalesce($3, 0) OPERATOR(pg_catalog.*) (100 OPERATOR(pg_catalog.+) coalesce($5, 0))
			OPERATOR(pg_catalog.*) 0.01 OPERATOR(pg_catalog.+) coalesce($6, 0)) END,
		CASE WHEN $1 IS NULL THEN coalesce($7, $4) END;
END;
COMMENT ON FUNCTION omnichannel.derived_price(numeric, numeric, numeric, numeric, numeric, numeric, numeric, text) IS
'What a derived list makes of a price of the list that it is derived from, by its derived_adjust, derived_surcharge and derived_round_to: an amount of an amount, of an adjustment the two combined; where either rounds, the combination rounds once, at the end.';

CREATE FUNCTION omnichannel.derived_prices(lists text[], sources bigint[],
	OUT price_list text, OUT product text, OUT category_path text, OUT everything boolean, OUT min_quantity numeric, OUT amount numeric,
	OUT adjust numeric, OUT surcharge numeric, OUT round_to numeric, OUT valid tstzrange, OUT source_price bigint)
RETURNS SETOF record
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM omnichannel.require_setup();
	RETURN QUERY
	SELECT list.price_list, source.product, source.category_path, source.everything, source.min_quantity, made.*,
		source.valid * tstzrange(list.derived_since, NULL), source.price_id
	FROM omnichannel.price_list AS list
	JOIN omnichannel.price AS source ON source.price_list = list.derived_from AND source.valid && tstzrange(list.derived_since, NULL)
	CROSS JOIN (SELECT company.rounding AS mode FROM omnichannel.company) AS rounding
	CROSS JOIN LATERAL omnichannel.derived_price(source.amount, source.adjust, source.surcharge, source.round_to,
		list.derived_adjust, list.derived_surcharge, list.derived_round_to, rounding.mode) AS made
	WHERE (lists IS NULL OR list.price_list = ANY (lists)) AND (sources IS NULL OR source.price_id = ANY (sources));
END
$$;
COMMENT ON FUNCTION omnichannel.derived_prices(text[], bigint[]) IS
'The rows that derived lists take from the lists that they are derived from: of these lists and of these source prices, all for NULL. A source that adjusts is combined with the list''s own percentage; where it rounds, the combination rounds once, at the end. Raises 55000 before setup().';

CREATE FUNCTION omnichannel.keep_past_price() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	-- What another transaction has let begin since this one did was charged.
	moment timestamptz := CASE WHEN lower(OLD.valid) < clock_timestamp() THEN omnichannel.change_moment(lower(OLD.valid)) ELSE now() END;
BEGIN
	IF OLD.valid && tstzrange(NULL, moment) AND OLD.valid @> moment THEN
		NEW.valid := tstzrange(moment, upper(OLD.valid));
	END IF;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION omnichannel.keep_past_price() IS
'Trigger function of price: lets a change of a price in force begin now. derive_prices() then keeps the former price with its time.';

CREATE FUNCTION omnichannel.note_active() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF TG_OP = 'INSERT' THEN
		NEW.active := CASE NEW.status WHEN 'active' THEN '{(,)}'::tstzmultirange ELSE '{}' END;
	ELSIF NEW.status = 'active' AND OLD.status <> 'active' THEN
		NEW.active := OLD.active + tstzmultirange(tstzrange(now(), NULL));
	ELSIF NEW.status <> 'active' AND OLD.status = 'active' THEN
		NEW.active := CASE WHEN OLD.created_at = now() THEN '{}'::tstzmultirange ELSE OLD.active * tstzmultirange(tstzrange(NULL, now())) END;
	END IF;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION omnichannel.note_active() IS
'Trigger function of price_list and promotion: keeps the times at which status was active.';

CREATE FUNCTION omnichannel.derive_prices() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	refused text;
	sources bigint[];
	kept bigint[] := '{}'::bigint[];
	began timestamptz[] := '{}'::timestamptz[];
BEGIN
	-- Each list writes into the next: only a circle goes on, one that came past derive_price_list().
	IF pg_trigger_depth() > 100 THEN
		RAISE EXCEPTION 'price lists are derived from each other in a circle, as "%" is', (SELECT changed.price_list FROM changed LIMIT 1)
			USING ERRCODE = 'check_violation', HINT = 'Set derived_from of one of them to NULL.';
	END IF;
	-- What keep_past_price() has moved to now leaves its past behind.
	IF TG_OP = 'UPDATE' THEN
		-- Grouped, not joined: the planner takes what passes the filters of a join for one row, and loops.
		SELECT coalesce(array_agg(moved.price_id), '{}'), coalesce(array_agg(lower(moved.after)), '{}') INTO kept, began
		FROM (SELECT state.price_id, (array_agg(state.before) FILTER (WHERE state.before IS NOT NULL))[1] AS before,
				(array_agg(state.after) FILTER (WHERE state.after IS NOT NULL))[1] AS after
			FROM (SELECT former.price_id, former.valid AS before, NULL::tstzrange AS after FROM former
					WHERE former.source_price IS NULL
				UNION ALL SELECT changed.price_id, NULL, changed.valid FROM changed) AS state
			GROUP BY state.price_id) AS moved
		WHERE lower(moved.after) >= now() AND lower(moved.after) <= clock_timestamp() AND moved.before @> lower(moved.after)
			AND lower(moved.before) IS DISTINCT FROM lower(moved.after)
			AND upper(moved.before) IS NOT DISTINCT FROM upper(moved.after);
	END IF;
	-- Fails where lists were derived from these since the snapshot, which does not see them so: see derive_price_list().
	IF current_setting('transaction_isolation') <> 'read committed' THEN
		PERFORM FROM omnichannel.price_list AS list WHERE list.price_list IN (SELECT changed.price_list FROM changed)
		ORDER BY list.price_list FOR SHARE;
	END IF;
	IF kept = '{}' AND NOT EXISTS (SELECT FROM omnichannel.price_list AS list WHERE list.derived_from IS NOT NULL) THEN
		RETURN NULL;
	END IF;
	SELECT list.price_list INTO refused FROM changed JOIN omnichannel.price_list AS list USING (price_list)
	WHERE list.derived_from IS NOT NULL AND changed.source_price IS NULL AND NOT coalesce(upper(changed.valid) <= now(), false) LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'price list "%" is derived and holds no prices of its own', refused
			USING ERRCODE = 'check_violation',
				HINT = 'Change the list that it is derived from, or set derived_from, derived_adjust, derived_surcharge and derived_round_to to NULL first.';
	END IF;
	sources := ARRAY(SELECT changed.price_id FROM changed JOIN omnichannel.price_list AS list ON list.derived_from = changed.price_list);
	IF TG_OP = 'UPDATE' THEN
		-- Also of those that have left a list which others are derived from.
		DELETE FROM omnichannel.price WHERE price.source_price = ANY (ARRAY(SELECT former.price_id
			FROM former JOIN omnichannel.price_list AS list ON list.derived_from = former.price_list));
		INSERT INTO omnichannel.price (price_list, product, category, everything, min_quantity, amount, adjust, surcharge, round_to, valid, created_at)
		SELECT former.price_list, former.product, former.category, former.everything, former.min_quantity, former.amount, former.adjust,
			former.surcharge, former.round_to, former.valid * tstzrange(NULL, moved.began), former.created_at
		FROM former JOIN unnest(kept, began) AS moved (price_id, began) ON moved.price_id = former.price_id;
	END IF;
	IF sources <> '{}' THEN
		PERFORM omnichannel.insert_derived_prices(NULL, sources);
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION omnichannel.derive_prices() IS
'Trigger function of price: carries changes on to derived lists; raises 23514 for a price that is written into a derived list by hand.';

CREATE FUNCTION omnichannel.insert_derived_prices(lists text[], sources bigint[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM omnichannel.require_setup();
	-- The type of category is known by its column only: the schema of ltree is anyone's choice.
	INSERT INTO omnichannel.price (price_list, product, everything, min_quantity, amount, adjust, surcharge, round_to, valid, source_price, category)
	SELECT made.price_list, made.product, made.everything, made.min_quantity, made.amount, made.adjust, made.surcharge, made.round_to,
		made.valid, made.source_price, source.category
	FROM omnichannel.derived_prices(lists, sources) AS made JOIN omnichannel.price AS source ON source.price_id = made.source_price;
END
$$;
COMMENT ON FUNCTION omnichannel.insert_derived_prices(text[], bigint[]) IS
'Writes what derived_prices() says. Raises 55000 before setup().';

CREATE FUNCTION omnichannel.check_price_source() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	derived text;
BEGIN
	SELECT list.price_list INTO derived FROM omnichannel.price_list AS list
	WHERE list.derived_from = NEW.price_list AND (list.currency, list.tax_inclusive) <> (NEW.currency, NEW.tax_inclusive)
	ORDER BY list.price_list LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'price list "%" has the currency and tax_inclusive of "%", which it is derived from', derived, NEW.price_list
			USING ERRCODE = 'check_violation', HINT = 'Amounts are never converted. Set derived_from of that list to NULL first.';
	END IF;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION omnichannel.check_price_source() IS
'Trigger function of price_list: raises 23514 where lists that are derived from this one would be in another currency, or with tax where it is without.';

CREATE FUNCTION omnichannel.derive_price_list() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	ancestor text := NEW.derived_from;
	path text[] := ARRAY[NEW.price_list];
	source record;
	anew boolean := true;
BEGIN
	IF TG_OP = 'UPDATE' THEN
		anew := (OLD.derived_from, OLD.derived_adjust, OLD.derived_surcharge, OLD.derived_round_to)
			IS DISTINCT FROM (NEW.derived_from, NEW.derived_adjust, NEW.derived_surcharge, NEW.derived_round_to);
		IF NOT anew AND (OLD.currency, OLD.tax_inclusive) = (NEW.currency, NEW.tax_inclusive) THEN
			RETURN NULL;
		END IF;
	END IF;
	WHILE ancestor IS NOT NULL
	LOOP
		path := path || ancestor;
		IF ancestor = NEW.price_list OR cardinality(path) > 32 THEN
			RAISE EXCEPTION 'price list "%" cannot be derived from "%"', NEW.price_list, NEW.derived_from
				USING ERRCODE = 'check_violation', DETAIL = format('The way up is %s.', array_to_string(path, ' < ')),
					HINT = 'A list must not be derived from itself, and 30 steps are enough.';
		END IF;
		SELECT list.derived_from INTO ancestor FROM omnichannel.price_list AS list WHERE list.price_list = ancestor;
	END LOOP;
	-- What others have written since the snapshot would not be derived.
	IF current_setting('transaction_isolation') <> 'read committed' THEN
		RAISE EXCEPTION 'what price list "%" is derived from cannot change in a transaction of isolation level %', NEW.price_list,
			upper(current_setting('transaction_isolation'))
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Use READ COMMITTED.';
	END IF;
	-- For transactions whose snapshot is older than what this one does: see derive_prices().
	UPDATE omnichannel.price_list SET name = name WHERE price_list.price_list = NEW.derived_from;
	IF NEW.derived_from IS NOT NULL THEN
		SELECT list.currency, list.tax_inclusive INTO source FROM omnichannel.price_list AS list WHERE list.price_list = NEW.derived_from;
		IF source.currency <> NEW.currency THEN
			RAISE EXCEPTION 'price list "%" in % cannot be derived from one in %', NEW.price_list, NEW.currency, source.currency
				USING ERRCODE = 'check_violation', HINT = 'Amounts are never converted.';
		END IF;
		IF source.tax_inclusive <> NEW.tax_inclusive THEN
			RAISE EXCEPTION 'price list "%" % tax cannot be derived from one % tax', NEW.price_list,
				CASE WHEN NEW.tax_inclusive THEN 'with' ELSE 'without' END, CASE WHEN source.tax_inclusive THEN 'with' ELSE 'without' END
				USING ERRCODE = 'check_violation', HINT = 'Give both the same tax_inclusive.';
		END IF;
		-- The amounts are what they were.
		IF NOT anew THEN
			RETURN NULL;
		END IF;
		IF EXISTS (SELECT FROM omnichannel.price WHERE price.price_list = NEW.price_list AND price.source_price IS NULL
			AND NOT coalesce(upper(price.valid) <= now(), false)) THEN
			RAISE EXCEPTION 'price list "%" has prices of its own', NEW.price_list
				USING ERRCODE = 'check_violation', HINT = 'Let them end before you derive it from another list: UPDATE omnichannel.price SET valid = tstzrange(lower(valid), now()).';
		END IF;
	END IF;
	-- What held before now stays, on its own.
	UPDATE omnichannel.price SET source_price = NULL, valid = price.valid * tstzrange(NULL, now())
	WHERE price.price_list = NEW.price_list AND price.source_price IS NOT NULL AND NEW.created_at <> now()
		AND price.valid && tstzrange(NULL, now());
	DELETE FROM omnichannel.price WHERE price.price_list = NEW.price_list AND price.source_price IS NOT NULL;
	IF NEW.derived_from IS NOT NULL THEN
		PERFORM omnichannel.insert_derived_prices(ARRAY[NEW.price_list], NULL);
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION omnichannel.derive_price_list() IS
'Trigger function of price_list: writes the prices of a derived list from now on, and keeps what they were; raises 23514 for a cycle, another currency, another tax_inclusive, or a list with prices of its own, 55000 above READ COMMITTED, where changes of its source cannot be waited for.';

CREATE FUNCTION omnichannel.note_derivation() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- From these two follows which prices of before stay.
	IF TG_OP = 'INSERT' THEN
		NEW.derived_since := NULL;
		RETURN NEW;
	END IF;
	NEW.created_at := OLD.created_at;
	NEW.derived_since := OLD.derived_since;
	IF (OLD.derived_from, OLD.derived_adjust, OLD.derived_surcharge, OLD.derived_round_to)
		IS DISTINCT FROM (NEW.derived_from, NEW.derived_adjust, NEW.derived_surcharge, NEW.derived_round_to)
	THEN
		IF OLD.derived_since > now() OR (OLD.created_at > now() AND OLD.created_at <= clock_timestamp()) THEN
			RAISE EXCEPTION 'what price list "%" is derived from changed after this transaction began', NEW.price_list
				USING ERRCODE = 'serialization_failure',
					DETAIL = format('A change counts from the start of its transaction, %s, and would deny what was answered since.', now()),
					HINT = 'Begin the transaction again.';
		END IF;
		NEW.derived_since := CASE WHEN OLD.created_at <> now() THEN now() END;
	END IF;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION omnichannel.note_derivation() IS
'Trigger function of price_list: lets a change of what a list is derived from begin now, and takes no other derived_since or created_at; raises 40001 where it has changed since the transaction began.';

CREATE TYPE omnichannel.price_quote AS (
	product text,
	quantity numeric,
	currency text,
	list_price numeric,
	unit_price numeric,
	line_total numeric,
	price_list text,
	promotions text[],
	reference_price numeric,
	valid_until timestamptz,
	reason text,
	tax_rate numeric,
	tax_inclusive boolean,
	unit_net numeric,
	unit_gross numeric
);
COMMENT ON TYPE omnichannel.price_quote IS
'A price and where it comes from. Amounts are in currency (ISO 4217), rounded once, per unit, to its minor unit; all are NULL where there is no price, and reason says why. Whether there is one is told by line_total.';
COMMENT ON COLUMN omnichannel.price_quote.list_price IS 'One unit before sales and promotions.';
COMMENT ON COLUMN omnichannel.price_quote.unit_price IS 'One unit, as charged; NULL, too, where the units of the line cost different prices, as with one of three free: then line_total is what is displayed.';
COMMENT ON COLUMN omnichannel.price_quote.line_total IS 'All units, each at its rounded price; rounded to the minor unit where the quantity is a fraction.';
COMMENT ON COLUMN omnichannel.price_quote.price_list IS 'The list whose price is charged.';
COMMENT ON COLUMN omnichannel.price_quote.promotions IS 'Promotions that changed the price, in the order in which they did, whatever of it the floor (min_price, cost and margin) then takes back.';
COMMENT ON COLUMN omnichannel.price_quote.reference_price IS 'The price to show beside a reduced one, where one is known.';
COMMENT ON COLUMN omnichannel.price_quote.valid_until IS 'The nearest moment after which the answer can be another one by the passing of time alone; NULL where none is planned. The prior price by itself may change earlier, where a rule counts days.';
COMMENT ON COLUMN omnichannel.price_quote.reason IS 'Why there is no price, or no single one of all units; NULL where there is one.';
COMMENT ON COLUMN omnichannel.price_quote.tax_rate IS 'The product''s sales tax in percent, or NULL where none is known.';
COMMENT ON COLUMN omnichannel.price_quote.tax_inclusive IS 'Whether unit_price contains the tax.';
COMMENT ON COLUMN omnichannel.price_quote.unit_net IS 'One unit without the tax.';
COMMENT ON COLUMN omnichannel.price_quote.unit_gross IS 'One unit with the tax.';

CREATE FUNCTION omnichannel.quote(customer_id bigint, product text, quantity numeric DEFAULT 1,
	currency text DEFAULT NULL, at timestamptz DEFAULT now(), coupons text[] DEFAULT '{}')
RETURNS omnichannel.price_quote
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_quote';
COMMENT ON FUNCTION omnichannel.quote(bigint, text, numeric, text, timestamptz, text[]) IS
'The price of a product for a customer, the same in every channel: SELECT * FROM omnichannel.quote(...). customer_id NULL: a visitor who is not known. quantity: units, fractions allowed. currency: ISO 4217, the company''s by default; amounts are never converted. at: as of this moment, past or future. coupons: codes that the customer typed; one that is used up or out of its time opens nothing. Raises 23503 for an unknown customer, product, currency or coupon, 22023 for a quantity that is not above zero or is beyond 10^12, 22008 for an infinite moment, 55000 before setup(), 42501 without SELECT on the tables of prices.';

CREATE FUNCTION omnichannel.quote_unseen(customer_id bigint, product text, quantity numeric,
	currency text, at timestamptz, coupons text[], unseen timestamptz[], customers bigint[] DEFAULT NULL)
RETURNS omnichannel.price_quote
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_quote_unseen';
COMMENT ON FUNCTION omnichannel.quote_unseen(bigint, text, numeric, text, timestamptz, text[], timestamptz[], bigint[]) IS
'quote() as it answered those who could not see some changes of prices yet: without the changes of prices, lists'' status and time, promotions and memberships that count from the moments in unseen; see price_change. customers: the ids under which the customer was on record then, whose segments, uses and coupons count; NULL: those of customer_group(). Raises as quote(), and 22023 where unseen is or holds NULL.';

CREATE FUNCTION omnichannel.quote_segments(segments text[], product text, quantity numeric DEFAULT 1,
	currency text DEFAULT NULL, at timestamptz DEFAULT now(), coupons text[] DEFAULT '{}')
RETURNS omnichannel.price_quote
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_quote_segments';
COMMENT ON FUNCTION omnichannel.quote_segments(text[], text, numeric, text, timestamptz, text[]) IS
'The price of a product for anyone who is in these segments, ''{}'' for anonymous visitors; otherwise as quote(). Raises 23503 for an unknown segment too.';

CREATE FUNCTION omnichannel.quotes(customer_id bigint, products text[], quantity numeric DEFAULT 1,
	currency text DEFAULT NULL, at timestamptz DEFAULT now(), coupons text[] DEFAULT '{}')
RETURNS SETOF omnichannel.price_quote
LANGUAGE c STABLE PARALLEL SAFE ROWS 50
AS 'MODULE_PATHNAME', 'omnichannel_quotes';
COMMENT ON FUNCTION omnichannel.quotes(bigint, text[], numeric, text, timestamptz, text[]) IS
'The prices of a page of products for a customer, in the order given; otherwise as quote().';

CREATE TYPE omnichannel.basket_quote AS (
	line integer,
	product text,
	quantity numeric,
	currency text,
	list_price numeric,
	unit_price numeric,
	order_discount numeric,
	line_total numeric,
	price_list text,
	promotions text[],
	reference_price numeric,
	valid_until timestamptz,
	reason text,
	tax_rate numeric,
	tax_inclusive boolean,
	unit_net numeric,
	unit_gross numeric,
	line_net numeric,
	line_gross numeric
);
COMMENT ON TYPE omnichannel.basket_quote IS
'A line of a basket, as price_quote; line_total is after order_discount, the line''s share of the promotions of the order, both with or without tax as tax_inclusive says; line_net and line_gross are line_total without and with it, and the sum of all line_gross is what the customer pays. Lines of one product have the price of their quantities together. valid_until is the whole basket''s, as what one line costs bears on the promotions of others.';

CREATE FUNCTION omnichannel.quote_basket_lines(customer_id bigint, products text[], quantities numeric[],
	currency text DEFAULT NULL, at timestamptz DEFAULT now(), coupons text[] DEFAULT '{}')
RETURNS SETOF omnichannel.basket_quote
LANGUAGE c STABLE PARALLEL SAFE ROWS 10
AS 'MODULE_PATHNAME', 'omnichannel_quote_basket_lines';
COMMENT ON FUNCTION omnichannel.quote_basket_lines(bigint, text[], numeric[], text, timestamptz, text[]) IS
'quote_basket() with the lines as two arrays of the same length. Raises as quote(), and 22023 for arrays of different length or more than 10,000 lines.';

CREATE FUNCTION omnichannel.quote_basket(customer_id bigint, lines jsonb,
	currency text DEFAULT NULL, at timestamptz DEFAULT now(), coupons text[] DEFAULT '{}')
RETURNS SETOF omnichannel.basket_quote
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	refused record;
BEGIN
	PERFORM omnichannel.require_setup();
	IF lines IS NULL OR jsonb_typeof(lines) <> 'array' THEN
		RAISE EXCEPTION 'lines must be a JSON array, not %', coalesce(jsonb_typeof(lines), 'NULL')
			USING ERRCODE = 'invalid_parameter_value', HINT = 'As in [{"product": "tee", "quantity": 2}].';
	END IF;
	-- A key that is not known is one that is misspelt, and the price would be another one's.
	SELECT line.ordinality, coalesce(part.key, 'value') AS key, coalesce(part.value, line.value) AS value INTO refused
	FROM jsonb_array_elements(quote_basket.lines) WITH ORDINALITY AS line
	LEFT JOIN LATERAL jsonb_each(CASE jsonb_typeof(line.value) WHEN 'object' THEN line.value END) AS part ON true
	WHERE jsonb_typeof(line.value) <> 'object' OR part.key NOT IN ('product', 'quantity')
		OR part.key = 'product' AND jsonb_typeof(part.value) NOT IN ('string', 'number')
		OR part.key = 'quantity' AND jsonb_typeof(part.value) NOT IN ('number', 'null')
			AND coalesce(part.value #>> '{}', '') !~ '^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,5})?$'
	ORDER BY line.ordinality, part.key LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'line % of the basket has a % of %', refused.ordinality, refused.key, left(refused.value::text, 100)
			USING ERRCODE = 'invalid_parameter_value', HINT = 'A line has a product and a quantity, as in {"product": "tee", "quantity": 2}, and nothing else.';
	END IF;
	RETURN QUERY SELECT quoted.*
	FROM (SELECT coalesce(array_agg(line.value ->> 'product' ORDER BY line.ordinality), '{}') AS products,
			coalesce(array_agg(coalesce(line.value ->> 'quantity', '1')::numeric ORDER BY line.ordinality), '{}') AS quantities
		FROM jsonb_array_elements(quote_basket.lines) WITH ORDINALITY AS line) AS basket,
		LATERAL omnichannel.quote_basket_lines(quote_basket.customer_id, basket.products, basket.quantities,
			quote_basket.currency, quote_basket.at, quote_basket.coupons) AS quoted;
END
$$;
COMMENT ON FUNCTION omnichannel.quote_basket(bigint, jsonb, text, timestamptz, text[]) IS
'The prices of a basket''s lines, with promotions of the order spread over them in proportion so that no cent is lost. Lines of one product count together, for tiers and promotions, so that a basket costs the same however it is split into lines; they share what it costs by their quantities. Lines of lists with tax and such without it are added up with tax, or as company.tax_inclusive says: so are what promotions of the order take off and ask for. lines: [{"product": "tee", "quantity": 2}, ...]; a quantity left out is 1. Raises as quote(), 22023 for lines that are no array, a line that is no object or has another key or a quantity that is no number, and more than 10,000 lines, 22003 where the sum does not fit into 64 bits of minor units.';

CREATE FUNCTION omnichannel.lowest_price(product text, currency text DEFAULT NULL, at timestamptz DEFAULT now(), country text DEFAULT NULL,
	segments text[] DEFAULT '{}', quantity numeric DEFAULT 1, personalised boolean DEFAULT false,
	OUT lowest_price numeric, OUT price numeric, OUT reduced_since timestamptz, OUT compared_from timestamptz,
	OUT max_percent_claim numeric, OUT reason text)
RETURNS record
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_lowest_price';
COMMENT ON FUNCTION omnichannel.lowest_price(text, text, timestamptz, text, text[], numeric, boolean) IS
'The lowest price of the days before the reduction in force at a moment, which Directive 98/6/EC article 6a wants shown beside it; by the rule of a country (ISO 3166-1 alpha-2, the company''s by default) in omnibus_rule. price: charged at that moment; reduced_since: when the reduction began; compared_from: local midnight from which prices were compared; max_percent_claim: the largest percentage off that may be claimed, counted from lowest_price (Court of Justice, C-330/23), cut to two decimals. A price at which a product is first offered reduces none that was charged, whatever list price is shown beside it: where a series of cuts counts as one reduction (article 6a(5)) or perishables are compared with the price before the first cut and nothing was offered before, the first cut is the first one of that price, so that article 6a(1) and (2) have a price that was charged. Days without offer, fewer than are looked back, do not part the cuts of perishables from the price before them. Days on which lists with tax and such without it were charged are compared by what customers paid, and the lowest price is said as the price of that moment is. Computed from effective dates, so planned changes count; coupons do not. lowest_price is NULL where there is none, and reason says why. personalised: the reduction is for one person. Raises 23503 for an unknown product, currency, segment or country, 55000 before setup(), and as quote_segments().';

CREATE FUNCTION omnichannel.explain_quote(customer_id bigint, product text, quantity numeric DEFAULT 1,
	currency text DEFAULT NULL, at timestamptz DEFAULT now(), coupons text[] DEFAULT '{}',
	OUT step integer, OUT kind text, OUT candidate text, OUT target text, OUT price_id bigint, OUT min_quantity numeric,
	OUT amount numeric, OUT verdict text, OUT detail text)
RETURNS SETOF record
LANGUAGE c STABLE PARALLEL SAFE ROWS 10
AS 'MODULE_PATHNAME', 'omnichannel_explain_quote';
COMMENT ON FUNCTION omnichannel.explain_quote(bigint, text, numeric, text, timestamptz, text[]) IS
'Why quote() answers as it does: a row for each price and promotion that could concern the product, with its verdict, and the answer last. Made by the same code as the answer. amount: what the row makes of the price of one unit; for a promotion the price after it. Raises as quote().';

CREATE FUNCTION omnichannel.explain_quote_segments(segments text[], product text, quantity numeric DEFAULT 1,
	currency text DEFAULT NULL, at timestamptz DEFAULT now(), coupons text[] DEFAULT '{}',
	OUT step integer, OUT kind text, OUT candidate text, OUT target text, OUT price_id bigint, OUT min_quantity numeric,
	OUT amount numeric, OUT verdict text, OUT detail text)
RETURNS SETOF record
LANGUAGE c STABLE PARALLEL SAFE ROWS 10
AS 'MODULE_PATHNAME', 'omnichannel_explain_quote_segments';
COMMENT ON FUNCTION omnichannel.explain_quote_segments(text[], text, numeric, text, timestamptz, text[]) IS
'explain_quote() for anyone who is in these segments. Raises as quote_segments().';


CREATE FUNCTION omnichannel.catalogue_prices(customer_id bigint, quantity numeric DEFAULT 1, currency text DEFAULT NULL,
	at timestamptz DEFAULT now(), coupons text[] DEFAULT '{}')
RETURNS SETOF omnichannel.price_quote
LANGUAGE c STABLE PARALLEL SAFE ROWS 100000
AS 'MODULE_PATHNAME', 'omnichannel_catalogue_prices';
COMMENT ON FUNCTION omnichannel.catalogue_prices(bigint, numeric, text, timestamptz, text[]) IS
'The price of every product for a customer, column for column as quote() answers; ORDER BY product where the order matters. All of one snapshot; where row-level security applies to the caller, 20,000 products are. Takes memory up to omnichannel.price_cache, or work_mem times hash_mem_multiplier where that is more, and up to omnichannel.price_cache again for the parents of variants; reads the tables more often where that is too little. Raises as quote(), and 53200 where the prices of one product alone do not fit.';
