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

CREATE FUNCTION omnichannel.staged_places(OUT product text, OUT level bigint, OUT target text,
	OUT min_price numeric, OUT min_price_currency text, OUT cost numeric, OUT cost_currency text) RETURNS SETOF record
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
-- Its caller has none; here each has its index, and a few lines among a million products are found by it.
SET enable_nestloop = on
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
	wide_staged boolean;
	wide_known boolean;
BEGIN
	PERFORM omnichannel.require_setup();
	wide_staged := EXISTS (SELECT FROM omnichannel.price_staging AS s WHERE s.category IS NOT NULL OR s.everything);
	wide_known := wide_staged OR EXISTS (SELECT FROM omnichannel.price AS p WHERE p.product IS NULL);
	RETURN QUERY
	WITH RECURSIVE wide AS (
		SELECT CASE WHEN s.category IS NOT NULL THEN 'c' || s.category ELSE '*' END AS target, true AS staged
		FROM omnichannel.price_staging AS s WHERE s.product IS NULL AND (s.category IS NOT NULL OR s.everything)
		UNION
		SELECT coalesce('c' || p.category_path, '*'), false FROM omnichannel.price AS p WHERE p.product IS NULL
	), path AS (
		-- Each category with those above it and what is above all, the deepest first.
		SELECT coalesce(given.category, '') AS category, array_agg(given.target ORDER BY given.depth DESC) AS targets, bool_or(wide.staged) AS staged
		FROM (
			SELECT own.category, upto.depth,
				CASE WHEN upto.depth = 0 THEN '*' ELSE 'c' || array_to_string(own.labels[:upto.depth], '.') END AS target
			FROM (
				SELECT DISTINCT p.category::text, string_to_array(coalesce(p.category::text, ''), '.')
				FROM omnichannel.product AS p WHERE wide_known
			) AS own (category, labels), generate_series(0, cardinality(own.labels)) AS upto (depth)
		) AS given JOIN (SELECT wide.target, bool_or(wide.staged) AS staged FROM wide GROUP BY 1) AS wide ON wide.target = given.target
		GROUP BY 1
	), concerned AS (
		(
			SELECT s.product FROM omnichannel.price_staging AS s WHERE s.product IS NOT NULL
			UNION ALL
			SELECT p.product FROM omnichannel.product AS p JOIN path ON path.category = coalesce(p.category::text, '')
			WHERE path.staged AND wide_staged
		)
		UNION
		SELECT p.product FROM concerned AS c JOIN omnichannel.product AS p ON p.parent = c.product
	), climb AS (
		-- Each product at itself and at all above it, with the nearest of what it inherits so far.
		SELECT p.product, p.parent, ARRAY['p' || p.product] AS targets, p.category::text AS category,
			p.min_price, p.currency AS min_price_currency, p.cost, p.currency AS cost_currency, p.min_margin
		FROM concerned AS c JOIN omnichannel.product AS p ON p.product = c.product
		UNION ALL
		SELECT c.product, p.parent, c.targets || ('p' || p.product), coalesce(c.category, p.category::text),
			coalesce(c.min_price, p.min_price), CASE WHEN c.min_price IS NULL THEN p.currency ELSE c.min_price_currency END,
			coalesce(c.cost, p.cost), CASE WHEN c.cost IS NULL THEN p.currency ELSE c.cost_currency END, coalesce(c.min_margin, p.min_margin)
		FROM climb AS c JOIN omnichannel.product AS p
			ON p.product = CASE WHEN cardinality(c.targets) < 100 THEN c.parent ELSE omnichannel.parent_above(c.parent, cardinality(c.targets)) END
	)
	SELECT c.product, place.level, place.target, c.min_price, c.min_price_currency, c.cost * (100 + c.min_margin) * 0.01, c.cost_currency
	FROM climb AS c LEFT JOIN path ON path.category = coalesce(c.category, ''), unnest(c.targets || path.targets) WITH ORDINALITY AS place (target, level)
	WHERE c.parent IS NULL;
END
$$;
COMMENT ON FUNCTION omnichannel.staged_places() IS
'Called by check_staged_prices(): for each product that price_staging concerns where its prices stand, at itself, at those above it, and at its categories and everything as far as there are prices, the nearest first; with its floors, the second being cost with min_margin. Raises 23514 where the parents of products make a circle, 55000 before setup().';

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
	WITH staged AS (
		SELECT s.*, list.kind, list.currency, list.segments_any, list.segments_all, list.valid AS list_valid, list.derived_from, list.price_list IS NOT NULL AS known,
			coalesce(s.valid, tstzrange(now(), NULL)) AS during,
			CASE WHEN s.product IS NOT NULL THEN 'p' || s.product WHEN s.category IS NOT NULL THEN 'c' || s.category WHEN s.everything THEN '*' END AS target
		FROM omnichannel.price_staging AS s LEFT JOIN omnichannel.price_list AS list ON list.price_list = s.price_list
	), existing AS (
		SELECT p.price_list, p.min_quantity, p.amount, p.adjust, p.surcharge, p.valid,
			CASE WHEN p.product IS NOT NULL THEN 'p' || p.product WHEN p.category_path IS NOT NULL THEN 'c' || p.category_path ELSE '*' END AS target
		FROM omnichannel.price AS p WHERE p.price_list IN (SELECT staged.price_list FROM staged)
	), place AS MATERIALIZED (
		SELECT * FROM omnichannel.staged_places()
	), asked AS (
		-- Each line at each product that it can be the price of.
		SELECT s.line, s.price_list, s.kind, s.currency, s.segments_any, s.min_quantity, s.amount, s.adjust, s.surcharge,
			CASE WHEN cardinality(s.segments_any) = 1 THEN s.segments_all || s.segments_any ELSE s.segments_all END AS segments_all,
			s.during * s.list_valid AS during, place.product, place.level,
			greatest(CASE WHEN place.min_price_currency = s.currency THEN place.min_price END, CASE WHEN place.cost_currency = s.currency THEN place.cost END) AS lowest
		FROM staged AS s JOIN place ON place.target = s.target WHERE num_nonnulls(s.amount, s.adjust, s.surcharge) > 0
	), offered AS MATERIALIZED (
		-- Base prices by product, where a line is compared with them. Joined by itself, as with a line by the currency alone
		-- it would be everything with everything.
		SELECT base.product, base.level, base.min_quantity, base.amount, base.during * list.valid AS during, list.price_list, list.currency,
			list.priority, list.segments_any, list.segments_all
		FROM (
			SELECT place.product, place.level, n.price_list, n.min_quantity, n.amount, n.during
			FROM place JOIN staged AS n ON n.target = place.target WHERE n.kind = 'base'
			UNION ALL
			SELECT place.product, place.level, p.price_list, p.min_quantity, p.amount, p.valid
			FROM place JOIN (
				SELECT p.price_list, p.min_quantity, p.amount, p.valid,
					CASE WHEN p.product IS NOT NULL THEN 'p' || p.product WHEN p.category_path IS NOT NULL THEN 'c' || p.category_path ELSE '*' END AS target
				FROM omnichannel.price AS p WHERE p.price_list IN (SELECT list.price_list FROM omnichannel.price_list AS list WHERE list.kind = 'base')
			) AS p ON p.target = place.target
			WHERE NOT EXISTS (SELECT FROM staged AS n WHERE n.price_list = p.price_list AND n.target = place.target
				AND n.min_quantity = p.min_quantity AND n.during @> p.valid)
		) AS base JOIN omnichannel.price_list AS list ON list.price_list = base.price_list
		WHERE list.status <> 'retired' AND EXISTS (SELECT FROM staged AS s WHERE s.kind = 'sale' OR s.amount IS NULL)
	), based AS (
		-- The base price that whoever has the line's price pays without it: of each list the nearest, of lists that all of
		-- them have the first; where there is none of these, the lowest that some have.
		SELECT DISTINCT ON (near.line, near.product) near.line, near.product, near.amount, near.during
		FROM (
			SELECT DISTINCT ON (a.line, a.product, o.price_list) a.line, a.product, o.amount, o.during,
				CASE WHEN o.segments_all <@ a.segments_all AND (o.segments_any = '{}' OR o.segments_any && a.segments_all
					OR (a.segments_any <> '{}' AND a.segments_any <@ o.segments_any)) THEN o.priority END AS priority
			FROM asked AS a JOIN offered AS o ON o.product = a.product AND o.currency = a.currency AND o.min_quantity <= a.min_quantity AND o.during && a.during
			WHERE a.kind = 'sale' OR a.amount IS NULL
			ORDER BY a.line, a.product, o.price_list, o.level, o.min_quantity DESC, o.amount
		) AS near
		ORDER BY near.line, near.product, near.priority DESC NULLS LAST, near.amount
	), made AS (
		SELECT a.*, based.amount AS base, coalesce(a.during * based.during, a.during) AS at,
			coalesce(a.amount, greatest(based.amount * (100 + coalesce(a.adjust, 0)) * 0.01 + coalesce(a.surcharge, 0), 0)) AS price
		FROM asked AS a LEFT JOIN based ON based.line = a.line AND based.product = a.product
	), wrong AS (
		SELECT m.*, 'sale above base' AS problem, 'not below' AS relation, m.base AS bound, m.at AS wrong_at FROM made AS m
		WHERE m.kind = 'sale' AND m.price >= m.base
		UNION ALL
		SELECT m.*, 'below floor', 'below', m.lowest, CASE WHEN m.amount IS NULL THEN m.at ELSE m.during END FROM made AS m
		WHERE m.price < m.lowest
	), below AS MATERIALIZED (
		SELECT w.line, w.product, w.problem, w.price_list, w.min_quantity, w.wrong_at, place.target
		FROM wrong AS w JOIN place ON place.product = w.product AND place.level < w.level
	), hidden AS (
		-- Where nearer prices of the same list hold all the time.
		SELECT b.line, b.product, b.problem
		FROM below AS b JOIN (
			SELECT s.price_list, s.target, s.min_quantity, s.during FROM staged AS s
			UNION ALL
			SELECT e.price_list, e.target, e.min_quantity, e.valid FROM existing AS e
		) AS nearer ON nearer.target = b.target AND nearer.price_list = b.price_list AND nearer.min_quantity <= b.min_quantity AND nearer.during && b.wrong_at
		GROUP BY b.line, b.product, b.problem, b.wrong_at
		HAVING range_agg(nearer.during) @> b.wrong_at
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
	SELECT w.line, w.problem, format('%s is %s %s', trim_scale(w.price), w.relation, trim_scale(w.bound))
		|| CASE WHEN w.level > 1 OR w.products > 1 THEN format(' for product %L', w.product) ELSE '' END
		|| CASE WHEN w.products > 1 THEN format(' and %s more', w.products - 1) ELSE '' END
	FROM (
		SELECT DISTINCT ON (w.line, w.problem) w.*, count(*) OVER (PARTITION BY w.line, w.problem) AS products
		FROM wrong AS w
		WHERE NOT EXISTS (SELECT FROM hidden AS h WHERE h.line = w.line AND h.product = w.product AND h.problem = w.problem)
		ORDER BY w.line, w.problem, w.level > 1, w.product COLLATE "C"
	) AS w
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
'What is wrong with price_staging, a row for each problem: list, derived, product, target, category, value, overlap, tier rises, sale above base, below floor, and jump, a step by more than max_jump percent from a price that it replaces or follows, of percentages in what they leave of the base price. A price is compared at each product that it would be the price of, variants and the products of a category included, where no nearer price of its list holds all the time; the first such product is named. The base price is the nearest of each list, of lists that everybody has for whom the price is the one that quote() takes, otherwise the lowest that some have; the floor is the one that the product inherits; adjustments are what they make of the base price, before it is rounded. Raises 22023 for a max_jump that is NULL, NaN or below zero, 55000 before setup().';

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
