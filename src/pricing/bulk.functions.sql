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
	RETURN path <> '' AND octet_length(path) <= 500;
EXCEPTION WHEN syntax_error OR invalid_text_representation OR name_too_long OR program_limit_exceeded THEN
	RETURN false;
END
$$;
COMMENT ON FUNCTION omnichannel.is_category(text) IS
'Whether a text can be the path of a category, as in Home.Kitchen; the empty one is none, nor is one of over 500 bytes. Raises 55000 before setup().';

CREATE FUNCTION omnichannel.staged_places(OUT product text, OUT level bigint, OUT target text,
	OUT min_price numeric, OUT min_price_currency text, OUT cost numeric, OUT cost_currency text, OUT tax_rate numeric) RETURNS SETOF record
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
			p.min_price, p.currency AS min_price_currency, p.cost, p.currency AS cost_currency, p.min_margin, p.tax_rate
		FROM concerned AS c JOIN omnichannel.product AS p ON p.product = c.product
		UNION ALL
		SELECT c.product, p.parent, c.targets || ('p' || p.product), coalesce(c.category, p.category::text),
			coalesce(c.min_price, p.min_price), CASE WHEN c.min_price IS NULL THEN p.currency ELSE c.min_price_currency END,
			coalesce(c.cost, p.cost), CASE WHEN c.cost IS NULL THEN p.currency ELSE c.cost_currency END, coalesce(c.min_margin, p.min_margin),
			coalesce(c.tax_rate, p.tax_rate)
		FROM climb AS c JOIN omnichannel.product AS p
			ON p.product = CASE WHEN cardinality(c.targets) < 100 THEN c.parent ELSE omnichannel.parent_above(c.parent, cardinality(c.targets)) END
	)
	SELECT c.product, place.level, place.target, c.min_price, c.min_price_currency, c.cost * (100 + c.min_margin) * 0.01, c.cost_currency, c.tax_rate
	FROM climb AS c LEFT JOIN path ON path.category = coalesce(c.category, ''), unnest(c.targets || path.targets) WITH ORDINALITY AS place (target, level)
	WHERE c.parent IS NULL;
END
$$;
COMMENT ON FUNCTION omnichannel.staged_places() IS
'Called by check_staged_prices(): for each product that price_staging concerns where its prices stand, at itself, at those above it, and at its categories and everything as far as there are prices, the nearest first; with its floors, the second being cost with min_margin, and its tax rate. Raises 23514 where the parents of products make a circle, 55000 before setup().';

CREATE FUNCTION omnichannel.check_staged_prices(max_jump numeric DEFAULT 50, OUT line bigint, OUT problem text, OUT detail text) RETURNS SETOF record
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
-- A million lines and no statistics yet: loops inside loops would take hours.
SET enable_nestloop = off
-- To compile so many joins takes longer than they do.
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
	rounding_mode text;
	amounts_with_tax boolean;
BEGIN
	PERFORM omnichannel.require_setup();
	-- More percent than there are between any two prices, whose product may not fit into numeric.
	IF max_jump IS NULL OR max_jump = 'NaN' OR max_jump < 0 OR (max_jump >= 1e40 AND max_jump < 'Infinity') THEN
		RAISE EXCEPTION 'max_jump must not be %', coalesce(left(max_jump::text, 20) || CASE WHEN length(max_jump::text) > 20 THEN '...' ELSE '' END, 'NULL')
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Pass a percentage, or leave it out for 50; ''Infinity'' allows any change.';
	END IF;
	SELECT company.rounding, company.tax_inclusive INTO STRICT rounding_mode, amounts_with_tax FROM omnichannel.company;
	RETURN QUERY
	WITH RECURSIVE list AS MATERIALIZED (
		-- When each answers, and when it will once it is active.
		SELECT list.*, list.active * tstzmultirange(list.valid) AS answers, (list.active + tstzmultirange(tstzrange(now(), NULL))) * tstzmultirange(list.valid) AS would_answer,
			-- Whether the floor beside its prices contains tax.
			coalesce(amounts_with_tax, CASE WHEN list.kind = 'base' OR beside.kinds IS DISTINCT FROM 1 THEN list.tax_inclusive ELSE beside.with_tax END) AS floor_with_tax
		FROM omnichannel.price_list AS list LEFT JOIN (
			SELECT base.currency, bool_or(base.tax_inclusive) AS with_tax, count(DISTINCT base.tax_inclusive) AS kinds
			FROM omnichannel.price_list AS base WHERE base.kind = 'base' AND base.status <> 'retired' GROUP BY 1
		) AS beside ON beside.currency = list.currency
	), staged AS (
		-- What no price can be is told, not reckoned with: beyond what numeric holds.
		SELECT s.*, list.kind, list.derived_from, list.price_list IS NOT NULL AS known, coalesce(s.valid, tstzrange(now(), NULL)) AS during,
			CASE WHEN s.product IS NOT NULL THEN 'p' || s.product WHEN s.category IS NOT NULL THEN 'c' || s.category WHEN s.everything THEN '*' END AS target
		FROM (
			SELECT p.line, p.price_list, p.product, p.category, p.everything, p.min_quantity, p.valid,
				CASE WHEN NOT abs(p.amount) < 1e18 THEN 'NaN' ELSE p.amount END AS amount, CASE WHEN NOT abs(p.adjust) < 1e18 THEN 'NaN' ELSE p.adjust END AS adjust,
				CASE WHEN NOT abs(p.surcharge) < 1e18 THEN 'NaN' ELSE p.surcharge END AS surcharge, CASE WHEN NOT abs(p.round_to) < 1e18 THEN 'NaN' ELSE p.round_to END AS round_to
			FROM omnichannel.price_staging AS p
		) AS s LEFT JOIN list ON list.price_list = s.price_list
	), derived AS (
		-- What becomes of them in derived lists, and in those derived from these.
		SELECT s.line, list.price_list, list.kind, s.target, s.min_quantity, made.*, s.during * tstzrange(list.derived_since, NULL) AS during, 1 AS steps
		FROM staged AS s JOIN list ON list.derived_from = s.price_list
			CROSS JOIN LATERAL omnichannel.derived_price(s.amount, s.adjust, s.surcharge, s.round_to, list.derived_adjust, list.derived_surcharge, list.derived_round_to, rounding_mode) AS made
		WHERE s.derived_from IS NULL AND s.during && tstzrange(list.derived_since, NULL)
		UNION ALL
		SELECT d.line, list.price_list, list.kind, d.target, d.min_quantity, made.*, d.during * tstzrange(list.derived_since, NULL), d.steps + 1
		FROM derived AS d JOIN list ON list.derived_from = d.price_list
			CROSS JOIN LATERAL omnichannel.derived_price(d.amount, d.adjust, d.surcharge, d.round_to, list.derived_adjust, list.derived_surcharge, list.derived_round_to, rounding_mode) AS made
		WHERE d.steps < 32 AND d.during && tstzrange(list.derived_since, NULL)
	), coming AS (
		SELECT s.line, s.price_list, s.kind, s.target, s.min_quantity, s.amount, s.adjust, s.surcharge, s.round_to, s.during, 0 AS steps FROM staged AS s
		UNION ALL
		SELECT * FROM derived
	), existing AS (
		SELECT p.price_list, p.min_quantity, p.amount, p.adjust, p.surcharge, p.round_to, p.valid,
			CASE WHEN p.product IS NOT NULL THEN 'p' || p.product WHEN p.category_path IS NOT NULL THEN 'c' || p.category_path ELSE '*' END AS target
		FROM omnichannel.price AS p WHERE p.price_list IN (SELECT c.price_list FROM coming AS c)
	), tiered AS (
		-- Lists in which tiers can rise: most have none.
		SELECT tier.price_list FROM (
			SELECT s.price_list, s.min_quantity FROM staged AS s UNION ALL SELECT e.price_list, e.min_quantity FROM existing AS e
		) AS tier GROUP BY 1 HAVING min(tier.min_quantity) < max(tier.min_quantity)
	), place AS MATERIALIZED (
		SELECT * FROM omnichannel.staged_places()
	), followed AS (
		-- Each line with the one before it at the same place.
		SELECT c.*, lag(upper(c.during)) OVER same AS prior_ended, lag(c.amount) OVER same AS prior_amount, lag(c.adjust) OVER same AS prior_adjust,
			lag(c.surcharge) OVER same AS prior_surcharge, lag(c.round_to) OVER same AS prior_round_to
		FROM coming AS c
		WINDOW same AS (PARTITION BY c.price_list, c.target, c.min_quantity ORDER BY lower(c.during) NULLS FIRST, c.line)
	), step AS MATERIALIZED (
		-- Each line beside the prices that it replaces, and the last one before it, however long ago that ended: two amounts,
		-- or two percentages, as they are, what else differs by what becomes of the base price.
		SELECT k.*
		FROM (
			SELECT s.*, (s.amount IS NULL) = (s.old_amount IS NULL) AND coalesce(s.surcharge, 0) = 0 AND coalesce(s.old_surcharge, 0) = 0
				AND s.round_to IS NOT DISTINCT FROM s.old_round_to AS plain
			FROM (
				SELECT c.line, c.steps, c.price_list, c.amount, c.adjust, c.surcharge, c.round_to, e.amount AS old_amount, e.adjust AS old_adjust,
					e.surcharge AS old_surcharge, e.round_to AS old_round_to, CASE WHEN e.valid && c.during THEN c.during * e.valid ELSE c.during END AS during
				FROM followed AS c JOIN (
					SELECT e.*, lead(lower(e.valid)) OVER (PARTITION BY e.price_list, e.target, e.min_quantity ORDER BY lower(e.valid) NULLS FIRST) AS next_begins FROM existing AS e
				) AS e ON e.price_list = c.price_list AND e.target = c.target AND e.min_quantity = c.min_quantity
					AND (e.valid && c.during OR (upper(e.valid) <= lower(c.during) AND coalesce(e.next_begins >= lower(c.during), true) AND coalesce(upper(e.valid) > c.prior_ended, true)))
				UNION ALL
				SELECT c.line, c.steps, c.price_list, c.amount, c.adjust, c.surcharge, c.round_to, c.prior_amount, c.prior_adjust, c.prior_surcharge, c.prior_round_to, c.during
				FROM followed AS c
				WHERE c.prior_ended <= lower(c.during) AND NOT EXISTS (
					SELECT FROM existing AS e WHERE e.price_list = c.price_list AND e.target = c.target AND e.min_quantity = c.min_quantity
						AND e.valid && tstzrange(c.prior_ended, lower(c.during)))
			) AS s
		) AS k CROSS JOIN LATERAL (SELECT coalesce(k.amount, 100 + coalesce(k.adjust, 0)) AS new, coalesce(k.old_amount, 100 + coalesce(k.old_adjust, 0)) AS old) AS value
		WHERE CASE WHEN k.plain THEN abs(value.new - value.old) * 100 > max_jump * value.old
			ELSE (k.amount, k.adjust, k.surcharge, k.round_to) IS DISTINCT FROM (k.old_amount, k.old_adjust, k.old_surcharge, k.old_round_to) END
	), asked AS MATERIALIZED (
		-- Each line at each product that it can be the price of.
		SELECT c.line, c.steps, c.price_list, c.kind, list.currency, c.min_quantity, c.amount, c.adjust, c.surcharge, c.round_to, c.during, place.product, place.level, list.tax_inclusive, place.tax_rate,
			omnichannel.tax_amount(greatest(CASE WHEN place.min_price_currency = list.currency THEN place.min_price END,
				CASE WHEN place.cost_currency = list.currency THEN place.cost END), place.tax_rate, list.floor_with_tax, list.tax_inclusive) AS lowest
		FROM coming AS c JOIN place ON place.target = c.target JOIN list ON list.price_list = c.price_list
		WHERE num_nonnulls(c.amount, c.adjust, c.surcharge) > 0
	), offered AS MATERIALIZED (
		-- Base prices by product, where a line is compared with them. Joined by itself, as with a line by the currency alone
		-- it would be everything with everything.
		SELECT base.*, list.currency, list.tax_inclusive
		FROM (
			SELECT place.product, place.level, c.price_list, c.min_quantity, c.amount, c.during, true AS new
			FROM place JOIN coming AS c ON c.target = place.target WHERE c.kind = 'base'
			UNION ALL
			SELECT place.product, place.level, p.price_list, p.min_quantity, p.amount, p.valid, false
			FROM place JOIN (
				SELECT p.price_list, p.min_quantity, p.amount, p.valid,
					CASE WHEN p.product IS NOT NULL THEN 'p' || p.product WHEN p.category_path IS NOT NULL THEN 'c' || p.category_path ELSE '*' END AS target
				FROM omnichannel.price AS p WHERE p.price_list IN (SELECT list.price_list FROM list WHERE list.kind = 'base')
			) AS p ON p.target = place.target
			WHERE NOT EXISTS (SELECT FROM coming AS c WHERE c.price_list = p.price_list AND c.target = place.target
				AND c.min_quantity = p.min_quantity AND c.during @> p.valid)
		) AS base JOIN list ON list.price_list = base.price_list
		WHERE EXISTS (SELECT FROM coming AS c WHERE c.kind = 'sale' OR c.amount IS NULL) OR EXISTS (SELECT FROM step WHERE NOT step.plain)
	), suspect AS MATERIALIZED (
		-- Where some base price makes a line wrong: whether it is the one of some moment, for somebody who has the line's
		-- price, is to be seen. A floor is looked at for each group and quantity that have base prices of their own.
		SELECT row_number() OVER () AS suspect, found.*
		FROM (
			SELECT a.*, 'below floor' AS problem, a.min_quantity AS quantity, NULL::text[] AS segments,
				NULL::numeric AS old_amount, NULL::numeric AS old_adjust, NULL::numeric AS old_surcharge, NULL::numeric AS old_round_to
			FROM asked AS a WHERE a.amount < a.lowest
			UNION ALL
			SELECT DISTINCT ON (a.line, a.price_list, a.product) a.*, 'sale above base', a.min_quantity, NULL::text[], NULL, NULL, NULL, NULL
			FROM asked AS a JOIN offered AS o ON o.product = a.product AND o.currency = a.currency
			WHERE a.kind = 'sale' AND o.min_quantity <= a.min_quantity AND o.during && a.during
				AND coalesce(a.amount, omnichannel.adjusted_beside(o.amount, o.tax_inclusive, a.tax_rate, a.tax_inclusive, a.adjust, a.surcharge, a.round_to, rounding_mode))
					>= omnichannel.tax_amount(o.amount, a.tax_rate, o.tax_inclusive, a.tax_inclusive)
			UNION ALL
			SELECT DISTINCT ON (a.line, a.price_list, a.product, quantity, segments) a.*, 'below floor', greatest(a.min_quantity, o.min_quantity) AS quantity,
				ARRAY(SELECT DISTINCT code FROM unnest(list.segments_all || base.segments_all || mine || theirs) AS code WHERE code IS NOT NULL ORDER BY code) AS segments,
				NULL::numeric, NULL::numeric, NULL::numeric, NULL::numeric
			FROM asked AS a JOIN offered AS o ON o.product = a.product AND o.currency = a.currency JOIN list ON list.price_list = a.price_list
				JOIN list AS base ON base.price_list = o.price_list,
				unnest(CASE WHEN list.segments_any = '{}' THEN '{NULL}' ELSE list.segments_any END) AS mine,
				unnest(CASE WHEN base.segments_any = '{}' THEN '{NULL}' ELSE base.segments_any END) AS theirs
			WHERE a.amount IS NULL AND a.lowest IS NOT NULL AND o.during && a.during
				AND omnichannel.adjusted_beside(o.amount, o.tax_inclusive, a.tax_rate, a.tax_inclusive, a.adjust, a.surcharge, a.round_to, rounding_mode) < a.lowest
			UNION ALL
			SELECT DISTINCT ON (a.line, a.price_list, a.product, s.during, s.old_amount, s.old_adjust, s.old_surcharge, s.old_round_to)
				a.line, a.steps, a.price_list, a.kind, a.currency, a.min_quantity, a.amount, a.adjust, a.surcharge, a.round_to, s.during, a.product, a.level, a.tax_inclusive,
				a.tax_rate, a.lowest, 'jump', a.min_quantity, NULL::text[], s.old_amount, s.old_adjust, s.old_surcharge, s.old_round_to
			FROM asked AS a JOIN step AS s ON s.line = a.line AND s.price_list = a.price_list JOIN offered AS o ON o.product = a.product AND o.currency = a.currency
				CROSS JOIN LATERAL (SELECT
					coalesce(a.amount, omnichannel.adjusted_beside(o.amount, o.tax_inclusive, a.tax_rate, a.tax_inclusive, a.adjust, a.surcharge, a.round_to, rounding_mode)) AS new,
					coalesce(s.old_amount, omnichannel.adjusted_beside(o.amount, o.tax_inclusive, a.tax_rate, a.tax_inclusive, s.old_adjust, s.old_surcharge, s.old_round_to, rounding_mode)) AS old) AS made
			WHERE NOT s.plain AND o.min_quantity <= a.min_quantity AND o.during && s.during AND abs(made.new - made.old) * 100 > max_jump * made.old
		) AS found
	), nearer AS MATERIALIZED (
		SELECT s.suspect, s.price_list, s.quantity, s.during, place.target, CASE WHEN place.level = s.level THEN s.min_quantity ELSE -1 END AS above
		FROM suspect AS s JOIN place ON place.product = s.product AND place.level <= s.level
	), own AS (
		-- The time that nearer prices of its list, and such of higher tiers, leave to a line.
		SELECT s.suspect, tstzmultirange(s.during) * list.would_answer - coalesce(taken.during, '{}') AS during
		FROM suspect AS s JOIN list ON list.price_list = s.price_list LEFT JOIN (
			SELECT n.suspect, range_agg(row.during) AS during
			FROM nearer AS n JOIN (
				SELECT c.price_list, c.target, c.min_quantity, c.during FROM coming AS c
				UNION ALL
				SELECT e.price_list, e.target, e.min_quantity, e.valid FROM existing AS e
			) AS row ON row.target = n.target AND row.price_list = n.price_list
			WHERE row.min_quantity <= n.quantity AND row.min_quantity > n.above AND row.during && n.during
			GROUP BY 1
		) AS taken ON taken.suspect = s.suspect
	), based AS (
		-- The base price of each moment for whoever has the line's price: of each list the nearest, of lists that all of them
		-- have the first; where there is none of these, the lowest that some have. By the lists that are active, and then by
		-- these with those that are to be.
		SELECT o.suspect, o.later, o.price_list, o.amount, o.listed, o.tax_inclusive, tstzmultirange(o.piece) - coalesce(range_agg(o.piece) OVER (PARTITION BY o.suspect, o.later
			ORDER BY o.priority DESC NULLS LAST, o.amount, o.price_list ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), '{}') AS during
		FROM (
			SELECT n.suspect, n.later, n.price_list, n.priority, n.amount, n.listed, n.tax_inclusive, unnest(tstzmultirange(n.piece) - coalesce(range_agg(n.piece) OVER
				(PARTITION BY n.suspect, n.later, n.price_list ORDER BY n.level, n.min_quantity DESC, n.new DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), '{}')) AS piece
			FROM (
				SELECT s.suspect, s.segments, later, o.price_list, o.level, o.min_quantity, o.new, o.amount AS listed, o.tax_inclusive,
					omnichannel.tax_amount(o.amount, s.tax_rate, o.tax_inclusive, s.tax_inclusive) AS amount,
					CASE WHEN base.segments_all <@ who.segments AND (base.segments_any = '{}' OR base.segments_any && who.segments
						OR (s.segments IS NULL AND list.segments_any <> '{}' AND list.segments_any <@ base.segments_any)) THEN base.priority END AS priority,
					unnest(tstzmultirange(o.during * s.during) * CASE WHEN later AND (base.status = 'approved' OR (base.status = 'draft' AND list.status = 'draft'))
						THEN base.would_answer ELSE base.answers END) AS piece
				FROM suspect AS s JOIN offered AS o ON o.product = s.product AND o.currency = s.currency AND o.min_quantity <= s.quantity AND o.during && s.during
					JOIN list ON list.price_list = s.price_list
					JOIN list AS base ON base.price_list = o.price_list
					CROSS JOIN LATERAL (SELECT coalesce(s.segments, CASE WHEN cardinality(list.segments_any) = 1 THEN list.segments_all || list.segments_any ELSE list.segments_all END) AS segments) AS who
					CROSS JOIN unnest('{false,true}'::boolean[]) AS later
				WHERE (s.amount IS NULL OR s.problem <> 'below floor')
					AND (NOT later OR EXISTS (SELECT FROM list AS planned WHERE planned.kind = 'base' AND planned.status IN ('approved', 'draft')))
			) AS n
			WHERE n.priority IS NOT NULL OR n.segments IS NULL
		) AS o
	), wrong AS (
		SELECT s.*, s.amount AS price, s.lowest AS bound, own.during AS wrong_during, false AS later, NULL AS base_list
		FROM suspect AS s JOIN own ON own.suspect = s.suspect
		WHERE s.problem = 'below floor' AND s.amount IS NOT NULL AND NOT isempty(own.during)
		UNION ALL
		SELECT s.*, made.price, made.bound, own.during * based.during, based.later, based.price_list
		FROM suspect AS s JOIN own ON own.suspect = s.suspect JOIN based ON based.suspect = s.suspect
			CROSS JOIN LATERAL (SELECT coalesce(s.amount, omnichannel.adjusted_beside(based.listed, based.tax_inclusive, s.tax_rate, s.tax_inclusive, s.adjust, s.surcharge, s.round_to, rounding_mode)) AS price,
				CASE s.problem WHEN 'sale above base' THEN based.amount WHEN 'below floor' THEN s.lowest
					ELSE coalesce(s.old_amount, omnichannel.adjusted_beside(based.listed, based.tax_inclusive, s.tax_rate, s.tax_inclusive, s.old_adjust, s.old_surcharge, s.old_round_to, rounding_mode)) END AS bound) AS made
		-- Where tax was taken out, the last of many decimals means nothing.
		WHERE own.during && based.during AND CASE s.problem WHEN 'sale above base' THEN round(made.price, 9) >= round(made.bound, 9) WHEN 'below floor' THEN round(made.price, 9) < round(made.bound, 9)
			ELSE abs(round(made.price - made.bound, 9)) * 100 > max_jump * made.bound END
	)
	SELECT s.line, 'list', format('price list %s is not known', coalesce(quote_literal(left(s.price_list, 40) || CASE WHEN length(s.price_list) > 40 THEN '...' ELSE '' END), 'NULL')) FROM staged AS s WHERE NOT s.known
	UNION ALL
	SELECT s.line, 'derived', format('price list %L is derived', s.price_list) FROM staged AS s WHERE s.derived_from IS NOT NULL
	UNION ALL
	SELECT s.line, 'product', format('product %L is not known', left(s.product, 40) || CASE WHEN length(s.product) > 40 THEN '...' ELSE '' END) FROM staged AS s
	WHERE s.product IS NOT NULL AND NOT EXISTS (SELECT FROM omnichannel.product AS known WHERE known.product = s.product)
	UNION ALL
	SELECT s.line, 'target', 'exactly one of product, category and everything is to be set' FROM staged AS s
	WHERE num_nonnulls(s.product, s.category, nullif(s.everything, false)) <> 1
	UNION ALL
	SELECT s.line, 'category', format('category %L is no path of labels', left(s.category, 40) || CASE WHEN length(s.category) > 40 THEN '...' ELSE '' END) FROM staged AS s
	WHERE s.category IN (SELECT path FROM (SELECT DISTINCT n.category FROM staged AS n) AS given (path) WHERE NOT omnichannel.is_category(path))
	UNION ALL
	(SELECT DISTINCT ON (c.line) c.line, 'value', 'amount, adjust, surcharge, round_to, min_quantity or valid is out of range, or there is none'
		|| CASE WHEN c.steps > 0 THEN format(' in derived price list %L', c.price_list) ELSE '' END
	FROM coming AS c
	WHERE (c.amount IS NULL) = (c.adjust IS NULL AND c.surcharge IS NULL) OR NOT coalesce(c.amount >= 0 AND c.amount < 1e18 AND scale(c.amount) <= 500, true)
		OR NOT coalesce(c.adjust >= -100 AND c.adjust < 1e6 AND scale(c.adjust) <= 500, true)
		OR NOT coalesce(c.surcharge > -1e18 AND c.surcharge < 1e18 AND scale(c.surcharge) <= 500, true)
		OR NOT coalesce(c.round_to > 0 AND c.round_to < 1e18 AND scale(c.round_to) <= 500, true) OR (c.round_to IS NOT NULL AND c.amount IS NOT NULL)
		OR NOT (c.min_quantity >= 0 AND c.min_quantity < 1e18 AND scale(c.min_quantity) <= 50) OR isempty(c.during) OR (c.kind = 'base' AND c.amount IS NULL)
	ORDER BY c.line, c.steps, c.price_list)
	UNION ALL
	SELECT o.line, 'overlap', 'overlaps with a line before it'
	FROM (
		SELECT s.line, s.begins,
			max(s.ends) OVER (PARTITION BY s.price_list, s.target, s.min_quantity
				ORDER BY s.begins, s.line ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS taken_until
		FROM (
			-- A bound on the other side of its moment than usual is one a microsecond later.
			SELECT n.*, coalesce(lower(n.during) + CASE WHEN lower_inc(n.during) THEN interval '0' ELSE '1 microsecond' END, '-infinity') AS begins,
				coalesce(upper(n.during) + CASE WHEN upper_inc(n.during) THEN interval '1 microsecond' ELSE '0' END, 'infinity') AS ends
			FROM staged AS n WHERE n.target IS NOT NULL AND NOT isempty(n.during)
		) AS s
	) AS o WHERE o.taken_until > o.begins
	UNION ALL
	SELECT b.line, 'tier rises', format('from %s on it costs %s, from %s on %s', a.min_quantity, a.amount, b.min_quantity, b.amount)
	FROM staged AS b JOIN (
		SELECT price_list, target, min_quantity, amount, during FROM staged
		UNION ALL
		SELECT e.price_list, e.target, e.min_quantity, e.amount, e.valid FROM existing AS e WHERE NOT EXISTS (
			SELECT FROM staged AS s WHERE s.price_list = e.price_list AND s.target = e.target AND s.min_quantity = e.min_quantity AND s.during @> e.valid)
	) AS a ON a.price_list = b.price_list AND a.target = b.target AND a.min_quantity < b.min_quantity AND a.during && b.during
	WHERE b.amount > a.amount AND b.price_list IN (SELECT tiered.price_list FROM tiered)
	UNION ALL
	-- Of each line the price of its own list before those of derived ones, and of a product the first moment.
	SELECT w.line, w.problem, format(CASE w.problem WHEN 'below floor' THEN '%s is below %s' WHEN 'jump' THEN '%s instead of %s' ELSE '%s is not below %s' END, trim_scale(round(w.price, 6)), trim_scale(round(w.bound, 6)))
		|| CASE WHEN w.later THEN format(' once price list %L is active', w.base_list) ELSE '' END
		|| CASE WHEN w.quantity > w.min_quantity THEN format(' from %s units on', w.quantity) ELSE '' END
		|| CASE WHEN lower(w.wrong_during) > greatest(lower(w.during), now()) THEN format(' from %s on', lower(w.wrong_during)) ELSE '' END
		|| CASE WHEN w.steps > 0 THEN format(' in derived price list %L', w.price_list) ELSE '' END
		|| CASE WHEN w.level > 1 OR w.products > 1 THEN format(' for product %L', w.product) ELSE '' END
		|| CASE WHEN w.products > 1 THEN format(' and %s more', w.products - 1) ELSE '' END
	FROM (
		SELECT DISTINCT ON (p.line, p.problem) p.*
		FROM (
			SELECT w.*, count(*) OVER (PARTITION BY w.line, w.problem, w.price_list) AS products
			FROM (
				SELECT DISTINCT ON (w.line, w.problem, w.price_list, w.product) w.* FROM wrong AS w
				WHERE NOT (w.problem = 'jump' AND EXISTS (SELECT FROM step WHERE step.plain AND step.line = w.line))
				ORDER BY w.line, w.problem, w.price_list, w.product, w.later, w.quantity, lower(w.wrong_during) NULLS FIRST, w.price
			) AS w
		) AS p
		ORDER BY p.line, p.problem, p.steps, p.price_list, p.level > 1, p.product COLLATE "C"
	) AS w
	UNION ALL
	-- The largest step from a price that it replaces or follows; percentages by what they leave of the base price.
	SELECT j.line, 'jump', format(CASE WHEN j.amount IS NULL THEN '%s percent instead of %s' ELSE '%s instead of %s' END, coalesce(j.amount, j.adjust, 0), coalesce(j.old_amount, j.old_adjust, 0))
		|| CASE WHEN j.steps > 0 THEN format(' in derived price list %L', j.price_list) ELSE '' END
	FROM (
		SELECT DISTINCT ON (s.line) s.*
		FROM step AS s CROSS JOIN LATERAL (SELECT coalesce(s.amount, 100 + coalesce(s.adjust, 0)) AS new, coalesce(s.old_amount, 100 + coalesce(s.old_adjust, 0)) AS old) AS value
		WHERE s.plain
		ORDER BY s.line, s.steps, s.price_list, CASE WHEN value.old = 0 THEN 'Infinity' ELSE abs(value.new - value.old) / value.old END DESC, value.old
	) AS j
	ORDER BY 1, 2, 3;
END
$$;
COMMENT ON FUNCTION omnichannel.check_staged_prices(numeric) IS
'What is wrong with price_staging, a row for each problem: list, derived, product, target, category, value, overlap, tier rises, sale above base, below floor, and jump, a step by more than max_jump percent from a price that it replaces, or from the last one before it, staged or not, however long ago that ended: of percentages in what they leave of the base price, and where amounts meet percentages, or surcharges or round_to come in, in what both make of the base price, if there is one. A price is compared at each product that it would be the price of, variants and the products of a category included, at each moment at which no nearer price of its list holds; the first such product, and of it the first moment, is named. The base price is the one that quote() takes then: the nearest of each list, of lists that everybody has for whom the price is the first, otherwise the lowest that some have. Lists answer when they are active; the line''s own is taken for active from now on, and lists that are approved, beside a draft also drafts, count besides as if they were. The floor is the one that the product inherits, with or without tax as company.tax_inclusive says, else as base lists of the currency do where they are of one kind; lists with and without tax are compared by the product''s rate. What percentages and surcharges make of the base price is compared with it for each group and quantity with a base price of its own, before it is rounded to the currency''s unit. What becomes of a line in derived lists is looked at too, and told with the line and the list; prices that stand already are not, where a staged base price changes what they are beside it. Raises 22023 for a max_jump that is NULL, NaN, below zero, or from 10^40 on and not Infinity, 55000 before setup().';

CREATE FUNCTION omnichannel.lock_staged_prices() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM omnichannel.require_setup();
	-- A lock of the table that keeps out its like: nobody takes it who may not write there. Statements that write hold
	-- a weaker one by then, which does not stand in its way.
	LOCK TABLE omnichannel.price_staging IN SHARE UPDATE EXCLUSIVE MODE;
END
$$;
COMMENT ON FUNCTION omnichannel.lock_staged_prices() IS
'Held until the end of the transaction by who writes to price_staging or calls apply_prices(), one at a time: nobody stages what another one is about to check and apply, and two who do both wait, and do not lock each other up; readers never wait, VACUUM does. Raises 42501 for who may neither update nor delete there, 55000 before setup().';

CREATE FUNCTION omnichannel.stage_prices() RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'omnichannel_stage_prices';
COMMENT ON FUNCTION omnichannel.stage_prices() IS
'Trigger function of price_staging: lets one transaction at a time write to it.';

CREATE FUNCTION omnichannel.apply_prices(max_jump numeric DEFAULT 50, accept text[] DEFAULT '{}',
	OUT line bigint, OUT problem text, OUT detail text, OUT applied bigint) RETURNS SETOF record
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_nestloop = off
SET jit = off
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
	PERFORM omnichannel.lock_staged_prices();
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

	IF EXISTS (SELECT FROM pg_class AS mine WHERE mine.relname = 'omnichannel_replaced_price' AND mine.relnamespace = pg_my_temp_schema()) THEN
		RAISE EXCEPTION 'the session has a temporary relation "omnichannel_replaced_price" of its own'
			USING ERRCODE = 'duplicate_table', HINT = 'Drop it, or give it another name: apply_prices() makes a table of this one.';
	END IF;
	-- What is replaced keeps the time that no new price takes; where that begins now, under another number, as a price
	-- whose start is moved to now keeps its past.
	CREATE TEMP TABLE omnichannel_replaced_price ON COMMIT DROP AS
	SELECT replaced.*, replaced.pieces = '{}' OR coalesce(lower(replaced.pieces[1]) = now() AND lower(replaced.valid) IS DISTINCT FROM now(), false) AS gone
	FROM (
		SELECT p.*, ARRAY(SELECT unnest(tstzmultirange(p.valid) - range_agg(coalesce(s.valid, tstzrange(now(), NULL))))) AS pieces
		FROM omnichannel.price_staging AS s JOIN omnichannel.price AS p ON p.price_list = s.price_list AND p.min_quantity = s.min_quantity
			AND coalesce('p' || p.product, 'c' || p.category_path, '*') = coalesce('p' || s.product, 'c' || s.category, '*')
			AND p.valid && coalesce(s.valid, tstzrange(now(), NULL))
		GROUP BY p.price_id
	) AS replaced;
	-- In one order, for whoever changes some of them beside, and after the table, as a statement that changes them locks it.
	LOCK TABLE omnichannel.price IN ROW EXCLUSIVE MODE;
	PERFORM FROM omnichannel.price AS p WHERE p.price_id = ANY (ARRAY(SELECT r.price_id FROM pg_temp.omnichannel_replaced_price AS r))
	ORDER BY p.price_id FOR UPDATE;
	BEGIN
		DELETE FROM omnichannel.price AS p USING pg_temp.omnichannel_replaced_price AS r WHERE p.price_id = r.price_id AND r.gone;
		UPDATE omnichannel.price AS p SET valid = r.pieces[1] FROM pg_temp.omnichannel_replaced_price AS r WHERE p.price_id = r.price_id AND NOT r.gone;
		INSERT INTO omnichannel.price (price_list, product, category, everything, min_quantity, amount, adjust, surcharge, round_to, valid, created_at)
		SELECT r.price_list, r.product, r.category, r.everything, r.min_quantity, r.amount, r.adjust, r.surcharge, r.round_to, piece, r.created_at
		FROM pg_temp.omnichannel_replaced_price AS r, unnest(CASE WHEN r.gone THEN r.pieces ELSE r.pieces[2:] END) AS piece;
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
'Checks price_staging as check_staged_prices() does and returns a row for each problem; where there is none but of the kinds that accept names, writes all of it in this transaction, empties price_staging and returns a last row with the number of prices applied. All that is staged is applied, whoever staged it; who wants his own lines only stages them in the same transaction, and others wait with theirs until it ends. A staged price replaces those of the same list, target and min_quantity for its own time only. Problems of the kinds list, derived, product, target, category, value and overlap cannot be accepted. For who may make temporary tables. Raises 22023 as check_staged_prices() and where accept is or holds NULL or what is no kind of problem, 40001 where another transaction changed the same prices meanwhile, 42P07 where the session has a temporary relation omnichannel_replaced_price, 55000 before setup().';

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
