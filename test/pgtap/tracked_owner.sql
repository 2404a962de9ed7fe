-- Code that comes with a tracked table (casts, domains, rules) runs with the rights of the table's owner when others have its rows read.
BEGIN;
SELECT plan(33);
CREATE ROLE owner_mallory;
CREATE ROLE owner_keeper;
SELECT omnichannel.grant_access('owner_keeper', 'supervisor') \g /dev/null
GRANT INSERT, UPDATE, SELECT, DELETE ON ALL TABLES IN SCHEMA omnichannel TO owner_keeper;
CREATE SCHEMA owner_m AUTHORIZATION owner_mallory;
GRANT USAGE ON SCHEMA owner_m TO owner_keeper;
SET LOCAL ROLE owner_mallory;
SET LOCAL search_path = owner_m, public;

-- Notes who runs it, and tries to keep that role's rights.
CREATE TABLE ran (what text, who text);
GRANT INSERT ON ran TO PUBLIC;
-- What is called by a row that fails is undone, but not its sequences.
CREATE SEQUENCE as_owner;
CREATE SEQUENCE as_other;
CREATE FUNCTION note(what text) RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
	PERFORM nextval(CASE current_user WHEN 'owner_mallory' THEN 'owner_m.as_owner' ELSE 'owner_m.as_other' END);
	INSERT INTO owner_m.ran VALUES (what, current_user);
	IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
		ALTER ROLE owner_mallory SUPERUSER;
	END IF;
	RETURN true;
END
$$;
CREATE FUNCTION ran(what text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(DISTINCT who, ',') FROM owner_m.ran WHERE ran.what LIKE $1
$$;
CREATE FUNCTION ran_since() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	calls text := (SELECT string_agg(sequencename, ',') FROM pg_sequences WHERE schemaname = 'owner_m' AND last_value IS NOT NULL);
BEGIN
	PERFORM setval('owner_m.as_owner', 1, false), setval('owner_m.as_other', 1, false);
	RETURN calls;
END
$$;
CREATE TYPE mood AS ENUM ('a');
CREATE FUNCTION mood_json(mood) RETURNS json LANGUAGE plpgsql AS $$
BEGIN
	PERFORM owner_m.note('cast');
	RETURN '"a"';
END
$$;
CREATE CAST (mood AS json) WITH FUNCTION mood_json(mood);
CREATE DOMAIN noted AS text;
CREATE TABLE calls (id int PRIMARY KEY, caller text, at timestamptz DEFAULT '2026-03-01 10:00+00', mood mood DEFAULT 'a', remark noted);
INSERT INTO calls VALUES (1, '605110001'), (2, '605110002');
RESET ROLE;

-- casts
SELECT omnichannel.track('owner_m.calls', channel => 'phone', customer => '{caller}', kind => 'phone', occurred_at => '{at}', payload => '{*}', source => 'owner') \g /dev/null
SELECT is(omnichannel.backfill('owner_m.calls'), 2::bigint, 'a superuser imports the rows of another''s table');
SELECT is(owner_m.ran('cast'), 'owner_mallory', 'whose cast runs with its owner''s rights');
SELECT ok(NOT rolsuper, 'and gets no others') FROM pg_roles WHERE rolname = 'owner_mallory';
SELECT is((SELECT count(*) FROM omnichannel.contact WHERE source = 'owner' AND payload ->> 'mood' = 'a'), 2::bigint, 'what it makes is logged');
SELECT is(current_user, session_user, 'afterwards everybody is who he was');

-- also where rows are kept that cannot be logged
DELETE FROM owner_m.ran;
SELECT omnichannel.track('owner_m.calls', channel => '{caller}', customer => '{caller}', kind => 'phone', occurred_at => '{at}', source => 'owner_rejects',
	on_error => 'quarantine') \g /dev/null
SELECT is(omnichannel.backfill('owner_m.calls'), 0::bigint, 'rows of no channel are kept');
SELECT is((SELECT count(*) FROM omnichannel.contact_reject), 2::bigint, 'each of them');
SELECT is(owner_m.ran('cast'), 'owner_mallory', 'written by the cast with its owner''s rights');

-- domains
SET LOCAL ROLE owner_mallory;
DELETE FROM ran;
ALTER DOMAIN noted ADD CHECK (note('domain'));
SELECT ran_since() \g /dev/null
RESET ROLE;
SELECT is(omnichannel.retry_rejects(), 0::bigint, 'they are tried again in vain');
SELECT is(owner_m.ran_since(), 'as_owner', 'the check of a domain runs with the owner''s rights');
SELECT is((SELECT min(sqlstate) FROM omnichannel.contact_reject), '23503', 'and the error is the row''s');
UPDATE omnichannel.contact_reject SET as_text = true, data = data || '{"mood": "a"}';
SELECT is(omnichannel.retry_rejects(), 0::bigint, 'so they are as texts');
SELECT is(owner_m.ran_since(), 'as_owner', 'whose casts run with the owner''s rights');
SELECT omnichannel.track('owner_m.calls', channel => 'phone', customer => '{caller}', kind => 'phone', occurred_at => '{at}', source => 'owner_rejects', payload => '{*}',
	on_error => 'quarantine', updates => true) \g /dev/null
DELETE FROM owner_m.ran;
SELECT is(omnichannel.retry_rejects(), 2::bigint, 'they are logged when the mapping suits, from the table');
SELECT is(owner_m.ran('%'), 'owner_mallory', 'with the owner''s rights again');
SELECT ok(NOT rolsuper, 'who has got no others') FROM pg_roles WHERE rolname = 'owner_mallory';

-- What a VACUUM forbids is forbidden.
SET LOCAL ROLE owner_mallory;
CREATE OR REPLACE FUNCTION note(what text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	SET ROLE owner_keeper;
	RETURN true;
END
$$;
RESET ROLE;
SELECT throws_ok($$DO $d$BEGIN PERFORM omnichannel.untrack('owner_m.calls');
	PERFORM omnichannel.track('owner_m.calls', channel => 'phone', customer => '{caller}', kind => 'phone', occurred_at => '{at}', source => 'owner_2', payload => '{*}');
	PERFORM omnichannel.backfill('owner_m.calls'); END $d$ $$, '42501', 'cannot set parameter "role" within security-restricted operation', 'the session''s role cannot be set');

-- Who may ask for it: who may read the table and write the log.
SET LOCAL ROLE owner_mallory;
CREATE OR REPLACE FUNCTION note(what text) RETURNS boolean LANGUAGE sql AS $$
	INSERT INTO owner_m.ran VALUES (what, current_user) RETURNING true
$$;
DELETE FROM ran;
RESET ROLE;
SELECT omnichannel.track('owner_m.calls', channel => 'phone', customer => '{caller}', kind => 'phone', occurred_at => '{at}', source => 'owner_3', payload => '{*}') \g /dev/null
GRANT USAGE ON SCHEMA omnichannel TO owner_mallory;
GRANT SELECT ON omnichannel.tracking TO owner_mallory;
SET LOCAL ROLE owner_mallory;
SELECT throws_ok($$SELECT omnichannel.backfill('owner_m.calls')$$, '42501', 'permission denied for table contact', 'not the owner without rights on the log');
SELECT throws_ok($$SELECT omnichannel.log_tracked_row('owner_m.calls', ROW(9, '605110009', now(), 'a', NULL)::owner_m.calls)$$,
	'42501', 'permission denied for table contact', 'nor a row of it');
SET LOCAL ROLE owner_keeper;
SELECT throws_ok($$SELECT omnichannel.backfill('owner_m.calls')$$, '42501', 'permission denied for table calls', 'nor an administrator of the log without rights on the table');
SAVEPOINT before_retry;
RESET ROLE;
UPDATE omnichannel.tracking SET updates = true WHERE relation = 'owner_m.calls'::regclass;
INSERT INTO omnichannel.contact_reject (tracking, data, sqlstate, message, updated, source, source_key)
VALUES ('owner_m.calls', '{"id": 1, "caller": "605110001", "at": "2026-03-01T10:00:00+00:00", "mood": "a", "remark": null}', '22023', '', true, 'owner_3', '1');
SET LOCAL ROLE owner_keeper;
SELECT is(omnichannel.retry_rejects(), 0::bigint, 'nor are his rejects looked up in it');
SELECT is((SELECT message FROM omnichannel.contact_reject), 'permission denied for table calls', 'as they say');
ROLLBACK TO before_retry;
RESET ROLE;
SELECT is(owner_m.ran('%'), NULL, 'and nothing was run');
GRANT SELECT (id, caller) ON owner_m.calls TO owner_keeper;
SET LOCAL ROLE owner_keeper;
SELECT throws_ok($$SELECT omnichannel.backfill('owner_m.calls')$$, '42501', 'permission denied for table calls', 'nor with rights on some columns');
RESET ROLE;
GRANT SELECT (at, mood, remark) ON owner_m.calls TO owner_keeper;
ALTER TABLE owner_m.calls ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY odd ON owner_m.calls USING (id % 2 = 1);
SET LOCAL ROLE owner_keeper;
SELECT throws_ok($$SELECT omnichannel.backfill('owner_m.calls')$$, '42501', 'row-level security keeps rows of table "calls" from you', 'nor where a policy hides rows');
RESET ROLE;
SAVEPOINT before_import;
SELECT is(omnichannel.backfill('owner_m.calls'), 2::bigint, 'a superuser sees them all');
ROLLBACK TO before_import;
ALTER TABLE owner_m.calls DISABLE ROW LEVEL SECURITY;
SET LOCAL ROLE owner_keeper;
SELECT is(omnichannel.backfill('owner_m.calls'), 2::bigint, 'with both rights it is done');
RESET ROLE;
SELECT is(owner_m.ran('%'), 'owner_mallory', 'by the owner''s code with the owner''s rights');

-- Live the writer's rights do, also those of an owner without any on the log.
DELETE FROM owner_m.ran;
SET LOCAL ROLE owner_mallory;
SELECT lives_ok($$INSERT INTO owner_m.calls VALUES (3, '605110003')$$, 'an owner without rights on the log writes');
RESET ROLE;
SELECT is((SELECT payload ->> 'caller' FROM omnichannel.contact WHERE source = 'owner_3' AND source_key = '3'), '605110003', 'what is logged');
SELECT is(owner_m.ran('%'), 'owner_mallory', 'with the writer''s rights');

-- Before 16 a rule makes a view of an empty table.
SELECT current_setting('server_version_num')::int < 160000 AS rules_make_views \gset
\if :rules_make_views
SET LOCAL ROLE owner_mallory;
CREATE TABLE empty (id int, caller text, at timestamptz);
RESET ROLE;
SELECT omnichannel.track('owner_m.empty', channel => 'phone', customer => '{caller}', kind => 'phone', occurred_at => '{at}', source_key => '{id}',
	on_error => 'quarantine') \g /dev/null
SET LOCAL ROLE owner_mallory;
DELETE FROM ran;
DO $$
DECLARE
	name text;
BEGIN
	FOR name IN SELECT tgname FROM pg_trigger WHERE tgrelid = 'owner_m.empty'::regclass LOOP
		EXECUTE format('DROP TRIGGER %I ON owner_m.empty', name);
	END LOOP;
END
$$;
RESET ROLE;
-- as VACUUM does
UPDATE pg_class SET relhastriggers = false WHERE oid = 'owner_m.empty'::regclass;
SET LOCAL ROLE owner_mallory;
CREATE RULE "_RETURN" AS ON SELECT TO empty DO INSTEAD SELECT 1 AS id, '605110005'::text AS caller, now() AS at WHERE note('view');
RESET ROLE;
INSERT INTO omnichannel.contact_reject (tracking, data, sqlstate, message) VALUES ('owner_m.empty', '{"id": 1, "caller": "605110005"}', '22000', '');
SELECT throws_ok($$SELECT omnichannel.backfill('owner_m.empty')$$, '42809', '"empty" is no longer a table', 'a view is not imported');
SELECT is(row(omnichannel.retry_rejects(), (SELECT count(*) FROM owner_m.ran)), row(0::bigint, 0::bigint), 'nor read in any other way');
\else
SELECT skip('a table cannot become a view', 2);
\endif
SELECT * FROM finish();
ROLLBACK;
