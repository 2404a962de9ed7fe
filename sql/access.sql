-- Profiles: what each may do, and nothing more.
\set SHOW_CONTEXT never
-- Each table but the proxies of the caches stands in the list, and each entry of the list is a table.
SELECT relname AS not_in_the_list FROM pg_catalog.pg_class
WHERE relnamespace = 'omnichannel'::regnamespace AND relkind IN ('r', 'p', 'v', 'm') AND NOT relispartition
	AND relname NOT LIKE 'cache\_%' AND relname NOT LIKE 'report\_%'
EXCEPT SELECT relation FROM omnichannel.access_rule() ORDER BY 1;
SELECT relation AS not_a_table FROM omnichannel.access_rule() WHERE to_regclass('omnichannel.' || relation) IS NULL ORDER BY 1;
SELECT relation AS twice FROM omnichannel.access_rule() GROUP BY 1 HAVING count(*) > 1;
SELECT relation, named AS not_a_column FROM omnichannel.access_rule(), unnest(for_supervisor) AS named
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = ('omnichannel.' || relation)::regclass AND attname = named);

CREATE FUNCTION pg_temp.sqlstate(statement text) RETURNS text LANGUAGE sql AS $$ SELECT coalesce(code, 'nothing') FROM public.raises(statement) $$;
CREATE ROLE regress_app;
CREATE ROLE regress_agent;
CREATE ROLE regress_supervisor;
CREATE ROLE regress_bi;
SET ROLE regress_app;
SELECT omnichannel.default_currency();
RESET ROLE;

SELECT omnichannel.grant_access('regress_app', 'owner');
SELECT omnichannel.grant_access('regress_app', NULL);
SELECT omnichannel.grant_access(NULL, 'app');
SELECT omnichannel.grant_access('999999999', 'app');
SELECT omnichannel.grant_access('regress_nobody', 'app');

SELECT omnichannel.grant_access('regress_app', 'app');
SELECT omnichannel.grant_access('regress_agent', 'agent');
SELECT omnichannel.grant_access('regress_supervisor', 'supervisor');
SELECT omnichannel.grant_access('regress_bi', 'bi');
-- What only a supervisor enters.
SELECT relation, named AS column, grantee FROM omnichannel.access_rule(), unnest(for_supervisor) AS named, unnest('{regress_app,regress_agent,regress_supervisor,regress_bi}'::name[]) AS grantee
WHERE has_column_privilege(grantee, 'omnichannel.' || relation, named, 'INSERT') ORDER BY 1, 2, 3;

-- An application logs contacts and reads prices, and changes no rule.
BEGIN;
SET LOCAL ROLE regress_app;
SELECT omnichannel.log_contact('email', kind => 'email', value => 'access@example.com') > 0 AS logged;
SELECT omnichannel.default_currency();
SAVEPOINT a;
INSERT INTO omnichannel.channel (channel, name, medium) VALUES ('fax', 'Fax', 'letter');
ROLLBACK TO a;
UPDATE omnichannel.company SET currency = 'EUR';
ROLLBACK TO a;
DELETE FROM omnichannel.contact;
ROLLBACK TO a;
SELECT omnichannel.grant_access('regress_app', 'supervisor');
ROLLBACK TO a;
SELECT omnichannel.revoke_access('regress_bi');
ROLLBACK TO a;
SELECT omnichannel.revoke_access('regress_app');
ROLLBACK;

-- A supervisor changes rules.
BEGIN;
SET LOCAL ROLE regress_supervisor;
INSERT INTO omnichannel.channel (channel, name, medium) VALUES ('fax', 'Fax', 'letter');
ROLLBACK;

-- BI reads no table.
SET ROLE regress_bi;
SELECT count(*) FROM omnichannel.customer;
RESET ROLE;
SELECT count(*) AS tables_that_bi_may_touch
FROM pg_catalog.pg_class, pg_catalog.aclexplode(relacl) AS granted
WHERE relnamespace = 'omnichannel'::regnamespace AND granted.grantee = 'regress_bi'::regrole AND relname NOT LIKE 'report\_%';

SELECT omnichannel.revoke_access('regress_app');
SELECT omnichannel.revoke_access(NULL);
SELECT pg_temp.sqlstate('SELECT omnichannel.revoke_access(' || quote_literal(relowner) || ')') AS of_the_owner FROM pg_catalog.pg_class WHERE oid = 'omnichannel.company'::regclass;
SELECT count(*) AS left_over
FROM pg_catalog.pg_class, pg_catalog.aclexplode(relacl) AS granted
WHERE relnamespace = 'omnichannel'::regnamespace AND granted.grantee = 'regress_app'::regrole;
SELECT omnichannel.revoke_access('regress_agent'), omnichannel.revoke_access('regress_supervisor'), omnichannel.revoke_access('regress_bi');
DROP ROLE regress_app, regress_agent, regress_supervisor, regress_bi;
