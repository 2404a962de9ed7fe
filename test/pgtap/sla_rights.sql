-- Who may write rules, memberships or requests need hold no right on what clocks follow from; nor is that to be written
-- through triggers of one's own.
BEGIN;
SELECT plan(14);
SET LOCAL search_path = omnichannel, public, pg_catalog;
CREATE ROLE sla_app;
CREATE ROLE sla_planner;
SELECT grant_access('sla_app', 'app');
GRANT USAGE ON SCHEMA omnichannel TO sla_planner;
GRANT SELECT, INSERT, UPDATE, DELETE ON calendar, calendar_exception, sla_policy TO sla_planner;
INSERT INTO segment (segment, name) VALUES ('vip', 'VIP');
INSERT INTO sla_policy (policy, metric, segment, target) VALUES ('vip', 'resolution', 'vip', '1 hour');
INSERT INTO customer (customer_id, name) SELECT n, 'Many ' || n FROM generate_series(1001, 11001) AS n;
DELETE FROM sla_stale;

SET LOCAL ROLE sla_app;
SELECT lives_ok($$INSERT INTO segment_member SELECT n, 'vip' FROM generate_series(1001, 1010) AS n$$, 'applications write memberships');
SELECT lives_ok($$INSERT INTO segment_member SELECT n, 'vip' FROM generate_series(1011, 11001) AS n$$, 'many');
SELECT lives_ok($$UPDATE segment_member SET valid = tstzrange(now() - interval '1 hour', NULL)$$, 'and very many at once');
RESET ROLE;
SELECT results_eq('SELECT (SELECT count(*) FROM sla_behind), relation FROM sla_stale', $$VALUES (10001::bigint, 'segment_member')$$, 'which are noted');
DELETE FROM sla_stale;

SET LOCAL ROLE sla_planner;
SELECT lives_ok($$INSERT INTO calendar (calendar, name, hours) VALUES ('plan', 'Plan', '24/7'); SELECT add_holiday('plan', '2026-12-24', 'Eve');
	UPDATE sla_policy SET calendar = 'plan' WHERE policy = 'vip'$$, 'so do those who plan');
RESET ROLE;
SELECT is((SELECT string_agg(relation, ' ' ORDER BY stale_id) FROM sla_stale), 'calendar calendar_exception sla_policy', 'which is noted');

CREATE TABLE public.mine (customer_id bigint, segment text, valid tstzrange);
CREATE TRIGGER mine AFTER INSERT ON public.mine REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION mark_sla_stale();
SELECT throws_ok($$INSERT INTO public.mine VALUES (1001, 'vip', '(,)')$$, '39P01', NULL, 'no table but those of rules makes clocks follow');
CREATE OR REPLACE TRIGGER mine AFTER INSERT ON public.mine REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION follow_memberships();
SELECT throws_ok($$INSERT INTO public.mine VALUES (1001, 'vip', '(,)')$$, '39P01', NULL, 'nor any but that of memberships');
CREATE OR REPLACE TRIGGER mine AFTER INSERT ON public.mine FOR EACH STATEMENT EXECUTE FUNCTION forget_all_requests();
SELECT throws_ok($$INSERT INTO public.mine VALUES (1001, 'vip', '(,)')$$, '39P01', NULL, 'and none ends what requests were promised');

-- What is told of one request is for who works with requests; reports are for all who read.
DELETE FROM sla_stale;
SELECT open_request(1001, 'question', 'email') AS request \gset
CREATE ROLE sla_agent; CREATE ROLE sla_supervisor; CREATE ROLE sla_bi;
SELECT grant_access(('sla_' || profile)::regrole, profile) FROM unnest(ARRAY['agent', 'supervisor', 'bi']) AS profile \g /dev/null
SET LOCAL ROLE sla_app;
SELECT lives_ok('SELECT * FROM omnichannel.explain_sla(' || :request || ')', 'applications may ask why');
SET LOCAL ROLE sla_agent;
SELECT lives_ok('SELECT * FROM omnichannel.explain_sla(' || :request || ')', 'so may agents');
SET LOCAL ROLE sla_supervisor;
SELECT lives_ok('SELECT * FROM omnichannel.explain_sla(' || :request || ')', 'and supervisors');
SET LOCAL ROLE sla_bi;
SELECT throws_ok('SELECT * FROM omnichannel.explain_sla(' || :request || ')', '42501', NULL, 'who reads reports may not');
SELECT lives_ok('SELECT * FROM omnichannel.report_service_levels', 'but reads those');
RESET ROLE;
SELECT * FROM finish();
ROLLBACK;
