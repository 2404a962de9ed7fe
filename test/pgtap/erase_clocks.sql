-- Erasing a customer ends what was promised without a request, and nothing moves any of the customer's clocks afterwards.
BEGIN;
SELECT plan(10);

UPDATE omnichannel.channel SET opens_request = false WHERE channel = 'phone';
INSERT INTO omnichannel.sla_policy (policy, metric, channel, target) VALUES
	('forum_first', 'first_response', 'forum', '6 hours'), ('forum_next', 'next_response', 'forum', '30 minutes');
SELECT omnichannel.identify('account', 'erased') AS erased, omnichannel.identify('account', 'twin') AS twin \gset
SELECT omnichannel.merge_customers(:erased, :twin) AS merge \gset
SELECT FROM omnichannel.log_contact('forum', :erased, thread => 'e1', occurred_at => now() - interval '2 hours');
SELECT FROM omnichannel.log_contact('forum', :erased, thread => 'e2', occurred_at => now() - interval '100 minutes');
SELECT FROM omnichannel.log_contact('forum', :erased, direction => 'outbound', thread => 'e2', occurred_at => now() - interval '50 minutes');
SELECT FROM omnichannel.log_contact('forum', :erased, thread => 'e2', occurred_at => now() - interval '40 minutes');
SELECT FROM omnichannel.log_contact('phone', :twin, outcome => 'missed', occurred_at => now() - interval '30 minutes');

CREATE VIEW pg_temp.clocks AS
SELECT metric, started_at, stopped_at, outcome, elapsed FROM omnichannel.sla_clock WHERE customer_id IN (:erased, :twin);
SELECT results_eq($$SELECT metric, outcome FROM clocks WHERE stopped_at IS NULL ORDER BY metric$$,
	$$VALUES ('callback', NULL::text), ('first_response', NULL), ('next_response', NULL)$$, 'three are open');
SELECT is((omnichannel.erase_customer(:erased) ->> 'sla_clock')::bigint, 3::bigint, 'the erasure says how many clocks it changed');
SELECT results_eq($$SELECT metric, outcome, stopped_at = now(), elapsed FROM clocks ORDER BY metric, started_at$$,
	$$VALUES ('callback', 'cancelled', true, interval '30 minutes'), ('first_response', 'cancelled', true, '2 hours'),
		('first_response', 'met', false, '50 minutes'), ('next_response', 'breached', true, '40 minutes')$$,
	'open ones have ended, breached where they were due before; others are as they were');

CREATE TEMP TABLE kept AS TABLE clocks;
SELECT is_empty($$SELECT FROM (SELECT omnichannel.erase_group(omnichannel.customer_group(customer_id), '{}') AS report
	FROM omnichannel.customer WHERE erased_at IS NOT NULL) AS again WHERE report ? 'sla_clock'$$, 'erasing again ends nothing more');
SELECT omnichannel.customers_regrouped(ARRAY[:erased]);
SELECT omnichannel.recompute_sla();
SELECT FROM omnichannel.tick();
SELECT FROM omnichannel.forget_moments(now() + interval '800 days');
SELECT omnichannel.customers_regrouped(ARRAY[:erased]);
SELECT bag_eq('TABLE clocks', 'TABLE kept', 'nor do later reckonings change a clock');
SELECT throws_ok(format('SELECT omnichannel.unmerge_customers(%s)', :merge), '55000', NULL, 'whoever was merged stays so');

SELECT omnichannel.identify('account', 'erased') AS new \gset
SELECT isnt(:new, :erased, 'the identity is a new customer''s');
SELECT FROM omnichannel.log_contact('forum', :new, direction => 'outbound', occurred_at => now() - interval '5 minutes');
SELECT FROM omnichannel.log_contact('forum', :new, thread => 'e1', occurred_at => now() - interval '1 minute');
SELECT results_eq(format('SELECT metric, outcome FROM omnichannel.sla_clock WHERE customer_id = %s', :new),
	$$VALUES ('first_response', NULL::text)$$, 'who is promised an answer as if new');
SELECT bag_eq('TABLE clocks', 'TABLE kept', 'and moves nothing of the erased one');

SELECT throws_ok('SELECT omnichannel.cancel_clocks(ARRAY[NULL::bigint])', '22023', NULL, 'a customer must not be NULL');
SELECT * FROM finish();
ROLLBACK;
