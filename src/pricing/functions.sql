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
	IF FOUND THEN
		RAISE EXCEPTION 'segment "%" is used by price list "%"', OLD.segment, used_by
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
COMMENT ON COLUMN omnichannel.price_quote.unit_price IS 'One unit, as charged.';
COMMENT ON COLUMN omnichannel.price_quote.line_total IS 'All units: unit_price times quantity, rounded to the minor unit where the quantity is a fraction.';
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
	currency text DEFAULT NULL, at timestamptz DEFAULT now())
RETURNS omnichannel.price_quote
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_quote';
COMMENT ON FUNCTION omnichannel.quote(bigint, text, numeric, text, timestamptz) IS
'The price of a product for a customer, the same in every channel: SELECT * FROM omnichannel.quote(…). customer_id NULL: a visitor who is not known. quantity: units, fractions allowed. currency: ISO 4217, the company''s by default; amounts are never converted. at: as of this moment, past or future. Raises 23503 for an unknown customer, product or currency, 22023 for a quantity that is not above zero or is beyond 10^12, 22008 for an infinite moment, 55000 before setup(), 42501 without SELECT on the tables of prices.';

CREATE FUNCTION omnichannel.quote_segments(segments text[], product text, quantity numeric DEFAULT 1,
	currency text DEFAULT NULL, at timestamptz DEFAULT now())
RETURNS omnichannel.price_quote
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_quote_segments';
COMMENT ON FUNCTION omnichannel.quote_segments(text[], text, numeric, text, timestamptz) IS
'The price of a product for anyone who is in these segments, ''{}'' for anonymous visitors; otherwise as quote(). Raises 23503 for an unknown segment too.';

CREATE FUNCTION omnichannel.quotes(customer_id bigint, products text[], quantity numeric DEFAULT 1,
	currency text DEFAULT NULL, at timestamptz DEFAULT now())
RETURNS SETOF omnichannel.price_quote
LANGUAGE c STABLE PARALLEL SAFE ROWS 50
AS 'MODULE_PATHNAME', 'omnichannel_quotes';
COMMENT ON FUNCTION omnichannel.quotes(bigint, text[], numeric, text, timestamptz) IS
'The prices of a page of products for a customer, in the order given; otherwise as quote().';
