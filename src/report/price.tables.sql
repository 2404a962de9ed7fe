CREATE VIEW omnichannel.report_price_divergence AS
SELECT shown.shown_id, shown.shown_at, shown.channel, shown.place, shown.product, shown.quantity, shown.currency, shown.price AS shown,
	shown.expected, shown.price OPERATOR(pg_catalog.-) shown.expected AS difference, shown.cause AS likely_cause, shown.checked_at
FROM omnichannel.shown_price AS shown
WHERE shown.cause IS NOT NULL;
COMMENT ON VIEW omnichannel.report_price_divergence IS
'Every place where a channel displayed something else than the engine answered at that moment, with the likely cause; without customers. As of the last check_shown_prices().';
COMMENT ON COLUMN omnichannel.report_price_divergence.shown IS 'One unit, as displayed, in currency.';
COMMENT ON COLUMN omnichannel.report_price_divergence.expected IS 'One unit, as the engine answers; NULL: it has no price.';

-- What the rules of segments are about; it stands here because contacts and requests are there.
CREATE VIEW omnichannel.segment_input AS
SELECT customer.customer_id, customer.birth_date, customer.language, customer.preferred_channel, customer.created_at,
	(SELECT coalesce(jsonb_object_agg(latest.key, latest.value), '{}') FROM (
		SELECT DISTINCT ON (fact.key) fact.key, fact.value FROM omnichannel.fact
		WHERE fact.customer_id = customer.customer_id AND fact.since <= now()
		ORDER BY fact.key, fact.since DESC, fact.fact_id DESC) AS latest) AS facts,
	(SELECT count(*) FROM omnichannel.contact WHERE contact.customer_id IN (
		SELECT same.customer_id FROM omnichannel.customer AS same
		WHERE same.customer_id = customer.customer_id OR same.merged_into = customer.customer_id)) AS contacts,
	(SELECT max(contact.occurred_at) FROM omnichannel.contact WHERE contact.customer_id IN (
		SELECT same.customer_id FROM omnichannel.customer AS same
		WHERE same.customer_id = customer.customer_id OR same.merged_into = customer.customer_id)) AS last_contact_at,
	(SELECT count(*) FROM omnichannel.request WHERE request.state NOT IN ('done', 'cancelled') AND request.customer_id IN (
		SELECT same.customer_id FROM omnichannel.customer AS same
		WHERE same.customer_id = customer.customer_id OR same.merged_into = customer.customer_id)) AS open_requests
FROM omnichannel.customer
WHERE customer.merged_into IS NULL AND customer.erased_at IS NULL;
COMMENT ON VIEW omnichannel.segment_input IS
'What rules of segments see of a customer: its columns, facts (the latest of each key), and what contacts and requests say of it. Columns can be appended to it, as from a report; what a rule does not name costs nothing.';
COMMENT ON COLUMN omnichannel.segment_input.facts IS 'The latest value of each key, as facts ->> ''revenue''.';
COMMENT ON COLUMN omnichannel.segment_input.contacts IS 'How many contacts there were, in all channels, of the customer and of those merged into it.';
COMMENT ON COLUMN omnichannel.segment_input.last_contact_at IS 'When the latest of them was; NULL: never.';
COMMENT ON COLUMN omnichannel.segment_input.open_requests IS 'How many requests are neither done nor cancelled.';
