CREATE FUNCTION omnichannel.refuse_product_cycle() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	ancestor text := NEW.parent;
	path text[] := ARRAY[NEW.product];
BEGIN
	WHILE ancestor IS NOT NULL
	LOOP
		path := path || ancestor;
		IF ancestor = NEW.product OR cardinality(path) > 32 THEN
			RAISE EXCEPTION 'product "%" cannot be below "%"', NEW.product, NEW.parent
				USING ERRCODE = 'check_violation',
					DETAIL = format('The way up is %s.', array_to_string(path, ' < ')),
					HINT = 'A parent must not be a variant of its own variant, and 30 levels are enough.';
		END IF;
		-- An insert alone cannot close a cycle with what others write; two updates could, so they wait for each other.
		IF TG_OP = 'UPDATE' THEN
			SELECT product.parent INTO ancestor FROM omnichannel.product WHERE product.product = ancestor FOR SHARE;
		ELSE
			SELECT product.parent INTO ancestor FROM omnichannel.product WHERE product.product = ancestor;
		END IF;
	END LOOP;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION omnichannel.refuse_product_cycle() IS
'Trigger function of product: raises 23514 where a product becomes its own ancestor, or lies deeper than 30 levels.';

CREATE FUNCTION omnichannel.parent_above(parent text, level integer) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM omnichannel.require_setup();
	-- Levels can be added from below too, so that there may be more than refuse_product_cycle() counts.
	IF parent_above.level > 1000 THEN
		RAISE EXCEPTION 'the parents of product "%" make a circle', parent_above.parent
			USING ERRCODE = 'check_violation', HINT = 'Give one of them another parent, or none.';
	END IF;
	RETURN parent_above.parent;
END
$$;
COMMENT ON FUNCTION omnichannel.parent_above(text, integer) IS
'Called by statements that climb from a variant to its ancestors: the parent found so many levels up. Raises 23514 beyond 1,000 levels, which only a circle has: one that came past the triggers of product. Raises 55000 before setup().';
