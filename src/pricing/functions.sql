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
	list text;
BEGIN
	IF TG_TABLE_NAME = 'price' THEN
		SELECT base.price_list INTO list FROM omnichannel.price_list AS base
		WHERE base.price_list = NEW.price_list AND base.kind = 'base' FOR SHARE;
	ELSE
		SELECT price.price_list INTO list FROM omnichannel.price
		WHERE price.price_list = NEW.price_list AND price.amount IS NULL LIMIT 1;
	END IF;
	IF FOUND THEN
		RAISE EXCEPTION 'base price list "%" cannot adjust the base price', list
			USING ERRCODE = 'check_violation',
				HINT = 'Give its prices an amount; adjust and surcharge are for lists of kind override and sale.';
	END IF;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION omnichannel.check_price_base() IS
'Trigger function of price and price_list: raises 23514 where a list of kind base would hold a price without an amount.';

CREATE FUNCTION omnichannel.check_promotion() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	missing text;
BEGIN
	IF NEW.currency IS NULL AND (NEW.kind IN ('amount', 'fixed_price', 'order_amount') OR NEW.cap IS NOT NULL
		OR NEW.min_subtotal > 0 OR NEW.budget IS NOT NULL) THEN
		NEW.currency := omnichannel.default_currency();
	END IF;
	IF NEW.value > 100 AND NEW.kind IN ('percent', 'buy_get', 'order_percent') THEN
		RAISE EXCEPTION 'promotion "%" would take % percent off', NEW.promotion, NEW.value
			USING ERRCODE = 'check_violation', HINT = 'A percentage is at most 100.';
	END IF;
	SELECT named.product INTO missing FROM unnest(NEW.products || NEW.except_products) AS named (product)
	WHERE NOT EXISTS (SELECT FROM omnichannel.product WHERE product.product = named.product) LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'product "%" is not known', missing
			USING ERRCODE = 'foreign_key_violation', HINT = 'Insert it into omnichannel.product first.';
	END IF;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION omnichannel.check_promotion() IS
'Trigger function of promotion: fills in the company''s currency where there are amounts; raises 23514 for more than 100 percent and 23503 for a product that is not known.';

CREATE FUNCTION omnichannel.note_approval() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- What was taken back to draft or retired needs a new approval; to make an approved list active is none.
	IF NEW.approved_by IS NULL OR (TG_OP = 'UPDATE' AND OLD.status NOT IN ('approved', 'active')) THEN
		NEW.approved_by := session_user;
		NEW.approved_at := now();
	END IF;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION omnichannel.note_approval() IS
'Trigger function of price_list: notes who approved it and when, each time that it comes from draft or retired.';

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
	SELECT list.price_list, source.product, source.category_path, source.everything, source.min_quantity,
		CASE WHEN source.amount IS NOT NULL THEN greatest(0,
			CASE WHEN list.derived_round_to IS NULL THEN made.amount
				ELSE round(made.amount / list.derived_round_to) * list.derived_round_to END) END,
		CASE WHEN source.amount IS NULL THEN
			((100 + coalesce(source.adjust, 0)) * (100 + coalesce(list.derived_adjust, 0)) - 10000) / 100 END,
		CASE WHEN source.amount IS NULL THEN made.surcharge END,
		CASE WHEN source.amount IS NULL THEN coalesce(list.derived_round_to, source.round_to) END,
		source.valid, source.price_id
	FROM omnichannel.price_list AS list
	JOIN omnichannel.price AS source ON source.price_list = list.derived_from
	CROSS JOIN LATERAL (SELECT trim_scale(source.amount * (100 + coalesce(list.derived_adjust, 0)) * 0.01 + coalesce(list.derived_surcharge, 0)) AS amount,
		trim_scale(coalesce(source.surcharge, 0) * (100 + coalesce(list.derived_adjust, 0)) * 0.01 + coalesce(list.derived_surcharge, 0)) AS surcharge) AS made
	WHERE (lists IS NULL OR list.price_list = ANY (lists)) AND (sources IS NULL OR source.price_id = ANY (sources));
END
$$;
COMMENT ON FUNCTION omnichannel.derived_prices(text[], bigint[]) IS
'The rows that derived lists take from the lists that they are derived from: of these lists and of these source prices, all for NULL. A source that adjusts is combined with the list''s own percentage; where it rounds, the combination rounds once, at the end.';

CREATE FUNCTION omnichannel.keep_past_price() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF OLD.valid && tstzrange(NULL, now()) AND OLD.valid @> now() THEN
		NEW.valid := tstzrange(now(), upper(OLD.valid));
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
		NEW.active := CASE NEW.status WHEN 'active' THEN tstzrange(NULL, NULL) ELSE 'empty' END;
	ELSIF NEW.status = 'active' AND OLD.status <> 'active' THEN
		-- What was active before stays so; a time between counts as active from here on, which is noted as a correction.
		NEW.active := CASE WHEN isempty(OLD.active) THEN tstzrange(now(), NULL) ELSE tstzrange(lower(OLD.active), NULL) END;
	ELSIF NEW.status <> 'active' AND OLD.status = 'active' THEN
		NEW.active := CASE WHEN OLD.created_at = now() THEN 'empty' ELSE OLD.active * tstzrange(NULL, now()) END;
	END IF;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION omnichannel.note_active() IS
'Trigger function of price_list and promotion: keeps the time for which status was active.';

CREATE FUNCTION omnichannel.note_corrections() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	key_column text := TG_ARGV[0];
	past tstzrange := tstzrange(NULL, now());
	ignored text[] := '{name,status,approved_by,approved_at,use_limit,customer_limit,budget,valid,active,created_at}'::text[];
BEGIN
	IF TG_OP = 'DELETE' THEN
		INSERT INTO omnichannel.price_correction (relation, key, before)
		SELECT TG_TABLE_NAME, body ->> key_column, body
		FROM former CROSS JOIN LATERAL to_jsonb(former) AS body
		WHERE former.valid && past AND (body ->> 'source_price') IS NULL AND coalesce((body ->> 'created_at')::timestamptz, '-infinity') < now()
			AND coalesce((body ->> 'active')::tstzrange, past) && past;
	ELSIF TG_TABLE_NAME IN ('price', 'segment_member') THEN
		-- Their rows have no key to pair by but the whole; a past that is as it was is none.
		INSERT INTO omnichannel.price_correction (relation, key, before, after)
		SELECT TG_TABLE_NAME, paired.before ->> key_column, paired.before, paired.after
		FROM (SELECT before.body AS before, after.body AS after, before.valid AS valid_before, after.valid AS valid_after
			FROM (SELECT to_jsonb(former) AS body, former.valid, row_number() OVER () AS n FROM former) AS before
			JOIN (SELECT to_jsonb(changed) AS body, changed.valid, row_number() OVER () AS n FROM changed) AS after USING (n)) AS paired
		WHERE (paired.before ->> 'source_price') IS NULL AND coalesce((paired.before ->> 'created_at')::timestamptz, '-infinity') < now()
			AND ((paired.valid_before * past <> paired.valid_after * past
					AND NOT (paired.before - ignored <> paired.after - ignored AND lower(paired.valid_after) = now()
						AND upper(paired.valid_before) IS NOT DISTINCT FROM upper(paired.valid_after)))
				OR (paired.before - ignored <> paired.after - ignored AND paired.valid_after && past));
	ELSE
		INSERT INTO omnichannel.price_correction (relation, key, before, after)
		SELECT TG_TABLE_NAME, paired.before ->> key_column, paired.before, paired.after
		FROM (SELECT to_jsonb(former) AS before, to_jsonb(changed) AS after, former.valid AS valid_before, changed.valid AS valid_after,
				former.active AS active_before, changed.active AS active_after
			FROM (SELECT former.*, row_number() OVER () AS pair FROM former) AS former
			JOIN (SELECT changed.*, row_number() OVER () AS pair FROM changed) AS changed USING (pair)) AS paired
		WHERE (paired.before ->> 'created_at')::timestamptz < now()
			AND (paired.valid_before * past * paired.active_before <> paired.valid_after * past * paired.active_after
				OR (paired.before - ignored <> paired.after - ignored AND paired.valid_after * past * paired.active_after <> 'empty'));
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION omnichannel.note_corrections() IS
'Trigger function of price, price_list, promotion and segment_member: notes in price_correction what changes the past. Its argument names the column that says which row.';

CREATE FUNCTION omnichannel.note_product_correction() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	INSERT INTO omnichannel.price_correction (relation, key, before, after)
	VALUES (TG_TABLE_NAME, OLD.product, to_jsonb(OLD), to_jsonb(NEW));
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION omnichannel.note_product_correction() IS
'Trigger function of product: notes in price_correction what a price follows from, where it changes.';

CREATE FUNCTION omnichannel.derive_prices() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	refused text;
	sources bigint[];
	kept bigint[] := '{}'::bigint[];
BEGIN
	-- What keep_past_price() has moved to now leaves its past behind.
	IF TG_OP = 'UPDATE' THEN
		kept := ARRAY(SELECT former.price_id FROM former JOIN changed USING (price_id)
			WHERE former.source_price IS NULL AND former.created_at < now() AND lower(changed.valid) = now()
				AND former.valid && tstzrange(NULL, now()) AND former.valid && tstzrange(now(), NULL) AND former.valid <> changed.valid
				AND upper(former.valid) IS NOT DISTINCT FROM upper(changed.valid));
	END IF;
	IF kept = '{}' AND NOT EXISTS (SELECT FROM omnichannel.price_list AS list WHERE list.derived_from IS NOT NULL) THEN
		RETURN NULL;
	END IF;
	SELECT list.price_list INTO refused FROM changed JOIN omnichannel.price_list AS list USING (price_list)
	WHERE list.derived_from IS NOT NULL AND changed.source_price IS NULL LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'price list "%" is derived and holds no prices of its own', refused
			USING ERRCODE = 'check_violation', HINT = 'Change the list that it is derived from, or set derived_from to NULL first.';
	END IF;
	sources := ARRAY(SELECT changed.price_id FROM changed JOIN omnichannel.price_list AS list ON list.derived_from = changed.price_list);
	IF TG_OP = 'UPDATE' THEN
		DELETE FROM omnichannel.price WHERE price.source_price = ANY (sources);
		INSERT INTO omnichannel.price (price_list, product, category, everything, min_quantity, amount, adjust, surcharge, round_to, valid, created_at)
		SELECT former.price_list, former.product, former.category, former.everything, former.min_quantity, former.amount, former.adjust,
			former.surcharge, former.round_to, former.valid * tstzrange(NULL, now()), former.created_at
		FROM former WHERE former.price_id = ANY (kept);
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
'Writes what derived_prices() says.';

CREATE FUNCTION omnichannel.derive_price_list() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	ancestor text := NEW.derived_from;
	path text[] := ARRAY[NEW.price_list];
	source_currency text;
BEGIN
	WHILE ancestor IS NOT NULL
	LOOP
		path := path || ancestor;
		IF ancestor = NEW.price_list OR cardinality(path) > 32 THEN
			RAISE EXCEPTION 'price list "%" cannot be derived from "%"', NEW.price_list, NEW.derived_from
				USING ERRCODE = 'check_violation', DETAIL = format('The way up is %s.', array_to_string(path, ' < ')),
					HINT = 'A list must not be derived from itself, and 30 steps are enough.';
		END IF;
		SELECT list.derived_from INTO ancestor FROM omnichannel.price_list AS list WHERE list.price_list = ancestor FOR SHARE;
	END LOOP;
	IF NEW.derived_from IS NOT NULL THEN
		SELECT list.currency INTO source_currency FROM omnichannel.price_list AS list WHERE list.price_list = NEW.derived_from;
		IF source_currency <> NEW.currency THEN
			RAISE EXCEPTION 'price list "%" in % cannot be derived from one in %', NEW.price_list, NEW.currency, source_currency
				USING ERRCODE = 'check_violation', HINT = 'Amounts are never converted.';
		END IF;
		IF EXISTS (SELECT FROM omnichannel.price WHERE price.price_list = NEW.price_list AND price.source_price IS NULL) THEN
			RAISE EXCEPTION 'price list "%" has prices of its own', NEW.price_list
				USING ERRCODE = 'check_violation', HINT = 'Delete them before you derive it from another list.';
		END IF;
	END IF;
	DELETE FROM omnichannel.price WHERE price.price_list = NEW.price_list AND price.source_price IS NOT NULL;
	IF NEW.derived_from IS NOT NULL THEN
		PERFORM omnichannel.insert_derived_prices(ARRAY[NEW.price_list], NULL);
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION omnichannel.derive_price_list() IS
'Trigger function of price_list: writes the prices of a derived list; raises 23514 for a cycle, another currency, or a list with prices of its own.';

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
'A price and where it comes from. Amounts are in currency (ISO 4217), rounded once, per unit, to its minor unit; all are NULL where there is no price, and reason says why.';
COMMENT ON COLUMN omnichannel.price_quote.list_price IS 'One unit before sales and promotions.';
COMMENT ON COLUMN omnichannel.price_quote.unit_price IS 'One unit, as charged; NULL where the units of the line cost different prices, as with one of three free.';
COMMENT ON COLUMN omnichannel.price_quote.line_total IS 'All units, each at its rounded price; rounded to the minor unit where the quantity is a fraction.';
COMMENT ON COLUMN omnichannel.price_quote.price_list IS 'The list whose price is charged.';
COMMENT ON COLUMN omnichannel.price_quote.promotions IS 'Promotions that changed the price, in the order in which they did.';
COMMENT ON COLUMN omnichannel.price_quote.reference_price IS 'The price to show beside a reduced one, where one is known.';
COMMENT ON COLUMN omnichannel.price_quote.valid_until IS 'The nearest moment after which the answer can be another one by the passing of time alone; NULL where none is planned.';
COMMENT ON COLUMN omnichannel.price_quote.reason IS 'Why there is no price; NULL where there is one.';
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
'The price of a product for a customer, the same in every channel: SELECT * FROM omnichannel.quote(…). customer_id NULL: a visitor who is not known. quantity: units, fractions allowed. currency: ISO 4217, the company''s by default; amounts are never converted. at: as of this moment, past or future. coupons: codes that the customer typed; one that is used up or out of its time opens nothing. Raises 23503 for an unknown customer, product, currency or coupon, 22023 for a quantity that is not above zero or is beyond 10^12, 22008 for an infinite moment, 55000 before setup(), 42501 without SELECT on the tables of prices.';

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
	valid_until timestamptz,
	reason text
);
COMMENT ON TYPE omnichannel.basket_quote IS
'A line of a basket, as price_quote; line_total is after order_discount, the line''s share of the promotions of the order, and the sum of all line_total is what the basket costs.';

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
BEGIN
	PERFORM omnichannel.require_setup();
	IF lines IS NULL OR jsonb_typeof(lines) <> 'array' THEN
		RAISE EXCEPTION 'lines must be a JSON array, not %', coalesce(jsonb_typeof(lines), 'NULL')
			USING ERRCODE = 'invalid_parameter_value', HINT = 'As in [{"product": "tee", "quantity": 2}].';
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
'The prices of a basket''s lines, with promotions of the order spread over them in proportion so that no cent is lost. lines: [{"product": "tee", "quantity": 2}, …]; a quantity left out is 1. Raises as quote(), 22023 for lines that are no array.';

CREATE FUNCTION omnichannel.keep_promotion_total() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- Waits for the uses under way, which are not summed yet, and holds up new ones until this commits.
	PERFORM pg_advisory_xact_lock('omnichannel.promotion_use'::regclass::oid::integer, hashtext(NEW.promotion));
	IF NEW.use_limit IS NULL AND NEW.budget IS NULL THEN
		DELETE FROM omnichannel.promotion_total WHERE promotion_total.promotion = NEW.promotion;
	ELSE
		INSERT INTO omnichannel.promotion_total (promotion, uses, spent)
		SELECT NEW.promotion, count(*), coalesce(sum(use.amount), 0) FROM omnichannel.promotion_use AS use
		WHERE use.promotion = NEW.promotion AND use.state <> 'released'
		ON CONFLICT (promotion) DO UPDATE SET uses = excluded.uses, spent = excluded.spent;
	END IF;
	PERFORM omnichannel.note_used_up(NEW.promotion);
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION omnichannel.keep_promotion_total() IS
'Trigger function of promotion: begins to keep its sums where it gets a limit.';

CREATE FUNCTION omnichannel.note_used_up(promotion text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	used_up boolean;
BEGIN
	PERFORM omnichannel.require_setup();
	SELECT coalesce(total.uses >= limited.use_limit, false) OR coalesce(total.spent >= limited.budget, false) INTO used_up
	FROM omnichannel.promotion AS limited JOIN omnichannel.promotion_total AS total ON total.promotion = limited.promotion
	WHERE limited.promotion = note_used_up.promotion;
	IF used_up THEN
		INSERT INTO omnichannel.promotion_used_up (promotion, since) VALUES (note_used_up.promotion, now()) ON CONFLICT DO NOTHING;
	ELSE
		DELETE FROM omnichannel.promotion_used_up AS noted WHERE noted.promotion = note_used_up.promotion;
	END IF;
END
$$;
COMMENT ON FUNCTION omnichannel.note_used_up(text) IS
'Keeps promotion_used_up in step with promotion_total; called by reserve_use() and release_use().';

CREATE FUNCTION omnichannel.reserve_use(promotion text, key text, customer_id bigint DEFAULT NULL, amount numeric DEFAULT 0,
	coupon text DEFAULT NULL, hold interval DEFAULT '30 minutes') RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	limited record;
	code text := upper(btrim(coupon));
	found_state text;
BEGIN
	PERFORM omnichannel.require_setup();
	IF key IS NULL OR key = '' OR amount IS NULL OR NOT (amount >= 0 AND amount < 1e18) OR hold IS NULL OR hold <= interval '0' THEN
		RAISE EXCEPTION 'key %, amount % and hold % do not make a reservation', coalesce(quote_literal(key), 'NULL'),
			coalesce(amount::text, 'NULL'), coalesce(hold::text, 'NULL')
			USING ERRCODE = 'invalid_parameter_value', HINT = 'The key is not empty, the amount not below zero, and hold above it.';
	END IF;
	SELECT limits.use_limit, limits.customer_limit, limits.budget, limits.needs_coupon INTO limited
	FROM omnichannel.promotion AS limits WHERE limits.promotion = reserve_use.promotion;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'promotion % is not known', coalesce(quote_literal(promotion), 'NULL')
			USING ERRCODE = 'foreign_key_violation', HINT = 'Use a code of omnichannel.promotion.';
	END IF;
	IF code IS NOT NULL AND NOT EXISTS (SELECT FROM omnichannel.coupon AS given WHERE given.coupon = code AND given.promotion = reserve_use.promotion) THEN
		RAISE EXCEPTION 'coupon "%" does not open promotion "%"', code, promotion
			USING ERRCODE = 'foreign_key_violation', HINT = 'Use a code of omnichannel.coupon.';
	END IF;
	IF limited.needs_coupon AND code IS NULL THEN
		RAISE EXCEPTION 'promotion "%" needs a coupon', promotion
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Pass the code that the customer gave.';
	END IF;
	IF customer_id IS NOT NULL THEN
		PERFORM omnichannel.require_customer(customer_id);
	END IF;

	-- Held by all who reserve; whoever sets a limit takes it alone. See keep_promotion_total().
	PERFORM pg_advisory_xact_lock_shared('omnichannel.promotion_use'::regclass::oid::integer, hashtext(promotion));
	SELECT use.state INTO found_state FROM omnichannel.promotion_use AS use
	WHERE use.key = reserve_use.key AND use.promotion = reserve_use.promotion;
	IF found_state <> 'released' THEN
		RETURN true;
	END IF;

	FOR attempt IN 1 .. 2
	LOOP
		BEGIN
			INSERT INTO omnichannel.promotion_use AS use (key, promotion, customer_id, coupon, amount, expires_at)
			VALUES (key, promotion, customer_id, code, amount, now() + hold)
			ON CONFLICT ON CONSTRAINT promotion_use_pkey DO UPDATE
			SET state = 'reserved', customer_id = excluded.customer_id, coupon = excluded.coupon, amount = excluded.amount,
				reserved_at = now(), expires_at = excluded.expires_at
			WHERE use.state = 'released';
			IF NOT FOUND THEN
				RETURN true;	-- another session has just reserved it under the same key
			END IF;
			IF limited.customer_limit IS NOT NULL AND customer_id IS NOT NULL THEN
				-- One reservation of a customer at a time, so that the count is exact.
				PERFORM pg_advisory_xact_lock(hashtextextended(promotion, customer_id));
				IF (SELECT count(*) FROM omnichannel.promotion_use AS use WHERE use.customer_id = reserve_use.customer_id
					AND use.promotion = reserve_use.promotion AND use.state <> 'released') > limited.customer_limit THEN
					RAISE EXCEPTION USING ERRCODE = 'OC001';
				END IF;
			END IF;
			IF code IS NOT NULL THEN
				UPDATE omnichannel.coupon AS given SET uses = given.uses + 1
				WHERE given.coupon = code AND (given.use_limit IS NULL OR given.uses < given.use_limit) AND given.valid @> now()
					AND (given.customer_id IS NULL OR given.customer_id = reserve_use.customer_id);
				IF NOT FOUND THEN
					RAISE EXCEPTION USING ERRCODE = 'OC001';
				END IF;
			END IF;
			IF limited.use_limit IS NOT NULL OR limited.budget IS NOT NULL THEN
				UPDATE omnichannel.promotion_total AS total SET uses = total.uses + 1, spent = total.spent + reserve_use.amount
				WHERE total.promotion = reserve_use.promotion AND (limited.use_limit IS NULL OR total.uses < limited.use_limit)
					AND (limited.budget IS NULL OR total.spent + reserve_use.amount <= limited.budget);
				IF NOT FOUND THEN
					RAISE EXCEPTION USING ERRCODE = 'OC001';
				END IF;
				PERFORM omnichannel.note_used_up(promotion)
				FROM omnichannel.promotion_total AS total WHERE total.promotion = reserve_use.promotion
					AND (total.uses >= limited.use_limit OR total.spent >= limited.budget);
			END IF;
			RETURN true;
		EXCEPTION WHEN SQLSTATE 'OC001' THEN
			-- Nothing is left. What others have forgotten comes back, once.
			EXIT WHEN attempt = 2 OR omnichannel.expire_uses(promotion) = 0;
		END;
	END LOOP;
	RETURN false;
END
$$;
COMMENT ON FUNCTION omnichannel.reserve_use(text, text, bigint, numeric, text, interval) IS
'Reserves one use of a promotion: true where its limits, its budget and the coupon allowed it, false where nothing is left. Exact under concurrency: sessions that compete for the last uses wait for one another. key is the application''s own, as the number of the order: the same key and promotion count once however often they are sent. amount is what the promotion gives away, in its currency. A reservation is released after hold unless commit_use() comes before. Reserve several promotions in the order of their codes. Raises 23503 for an unknown promotion, customer or coupon, 22023 for an empty key, a negative amount or a missing coupon, 55000 for a customer who was erased.';

CREATE FUNCTION omnichannel.commit_use(key text) RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	lost text;
	committed integer;
BEGIN
	PERFORM omnichannel.require_setup();
	PERFORM FROM omnichannel.promotion_use AS use WHERE use.key = commit_use.key ORDER BY use.promotion FOR UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'nothing is reserved under key %', coalesce(quote_literal(key), 'NULL')
			USING ERRCODE = 'foreign_key_violation', HINT = 'Call reserve_use() first.';
	END IF;
	SELECT use.promotion INTO lost FROM omnichannel.promotion_use AS use
	WHERE use.key = commit_use.key AND use.state = 'released' ORDER BY use.promotion LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'the use of promotion "%" under key "%" was released', lost, key
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Its time was over. Call reserve_use() again.';
	END IF;
	UPDATE omnichannel.promotion_use AS use SET state = 'committed' WHERE use.key = commit_use.key AND use.state = 'reserved';
	SELECT count(*) INTO committed FROM omnichannel.promotion_use AS use WHERE use.key = commit_use.key;
	RETURN committed;
END
$$;
COMMENT ON FUNCTION omnichannel.commit_use(text) IS
'Makes the reservations of a key final, and returns how many there are; calling it again changes nothing. Raises 23503 for an unknown key, 55000 where one was released.';

CREATE FUNCTION omnichannel.release_use(key text) RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	use record;
	released integer := 0;
BEGIN
	PERFORM omnichannel.require_setup();
	FOR use IN SELECT * FROM omnichannel.promotion_use AS held
		WHERE held.key = release_use.key AND held.state <> 'released' ORDER BY held.promotion FOR UPDATE
	LOOP
		UPDATE omnichannel.promotion_use AS held SET state = 'released' WHERE held.key = use.key AND held.promotion = use.promotion;
		UPDATE omnichannel.coupon AS given SET uses = given.uses - 1 WHERE given.coupon = use.coupon;
		UPDATE omnichannel.promotion_total AS total SET uses = total.uses - 1, spent = total.spent - use.amount
		WHERE total.promotion = use.promotion;
		PERFORM omnichannel.note_used_up(use.promotion)
		FROM omnichannel.promotion_used_up AS noted WHERE noted.promotion = use.promotion;
		released := released + 1;
	END LOOP;
	RETURN released;
END
$$;
COMMENT ON FUNCTION omnichannel.release_use(text) IS
'Gives back what a key has reserved or used, as when an order is cancelled, and returns how many uses; calling it again changes nothing.';

CREATE FUNCTION omnichannel.expire_uses(promotion text DEFAULT NULL, max_rows integer DEFAULT 1000) RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	forgotten text;
	released integer := 0;
BEGIN
	PERFORM omnichannel.require_setup();
	FOR forgotten IN SELECT use.key FROM omnichannel.promotion_use AS use
		WHERE use.state = 'reserved' AND use.expires_at <= now() AND (expire_uses.promotion IS NULL OR use.promotion = expire_uses.promotion)
		ORDER BY use.expires_at, use.key LIMIT max_rows FOR UPDATE SKIP LOCKED
	LOOP
		released := released + omnichannel.release_use(forgotten);
	END LOOP;
	RETURN released;
END
$$;
COMMENT ON FUNCTION omnichannel.expire_uses(text, integer) IS
'Releases reservations whose time is over, of one promotion or of all, at most max_rows keys, and returns how many uses came back. For tick().';

CREATE FUNCTION omnichannel.create_coupons(promotion text, number integer, prefix text DEFAULT '', use_limit bigint DEFAULT 1,
	valid tstzrange DEFAULT tstzrange(NULL, NULL)) RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	batch text := to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD-') || substr(replace(gen_random_uuid()::text, '-', ''), 1, 8);
BEGIN
	PERFORM omnichannel.require_setup();
	IF number IS NULL OR number NOT BETWEEN 1 AND 1000000 OR prefix IS NULL THEN
		RAISE EXCEPTION '% coupons cannot be made', coalesce(number::text, 'NULL')
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Ask for 1 to 1000000 of them.';
	END IF;
	-- 60 random bits in 12 letters and digits, none of which is taken for another: 0 and O, 1 and I.
	INSERT INTO omnichannel.coupon (coupon, promotion, batch, use_limit, valid)
	SELECT upper(btrim(prefix)) || code.code, promotion, batch, use_limit, valid
	FROM generate_series(1, number) AS n
	CROSS JOIN LATERAL (SELECT uuid_send(gen_random_uuid()) AS bytes WHERE n > 0) AS random
	CROSS JOIN LATERAL (SELECT string_agg(substr('ABCDEFGHJKLMNPQRSTUVWXYZ23456789', 1 + get_byte(random.bytes, place) % 32, 1), '') AS code
		FROM unnest('{0,1,2,3,4,5,7,9,10,11,12,13}'::integer[]) AS place) AS code;
	RETURN batch;
END
$$;
COMMENT ON FUNCTION omnichannel.create_coupons(text, integer, text, bigint, tstzrange) IS
'Makes a batch of random codes that open a promotion, and returns the name of the batch, by which omnichannel.coupon finds them. use_limit 1: single-use codes. Raises 23503 for an unknown promotion, 22023 for less than 1 or more than 1,000,000 codes.';

CREATE FUNCTION omnichannel.lowest_price(product text, currency text DEFAULT NULL, at timestamptz DEFAULT now(), country text DEFAULT NULL,
	segments text[] DEFAULT '{}', quantity numeric DEFAULT 1, personalised boolean DEFAULT false,
	OUT lowest_price numeric, OUT price numeric, OUT reduced_since timestamptz, OUT compared_from timestamptz,
	OUT max_percent_claim numeric, OUT reason text)
RETURNS record
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_lowest_price';
COMMENT ON FUNCTION omnichannel.lowest_price(text, text, timestamptz, text, text[], numeric, boolean) IS
'The lowest price of the days before the reduction in force at a moment, which Directive 98/6/EC article 6a wants shown beside it; by the rule of a country (ISO 3166-1 alpha-2, the company''s by default) in omnibus_rule. price: charged at that moment; reduced_since: when the reduction began; compared_from: local midnight from which prices were compared; max_percent_claim: the largest percentage off that may be claimed, counted from lowest_price (Court of Justice, C-330/23), cut to two decimals. Computed from effective dates, so planned changes count; coupons do not. lowest_price is NULL where there is none, and reason says why. personalised: the reduction is for one person. Raises 23503 for an unknown product, currency, segment or country, and as quote_segments().';

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
'The price of every product for a customer, column for column as quote() answers; ORDER BY product where the order matters. Takes memory up to omnichannel.price_cache, and reads the tables more often where that is too little. Raises as quote(), and 53200 where the prices of one product alone do not fit.';

CREATE FUNCTION omnichannel.check_segment_rule(rule text) RETURNS void
LANGUAGE c STABLE STRICT
AS 'MODULE_PATHNAME', 'omnichannel_check_segment_rule';
COMMENT ON FUNCTION omnichannel.check_segment_rule(text) IS
'Returns nothing where the text can be a segment''s rule: one expression, true or false, over the columns of segment_input, of functions and types that PostgreSQL brings and that are not volatile. Raises 22023 otherwise, 42601 for a syntax error, 42703 for an unknown column, 55000 before setup().';

CREATE FUNCTION omnichannel.check_segment() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM omnichannel.check_segment_rule(NEW.rule);
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION omnichannel.check_segment() IS
'Trigger function of segment: raises what check_segment_rule() raises.';

CREATE FUNCTION omnichannel.refresh_segments(segment text DEFAULT NULL, OUT refreshed text, OUT joined bigint, OUT gone bigint) RETURNS SETOF record
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	ruled record;
BEGIN
	PERFORM omnichannel.require_setup();
	IF refresh_segments.segment IS NOT NULL AND NOT EXISTS (SELECT FROM omnichannel.segment AS known WHERE known.segment = refresh_segments.segment) THEN
		RAISE EXCEPTION 'segment "%" is not known', refresh_segments.segment
			USING ERRCODE = 'foreign_key_violation', HINT = 'Use a code of omnichannel.segment.';
	END IF;
	FOR ruled IN SELECT known.segment, known.rule FROM omnichannel.segment AS known
		WHERE known.rule IS NOT NULL AND (refresh_segments.segment IS NULL OR known.segment = refresh_segments.segment)
		ORDER BY known.segment FOR NO KEY UPDATE
	LOOP
		-- Checked again: what a function or a column means may have changed since it was written.
		PERFORM omnichannel.check_segment_rule(ruled.rule);
		refreshed := ruled.segment;
		EXECUTE format('DELETE FROM omnichannel.segment_member AS member WHERE member.segment = $1 AND lower(member.valid) = now() '
			'AND NOT EXISTS (SELECT FROM omnichannel.segment_input AS customer WHERE customer.customer_id = member.customer_id AND (%s))',
			ruled.rule || E'\n') USING ruled.segment;
		EXECUTE format('UPDATE omnichannel.segment_member AS member SET valid = tstzrange(lower(member.valid), now()) '
			'WHERE member.segment = $1 AND member.valid @> now() '
			'AND member.customer_id NOT IN (SELECT customer.customer_id FROM omnichannel.segment_input AS customer WHERE (%s))',
			ruled.rule || E'\n') USING ruled.segment;
		GET DIAGNOSTICS gone = ROW_COUNT;
		EXECUTE format('INSERT INTO omnichannel.segment_member (customer_id, segment, valid) '
			'SELECT customer.customer_id, $1, tstzrange(now(), NULL) FROM omnichannel.segment_input AS customer WHERE (%s) '
			'AND NOT EXISTS (SELECT FROM omnichannel.segment_member AS member WHERE member.customer_id = customer.customer_id '
			'AND member.segment = $1 AND member.valid && tstzrange(now(), NULL))',
			ruled.rule || E'\n') USING ruled.segment;
		GET DIAGNOSTICS joined = ROW_COUNT;
		UPDATE omnichannel.segment AS known SET refreshed_at = now() WHERE known.segment = ruled.segment;
		RETURN NEXT;
	END LOOP;
END
$$;
COMMENT ON FUNCTION omnichannel.refresh_segments(text) IS
'Applies the rules of segments, of one or of all: who fits joins now, who no longer does leaves now, and only they are written. Returns a row for each segment with how many joined and left. Raises 23503 for an unknown segment, and what check_segment_rule() raises.';

CREATE FUNCTION omnichannel.check_staged_prices(max_jump numeric DEFAULT 50, OUT line bigint, OUT problem text, OUT detail text) RETURNS SETOF record
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
-- A million lines and no statistics yet: loops inside loops would take hours.
SET enable_nestloop = off
AS $$
#variable_conflict use_column
BEGIN
	PERFORM omnichannel.require_setup();
	RETURN QUERY
	WITH staged AS (
		SELECT s.*, list.kind, list.currency, list.derived_from, list.price_list IS NOT NULL AS known, coalesce(s.valid, tstzrange(now(), NULL)) AS during,
			CASE WHEN s.product IS NOT NULL THEN 'p' || s.product WHEN s.category IS NOT NULL THEN 'c' || s.category WHEN s.everything THEN '*' END AS target
		FROM omnichannel.price_staging AS s LEFT JOIN omnichannel.price_list AS list ON list.price_list = s.price_list
	), existing AS (
		SELECT p.price_list, p.min_quantity, p.amount, p.valid,
			CASE WHEN p.product IS NOT NULL THEN 'p' || p.product WHEN p.category_path IS NOT NULL THEN 'c' || p.category_path ELSE '*' END AS target
		FROM omnichannel.price AS p WHERE p.price_list IN (SELECT staged.price_list FROM staged)
	)
	SELECT s.line, 'list', format('price list %s is not known', coalesce(quote_literal(s.price_list), 'NULL')) FROM staged AS s WHERE NOT s.known
	UNION ALL
	SELECT s.line, 'derived', format('price list %L is derived', s.price_list) FROM staged AS s WHERE s.derived_from IS NOT NULL
	UNION ALL
	SELECT s.line, 'product', format('product %L is not known', s.product) FROM staged AS s
	WHERE s.product IS NOT NULL AND NOT EXISTS (SELECT FROM omnichannel.product AS known WHERE known.product = s.product)
	UNION ALL
	SELECT s.line, 'target', 'exactly one of product, category and everything is to be set' FROM staged AS s
	WHERE num_nonnulls(s.product, s.category, nullif(s.everything, false)) <> 1
	UNION ALL
	SELECT s.line, 'value', 'amount, adjust, surcharge, round_to, min_quantity or valid is out of range, or there is none' FROM staged AS s
	WHERE (s.amount IS NULL) = (s.adjust IS NULL AND s.surcharge IS NULL) OR NOT coalesce(s.amount >= 0 AND s.amount < 1e18, true)
		OR NOT coalesce(s.adjust >= -100 AND s.adjust < 1e6, true) OR NOT coalesce(s.surcharge > -1e18 AND s.surcharge < 1e18, true)
		OR NOT coalesce(s.round_to > 0 AND s.round_to < 1e18, true) OR (s.round_to IS NOT NULL AND s.amount IS NOT NULL)
		OR NOT (s.min_quantity >= 0 AND s.min_quantity < 'Infinity') OR isempty(s.during) OR (s.kind = 'base' AND s.amount IS NULL)
	UNION ALL
	SELECT o.line, 'overlap', 'overlaps with a line before it'
	FROM (
		SELECT s.line, coalesce(lower(s.during), '-infinity') AS begins,
			max(coalesce(upper(s.during), 'infinity')) OVER (PARTITION BY s.price_list, s.target, s.min_quantity
				ORDER BY coalesce(lower(s.during), '-infinity'), s.line ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS taken_until
		FROM staged AS s WHERE s.target IS NOT NULL AND NOT isempty(s.during)
	) AS o WHERE o.taken_until > o.begins
	UNION ALL
	SELECT b.line, 'tier rises', format('from %s on it costs %s, from %s on %s', a.min_quantity, a.amount, b.min_quantity, b.amount)
	FROM staged AS b JOIN (
		SELECT price_list, target, min_quantity, amount, during FROM staged
		UNION ALL
		SELECT e.price_list, e.target, e.min_quantity, e.amount, e.valid FROM existing AS e WHERE NOT EXISTS (
			SELECT FROM staged AS s WHERE s.price_list = e.price_list AND s.target = e.target AND s.min_quantity = e.min_quantity AND s.during @> e.valid)
	) AS a ON a.price_list = b.price_list AND a.target = b.target AND a.min_quantity < b.min_quantity AND a.during && b.during
	WHERE b.amount > a.amount
	UNION ALL
	SELECT s.line, 'sale above base', format('%s is not below %s', s.amount, min(base.amount))
	FROM staged AS s JOIN (
		SELECT n.product, n.currency, n.min_quantity, n.amount, n.during FROM staged AS n WHERE n.kind = 'base' AND n.product IS NOT NULL
		UNION ALL
		SELECT p.product, list.currency, p.min_quantity, p.amount, p.valid
		FROM omnichannel.price AS p JOIN omnichannel.price_list AS list ON list.price_list = p.price_list
		WHERE list.kind = 'base' AND p.product IN (SELECT n.product FROM staged AS n WHERE n.kind = 'sale')
			AND NOT EXISTS (SELECT FROM staged AS n WHERE n.price_list = p.price_list AND n.product = p.product
				AND n.min_quantity = p.min_quantity AND n.during && p.valid)
	) AS base ON base.product = s.product AND base.currency = s.currency AND base.min_quantity <= s.min_quantity AND base.during && s.during
	WHERE s.kind = 'sale'
	GROUP BY s.line, s.amount HAVING s.amount >= min(base.amount)
	UNION ALL
	SELECT s.line, 'below floor', format('%s is below %s', s.amount, greatest(p.min_price, p.cost * (100 + p.min_margin) * 0.01))
	FROM staged AS s JOIN omnichannel.product AS p ON p.product = s.product AND p.currency = s.currency
	WHERE s.amount < greatest(p.min_price, p.cost * (100 + p.min_margin) * 0.01)
	UNION ALL
	SELECT s.line, 'jump', format('%s instead of %s', s.amount, e.amount)
	FROM staged AS s JOIN existing AS e ON e.price_list = s.price_list AND e.target = s.target AND e.min_quantity = s.min_quantity
		AND e.valid @> coalesce(lower(s.during), '-infinity')
	WHERE abs(s.amount - e.amount) * 100 > max_jump * e.amount
	ORDER BY 1, 2, 3;
END
$$;
COMMENT ON FUNCTION omnichannel.check_staged_prices(numeric) IS
'What is wrong with price_staging, a row for each problem: list, derived, product, target, value, overlap, tier rises, sale above base, below floor, and jump, a change by more than max_jump percent.';

CREATE FUNCTION omnichannel.apply_prices(max_jump numeric DEFAULT 50, accept text[] DEFAULT '{}',
	OUT line bigint, OUT problem text, OUT detail text, OUT applied bigint) RETURNS SETOF record
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_nestloop = off
AS $$
#variable_conflict use_column
DECLARE
	staged_lines bigint;
	refused boolean := false;
	found_problem record;
BEGIN
	PERFORM omnichannel.require_setup();
	LOCK TABLE omnichannel.price_staging IN SHARE ROW EXCLUSIVE MODE;
	FOR found_problem IN SELECT * FROM omnichannel.check_staged_prices(apply_prices.max_jump)
	LOOP
		refused := refused OR found_problem.problem <> ALL (apply_prices.accept)
			OR found_problem.problem IN ('list', 'derived', 'product', 'target', 'value', 'overlap');
		line := found_problem.line;
		problem := found_problem.problem;
		detail := found_problem.detail;
		RETURN NEXT;
	END LOOP;
	IF refused THEN
		RETURN;
	END IF;

	-- What is replaced keeps the time that no new price takes.
	CREATE TEMP TABLE replaced_price ON COMMIT DROP AS
	SELECT p.price_id, ARRAY(SELECT unnest(tstzmultirange(p.valid) - range_agg(coalesce(s.valid, tstzrange(now(), NULL))))) AS pieces
	FROM omnichannel.price_staging AS s JOIN omnichannel.price AS p ON p.price_list = s.price_list AND p.min_quantity = s.min_quantity
		AND coalesce('p' || p.product, 'c' || p.category_path, '*') = coalesce('p' || s.product, 'c' || s.category, '*')
		AND p.valid && coalesce(s.valid, tstzrange(now(), NULL))
	GROUP BY p.price_id, p.valid;
	DELETE FROM omnichannel.price AS p USING pg_temp.replaced_price AS r WHERE p.price_id = r.price_id AND r.pieces = '{}';
	UPDATE omnichannel.price AS p SET valid = r.pieces[1] FROM pg_temp.replaced_price AS r WHERE p.price_id = r.price_id AND r.pieces <> '{}';
	INSERT INTO omnichannel.price (price_list, product, category, everything, min_quantity, amount, adjust, surcharge, round_to, valid, created_at)
	SELECT p.price_list, p.product, p.category, p.everything, p.min_quantity, p.amount, p.adjust, p.surcharge, p.round_to, piece, p.created_at
	FROM pg_temp.replaced_price AS r JOIN omnichannel.price AS p ON p.price_id = r.price_id, unnest(r.pieces[2:]) AS piece;
	DROP TABLE pg_temp.replaced_price;
	PERFORM omnichannel.insert_staged_prices();
	SELECT count(*) INTO staged_lines FROM omnichannel.price_staging;
	DELETE FROM omnichannel.price_staging;

	line := NULL;
	problem := NULL;
	detail := 'applied';
	applied := staged_lines;
	RETURN NEXT;
END
$$;
COMMENT ON FUNCTION omnichannel.apply_prices(numeric, text[]) IS
'Checks price_staging as check_staged_prices() does and returns a row for each problem; where there is none but of the kinds that accept names, writes all of it in this transaction, empties price_staging and returns a last row with the number of prices applied. A staged price replaces those of the same list, target and min_quantity for its own time only. Problems of the kinds list, derived, product, target, value and overlap cannot be accepted.';

CREATE FUNCTION omnichannel.insert_staged_prices() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	ltree_type text;
BEGIN
	PERFORM omnichannel.require_setup();
	-- The schema of ltree is anyone's choice.
	SELECT format_type(attribute.atttypid, NULL) INTO STRICT ltree_type FROM pg_attribute AS attribute
	WHERE attribute.attrelid = 'omnichannel.price'::regclass AND attribute.attname = 'category';
	EXECUTE format('INSERT INTO omnichannel.price (price_list, product, category, everything, min_quantity, amount, adjust, surcharge, round_to, valid) '
		'SELECT price_list, product, category::%s, everything, min_quantity, amount, adjust, surcharge, round_to, coalesce(valid, tstzrange(now(), NULL)) '
		'FROM omnichannel.price_staging', ltree_type);
END
$$;
COMMENT ON FUNCTION omnichannel.insert_staged_prices() IS 'Called by apply_prices(): writes what is staged.';
