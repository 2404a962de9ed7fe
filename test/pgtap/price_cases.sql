-- Prices of known systems: the project's own cases, and where psql variable "cases" names a folder, price.json in it.
BEGIN;
SET LOCAL search_path = omnichannel, public;
SET LOCAL client_min_messages = error;

CREATE TEMP TABLE price_case (id text PRIMARY KEY, body jsonb);
INSERT INTO price_case (id, body) VALUES
('own-sale-not-below', '{"kind": "unit", "setup": {"products": [{"id": "p"}], "base_prices": [{"product": "p", "currency": "PLN", "amount": "10"}],
	"segments": [], "price_lists": [{"code": "S", "kind": "sale", "priority": 9, "segments": [], "prices": [{"product": "p", "currency": "PLN", "amount": "10"}]}], "promotions": []},
	"query": {"customer_segments": [], "product": "p", "quantity": "1", "currency": "PLN", "at": "2024-10-24T12:00:00Z"},
	"expected": {"unit_price": "10.00", "list_price": "10.00", "applied": []}}'),
('own-buy-get', '{"kind": "line", "setup": {"products": [{"id": "p"}], "base_prices": [{"product": "p", "currency": "PLN", "amount": "10"}],
	"segments": [], "price_lists": [], "promotions": [{"code": "B", "kind": "buy_get", "value": "100", "buy": 2, "get": 1, "priority": 0, "segments": []}]},
	"query": {"customer_segments": [], "product": "p", "quantity": "7", "currency": "PLN", "at": "2024-10-24T12:00:00Z"},
	"expected": {"unit_price": null, "list_price": "10.00", "line_total": "50.00", "applied": ["B"]}}'),
('own-stop', '{"kind": "unit", "setup": {"products": [{"id": "p"}], "base_prices": [{"product": "p", "currency": "PLN", "amount": "10"}],
	"segments": [], "price_lists": [], "promotions": [{"code": "A", "kind": "percent", "value": "10", "priority": 2, "stop": true, "segments": []},
		{"code": "B", "kind": "amount", "value": "1", "priority": 1, "segments": []}]},
	"query": {"customer_segments": [], "product": "p", "quantity": "1", "currency": "PLN", "at": "2024-10-24T12:00:00Z"},
	"expected": {"unit_price": "9.00", "list_price": "10.00", "applied": ["A"]}}'),
('own-cent', '{"kind": "order", "setup": {"products": [{"id": "a"}, {"id": "b"}, {"id": "c"}],
	"base_prices": [{"product": "a", "currency": "PLN", "amount": "1"}, {"product": "b", "currency": "PLN", "amount": "1"}, {"product": "c", "currency": "PLN", "amount": "1"}],
	"segments": [], "price_lists": [], "promotions": [{"code": "O", "kind": "order_amount", "value": "1", "priority": 0, "segments": []}]},
	"query": {"customer_segments": [], "lines": [{"product": "a", "quantity": "1"}, {"product": "b", "quantity": "1"}, {"product": "c", "quantity": "1"}],
		"currency": "PLN", "at": "2024-10-24T12:00:00Z"},
	"expected": {"order_total": "2.00", "line_totals": ["0.66", "0.67", "0.67"], "applied": ["O"]}}');
SELECT :'cases' <> '' AS given \gset
\if :given
\set file :cases '/price.json'
\set content `cat :file`
INSERT INTO price_case SELECT element ->> 'id', element FROM jsonb_array_elements(:'content'::jsonb) AS element;
\else
\echo # skip price.json: run with CASES set to the folder of the cases
\endif

-- A case's catalogue becomes rows. Codes are prefixed with the case's id; a rule that is an AND of ORs becomes one list a
-- combination, all of one priority. Largest quantities are no part of a price, and no question asks for more than one.
CREATE FUNCTION pg_temp.label(name text) RETURNS ltree LANGUAGE sql
RETURN text2ltree(regexp_replace(name, '[^A-Za-z0-9_]', '_', 'g'));

CREATE FUNCTION pg_temp.combinations(clauses jsonb) RETURNS SETOF text[] LANGUAGE sql AS $$
	WITH RECURSIVE step AS (
		SELECT 0 AS n, '{}'::text[] AS chosen
		UNION ALL
		SELECT n + 1, chosen || option
		FROM step, jsonb_array_elements_text(clauses -> n) AS option WHERE n < jsonb_array_length(clauses)
	)
	SELECT chosen FROM step WHERE n = jsonb_array_length(clauses)
$$;

CREATE FUNCTION pg_temp.add_list(code text, list_kind text, list_priority int, clauses jsonb, list_valid tstzrange, list_status text, rows jsonb)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	chosen text[];
	cur text;
	made text;
	n int := 0;
BEGIN
	FOR cur IN SELECT DISTINCT row ->> 'currency' FROM jsonb_array_elements(rows) AS row
	LOOP
		FOR chosen IN SELECT * FROM pg_temp.combinations(clauses)
		LOOP
			n := n + 1;
			made := code || '#' || n;
			INSERT INTO price_list (price_list, kind, priority, currency, segments_all, valid, status)
			VALUES (made, list_kind, list_priority, cur, chosen, list_valid, list_status);
			INSERT INTO price (price_list, product, category, everything, min_quantity, amount, adjust, surcharge, valid)
			SELECT made, CASE WHEN row ? 'category' OR row ? 'all' THEN NULL ELSE row ->> 'product' END,
				pg_temp.label(row ->> 'category'), row ? 'all', coalesce((row ->> 'min_qty')::numeric, 0),
				(row ->> 'amount')::numeric,
				CASE row #>> '{adjust,type}' WHEN 'percent' THEN -(row #>> '{adjust,value}')::numeric END,
				CASE row #>> '{adjust,type}' WHEN 'amount' THEN -(row #>> '{adjust,value}')::numeric END,
				tstzrange((row ->> 'valid_from')::timestamptz, (row ->> 'valid_to')::timestamptz)
			FROM jsonb_array_elements(rows) AS row
			WHERE row ->> 'currency' = cur
				AND coalesce(row #>> '{adjust,base}', '') NOT LIKE 'list:%'
				AND EXISTS (SELECT FROM product WHERE row ? 'category' OR row ? 'all' OR product.product = row ->> 'product');
			PERFORM pg_temp.derive_list(made, code, row) FROM jsonb_array_elements(rows) AS row
			WHERE row #>> '{adjust,base}' LIKE 'list:%';
		END LOOP;
	END LOOP;
END $$;

CREATE FUNCTION pg_temp.derive_list(made text, code text, item jsonb) RETURNS void LANGUAGE sql AS $$
	UPDATE price_list SET derived_from = split_part(item #>> '{adjust,base}', ':', 2) || '#1',
		derived_adjust = -(item #>> '{adjust,value}')::numeric
	WHERE price_list = made
$$;

CREATE FUNCTION pg_temp.load_case(body jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	setup jsonb := body -> 'setup';
	item jsonb;
	n int := 0;
BEGIN
	INSERT INTO product (product)
	SELECT DISTINCT parent FROM jsonb_to_recordset(setup -> 'products') AS p (parent text) WHERE parent IS NOT NULL;
	INSERT INTO product (product, parent, category, brand, currency, min_price, cost, min_margin, tax_rate)
	SELECT p.id, p.parent, pg_temp.label(p.categories ->> 0), p.brand, body #>> '{query,currency}', p.min_price, p.cost, p.min_margin, p.tax_rate
	FROM jsonb_to_recordset(setup -> 'products') AS p (id text, parent text, categories jsonb, brand text, min_price numeric,
		cost numeric, min_margin numeric, tax_rate numeric);
	INSERT INTO segment (segment) SELECT jsonb_array_elements_text(setup -> 'segments') ON CONFLICT DO NOTHING;
	FOR item IN SELECT jsonb_build_object('segments', coalesce(row -> 'segments', '[]'), 'priority', coalesce(row -> 'priority', '0'), 'rows', jsonb_agg(row))
		FROM jsonb_array_elements(setup -> 'base_prices') AS row GROUP BY coalesce(row -> 'segments', '[]'), coalesce(row -> 'priority', '0')
	LOOP
		n := n + 1;
		PERFORM pg_temp.add_list('base' || n, 'base', (item ->> 'priority')::int, item -> 'segments', '(,)', 'active', item -> 'rows');
	END LOOP;
	UPDATE price_list SET tax_inclusive = coalesce(body ->> 'source', '') NOT LIKE '%excl. tax%';
	FOR item IN SELECT * FROM jsonb_array_elements(setup -> 'price_lists')
	LOOP
		PERFORM pg_temp.add_list(item ->> 'code', item ->> 'kind', coalesce((item ->> 'priority')::int, 0), coalesce(item -> 'segments', '[]'),
			tstzrange((item ->> 'valid_from')::timestamptz, (item ->> 'valid_to')::timestamptz), coalesce(item ->> 'status', 'active'),
			item -> 'prices');
	END LOOP;
	INSERT INTO promotion (promotion, kind, value, cap, buy_quantity, get_quantity, max_units, currency, products, categories, brands,
		segments_any, priority, stage, exclusive, stop, best_of, min_quantity, min_subtotal, valid)
	SELECT p.code, p.kind, coalesce(p.value, 100), p.cap, p.buy, p.get, p.max_units, body #>> '{query,currency}',
		ARRAY(SELECT jsonb_array_elements_text(p.products)), ARRAY(SELECT pg_temp.label(jsonb_array_elements_text(p.categories))),
		ARRAY(SELECT jsonb_array_elements_text(p.brands)), ARRAY(SELECT jsonb_array_elements_text(p.segments -> 0)),
		coalesce(p.priority, 0), coalesce(p.stage, 1), coalesce(p.exclusive, false), coalesce(p.stop, false), p."group",
		coalesce(p.min_qty, 0), coalesce(p.min_subtotal, 0), tstzrange(p.valid_from, p.valid_to)
	FROM jsonb_to_recordset(setup -> 'promotions') AS p (code text, kind text, value numeric, cap numeric, buy int, get int, max_units numeric,
		products jsonb, categories jsonb, brands jsonb, segments jsonb, priority int, stage int, exclusive boolean, stop boolean,
		"group" text, min_qty numeric, min_subtotal numeric, valid_from timestamptz, valid_to timestamptz);
END $$;

-- What the case expects, and what comes out, in the same form.
CREATE FUNCTION pg_temp.answer(body jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	query jsonb := body -> 'query';
	expected jsonb := body -> 'expected';
	asked text[] := ARRAY(SELECT jsonb_array_elements_text(query -> 'customer_segments'));
	answer jsonb;
BEGIN
	PERFORM pg_temp.load_case(body);
	IF body ->> 'kind' = 'order' THEN
		INSERT INTO customer (customer_id) VALUES (77);
		INSERT INTO segment_member (customer_id, segment, valid) SELECT DISTINCT 77, unnest(asked), tstzrange(NULL, NULL);
		SELECT jsonb_build_object('order_total', sum(line_total), 'line_totals', jsonb_agg(line_total ORDER BY line),
			'applied', (SELECT jsonb_agg(code ORDER BY first) FROM (
				SELECT code, min(line * 100 + place) AS first FROM quote_basket(77, query -> 'lines', query ->> 'currency', (query ->> 'at')::timestamptz),
					unnest(promotions) WITH ORDINALITY AS p (code, place) GROUP BY code) AS applied))
		INTO answer FROM quote_basket(77, query -> 'lines', query ->> 'currency', (query ->> 'at')::timestamptz);
	ELSE
		SELECT jsonb_build_object('unit_price', quote.unit_price, 'list_price', quote.list_price, 'line_total', quote.line_total,
			'unit_gross', quote.unit_gross,
			'applied', to_jsonb(CASE WHEN list.kind = 'base' THEN '{}' ELSE ARRAY[split_part(quote.price_list, '#', 1)] END || quote.promotions))
		INTO answer
		FROM quote_segments(asked, query ->> 'product', (query ->> 'quantity')::numeric, query ->> 'currency', (query ->> 'at')::timestamptz) AS quote
		LEFT JOIN price_list AS list USING (price_list);
	END IF;
	SELECT jsonb_object_agg(key, value) INTO answer FROM jsonb_each(answer) WHERE expected ? key;
	RAISE EXCEPTION USING ERRCODE = 'P0999', MESSAGE = answer::text;
END $$;

\ir cases.psql

SELECT plan(count(*)::int + 1) FROM price_case;
SELECT is_empty($$SELECT id FROM price_case, jsonb_path_query(body, '$.setup.**.max_qty') AS most WHERE (most #>> '{}')::numeric < (body #>> '{query,quantity}')::numeric$$,
	'no question is beyond the largest quantity of a row');
SELECT is(pg_temp.plain(pg_temp.undone(body)), pg_temp.plain(body -> 'expected'), id) FROM price_case ORDER BY id;
SELECT * FROM finish();
ROLLBACK;
