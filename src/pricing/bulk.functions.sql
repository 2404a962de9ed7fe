CREATE FUNCTION omnichannel.is_category(path text) RETURNS boolean
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	ltree_type text;
BEGIN
	PERFORM omnichannel.require_setup();
	-- The schema of ltree is anyone's choice, and what a label may hold its own.
	SELECT format_type(attribute.atttypid, NULL) INTO STRICT ltree_type FROM pg_attribute AS attribute
	WHERE attribute.attrelid = 'omnichannel.price'::regclass AND attribute.attname = 'category';
	EXECUTE format('SELECT $1::%s', ltree_type) USING path;
	RETURN path <> '';
EXCEPTION WHEN syntax_error OR invalid_text_representation OR name_too_long OR program_limit_exceeded THEN
	RETURN false;
END
$$;
COMMENT ON FUNCTION omnichannel.is_category(text) IS
'Whether a text can be the path of a category, as in Home.Kitchen; the empty one is none. Raises 55000 before setup().';

CREATE FUNCTION omnichannel.check_staged_prices(max_jump numeric DEFAULT 50, OUT line bigint, OUT problem text, OUT detail text) RETURNS SETOF record
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
-- A million lines and no statistics yet: loops inside loops would take hours.
SET enable_nestloop = off
-- To compile so many joins takes longer than they do.
SET jit = off
AS $$
#variable_conflict use_column
BEGIN
	PERFORM omnichannel.require_setup();
	IF max_jump IS NULL OR max_jump = 'NaN' OR max_jump < 0 THEN
		RAISE EXCEPTION 'max_jump must not be %', coalesce(max_jump::text, 'NULL')
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Pass a percentage, or leave it out for 50; ''Infinity'' allows any change.';
	END IF;
	RETURN QUERY
	WITH RECURSIVE staged AS (
		SELECT s.*, list.kind, list.currency, list.derived_from, list.price_list IS NOT NULL AS known, coalesce(s.valid, tstzrange(now(), NULL)) AS during,
			CASE WHEN s.product IS NOT NULL THEN 'p' || s.product WHEN s.category IS NOT NULL THEN 'c' || s.category WHEN s.everything THEN '*' END AS target
		FROM omnichannel.price_staging AS s LEFT JOIN omnichannel.price_list AS list ON list.price_list = s.price_list
	), existing AS (
		SELECT p.price_list, p.min_quantity, p.amount, p.adjust, p.surcharge, p.valid,
			CASE WHEN p.product IS NOT NULL THEN 'p' || p.product WHEN p.category_path IS NOT NULL THEN 'c' || p.category_path ELSE '*' END AS target
		FROM omnichannel.price AS p WHERE p.price_list IN (SELECT staged.price_list FROM staged)
	), climb AS (
		-- Each line at its product and at all above it, with the nearest of each part of the floor so far.
		SELECT s.line, s.kind, s.currency, s.min_quantity, s.amount, s.adjust, s.surcharge, s.during, 0 AS level, p.product, p.parent,
			p.min_price, p.currency AS min_price_currency, p.cost, p.currency AS cost_currency, p.min_margin
		FROM staged AS s JOIN omnichannel.product AS p ON p.product = s.product
		UNION ALL
		SELECT c.line, c.kind, c.currency, c.min_quantity, c.amount, c.adjust, c.surcharge, c.during, c.level + 1, p.product, p.parent,
			coalesce(c.min_price, p.min_price), CASE WHEN c.min_price IS NULL THEN p.currency ELSE c.min_price_currency END,
			coalesce(c.cost, p.cost), CASE WHEN c.cost IS NULL THEN p.currency ELSE c.cost_currency END, coalesce(c.min_margin, p.min_margin)
		FROM climb AS c JOIN omnichannel.product AS p ON p.product = CASE WHEN c.level < 100 THEN c.parent ELSE omnichannel.parent_above(c.parent, c.level) END
	), based AS (
		-- The base price of each line, at its product or the nearest above. One join has both keys: by currency alone it would
		-- pair everything with everything.
		SELECT DISTINCT ON (c.line) c.line, base.amount
		FROM climb AS c JOIN (
			SELECT n.product, n.currency, n.min_quantity, n.amount, n.during FROM staged AS n WHERE n.kind = 'base' AND n.product IS NOT NULL
			UNION ALL
			SELECT p.product, list.currency, p.min_quantity, p.amount, p.valid
			FROM omnichannel.price AS p JOIN omnichannel.price_list AS list ON list.price_list = p.price_list
			WHERE list.kind = 'base' AND p.product IN (SELECT seat.product FROM climb AS seat)
				AND NOT EXISTS (SELECT FROM staged AS n WHERE n.price_list = p.price_list AND n.product = p.product
					AND n.min_quantity = p.min_quantity AND n.during && p.valid)
		) AS base ON base.product = c.product AND base.currency = c.currency AND base.min_quantity <= c.min_quantity AND base.during && c.during
		WHERE c.kind = 'sale' OR c.amount IS NULL
		ORDER BY c.line, c.level, base.amount
	), made AS (
		SELECT c.line, c.kind, based.amount AS base,
			coalesce(c.amount, based.amount * (100 + coalesce(c.adjust, 0)) * 0.01 + coalesce(c.surcharge, 0)) AS amount,
			greatest(CASE WHEN c.min_price_currency = c.currency THEN c.min_price END,
				CASE WHEN c.cost_currency = c.currency THEN c.cost * (100 + c.min_margin) * 0.01 END) AS lowest
		FROM climb AS c LEFT JOIN based ON based.line = c.line WHERE c.parent IS NULL
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
	SELECT s.line, 'category', format('category %L is no path of labels', s.category) FROM staged AS s
	WHERE s.category IN (SELECT path FROM (SELECT DISTINCT n.category FROM staged AS n) AS given (path) WHERE NOT omnichannel.is_category(path))
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
	SELECT m.line, 'sale above base', format('%s is not below %s', trim_scale(m.amount), m.base) FROM made AS m
	WHERE m.kind = 'sale' AND m.amount >= m.base
	UNION ALL
	SELECT m.line, 'below floor', format('%s is below %s', trim_scale(m.amount), m.lowest) FROM made AS m WHERE m.amount < m.lowest
	UNION ALL
	-- The largest step from a price that it replaces or follows; percentages by what they leave of the base price.
	SELECT j.line, 'jump', format(CASE WHEN j.percent THEN '%s percent instead of %s' ELSE '%s instead of %s' END, j.new, j.old)
	FROM (
		SELECT DISTINCT ON (s.line) s.line, s.amount IS NULL AS percent, coalesce(s.amount, s.adjust) AS new, coalesce(e.amount, e.adjust) AS old
		FROM staged AS s JOIN existing AS e ON e.price_list = s.price_list AND e.target = s.target AND e.min_quantity = s.min_quantity
			AND (e.valid && s.during OR upper(e.valid) = lower(s.during))
		CROSS JOIN LATERAL (SELECT coalesce(s.amount, 100 + s.adjust) AS new, coalesce(e.amount, 100 + e.adjust) AS old) AS step
		WHERE (s.amount IS NULL) = (e.amount IS NULL) AND s.surcharge IS NOT DISTINCT FROM e.surcharge
			AND abs(step.new - step.old) * 100 > max_jump * step.old
		ORDER BY s.line, CASE WHEN step.old = 0 THEN 'Infinity' ELSE abs(step.new - step.old) / step.old END DESC, step.old
	) AS j
	ORDER BY 1, 2, 3;
END
$$;
COMMENT ON FUNCTION omnichannel.check_staged_prices(numeric) IS
'What is wrong with price_staging, a row for each problem: list, derived, product, target, category, value, overlap, tier rises, sale above base, below floor, and jump, a step by more than max_jump percent from a price that it replaces or follows, of percentages in what they leave of the base price. A variant is compared with the base price of its nearest ancestor that has one, and with the floor that it inherits; adjustments with what they make of the base price of their product, before it is rounded. Prices of categories and of everything are not compared with a base or a floor. Raises 22023 for a max_jump that is NULL, NaN or below zero, 55000 before setup().';

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
	unknown_problem text;
BEGIN
	PERFORM omnichannel.require_setup();
	IF apply_prices.accept IS NULL OR array_position(apply_prices.accept, NULL) IS NOT NULL THEN
		RAISE EXCEPTION 'accept must not be %', coalesce(apply_prices.accept::text, 'NULL')
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Name the kinds of problems to accept, as in ''{jump}''; ''{}'' accepts none.';
	END IF;
	SELECT given.problem INTO unknown_problem FROM unnest(apply_prices.accept) AS given (problem)
	WHERE given.problem <> ALL ('{list,derived,product,target,category,value,overlap,tier rises,sale above base,below floor,jump}') LIMIT 1;
	IF found THEN
		RAISE EXCEPTION 'accept must not hold %', quote_literal(unknown_problem)
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Problems that can be accepted are tier rises, sale above base, below floor and jump.';
	END IF;
	LOCK TABLE omnichannel.price_staging IN SHARE ROW EXCLUSIVE MODE;
	FOR found_problem IN SELECT * FROM omnichannel.check_staged_prices(apply_prices.max_jump)
	LOOP
		refused := refused OR found_problem.problem <> ALL (apply_prices.accept)
			OR found_problem.problem IN ('list', 'derived', 'product', 'target', 'category', 'value', 'overlap');
		line := found_problem.line;
		problem := found_problem.problem;
		detail := found_problem.detail;
		RETURN NEXT;
	END LOOP;
	IF refused THEN
		RETURN;
	END IF;

	-- What is replaced keeps the time that no new price takes.
	CREATE TEMP TABLE omnichannel_replaced_price ON COMMIT DROP AS
	SELECT p.price_id, ARRAY(SELECT unnest(tstzmultirange(p.valid) - range_agg(coalesce(s.valid, tstzrange(now(), NULL))))) AS pieces
	FROM omnichannel.price_staging AS s JOIN omnichannel.price AS p ON p.price_list = s.price_list AND p.min_quantity = s.min_quantity
		AND coalesce('p' || p.product, 'c' || p.category_path, '*') = coalesce('p' || s.product, 'c' || s.category, '*')
		AND p.valid && coalesce(s.valid, tstzrange(now(), NULL))
	GROUP BY p.price_id, p.valid;
	BEGIN
		DELETE FROM omnichannel.price AS p USING pg_temp.omnichannel_replaced_price AS r WHERE p.price_id = r.price_id AND r.pieces = '{}';
		UPDATE omnichannel.price AS p SET valid = r.pieces[1] FROM pg_temp.omnichannel_replaced_price AS r WHERE p.price_id = r.price_id AND r.pieces <> '{}';
		INSERT INTO omnichannel.price (price_list, product, category, everything, min_quantity, amount, adjust, surcharge, round_to, valid, created_at)
		SELECT p.price_list, p.product, p.category, p.everything, p.min_quantity, p.amount, p.adjust, p.surcharge, p.round_to, piece, p.created_at
		FROM pg_temp.omnichannel_replaced_price AS r JOIN omnichannel.price AS p ON p.price_id = r.price_id, unnest(r.pieces[2:]) AS piece;
		PERFORM omnichannel.insert_staged_prices();
	EXCEPTION WHEN exclusion_violation THEN
		-- The lines do not overlap, and what they replace gave way: as it was when they were checked.
		RAISE EXCEPTION 'prices that price_staging replaces were changed meanwhile: %', SQLERRM
			USING ERRCODE = 'serialization_failure', HINT = 'Begin the transaction again.';
	END;
	DROP TABLE pg_temp.omnichannel_replaced_price;
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
'Checks price_staging as check_staged_prices() does and returns a row for each problem; where there is none but of the kinds that accept names, writes all of it in this transaction, empties price_staging and returns a last row with the number of prices applied. A staged price replaces those of the same list, target and min_quantity for its own time only. Problems of the kinds list, derived, product, target, category, value and overlap cannot be accepted. For who may make temporary tables. Raises 22023 as check_staged_prices() and where accept is or holds NULL or what is no kind of problem, 40001 where another transaction changed the same prices meanwhile, 55000 before setup().';

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
COMMENT ON FUNCTION omnichannel.insert_staged_prices() IS 'Called by apply_prices(): writes what is staged. Raises 55000 before setup().';
