-- Thousands of clocks at once cost as many times what one does, whatever the planner believes of their table.
BEGIN;
SELECT plan(8);

CREATE TABLE public.mail (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, sender text, direction text, sent timestamptz);
SELECT lives_ok($$SELECT omnichannel.track('public.mail', channel => 'email', customer => '{sender}', kind => 'email',
	direction => '{direction}', occurred_at => '{sent}')$$, 'tracked');
-- As after a VACUUM of tables that were empty.
UPDATE pg_class SET relpages = 1, reltuples = 0 WHERE oid IN ('omnichannel.sla_clock'::regclass, 'omnichannel.sla_clock_pkey'::regclass,
	'omnichannel.sla_customer'::regclass, 'omnichannel.sla_moment'::regclass, 'omnichannel.sla_event'::regclass);
CREATE FUNCTION public.write(customers integer, direction text, sent timestamptz) RETURNS void LANGUAGE sql AS $$
INSERT INTO public.mail (sender, direction, sent) SELECT 'm' || i || '@many.test', direction, sent FROM generate_series(1, customers) AS i
$$;
-- Rows of clocks that the transaction has looked at until now, by an index or without.
CREATE FUNCTION public.looked_at() RETURNS bigint LANGUAGE sql VOLATILE AS $$
SELECT pg_stat_get_xact_tuples_fetched(c.oid) + pg_stat_get_xact_tuples_returned(c.oid)
	+ (SELECT sum(pg_stat_get_xact_tuples_returned(i.indexrelid)) FROM pg_index AS i WHERE i.indrelid = c.oid)::bigint
FROM pg_class AS c WHERE c.oid = 'omnichannel.sla_clock'::regclass
$$;

SELECT public.write(20, 'inbound', now() - interval '3 hours');
SELECT public.write(20, 'outbound', now() - interval '2 hours');
SELECT public.write(4000, 'inbound', now() - interval '1 hour');
SELECT is((SELECT count(*) FROM omnichannel.sla_clock WHERE stopped_at IS NULL), 4000::bigint, 'each waits');
CREATE TEMP TABLE before ON COMMIT DROP AS SELECT public.looked_at() AS rows;
SELECT public.write(4000, 'outbound', now() - interval '30 minutes');
SELECT is((SELECT count(*) FILTER (WHERE outcome IS NOT NULL AND notice_at IS NULL) || ' of ' || count(*) FROM omnichannel.sla_clock
	WHERE started_at = now() - interval '1 hour'), '4000 of 4000', 'all have their answers');
SELECT cmp_ok(public.looked_at() - (SELECT rows FROM before), '<', 4000 * 30::bigint, 'each took a few looks');

-- Rules that change reckon them all anew.
UPDATE omnichannel.sla_policy SET target = '5 hours' WHERE policy IN ('email', 'email_next');
DELETE FROM before;
INSERT INTO before SELECT public.looked_at();
SELECT public.write(4000, 'inbound', now() - interval '20 minutes');
DO $$BEGIN PERFORM omnichannel.recompute_sla(); END$$;
SELECT is((SELECT count(DISTINCT target) || ' ' || count(*) FROM omnichannel.sla_clock WHERE stopped_at IS NULL), '1 4000', 'all follow');
SELECT cmp_ok(public.looked_at() - (SELECT rows FROM before), '<', 4000 * 60::bigint, 'that took few too');

-- Nor does it take the square of the time to go through customers that are held: of ten times as many about ten times,
-- the shortest of three times that each is done, as the machine may be busy with something else.
CREATE FUNCTION public.shortest(customers integer) RETURNS interval LANGUAGE plpgsql AS $$
DECLARE
	shortest interval := '1 day';
	begun timestamptz;
BEGIN
	FOR turn IN 1 .. 3 LOOP
		BEGIN
			DELETE FROM omnichannel.sla_clock WHERE customer_id NOT IN (SELECT customer_id FROM omnichannel.sla_clock ORDER BY customer_id LIMIT customers);
			DELETE FROM omnichannel.sla_policy;
			begun := clock_timestamp();
			PERFORM omnichannel.recompute_sla();
			RAISE EXCEPTION USING ERRCODE = 'RT000', MESSAGE = clock_timestamp() - begun;
		EXCEPTION WHEN SQLSTATE 'RT000' THEN
			shortest := least(shortest, SQLERRM::interval);
		END;
	END LOOP;
	RETURN shortest;
END
$$;
SELECT cmp_ok(public.shortest(4000), '<', 50 * public.shortest(400), 'which takes as much longer as there are more');
DELETE FROM omnichannel.sla_policy;
DO $$BEGIN PERFORM omnichannel.recompute_sla(); END$$;
SELECT is((SELECT count(*) FROM omnichannel.sla_clock WHERE stopped_at IS NULL), 0::bigint, 'or are no more');

SELECT * FROM finish();
ROLLBACK;
