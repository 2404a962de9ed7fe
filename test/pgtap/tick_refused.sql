-- tick() and each of its parts say in their own name why they cannot go on, whether there is something to do or not.
SELECT plan(22);
CREATE ROLE tick_app;
SELECT omnichannel.grant_access('tick_app', 'app') \g /dev/null
CREATE FUNCTION pg_temp.refusals(calls text[]) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	call text;
	message text;
	hint text;
BEGIN
	FOREACH call IN ARRAY calls LOOP
		BEGIN
			EXECUTE format('SELECT omnichannel.%s', call);
			RETURN NEXT call || ' did it';
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
			RETURN NEXT SQLSTATE || ' ' || message || CASE WHEN hint = '' THEN ' without a hint' ELSE '' END;
		END;
	END LOOP;
END
$$;
CREATE TEMP VIEW part AS SELECT unnest('{tick(),tick_prices(),tick_sla(),tick_erasure(),tick_queues()}'::text[]) AS call;

BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT is(pg_temp.refusals(ARRAY[call]), '55000 ' || call || ' cannot run at isolation level REPEATABLE READ', call || ' of an old snapshot') FROM part;
SELECT is(pg_temp.refusals(ARRAY[$$reserve_use('none', 'key')$$]), '55000 a use of promotion "none" cannot run at isolation level REPEATABLE READ', 'uses of promotions say the same');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT is(pg_temp.refusals(ARRAY[call]), '55000 ' || call || ' cannot run at isolation level SERIALIZABLE', call || ' of one that others are compared with') FROM part;
COMMIT;
-- Read-only from here on; what tests write is temporary.
BEGIN READ ONLY;
SELECT is(pg_temp.refusals(ARRAY[call]), '25006 ' || call || ' writes, which a read-only transaction cannot', call || ' of a reader')
FROM (SELECT call FROM part WHERE call <> 'tick_queues()' UNION ALL VALUES ('tick_tracking()')) AS c;
COMMIT;
BEGIN;
SET LOCAL ROLE tick_app;
CREATE TEMP TABLE refused AS SELECT call, pg_temp.refusals(ARRAY[call]) AS refusal FROM unnest('{tick(),tick_prices(),tick_sla()}'::text[]) AS call;
RESET ROLE;
SELECT is(refusal, '42501 role "tick_app" may not call ' || call, call || ' of an application') FROM refused;
COMMIT;
-- What roles without the rights may call and what it leaves alone.
SET ROLE tick_app;
SELECT omnichannel.tick_erasure() AS erasure, omnichannel.tick_tracking() AS tracking, omnichannel.tick_queues() AS queues \gset
RESET ROLE;
SELECT is(:erasure + :tracking + :queues, 0, 'the other parts are no error for an application');
SELECT is(pg_temp.refusals('{tick()}'), 'tick() did it', 'a role that may do all of it');
SELECT is(pg_temp.refusals('{require_read_committed(''x'')}'), 'require_read_committed(''x'') did it', 'at the level that it needs');
DROP OWNED BY tick_app;
DROP ROLE tick_app;
SELECT * FROM finish();
