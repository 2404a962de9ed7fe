-- Who may change where agents are now has the intervals of presence written for him, and nobody else; by hand a desk
-- writes none.
BEGIN;
SELECT plan(12);
SET LOCAL search_path = omnichannel, public, pg_catalog;
INSERT INTO agent (agent_id, name) VALUES (1, 'Anna'), (2, 'Bo');
CREATE ROLE desk; CREATE ROLE shop; CREATE ROLE analyst; CREATE ROLE reader;
SELECT grant_access('desk', 'agent'), grant_access('shop', 'app'), grant_access('analyst', 'bi') \g /dev/null
-- all that set_presence() reads, and presence to write, but not where agents are
SELECT grant_access('reader', 'agent') \g /dev/null
REVOKE INSERT, UPDATE ON agent_state FROM reader;
GRANT INSERT, UPDATE ON presence TO reader;

CREATE FUNCTION pg_temp.spells(agent bigint) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(state || CASE WHEN upper_inf(during) THEN ' still' ELSE '' END, ', ' ORDER BY during) FROM omnichannel.presence WHERE agent_id = agent $$;
SET LOCAL ROLE desk;
SELECT throws_ok($$INSERT INTO omnichannel.presence VALUES (1, 'available', '[2026-01-01, 2026-01-02)')$$, '42501', NULL, 'a desk writes no presence');
SELECT lives_ok($$SELECT omnichannel.set_presence(1, 'available')$$, 'but it comes on');
SELECT throws_ok($$UPDATE omnichannel.presence SET during = tstzrange('2026-01-01', NULL)$$, '42501', NULL, 'it does not change when that was');
SELECT throws_ok('DELETE FROM omnichannel.presence', '42501', NULL, 'nor whether it was');
SELECT is((SELECT current_user), 'desk', 'and is who it was');
RESET ROLE;
UPDATE presence SET during = tstzrange(now() - interval '1 hour', NULL);
SET LOCAL ROLE shop;
SELECT lives_ok($$SELECT omnichannel.set_presence(1, 'break')$$, 'nor need an application be able to');
RESET ROLE;
SELECT is(pg_temp.spells(1), 'available, break still', 'each spell is there');
SET LOCAL ROLE reader;
SELECT throws_ok($$SELECT omnichannel.set_presence(1, 'busy')$$, '42501', 'permission denied for table agent_state', 'who may not change where agents are has nothing written');
SET LOCAL ROLE analyst;
SELECT throws_ok($$SELECT omnichannel.set_presence(2, 'available')$$, '42501', NULL, 'nor has an analyst');
RESET ROLE;
SELECT is(pg_temp.spells(1) || coalesce(pg_temp.spells(2), ''), 'available, break still', 'as is seen');

-- A company's own rule for agent_state holds.
ALTER TABLE agent_state ENABLE ROW LEVEL SECURITY;
CREATE POLICY everybody ON agent_state FOR SELECT TO desk USING (true);
CREATE POLICY own ON agent_state FOR ALL TO desk USING (agent_id = 1);
SET LOCAL ROLE desk;
SELECT throws_ok($$SELECT omnichannel.set_presence(2, 'available')$$, '42501', NULL, 'whoever may not touch the agent''s row');
RESET ROLE;
SELECT is(pg_temp.spells(2), NULL, 'writes no presence of his');
SELECT * FROM finish();
ROLLBACK;
