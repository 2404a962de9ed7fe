-- Real order lines of a wholesaler: their price history becomes price lists, their lines become contacts.
-- Needs the psql variable data, the folder of retail.csv.gz.
\set ON_ERROR_STOP on
\set QUIET on
\pset footer off
SET client_min_messages = warning;
CREATE SCHEMA shop;
CREATE TABLE shop.csv (invoice text, product text, description text, quantity integer, sold_at timestamp, unit_price numeric, customer text, country text);
\set load '\\copy shop.csv FROM PROGRAM ''zcat ' :data '/retail.csv.gz'' (FORMAT csv, HEADER)'
:load
CREATE TABLE shop.order_line (
	line_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	invoice text NOT NULL,
	product text NOT NULL,
	description text,
	quantity integer NOT NULL,
	sold_at timestamptz NOT NULL,
	unit_price numeric NOT NULL,
	customer text NOT NULL,
	country text
);

\echo
\echo '== Price history'
-- What each product was sold at in each month (London time), from which quantity on: a lower price for a larger quantity
-- is a tier, a price that is not lower is noise of a single sale.
CREATE TABLE shop.tier AS
WITH seen AS (
	SELECT product, date_trunc('month', sold_at) AS month, unit_price, min(quantity) AS min_quantity
	FROM shop.csv WHERE quantity > 0 AND unit_price > 0 AND invoice NOT LIKE 'C%'
	GROUP BY 1, 2, 3
), ranked AS (
	SELECT *, min(unit_price) OVER (PARTITION BY product, month ORDER BY min_quantity, unit_price ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS cheaper_before
	FROM seen
)
SELECT product, month, min_quantity, unit_price FROM ranked WHERE cheaper_before IS NULL OR unit_price < cheaper_before;

CREATE INDEX ON shop.tier (product, month);
ANALYZE shop.tier;

INSERT INTO omnichannel.product (product, name)
SELECT product, max(description) FROM shop.csv GROUP BY product;
INSERT INTO omnichannel.price_list (price_list, name, kind, currency) VALUES ('wholesale', 'Wholesale', 'base', 'GBP');
INSERT INTO omnichannel.price (price_list, product, min_quantity, amount, valid)
SELECT 'wholesale', product, min_quantity, unit_price,
	tstzrange(month AT TIME ZONE 'Europe/London', (month + interval '1 month') AT TIME ZONE 'Europe/London')
FROM shop.tier;
SELECT (SELECT count(*) FROM omnichannel.product) AS products, (SELECT count(*) FROM omnichannel.price) AS prices,
	(SELECT count(*) FROM (SELECT product FROM shop.tier GROUP BY product HAVING count(DISTINCT unit_price) > 1) AS p) AS products_with_several_prices;

-- Every distinct question that the order lines put: this product, this month, this quantity. A price below a penny is
-- rounded to the penny.
CREATE TABLE shop.question AS
SELECT row_number() OVER () AS question, q.*, (SELECT round(min(unit_price), 2) FROM shop.tier AS t WHERE t.product = q.product AND t.month = q.month AND t.min_quantity <= q.quantity) AS expected
FROM (SELECT DISTINCT product, date_trunc('month', sold_at) AS month, quantity FROM shop.csv WHERE quantity > 0) AS q;
SELECT clock_timestamp() AS began \gset
CREATE TABLE shop.answer AS
SELECT question, expected, (omnichannel.quote_segments('{}', product, quantity => question.quantity::numeric, currency => 'GBP',
	at => month AT TIME ZONE 'Europe/London' + interval '12 days')).unit_price AS answered
FROM shop.question;
SELECT clock_timestamp() AS ended \gset
SELECT count(*) AS quotes, round(count(*) / extract(epoch FROM :'ended'::timestamptz - :'began'::timestamptz)) AS quotes_a_second, count(*) FILTER (WHERE answered = expected) AS as_sold, count(*) FILTER (WHERE expected IS NULL AND answered IS NULL) AS rightly_no_price,
	count(*) FILTER (WHERE answered IS DISTINCT FROM expected) AS wrong FROM shop.answer;
SELECT count(*) = 0 AS ok FROM shop.answer WHERE answered IS DISTINCT FROM expected \gset
\if :ok
\else
	\echo 'FAILED: quotes differ from the price history'
	SELECT * FROM shop.question JOIN shop.answer USING (question) WHERE answered IS DISTINCT FROM answer.expected LIMIT 10;
	DO $$BEGIN RAISE EXCEPTION 'quotes differ from the price history'; END$$;
\endif

\echo
\echo '== Order lines as contacts, logged by the trigger within the COPY-like INSERT'
-- The wholesaler numbers its customers; who buys without a number is known by the invoice only.
INSERT INTO omnichannel.identity_kind (kind, name) VALUES ('shop_customer', 'Number of a customer of the shop');
SELECT omnichannel.track('shop.order_line', channel => 'web_form', customer => '{customer}', kind => 'shop_customer',
	direction => 'inbound', occurred_at => '{sold_at}', thread => '{invoice}', subject => '{description}');
SELECT clock_timestamp() AS began \gset
INSERT INTO shop.order_line (invoice, product, description, quantity, sold_at, unit_price, customer, country)
SELECT invoice, product, description, quantity, sold_at AT TIME ZONE 'Europe/London', unit_price, coalesce(customer, 'invoice ' || invoice), country
FROM shop.csv;
SELECT clock_timestamp() AS ended \gset
SELECT (SELECT count(*) FROM shop.csv) AS rows_in_file, (SELECT count(*) FROM shop.order_line) AS order_lines,
	(SELECT count(*) FROM omnichannel.contact WHERE channel = 'web_form') AS contacts_logged,
	round((SELECT count(*) FROM shop.order_line) / extract(epoch FROM :'ended'::timestamptz - :'began'::timestamptz)) AS contacts_a_second,
	(SELECT count(DISTINCT customer) FROM shop.order_line) AS buyers,
	(SELECT count(*) FROM omnichannel.customer) AS customers;
SELECT (SELECT count(*) FROM shop.csv) = (SELECT count(*) FROM omnichannel.contact WHERE channel = 'web_form')
	AND (SELECT count(DISTINCT customer) FROM shop.order_line) = (SELECT count(*) FROM omnichannel.identity WHERE kind = 'shop_customer')
	-- nothing is lost in detail either: per buyer, as many contacts as lines
	AND NOT EXISTS (
		SELECT customer, count(*) FROM shop.order_line GROUP BY customer
		EXCEPT
		SELECT identity.value, count(*) FROM omnichannel.contact JOIN omnichannel.identity USING (customer_id)
		WHERE identity.kind = 'shop_customer' AND contact.channel = 'web_form' GROUP BY identity.value) AS ok \gset
\if :ok
\else
	DO $$BEGIN RAISE EXCEPTION 'contacts were lost: logged contacts differ from the rows loaded'; END$$;
\endif
\echo 'The last contacts of the best customer:'
SELECT occurred_at AT TIME ZONE 'Europe/London' AS at, channel, subject
FROM omnichannel.timeline((SELECT customer_id FROM omnichannel.contact GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1), max_rows => 5);

\echo
\echo '== The same lines imported by backfill(), of a shop that had them before, in another order'
INSERT INTO omnichannel.identity_kind (kind, name) VALUES ('shop_customer_before', 'Number of a customer of the shop, imported');
CREATE TABLE shop.order_line_before (LIKE shop.order_line INCLUDING INDEXES);
INSERT INTO shop.order_line_before SELECT * FROM shop.order_line ORDER BY line_id DESC;
SELECT omnichannel.track('shop.order_line_before', channel => 'web_form', customer => '{customer}', kind => 'shop_customer_before',
	direction => 'inbound', occurred_at => '{sold_at}', thread => '{invoice}', subject => '{description}');
\set live shop.order_line
\set live_kind shop_customer
\set imported shop.order_line_before
\set imported_kind shop_customer_before
\ir same.sql
