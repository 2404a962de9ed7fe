-- Repeatable reads of the configuration are not read anew in each transaction, unless something has changed.
SET search_path = omnichannel, public, pg_catalog;
SELECT plan(12);
INSERT INTO product (product) VALUES ('p');
INSERT INTO price_list (price_list) VALUES ('list');
INSERT INTO price (price_list, product, amount) VALUES ('list', 'p', 10);
CREATE TEMP TABLE seen (built bigint);
CREATE PROCEDURE pg_temp.ask(times integer, level text) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('default_transaction_isolation', ask.level, false);
	FOR n IN 1 .. times
	LOOP
		COMMIT;
		PERFORM omnichannel.quote(NULL, 'p');
	END LOOP;
	INSERT INTO seen SELECT sum(built) FROM omnichannel.cache_status();
	PERFORM set_config('default_transaction_isolation', 'read committed', false);
END
$$;
CREATE FUNCTION pg_temp.built() RETURNS bigint LANGUAGE sql AS $$WITH last AS (DELETE FROM seen RETURNING built) SELECT max(built) - min(built) FROM last$$;

CALL pg_temp.ask(2, 'REPEATABLE READ');
CALL pg_temp.ask(20, 'REPEATABLE READ');
SELECT is(pg_temp.built(), 0::bigint, 'built once by whoever reads repeatably');
CALL pg_temp.ask(1, 'READ COMMITTED');
CALL pg_temp.ask(20, 'REPEATABLE READ');
SELECT is(pg_temp.built(), 0::bigint, 'or by others');
CALL pg_temp.ask(1, 'READ COMMITTED');
CALL pg_temp.ask(1, 'READ COMMITTED');
SELECT is(pg_temp.built(), 0::bigint, 'who can go on with it');
SELECT is((SELECT count(*) FROM cache_status() WHERE NOT valid), 0::bigint, 'as it is valid');
UPDATE price_list SET name = 'List';
SELECT sum(built) AS before FROM cache_status() WHERE cache = 'price_rules' \gset
CALL pg_temp.ask(20, 'REPEATABLE READ');
SELECT ok(sum(built) - :before BETWEEN 1 AND 2, 'after a change twice at most') FROM cache_status() WHERE cache = 'price_rules';
TRUNCATE seen;

-- own changes are seen, and no longer once they are rolled back
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT is((quote(NULL, 'p')).unit_price, 10.00);
SAVEPOINT a;
UPDATE price SET amount = 12;
SELECT is((quote(NULL, 'p')).unit_price, 12.00, 'own changes');
ROLLBACK TO a;
SELECT is((quote(NULL, 'p')).unit_price, 10.00, 'undone');
UPDATE price SET amount = 13;
COMMIT;
SELECT is((quote(NULL, 'p')).unit_price, 13.00, 'or done');
-- what is read on demand under an old snapshot is no more than it shows
CALL pg_temp.ask(3, 'REPEATABLE READ');
SELECT is((quote(NULL, 'p')).unit_price, 13.00);

-- serializable transactions read for themselves: otherwise nobody would know that they have read
TRUNCATE seen;
CALL pg_temp.ask(1, 'SERIALIZABLE');
CALL pg_temp.ask(5, 'SERIALIZABLE');
SELECT ok(pg_temp.built() >= 5, 'each serializable transaction builds its own');
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT quote(NULL, 'p') \g /dev/null
SELECT ok((SELECT count(*) > 0 FROM pg_locks WHERE pid = pg_backend_pid() AND mode = 'SIReadLock' AND relation = 'price_list'::regclass), 'and its reads count');
COMMIT;
SELECT * FROM finish();
