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
