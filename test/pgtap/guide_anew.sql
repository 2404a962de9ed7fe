-- A guide to the leaves of an index that was wrong several times waits ever longer until it is made anew; once it has
-- been right for long, it does so no more.
SET search_path = omnichannel, public, pg_catalog;
SELECT plan(4);
INSERT INTO segment (segment) VALUES ('any');
INSERT INTO price_list (price_list) VALUES ('list');
INSERT INTO product (product) SELECT 'p' || n FROM generate_series(1001, 4000) AS n;
CREATE TEMP TABLE asked AS SELECT product FROM product;
CREATE TEMP TABLE was (blocks bigint, scans bigint);
CREATE TEMP VIEW read AS SELECT idx_blks_hit + idx_blks_read AS blocks, s.idx_scan AS scans
FROM pg_statio_user_indexes AS i JOIN pg_stat_user_indexes AS s USING (indexrelid) WHERE i.schemaname = 'omnichannel' AND i.indexrelname = 'product_code';
-- Pages that were read for a look-up since.
CREATE TEMP VIEW pages AS SELECT CASE WHEN read.scans - was.scans >= 3000 THEN (read.blocks - was.blocks) * 1.0 / (read.scans - was.scans) END AS pages FROM read, was;
-- Looks for each product so many times.
CREATE PROCEDURE pg_temp.ask(rounds integer) LANGUAGE plpgsql AS $$
BEGIN
	FOR round IN 1 .. rounds LOOP
		UPDATE product SET name = round::text WHERE product = 'p1001';
		COMMIT;
		PERFORM quote(NULL, product) FROM asked;
	END LOOP;
END
$$;
-- Puts so many products behind each one, so that the leaves are split.
CREATE FUNCTION pg_temp.split(n integer) RETURNS void LANGUAGE sql AS $$
	INSERT INTO product (product) SELECT a.product || '-' || n || '.' || i FROM asked AS a, generate_series(1, n) AS i
$$;
CALL pg_temp.ask(2);
SELECT pg_stat_force_next_flush() \g /dev/null
DELETE FROM was;
INSERT INTO was SELECT * FROM read;
CALL pg_temp.ask(1);
SELECT pg_stat_force_next_flush() \g /dev/null
SELECT cmp_ok((SELECT pages FROM pages), '<', 1.6, 'a guide leads to the leaves');
SELECT ok(built >= 1 AND bytes BETWEEN 10000 AND 9 * 1024 * 1024, 'it is shown what it takes') FROM cache_status() WHERE cache = 'leaves';
SELECT pg_temp.split(1) \g /dev/null
CALL pg_temp.ask(2);
SELECT pg_temp.split(2) \g /dev/null
CALL pg_temp.ask(3);
SELECT pg_temp.split(4) \g /dev/null
CALL pg_temp.ask(4);
SELECT pg_stat_force_next_flush() \g /dev/null
DELETE FROM was;
INSERT INTO was SELECT * FROM read;
CALL pg_temp.ask(1);
SELECT pg_stat_force_next_flush() \g /dev/null
SELECT cmp_ok((SELECT pages FROM pages), '<', 1.6, 'made anew as often as it was wrong');
CALL pg_temp.ask(20);
SELECT pg_temp.split(8) \g /dev/null
CALL pg_temp.ask(3);
SELECT pg_stat_force_next_flush() \g /dev/null
DELETE FROM was;
INSERT INTO was SELECT * FROM read;
CALL pg_temp.ask(1);
SELECT pg_stat_force_next_flush() \g /dev/null
SELECT cmp_ok((SELECT pages FROM pages), '<', 1.6, 'and soon, where it had been right for long');
SELECT * FROM finish();
