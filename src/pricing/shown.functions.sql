CREATE FUNCTION omnichannel.shown_price(channel text, product text, price numeric, customer_id bigint DEFAULT NULL, quantity numeric DEFAULT 1,
	currency text DEFAULT NULL, coupons text[] DEFAULT '{}', quote_id bigint DEFAULT NULL, place text DEFAULT NULL,
	at timestamptz DEFAULT now(), sample double precision DEFAULT 1) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
	PERFORM omnichannel.require_setup();
	IF sample IS NULL OR NOT (sample >= 0 AND sample <= 1) THEN
		RAISE EXCEPTION 'a sample of % cannot be taken', coalesce(sample::text, 'NULL')
			USING ERRCODE = 'invalid_parameter_value', HINT = 'From 0 (none) to 1 (all): 0.001 takes one in a thousand.';
	END IF;
	IF sample < 1 AND random() >= sample THEN
		RETURN false;
	END IF;
	IF product IS NULL OR price IS NULL OR NOT (price >= 0 AND price < 1e18) OR quantity IS NULL OR NOT (quantity > 0 AND quantity <= 1e12)
		OR at IS NULL OR NOT (at >= '1970-01-01 00:00+00' AND at < '10000-01-01 00:00+00')
	THEN
		RAISE EXCEPTION 'a price of % for % of product % at % cannot have been shown', coalesce(price::text, 'NULL'), coalesce(quantity::text, 'NULL'),
			coalesce(quote_literal(product), 'NULL'), coalesce(at::text, 'NULL')
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Pass the product, the price of one unit, the quantity and the moment as displayed.';
	END IF;
	IF NOT EXISTS (SELECT FROM omnichannel.channel AS known WHERE known.channel = shown_price.channel) THEN
		RAISE EXCEPTION 'channel % is not known', coalesce(quote_literal(channel), 'NULL')
			USING ERRCODE = 'foreign_key_violation', HINT = 'Use a code of omnichannel.channel.';
	END IF;
	-- Without a lock: what is taken while the customer is being erased, the sweep finds.
	IF customer_id IS NOT NULL AND EXISTS (
		SELECT FROM omnichannel.customer AS person WHERE person.customer_id = shown_price.customer_id AND person.erased_at IS NOT NULL
	) THEN
		PERFORM omnichannel.require_customer(customer_id);
	END IF;
	INSERT INTO omnichannel.shown_price (shown_at, channel, place, customer_id, product, quantity, currency, coupons, quote_id, price)
	VALUES (at, channel, place, customer_id, product, quantity, coalesce(currency, omnichannel.default_currency()), coalesce(coupons, '{}'), quote_id, price);
	RETURN true;
END
$$;
COMMENT ON FUNCTION omnichannel.shown_price(text, text, numeric, bigint, numeric, text, text[], bigint, text, timestamptz, double precision) IS
'Takes what a channel displayed: the price of one unit (where quote() says line_total and no unit_price, as its units cost different prices, line_total by the quantity), to whom (NULL: a visitor who is not known), for which quantity, currency (the company''s by default), coupons and locked quote, where (a page, a shop) and when. sample: the share that is taken, 0.001 for one in a thousand; what is left out costs no table access and returns false. A product or customer that the engine does not know is taken too, and reported. Raises 23503 for an unknown channel, 22023 for a sample outside 0 to 1 or a price, quantity or moment that cannot be, 55000 for a customer who was erased and before setup(), 42501 without INSERT on shown_price and SELECT on customer.';

CREATE FUNCTION omnichannel.price_moments(product text, after timestamptz, before timestamptz, max_rows integer) RETURNS timestamptz[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM omnichannel.require_setup();
	RETURN ARRAY(
		WITH RECURSIVE chain AS (
			SELECT sold.product, sold.parent, sold.category::text AS category, 0 AS level FROM omnichannel.product AS sold WHERE sold.product = $1
			UNION ALL
			SELECT above.product, above.parent, above.category::text, chain.level + 1
			FROM chain JOIN omnichannel.product AS above ON above.product = omnichannel.parent_above(chain.parent, chain.level)
		), category AS (
			SELECT array_to_string((string_to_array(place.path, '.'))[:depth], '.') AS path
			FROM (SELECT chain.category AS path FROM chain WHERE chain.category IS NOT NULL ORDER BY chain.level LIMIT 1) AS place,
				generate_series(1, cardinality(string_to_array(place.path, '.'))) AS depth
		), span AS (
			SELECT price.valid, list.valid AS list_valid, list.active
			FROM omnichannel.price JOIN omnichannel.price_list AS list USING (price_list)
			WHERE price.product = ANY (ARRAY(SELECT chain.product FROM chain))
				OR price.category_path = ANY (ARRAY(SELECT category.path FROM category)) OR price.everything
		)
		SELECT DISTINCT moment
		FROM (
			SELECT unnest(ARRAY[lower(span.valid), upper(span.valid), lower(span.list_valid), upper(span.list_valid)]) FROM span
			UNION ALL
			SELECT unnest(ARRAY[lower(time), upper(time)]) FROM span, unnest(span.active) AS time
			UNION ALL
			SELECT unnest(ARRAY[lower(promotion.valid), upper(promotion.valid)]) FROM omnichannel.promotion
			UNION ALL
			SELECT unnest(ARRAY[lower(time), upper(time)]) FROM omnichannel.promotion, unnest(promotion.active) AS time
			UNION ALL
			SELECT unnest(ARRAY[used_up.since, used_up.until]) FROM omnichannel.promotion_used_up AS used_up
		) AS bound (moment)
		WHERE moment > $2 AND moment <= $3
		ORDER BY moment DESC LIMIT $4);
END
$$;
COMMENT ON FUNCTION omnichannel.price_moments(text, timestamptz, timestamptz, integer) IS
'The moments after one and up to another at which the price of a product can have changed, the latest first, at most max_rows. Raises 55000 before setup().';

CREATE FUNCTION omnichannel.shown_currency(product text, price numeric, customer_id bigint, quantity numeric, currency text, coupons text[],
	at timestamptz) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	code text;
	other omnichannel.price_quote;
BEGIN
	PERFORM omnichannel.require_setup();
	FOR code IN SELECT DISTINCT list.currency FROM omnichannel.price_list AS list WHERE list.currency <> $5 ORDER BY 1 LIMIT 20
	LOOP
		other := omnichannel.quote(customer_id, product, quantity, code, at, coupons);
		IF other.unit_price = price THEN
			RETURN format('price in %s', code);
		END IF;
	END LOOP;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION omnichannel.shown_currency(text, numeric, bigint, numeric, text, text[], timestamptz) IS
'Called by check_shown_price(): in which other currency a displayed price would have been the right one, in words; NULL: in none. Raises as quote().';

CREATE FUNCTION omnichannel.shown_unit(unit_price numeric, line_total numeric, quantity numeric, smallest numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(unit_price, pg_catalog.round(line_total OPERATOR(pg_catalog./) quantity, pg_catalog.scale(pg_catalog.trim_scale(smallest))));
COMMENT ON FUNCTION omnichannel.shown_unit(numeric, numeric, numeric, numeric) IS
'Called by check_shown_price(): what a channel reports for one unit of an answer: unit_price, or, where its units cost different prices, line_total by the quantity, rounded to the smallest amount of the currency; NULL where there is no price.';

CREATE FUNCTION omnichannel.divergence_code(cause text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
	WHEN cause IS NULL THEN NULL
	WHEN cause OPERATOR(pg_catalog.=) ANY ('{product not known,customer not known,currency not known,coupon not known}'::text[]) THEN 'unknown_code'
	WHEN cause OPERATOR(pg_catalog.~~) 'no price: %' THEN 'no_price'
	WHEN cause OPERATOR(pg_catalog.~~) 'cannot be checked: %' THEN 'not_checked'
	WHEN cause OPERATOR(pg_catalog.~~) 'locked quote %' OR cause OPERATOR(pg_catalog.~~) 'not the price of locked quote %' THEN 'locked_quote'
	WHEN cause OPERATOR(pg_catalog.~~) 'stale: %' THEN 'stale'
	WHEN cause OPERATOR(pg_catalog.~~) 'too early: %' THEN 'early'
	WHEN cause OPERATOR(pg_catalog.~~) 'shown with% tax' OR cause OPERATOR(pg_catalog.~~) 'tax %' THEN 'tax'
	WHEN cause OPERATOR(pg_catalog.~~) 'coupon %' OR cause OPERATOR(pg_catalog.~~) 'price with a coupon %' THEN 'coupon'
	WHEN cause OPERATOR(pg_catalog.~~) 'list price %' THEN 'list_price'
	WHEN cause OPERATOR(pg_catalog.=) 'price of an unknown visitor' THEN 'visitor'
	WHEN cause OPERATOR(pg_catalog.~~) 'price of segment%' THEN 'segment'
	WHEN cause OPERATOR(pg_catalog.~~) 'price of %' THEN 'quantity'
	WHEN cause OPERATOR(pg_catalog.~~) 'price in %' THEN 'currency'
	WHEN cause OPERATOR(pg_catalog.=) 'rounded otherwise' THEN 'rounding'
	ELSE 'not_known'
END;
COMMENT ON FUNCTION omnichannel.divergence_code(text) IS
'The code of a cause that check_shown_price() has found, to group by: tax, stale, early, list_price, coupon, locked_quote, visitor, segment, quantity, currency, rounding, no_price, unknown_code (a product, customer, currency or coupon that is not known), not_checked (it could not be), not_known (no cause was found); NULL for NULL.';

CREATE FUNCTION omnichannel.check_shown_price(product text, price numeric, customer_id bigint, quantity numeric, currency text, coupons text[],
	quote_id bigint, at timestamptz, OUT expected numeric, OUT cause text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	known text[];
	answer omnichannel.price_quote;
	other omnichannel.price_quote;
	held record;
	moment timestamptz;
	unseen timestamptz[];
	former bigint[];
	code text;
	opened text;
	tier numeric;
	segments text[];
	smallest numeric;
BEGIN
	PERFORM omnichannel.require_setup();
	known := ARRAY(SELECT given.coupon FROM omnichannel.coupon AS given WHERE given.coupon IN (SELECT upper(btrim(typed)) FROM unnest(coupons) AS typed));
	SELECT power(10::numeric, -coalesce(unit.minor_units, 6)) INTO smallest FROM omnichannel.currency AS unit WHERE unit.currency = check_shown_price.currency;
	cause := CASE WHEN smallest IS NULL THEN 'currency not known'
		WHEN NOT EXISTS (SELECT FROM omnichannel.product AS sold WHERE sold.product = check_shown_price.product) THEN 'product not known'
		WHEN customer_id IS NOT NULL AND NOT EXISTS (SELECT FROM omnichannel.customer AS person WHERE person.customer_id = check_shown_price.customer_id)
			THEN 'customer not known' END;
	IF cause IS NOT NULL THEN
		RETURN;
	END IF;

	SELECT locked.unit_price, locked.line_total, locked.locked_at <= at AND at < locked.valid_until AS in_time,
		(locked.product, locked.quantity, locked.currency) = (product, quantity, currency) AND (locked.customer_id IS NULL
			OR locked.customer_id = ANY (CASE WHEN customer_id IS NOT NULL THEN omnichannel.customer_group(customer_id) END)
			OR EXISTS (SELECT FROM omnichannel.former_groups(customer_id, at) AS one (former) WHERE locked.customer_id = ANY (one.former))) IS TRUE AS fits
	INTO held FROM omnichannel.locked_quote AS locked WHERE locked.quote_id = check_shown_price.quote_id;
	IF held.fits AND held.in_time THEN
		expected := omnichannel.shown_unit(held.unit_price, held.line_total, quantity, smallest);
		IF price IS DISTINCT FROM expected AND (held.unit_price IS NULL AND abs(price * quantity - held.line_total) <= smallest / 2 * quantity) IS NOT TRUE THEN
			cause := format('not the price of locked quote %s', quote_id);
		END IF;
		RETURN;
	END IF;

	answer := omnichannel.quote(customer_id, product, quantity, currency, at, known);
	-- Who turned out later to be one customer was not then.
	IF EXISTS (SELECT FROM omnichannel.customer_merge AS merge WHERE merge.kept_id = customer_id OR merge.duplicate_id = customer_id) THEN
		former := omnichannel.customer_group_at(customer_id, at);
		IF NOT (former @> omnichannel.customer_group(customer_id) AND former <@ omnichannel.customer_group(customer_id)) THEN
			answer := omnichannel.quote_unseen(customer_id, product, quantity, currency, at, known, '{}', former);
		END IF;
	END IF;
	-- Where the units cost different prices it may be shown rounded, or not.
	expected := omnichannel.shown_unit(answer.unit_price, answer.line_total, quantity, smallest);
	IF price = expected OR (answer.unit_price IS NULL AND abs(price * quantity - answer.line_total) <= smallest / 2 * quantity) THEN
		RETURN;
	END IF;
	-- Nobody saw what was changed in a transaction that had not committed yet, nor customers merged in one.
	FOR unseen, former IN
		SELECT change.unseen, one.former
		FROM (SELECT '{}'::timestamptz[] UNION ALL SELECT omnichannel.unseen_changes(at, customer_id, known)) AS change (unseen),
			(SELECT NULL::bigint[], 0::bigint UNION ALL SELECT * FROM omnichannel.former_groups(customer_id, at) WITH ORDINALITY) AS one (former, place)
		WHERE change.unseen <> '{}' OR one.former IS NOT NULL
		ORDER BY cardinality(change.unseen), one.place
	LOOP
		other := omnichannel.quote_unseen(customer_id, product, quantity, currency, at, known, unseen, former);
		IF price = other.unit_price OR (other.unit_price IS NULL AND abs(price * quantity - other.line_total) <= smallest / 2 * quantity) THEN
			expected := omnichannel.shown_unit(other.unit_price, other.line_total, quantity, smallest);
			RETURN;
		END IF;
	END LOOP;
	IF answer.line_total IS NULL THEN
		cause := coalesce(omnichannel.shown_currency(product, price, customer_id, quantity, currency, known, at), 'no price: ' || answer.reason);
	ELSIF price = held.unit_price THEN
		cause := CASE WHEN held.fits THEN format('locked quote %s did not hold then', quote_id)
			ELSE format('locked quote %s is for another customer, product, quantity or currency', quote_id) END;
	ELSIF price = answer.unit_net THEN
		cause := 'shown without tax';
	ELSIF price = answer.unit_gross THEN
		cause := 'shown with tax';
	ELSIF answer.tax_rate > 0 AND abs(price - answer.unit_gross * (100 + answer.tax_rate) / 100) <= smallest / 2 THEN
		cause := 'tax added twice';
	ELSIF answer.tax_rate > 0 AND abs(price - answer.unit_net * 100 / (100 + answer.tax_rate)) <= smallest / 2 THEN
		cause := 'tax taken out twice';
	ELSIF answer.unit_price IS NULL AND price = answer.line_total THEN
		cause := 'price of the whole line';
	ELSIF answer.unit_price IS NULL AND price = (omnichannel.quote(customer_id, product, 1, currency, at, known)).unit_price THEN
		cause := 'price of a single unit';
	ELSIF known <> '{}' THEN
		other := omnichannel.quote(customer_id, product, quantity, currency, at);
		cause := CASE WHEN omnichannel.shown_unit(other.unit_price, other.line_total, quantity, smallest) = price THEN 'coupon left out' END;
	END IF;

	-- The cause is looked for by asking the engine what the channel may have asked instead.
	IF cause IS NULL THEN
		FOREACH moment IN ARRAY omnichannel.price_moments(product, at - interval '90 days', at, 50)
		LOOP
			other := omnichannel.quote(customer_id, product, quantity, currency, moment - interval '1 microsecond', known);
			IF omnichannel.shown_unit(other.unit_price, other.line_total, quantity, smallest) = price THEN
				cause := format('stale: the price until %s', moment);
				EXIT;
			END IF;
		END LOOP;
	END IF;
	IF cause IS NULL AND known <> '{}' THEN
		FOR code, moment IN
			SELECT given.coupon, hold.until - interval '1 microsecond'
			FROM omnichannel.coupon AS given CROSS JOIN LATERAL (VALUES (upper(given.valid)), ((SELECT max(used.reserved_at) FROM omnichannel.promotion_use AS used
				WHERE used.coupon = given.coupon AND used.reserved_at <= check_shown_price.at AND used.state <> 'released'))) AS hold (until)
			WHERE cause IS NULL AND given.coupon = ANY (known) AND hold.until <= check_shown_price.at
			ORDER BY 2 DESC, 1 LIMIT 20
		LOOP
			other := omnichannel.quote(customer_id, product, quantity, currency, moment, known);
			IF omnichannel.shown_unit(other.unit_price, other.line_total, quantity, smallest) = price THEN
				cause := format('coupon %s, which did not hold any more', code);
				EXIT;
			END IF;
		END LOOP;
	END IF;
	IF cause IS NULL AND price = answer.list_price THEN
		cause := 'list price shown instead of the reduced one';
	END IF;
	IF cause IS NULL AND customer_id IS NOT NULL THEN
		other := omnichannel.quote(NULL, product, quantity, currency, at, known);
		cause := CASE WHEN omnichannel.shown_unit(other.unit_price, other.line_total, quantity, smallest) = price THEN 'price of an unknown visitor' END;
	END IF;
	IF cause IS NULL THEN
		-- One code of each promotion that would have needed one: those of a batch are alike.
		FOR opened, code IN
			SELECT missing.candidate, given.coupon
			FROM omnichannel.explain_quote(customer_id, product, quantity, currency, at, known) AS missing
				CROSS JOIN LATERAL (SELECT found.* FROM omnichannel.coupon AS found WHERE found.promotion = missing.candidate ORDER BY found.batch DESC LIMIT 100) AS given
			WHERE missing.kind = 'promotion' AND missing.verdict = 'coupon missing' AND given.valid @> at
				AND (given.customer_id IS NULL OR given.customer_id = check_shown_price.customer_id)
			ORDER BY missing.step, given.coupon LIMIT 20
		LOOP
			other := omnichannel.quote(customer_id, product, quantity, currency, at, known || code);
			IF omnichannel.shown_unit(other.unit_price, other.line_total, quantity, smallest) = price THEN
				cause := format('price with a coupon for promotion %s, and none was given', opened);
				EXIT;
			END IF;
		END LOOP;
	END IF;
	IF cause IS NULL AND quantity <> 1 AND price = answer.line_total THEN
		cause := 'price of the whole line';
	END IF;
	IF cause IS NULL THEN
		-- A single unit, and each quantity from which on a price or a promotion holds.
		FOR tier IN SELECT DISTINCT asked.quantity
			FROM (SELECT 1::numeric UNION ALL
				SELECT (price_row.value ->> 'min_quantity')::numeric FROM jsonb_each(omnichannel.quote_rules(product, currency, at, '{}') -> 'price') AS price_row
				UNION ALL SELECT promotion.min_quantity FROM omnichannel.promotion) AS asked (quantity)
			WHERE asked.quantity > 0 AND asked.quantity <> check_shown_price.quantity ORDER BY 1 LIMIT 20
		LOOP
			other := omnichannel.quote(customer_id, product, tier, currency, at, known);
			IF omnichannel.shown_unit(other.unit_price, other.line_total, tier, smallest) = price THEN
				cause := CASE WHEN tier = 1 THEN 'price of a single unit' ELSE format('price of %s units', tier) END;
				EXIT;
			ELSIF tier = 1 AND price = other.unit_price * quantity THEN
				cause := format('price of the whole line, as %s single units', trim_scale(quantity));
				EXIT;
			END IF;
		END LOOP;
	END IF;
	IF cause IS NULL THEN
		-- Each segment that makes a difference, and all those together that one rule asks for.
		FOR segments IN
			SELECT DISTINCT asked.segments
			FROM (SELECT list.segments_any, list.segments_all FROM omnichannel.price_list AS list WHERE list.currency = check_shown_price.currency
				UNION ALL SELECT promotion.segments_any, promotion.segments_all FROM omnichannel.promotion) AS rule (segments_any, segments_all)
				CROSS JOIN LATERAL (SELECT ARRAY[one] FROM unnest(rule.segments_any || rule.segments_all) AS one
					UNION ALL SELECT ARRAY(SELECT DISTINCT each_one FROM unnest(rule.segments_all || one) AS each_one WHERE each_one IS NOT NULL ORDER BY each_one)
					FROM unnest(CASE WHEN rule.segments_any = '{}' THEN '{NULL}' ELSE rule.segments_any END) AS one) AS asked (segments)
			WHERE asked.segments <> '{}' ORDER BY 1 LIMIT 100
		LOOP
			other := omnichannel.quote_segments(segments, product, quantity, currency, at, known);
			IF omnichannel.shown_unit(other.unit_price, other.line_total, quantity, smallest) = price THEN
				cause := format(CASE WHEN cardinality(segments) = 1 THEN 'price of segment %s' ELSE 'price of segments %s' END, array_to_string(segments, ', '));
				EXIT;
			END IF;
		END LOOP;
	END IF;
	IF cause IS NULL THEN
		FOREACH moment IN ARRAY omnichannel.price_moments(product, at, at + interval '30 days', 20)
		LOOP
			other := omnichannel.quote(customer_id, product, quantity, currency, moment, known);
			IF omnichannel.shown_unit(other.unit_price, other.line_total, quantity, smallest) = price THEN
				cause := format('too early: the price from %s on', moment);
				EXIT;
			END IF;
		END LOOP;
	END IF;
	IF cause IS NULL THEN
		cause := omnichannel.shown_currency(product, price, customer_id, quantity, currency, known, at);
	END IF;
	IF cause IS NULL AND expected > 0 AND price > expected AND price % expected = 0 AND price / expected <= 1000 THEN
		cause := format('price of %s units together', trim_scale(price / expected));
	END IF;
	IF cause IS NULL THEN
		cause := CASE WHEN abs(price - expected) <= smallest THEN 'rounded otherwise'
			WHEN cardinality(known) < cardinality(coupons) THEN 'coupon not known' ELSE 'not known' END;
	END IF;
END
$$;
COMMENT ON FUNCTION omnichannel.check_shown_price(text, numeric, bigint, numeric, text, text[], bigint, timestamptz) IS
'Compares a displayed price with the engine''s answer of that moment, or with the locked quote that was honoured, where it is this customer''s, and for this product, quantity and currency. expected: the right one, where its units cost different prices their mean, rounded, as which the exact one counts too; cause: NULL where it was displayed, or was right before a change that was under way, or had been seen for less than a second, or before the customer was merged or parted, else the likely cause: tax, also added or taken out twice, a coupon that was left out, a price of before (up to 90 days), a coupon that did not hold any more, the list price, an unknown visitor''s price, that with a coupon that was not given, that of the whole line, of another quantity or of other segments, of later (up to 30 days), in another currency, of several units together, rounding; the first of these that fits. Raises 55000 before setup().';

CREATE FUNCTION omnichannel.check_shown_prices(max_rows integer DEFAULT 10000, max_time interval DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	shown record;
	result record;
	done bigint := 0;
	begun timestamptz := clock_timestamp();
BEGIN
	PERFORM omnichannel.require_setup();
	IF max_rows IS NULL OR max_rows < 0 THEN
		RAISE EXCEPTION 'max_rows must not be %', coalesce(max_rows::text, 'NULL')
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave it out for 10000.';
	END IF;
	IF max_time < interval '0' THEN
		RAISE EXCEPTION 'max_time must not be %', max_time
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave it out for as long as it takes.';
	END IF;
	FOR shown IN
		SELECT seen.shown_at, seen.shown_id, seen.product, seen.price, seen.customer_id, seen.quantity, seen.currency, seen.coupons, seen.quote_id
		FROM omnichannel.shown_price AS seen
		WHERE seen.checked_at IS NULL AND seen.shown_at <= now()
		ORDER BY seen.shown_at, seen.shown_id LIMIT max_rows FOR UPDATE SKIP LOCKED
	LOOP
		BEGIN
			SELECT found_out.expected, found_out.cause INTO result FROM omnichannel.check_shown_price(shown.product, shown.price, shown.customer_id,
				shown.quantity, shown.currency, shown.coupons, shown.quote_id, shown.shown_at) AS found_out;
		EXCEPTION WHEN OTHERS THEN
			-- One that cannot be checked holds up no other; what may go well when it is tried again is tried again.
			IF left(SQLSTATE, 2) IN ('40', '53', '55', '57') THEN
				RAISE;
			END IF;
			SELECT NULL::numeric AS expected, format('cannot be checked: %s', SQLERRM) AS cause INTO result;
		END;
		UPDATE omnichannel.shown_price AS seen SET checked_at = now(), expected = result.expected, cause = result.cause
		WHERE seen.shown_at = shown.shown_at AND seen.shown_id = shown.shown_id;
		done := done + 1;
		EXIT WHEN clock_timestamp() - begun >= max_time;
	END LOOP;
	RETURN done;
END
$$;
COMMENT ON FUNCTION omnichannel.check_shown_prices(integer, interval) IS
'Checks what shown_price holds and nobody has checked yet, the oldest first, at most max_rows and for about max_time (NULL: as long as it takes), and returns how many; two at the same time share the work. One that cannot be checked gets the error as its cause. Raises 55000 before setup(), 22023 for a negative max_rows or max_time.';

CREATE FUNCTION omnichannel.note_prepared_as_owner() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM omnichannel.require_setup();
	UPDATE omnichannel.price_change AS change SET seen_at = clock_timestamp()
	WHERE change.seen_at IS NULL AND change.transaction IS DISTINCT FROM pg_current_xact_id_if_assigned();
END
$$;
COMMENT ON FUNCTION omnichannel.note_prepared_as_owner() IS
'Does the work of note_prepared(), which calls it with the rights of the tables'' owner; called by itself it has those of its caller. Raises 55000 before setup().';

CREATE FUNCTION omnichannel.note_prepared() RETURNS void
LANGUAGE c
AS 'MODULE_PATHNAME', 'omnichannel_use_as_owner';
COMMENT ON FUNCTION omnichannel.note_prepared() IS
'Called by tick_prices(): notes in price_change that changes which were prepared, and have been committed since, can be seen by now. Raises 42501 for who may not read promotion_use, 55000 before setup().';

CREATE FUNCTION omnichannel.tick_prices() RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	done bigint;
BEGIN
	PERFORM omnichannel.require_writer('tick_prices()', 'shown_price', 'UPDATE');
	PERFORM omnichannel.require_read_committed('tick_prices()');
	PERFORM omnichannel.note_prepared();
	-- What follows in the sweep is not to wait for long: where more is displayed, check_shown_prices() is called by itself.
	done := omnichannel.check_shown_prices(max_time => '2 seconds');
	RETURN done + omnichannel.expire_uses();
END
$$;
COMMENT ON FUNCTION omnichannel.tick_prices() IS
'Part of tick(): checks the prices that channels have shown, for two seconds at most, releases forgotten reservations of promotions, and notes in price_change what had been prepared and is committed; returns the number of prices and reservations. Raises 25006 in a read-only transaction, 42501 for others than supervisors, 55000 above READ COMMITTED and before setup().';
