CREATE VIEW omnichannel.report_price_divergence AS
SELECT shown.shown_id, shown.shown_at, shown.channel, shown.place, shown.product, shown.quantity, shown.currency, shown.price AS shown,
	shown.expected, shown.price OPERATOR(pg_catalog.-) shown.expected AS difference, shown.cause AS likely_cause, shown.checked_at
FROM omnichannel.shown_price AS shown
WHERE shown.cause IS NOT NULL;
COMMENT ON VIEW omnichannel.report_price_divergence IS
'Every place where a channel displayed something else than the engine answered at that moment, with the likely cause; without customers. As of the last check_shown_prices().';
COMMENT ON COLUMN omnichannel.report_price_divergence.shown IS 'One unit, as displayed, in currency.';
COMMENT ON COLUMN omnichannel.report_price_divergence.expected IS 'One unit, as the engine answers; NULL: it has no price.';
