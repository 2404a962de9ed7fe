-- Consents at their edges: decided twice, at the same time, late, for a while, of merged and of erased customers.
BEGIN;
SELECT plan(24);
SET LOCAL TIME ZONE 'UTC';
INSERT INTO omnichannel.customer (customer_id) VALUES (101), (102), (103);

-- Twice, and at the same time: the last recorded holds.
SELECT isnt(omnichannel.withdraw_consent(101, 'marketing', since => '2026-01-01'), omnichannel.withdraw_consent(101, 'marketing', since => '2026-01-01'), 'each withdrawal is on record');
SELECT is(omnichannel.has_consent(101, 'marketing', at => '2026-01-01'), false, 'withdrawn twice is withdrawn');
SELECT omnichannel.give_consent(101, 'marketing', proof => '{"form": 1}', since => '2026-02-01'), omnichannel.withdraw_consent(101, 'marketing', since => '2026-02-01') \g /dev/null
SELECT is(omnichannel.has_consent(101, 'marketing', at => '2026-02-01'), false, 'at the same time the last recorded holds');
SELECT is(count(*), 1::bigint, 'and is listed once') FROM omnichannel.consents(101, '2026-02-01') WHERE purpose = 'marketing';
-- Recorded late: it holds from when it was decided until the next decision.
SELECT omnichannel.give_consent(101, 'marketing', proof => '{"paper": 7}', since => '2026-01-15') \g /dev/null
SELECT results_eq($$SELECT omnichannel.has_consent(101, 'marketing', at => at) FROM unnest('{2026-01-14 23:59:59.999999,2026-01-15,2026-01-31 23:59:59.999999,2026-02-01}'::timestamptz[]) AS at$$,
	'{false,true,true,false}'::boolean[], 'recorded late, it holds between the decisions around it');
-- For a while: until then, and not at that moment.
SELECT omnichannel.give_consent(101, 'research', 'email', '{"form": 2}', since => '2026-03-01', expires_at => '2026-03-02') \g /dev/null
SELECT results_eq($$SELECT omnichannel.has_consent(101, 'research', 'email', at) FROM unnest('{2026-03-01,2026-03-01 23:59:59.999999,2026-03-02,infinity}'::timestamptz[]) AS at$$,
	'{true,true,false,false}'::boolean[], 'a consent ends when it expires');
SELECT is(omnichannel.has_consent(101, 'research', at => '2026-03-01'), false, 'for one channel is not for all');
SELECT lives_ok($$SELECT omnichannel.give_consent(101, 'recording', proof => '"signed"', since => '2026-03-01', expires_at => 'infinity')$$, 'for ever');
SELECT is(omnichannel.has_consent(101, 'recording', at => '2999-01-01'), true, 'is for ever');

-- What nobody can decide.
SELECT throws_ok($$SELECT omnichannel.give_consent(101, 'marketing', proof => '{"form": 1}', since => 'infinity')$$, '22008', NULL, 'at an infinite time');
SELECT throws_ok($$SELECT omnichannel.withdraw_consent(101, 'marketing', since => clock_timestamp() + interval '2 minutes')$$, '22008', NULL, 'in the future');
SELECT throws_ok($$SELECT omnichannel.give_consent(101, 'marketing', proof => '{"form": 1}', expires_at => '-infinity')$$, '22008', NULL, 'until before it was decided');
SELECT throws_ok($$SELECT omnichannel.give_consent(101, 'marketing', proof => '{"form": 1}', since => '2026-01-01', expires_at => '2026-01-01')$$, '22008', NULL, 'for no time');
SELECT throws_ok($$SELECT omnichannel.give_consent(101, 'marketing', proof => '[]')$$, '22023', NULL, 'with an empty proof');
SELECT throws_ok($$SELECT omnichannel.give_consent(101, 'marketing', proof => '""')$$, '22023', NULL, 'with no words');
SELECT throws_ok($$SELECT omnichannel.withdraw_consent(101, 'peace')$$, '23503', NULL, 'to what nobody asks');
SELECT throws_ok($$SELECT omnichannel.has_consent(101, 'marketing', at => NULL)$$, '22023', NULL, 'asked for no time');

-- Random decisions of merged customers: has_consent() and consents() say the same.
SELECT setseed(0.5);
DO $$
BEGIN
	FOR i IN 1..150
	LOOP
		IF random() < 0.5 THEN
			PERFORM omnichannel.give_consent(102 + floor(random() * 2)::bigint, ('{marketing,research}'::text[])[1 + floor(random() * 2)], ('{email,sms,NULL}'::text[])[1 + floor(random() * 3)],
				'{"form": 1}', since => '2026-01-01'::timestamptz + floor(random() * 50) * interval '1 day',
				expires_at => CASE WHEN random() < 0.3 THEN '2026-02-25'::timestamptz + floor(random() * 10) * interval '1 day' END);
		ELSE
			PERFORM omnichannel.withdraw_consent(102 + floor(random() * 2)::bigint, ('{marketing,research}'::text[])[1 + floor(random() * 2)], ('{email,sms,NULL}'::text[])[1 + floor(random() * 3)],
				since => '2026-01-01'::timestamptz + floor(random() * 50) * interval '1 day');
		END IF;
	END LOOP;
END
$$;
SELECT omnichannel.merge_customers(102, 103) AS merge \gset
CREATE FUNCTION public.disagreements() RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM unnest('{102,103}'::bigint[]) AS who, unnest('{marketing,research,recording}'::text[]) AS p, unnest('{email,sms,post,NULL}'::text[]) AS c,
		generate_series('2025-12-31'::timestamptz, '2026-03-10', '1 day') AS at
	WHERE omnichannel.has_consent(who, p, c, at) IS DISTINCT FROM coalesce(
		(SELECT granted FROM omnichannel.consents(who, at) WHERE purpose = p AND channel = c),
		(SELECT granted FROM omnichannel.consents(who, at) WHERE purpose = p AND channel IS NULL), false)
$$;
SELECT is(public.disagreements(), 0::bigint, 'both functions say the same of merged customers');
SELECT cmp_ok((SELECT count(*) FROM omnichannel.consents(102)), '>', 3::bigint, 'who have decided much');
SELECT omnichannel.unmerge_customers(:merge) \g /dev/null
SELECT is(public.disagreements(), 0::bigint, 'and of them apart');

-- Erased: nothing holds any more; what was decided, and when, stays on record without the proof.
SELECT is(omnichannel.has_consent(101, 'recording'), true, 'before it is erased it holds');
SELECT omnichannel.erase_customer(101) \g /dev/null
SELECT is(omnichannel.has_consent(101, 'recording'), false, 'after it does not');
SELECT is_empty('SELECT FROM omnichannel.consents(101) WHERE granted OR proof IS NOT NULL', 'none does, and no proof is left');
SELECT is(omnichannel.has_consent(101, 'recording', at => '2026-03-05'), true, 'that it did is history');
SELECT * FROM finish();
ROLLBACK;
