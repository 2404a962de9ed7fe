-- What is known of customers, and what they agreed to.
\set SHOW_CONTEXT never
BEGIN;
SET LOCAL TIME ZONE 'UTC';
SET LOCAL datestyle = 'ISO, YMD';
INSERT INTO omnichannel.customer (customer_id, erased_at) VALUES (9101, NULL), (9102, NULL), (9150, '2026-01-01 00:00+00');
ALTER TABLE omnichannel.fact ALTER fact_id RESTART WITH 901;
ALTER TABLE omnichannel.consent ALTER consent_id RESTART WITH 901;

-- The latest wins, the history stays.
SELECT omnichannel.remember(9101, 'loyalty.tier', '"silver"', 'crm', '2026-01-01 00:00+00');
SELECT omnichannel.remember(9101, 'loyalty.tier', '"gold"', 'shop', '2026-03-01 00:00+00');
-- what comes late, and held earlier, is history at once
SELECT omnichannel.remember(9101, 'loyalty.tier', '"bronze"', 'archive', '2025-06-01 00:00+00');
SELECT omnichannel.remember(9101, 'children', '2', 'agent 7');
SELECT key, value, since, source, recorded_as, fact_id FROM omnichannel.facts(9101) WHERE key = 'loyalty.tier';
SELECT at::date, (SELECT value FROM omnichannel.facts(9101, at) WHERE key = 'loyalty.tier')
FROM unnest(ARRAY['2025-01-01', '2025-07-01', '2026-02-01', '2026-03-01', '2027-01-01']::timestamptz[]) AS at;
SELECT key, value, since, source FROM omnichannel.fact_history(9101, 'loyalty.tier');
-- the same from the same source is not written again; from another, it is
SELECT omnichannel.remember(9101, 'loyalty.tier', '"gold"', 'shop', '2026-04-01 00:00+00') AS known;
SELECT omnichannel.remember(9101, 'loyalty.tier', '"gold"', 'crm', '2026-04-01 00:00+00') AS another;
-- equal times: what was recorded last
SELECT omnichannel.remember(9101, 'loyalty.tier', '"platinum"', 'crm', '2026-04-01 00:00+00');
SELECT value FROM omnichannel.facts(9101) WHERE key = 'loyalty.tier';
-- as it was known at an earlier time
UPDATE omnichannel.fact SET recorded_at = '2026-05-01 00:00+00' WHERE customer_id = 9101 AND value = '"platinum"';
UPDATE omnichannel.fact SET recorded_at = '2026-04-02 00:00+00' WHERE customer_id = 9101 AND value = '"gold"';
SELECT value FROM omnichannel.facts(9101, '2026-06-01 00:00+00', known_at => '2026-04-15 00:00+00') WHERE key = 'loyalty.tier';
-- retracted: from now on, or as never true
SELECT omnichannel.forget(9101, 'loyalty.tier', 'agent 7', '2026-06-01 00:00+00') AS was_known, omnichannel.forget(9101, 'shoe.size') AS unknown;
SELECT count(*) FROM omnichannel.facts(9101) WHERE key = 'loyalty.tier';
SELECT value FROM omnichannel.facts(9101, '2026-05-15 00:00+00') WHERE key = 'loyalty.tier';
SELECT omnichannel.forget(9101, 'loyalty.tier') AS again;
SELECT omnichannel.remember(9101, 'loyalty.tier', 'null', since => '2026-07-01 00:00+00') IS NOT NULL AS json_null;
SELECT key, value, value IS NULL AS retracted FROM omnichannel.facts(9101) WHERE key = 'loyalty.tier';
-- of merged customers the latest of all, and each with its own again
SELECT omnichannel.remember(9102, 'loyalty.tier', '"diamond"', 'app', '2026-08-01 00:00+00') IS NOT NULL AS remembered;
SELECT omnichannel.merge_customers(9101, 9102) AS merge_id \gset
SELECT value, recorded_as FROM omnichannel.facts(9101) WHERE key = 'loyalty.tier';
SELECT count(*) FROM omnichannel.fact_history(9102, 'loyalty.tier');
SELECT omnichannel.unmerge_customers(:merge_id);
SELECT value, recorded_as FROM omnichannel.facts(9101) WHERE key = 'loyalty.tier';
SELECT value, recorded_as FROM omnichannel.facts(9102);

SELECT raised(statement) FROM (VALUES
	($$SELECT omnichannel.remember(9199, 'a', '1')$$),
	($$SELECT omnichannel.remember(NULL, 'a', '1')$$),
	($$SELECT omnichannel.remember(9150, 'a', '1')$$),
	($$SELECT omnichannel.remember(9101, NULL, '1')$$),
	($$SELECT omnichannel.remember(9101, '', '1')$$),
	($$SELECT omnichannel.remember(9101, 'two words', '1')$$),
	($$SELECT omnichannel.remember(9101, repeat('k', 64), '1')$$),
	($$SELECT omnichannel.remember(9101, 'a', NULL)$$),
	($$SELECT omnichannel.remember(9101, 'a', '1', '')$$),
	($$SELECT omnichannel.remember(9101, 'a', '1', since => 'infinity')$$),
	($$SELECT omnichannel.remember(9101, 'a', to_jsonb(repeat('x', 1100000)))$$),
	($$SELECT omnichannel.forget(9150, 'a')$$),
	($$SELECT omnichannel.forget(9101, '?')$$),
	($$SELECT omnichannel.facts(9199)$$),
	($$SELECT omnichannel.fact_history(NULL)$$)
) AS bad (statement);

-- Consents: per purpose and channel, with proof; the last decision holds.
SELECT omnichannel.has_consent(9101, 'marketing') AS never_asked;
SELECT omnichannel.give_consent(9101, 'marketing', proof => '{"form": "signup", "version": 3}', source => 'shop', since => '2026-01-01 00:00+00');
SELECT omnichannel.withdraw_consent(9101, 'marketing', 'phone', since => '2026-02-01 00:00+00');
SELECT omnichannel.give_consent(9101, 'recording', 'phone', '{"call": 17}', since => '2026-02-02 00:00+00', expires_at => '2026-02-03 00:00+00');
SELECT channel, omnichannel.has_consent(9101, 'marketing', channel, '2026-02-15 00:00+00') AS marketing,
	omnichannel.has_consent(9101, 'recording', channel, '2026-02-02 12:00+00') AS recording,
	omnichannel.has_consent(9101, 'recording', channel, '2026-02-03 00:00+00') AS expired,
	omnichannel.has_consent(9101, 'marketing', channel, '2025-12-31 00:00+00') AS before
FROM (VALUES (NULL), ('email'), ('phone')) AS asked (channel);
SELECT purpose, channel, granted, since, expires_at, proof, source, recorded_as FROM omnichannel.consents(9101, '2026-02-02 12:00+00');
-- a later decision for all channels replaces those for one, and the other way round
SELECT omnichannel.withdraw_consent(9101, 'marketing', since => '2026-03-01 00:00+00') IS NOT NULL AS withdrawn;
SELECT purpose, channel, granted FROM omnichannel.consents(9101, '2026-03-02 00:00+00');
SELECT omnichannel.give_consent(9101, 'marketing', 'email', '{"form": "again"}', since => '2026-04-01 00:00+00') IS NOT NULL AS given;
SELECT channel, omnichannel.has_consent(9101, 'marketing', channel) FROM (VALUES (NULL), ('email'), ('sms')) AS asked (channel);
-- merged: whoever decided last
SELECT omnichannel.withdraw_consent(9102, 'marketing', 'email', since => '2026-05-01 00:00+00') IS NOT NULL AS withdrawn;
SELECT omnichannel.merge_customers(9101, 9102) AS merge_id \gset
SELECT omnichannel.has_consent(9101, 'marketing', 'email') AS merged;
SELECT omnichannel.unmerge_customers(:merge_id);
SELECT omnichannel.has_consent(9101, 'marketing', 'email') AS apart;

SELECT raised(statement) FROM (VALUES
	($$SELECT omnichannel.give_consent(9101, 'marketing')$$),
	($$SELECT omnichannel.give_consent(9101, 'marketing', proof => '{}')$$),
	($$SELECT omnichannel.give_consent(9101, 'marketing', proof => 'null')$$),
	($$SELECT omnichannel.give_consent(9101, 'world peace', proof => '{"form": 1}')$$),
	($$SELECT omnichannel.give_consent(9101, NULL, proof => '{"form": 1}')$$),
	($$SELECT omnichannel.give_consent(9101, 'marketing', 'pigeon', '{"form": 1}')$$),
	($$SELECT omnichannel.give_consent(9199, 'marketing', proof => '{"form": 1}')$$),
	($$SELECT omnichannel.give_consent(9150, 'marketing', proof => '{"form": 1}')$$),
	($$SELECT omnichannel.give_consent(9101, 'marketing', proof => '{"form": 1}', since => '2999-01-01 UTC')$$),
	($$SELECT omnichannel.give_consent(9101, 'marketing', proof => '{"form": 1}', since => '-infinity')$$),
	($$SELECT omnichannel.give_consent(9101, 'marketing', proof => '{"form": 1}', since => '2026-01-02 UTC', expires_at => '2026-01-01 UTC')$$),
	($$SELECT omnichannel.give_consent(9101, 'marketing', proof => '{"form": 1}', source => '')$$),
	($$SELECT omnichannel.give_consent(9101, 'marketing', proof => to_jsonb(repeat('x', 1100000)))$$),
	($$SELECT omnichannel.withdraw_consent(9150, 'marketing')$$),
	($$SELECT omnichannel.has_consent(9101, 'world peace')$$),
	($$SELECT omnichannel.has_consent(9101, 'marketing', 'pigeon')$$),
	($$SELECT omnichannel.has_consent(9199, 'marketing')$$),
	($$SELECT omnichannel.has_consent(9101, 'marketing', at => NULL)$$),
	($$SELECT omnichannel.consents(9101, NULL)$$),
	($$SELECT omnichannel.consents(NULL)$$)
) AS bad (statement);
ROLLBACK;
