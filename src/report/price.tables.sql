CREATE VIEW omnichannel.report_price_divergence AS
SELECT shown.shown_id, shown.shown_at, shown.channel, shown.place, shown.product, shown.quantity, shown.currency, shown.price AS shown,
	shown.expected, shown.price - shown.expected AS difference, omnichannel.divergence_code(shown.cause) AS cause_code,
	shown.cause AS likely_cause, shown.checked_at
FROM omnichannel.shown_price AS shown
WHERE shown.cause IS NOT NULL;
COMMENT ON VIEW omnichannel.report_price_divergence IS
'Every place where a channel displayed something else than the engine answered at that moment, with the likely cause; without customers. As of the last check_shown_prices(). report_price_day has how many were checked.';
COMMENT ON COLUMN omnichannel.report_price_divergence.shown_id IS 'Of shown_price.';
COMMENT ON COLUMN omnichannel.report_price_divergence.shown_at IS 'When it was displayed: an instant, shown in the session''s time zone.';
COMMENT ON COLUMN omnichannel.report_price_divergence.channel IS 'Which displayed it.';
COMMENT ON COLUMN omnichannel.report_price_divergence.place IS 'Page, shop or screen, where the channel said so.';
COMMENT ON COLUMN omnichannel.report_price_divergence.product IS 'Code, as the channel gave it: the engine may not know it.';
COMMENT ON COLUMN omnichannel.report_price_divergence.quantity IS 'How many units the price was displayed for, in the product''s unit.';
COMMENT ON COLUMN omnichannel.report_price_divergence.currency IS 'ISO 4217 code of the amounts, as the channel gave it.';
COMMENT ON COLUMN omnichannel.report_price_divergence.shown IS 'One unit, as displayed, in currency.';
COMMENT ON COLUMN omnichannel.report_price_divergence.expected IS 'One unit, as the engine answers, in currency; where its units cost different prices their mean, rounded; NULL: it has no price.';
COMMENT ON COLUMN omnichannel.report_price_divergence.difference IS 'shown less expected, in currency: above 0 the customer saw too much.';
COMMENT ON COLUMN omnichannel.report_price_divergence.cause_code IS 'likely_cause as a code to group by: see divergence_code().';
COMMENT ON COLUMN omnichannel.report_price_divergence.likely_cause IS 'In words, with times and codes, for who looks for it.';
COMMENT ON COLUMN omnichannel.report_price_divergence.checked_at IS 'When check_shown_prices() compared it: an instant, as shown_at is.';

CREATE VIEW omnichannel.report_price_day AS
SELECT (shown.shown_at AT TIME ZONE (SELECT company.time_zone FROM omnichannel.company))::date AS day, shown.channel,
	count(*) AS displayed,
	count(shown.checked_at) AS checked,
	count(shown.cause) AS different
FROM omnichannel.shown_price AS shown
GROUP BY 1, 2;
COMMENT ON VIEW omnichannel.report_price_day IS
'How many prices each channel reported as displayed on a day, how many of them were checked and how many were otherwise: different by checked is the rate of divergence. As of the last check_shown_prices().';
COMMENT ON COLUMN omnichannel.report_price_day.day IS 'On which they were displayed, in the company''s time zone.';
COMMENT ON COLUMN omnichannel.report_price_day.channel IS 'Which displayed them.';
COMMENT ON COLUMN omnichannel.report_price_day.displayed IS 'How many are in the sample.';
COMMENT ON COLUMN omnichannel.report_price_day.checked IS 'How many of them check_shown_prices() has compared.';
COMMENT ON COLUMN omnichannel.report_price_day.different IS 'How many of these were not what the engine answered: the rows of report_price_divergence.';

CREATE VIEW omnichannel.report_promotion_use AS
WITH used AS (
	SELECT promotion_use.promotion,
		count(*) FILTER (WHERE promotion_use.state = 'reserved') AS reserved,
		count(*) FILTER (WHERE promotion_use.state = 'committed') AS committed,
		count(*) FILTER (WHERE promotion_use.state = 'released' AND promotion_use.former = 0) AS released,
		count(promotion_use.coupon) FILTER (WHERE promotion_use.state <> 'released') AS with_coupon,
		coalesce(sum(promotion_use.amount) FILTER (WHERE promotion_use.state = 'reserved'), 0) AS amount_reserved,
		coalesce(sum(promotion_use.amount) FILTER (WHERE promotion_use.state = 'committed'), 0) AS amount_committed,
		max(promotion_use.reserved_at) FILTER (WHERE promotion_use.state <> 'released') AS last_used_at
	FROM omnichannel.promotion_use
	GROUP BY promotion_use.promotion
)
SELECT promotion.promotion, promotion.kind, promotion.status, promotion.currency, coalesce(used.reserved, 0) AS reserved,
	coalesce(used.committed, 0) AS committed, coalesce(used.released, 0) AS released, coalesce(used.with_coupon, 0) AS with_coupon,
	coalesce(used.amount_reserved, 0) AS amount_reserved, coalesce(used.amount_committed, 0) AS amount_committed, promotion.use_limit,
	CASE WHEN promotion.use_limit IS NOT NULL THEN greatest(promotion.use_limit - coalesce(used.reserved + used.committed, 0), 0) END AS uses_left,
	promotion.budget,
	CASE WHEN promotion.budget IS NOT NULL THEN greatest(promotion.budget - coalesce(used.amount_reserved + used.amount_committed, 0), 0) END AS budget_left,
	used.last_used_at
FROM omnichannel.promotion LEFT JOIN used USING (promotion);
COMMENT ON VIEW omnichannel.report_promotion_use IS
'How often each promotion was used, what it gave away and what is left of its limit and budget, as reserve_use(), commit_use() and release_use() were told; without customers.';
COMMENT ON COLUMN omnichannel.report_promotion_use.promotion IS 'Code.';
COMMENT ON COLUMN omnichannel.report_promotion_use.kind IS 'As in promotion: percent, amount, fixed_price, buy_get, order_percent or order_amount.';
COMMENT ON COLUMN omnichannel.report_promotion_use.status IS 'draft, approved, active or retired.';
COMMENT ON COLUMN omnichannel.report_promotion_use.currency IS 'ISO 4217 code of the amounts; NULL where the promotion has none: then they are of each order''s currency, summed as they are.';
COMMENT ON COLUMN omnichannel.report_promotion_use.reserved IS 'Uses of orders that are placed and not paid.';
COMMENT ON COLUMN omnichannel.report_promotion_use.committed IS 'Uses of orders that are paid.';
COMMENT ON COLUMN omnichannel.report_promotion_use.released IS 'Uses that were given back; no other column counts them.';
COMMENT ON COLUMN omnichannel.report_promotion_use.with_coupon IS 'Of the reserved and committed uses those by a coupon.';
COMMENT ON COLUMN omnichannel.report_promotion_use.amount_reserved IS 'What the reserved uses would give away, in currency.';
COMMENT ON COLUMN omnichannel.report_promotion_use.amount_committed IS 'What the committed uses gave away, in currency.';
COMMENT ON COLUMN omnichannel.report_promotion_use.use_limit IS 'How often it can be used; NULL: any number of times.';
COMMENT ON COLUMN omnichannel.report_promotion_use.uses_left IS 'use_limit less what is reserved and committed; NULL: without a limit.';
COMMENT ON COLUMN omnichannel.report_promotion_use.budget IS 'How much it can give away, in currency; NULL: without a bound.';
COMMENT ON COLUMN omnichannel.report_promotion_use.budget_left IS 'budget less what is reserved and committed, in currency; NULL: without a bound.';
COMMENT ON COLUMN omnichannel.report_promotion_use.last_used_at IS 'When the latest use that is not given back was reserved: an instant, shown in the session''s time zone; NULL: never.';

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
