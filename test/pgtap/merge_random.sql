-- Random merges and their undoing, in any order: after each step the groups are what an oracle says that walks the merges
-- that hold; after all are undone, every customer is exactly who he was before.
BEGIN;
SELECT plan(6);
SELECT setseed(0.42);

INSERT INTO omnichannel.agent (agent_id, name) VALUES (1, 'Ewa');
INSERT INTO omnichannel.customer (customer_id, name) SELECT i, 'Customer ' || i FROM generate_series(101, 120) AS i;
SELECT omnichannel.link_identity(i, 'email', 'c' || i || '@example.com') FROM generate_series(101, 120) AS i \g /dev/null
SELECT omnichannel.log_contact('branch', customer_id => i, agent_id => 1, occurred_at => '2026-01-01 00:00+00', subject => 'From ' || i) FROM generate_series(101, 120) AS i \g /dev/null
SELECT omnichannel.remember(i, 'number', to_jsonb(i), since => timestamptz '2026-01-01 00:00+00' + i * interval '1 minute') FROM generate_series(101, 120) AS i \g /dev/null

-- What each customer is for all who ask, without the merges themselves and what service levels note of who changed.
CREATE FUNCTION pg_temp.portrait() RETURNS TABLE (customer_id bigint, exported jsonb, context jsonb, timeline text) LANGUAGE sql AS $$
	SELECT c.customer_id, omnichannel.export_customer(c.customer_id) - 'exported_at' #- '{data,customer_merge}' #- '{data,sla_customer}' #- '{data,sla_behind}',
		omnichannel.customer_context(c.customer_id) - 'as_of',
		(SELECT string_agg(t::text, ', ') FROM omnichannel.timeline(c.customer_id) AS t)
	FROM omnichannel.customer AS c WHERE c.customer_id BETWEEN 101 AND 120
$$;
CREATE TEMP TABLE before AS SELECT * FROM pg_temp.portrait();

-- The root of each by walking, one step at a time.
CREATE FUNCTION pg_temp.wrong_groups() RETURNS bigint LANGUAGE sql AS $$
	WITH RECURSIVE walk (customer_id, at, steps) AS (
		SELECT c.customer_id, c.customer_id, 0 FROM omnichannel.customer AS c
		UNION ALL
		SELECT walk.customer_id, merge.kept_id, steps + 1
		FROM walk JOIN omnichannel.customer_merge AS merge ON merge.duplicate_id = walk.at AND merge.unmerged_at IS NULL
	), root AS (
		SELECT DISTINCT ON (customer_id) customer_id, at AS root FROM walk ORDER BY customer_id, steps DESC
	)
	SELECT count(*) FROM root JOIN omnichannel.customer AS c USING (customer_id)
	WHERE c.merged_into IS DISTINCT FROM nullif(root.root, root.customer_id)
		OR omnichannel.customer_root(customer_id) <> root.root
		OR omnichannel.customer_group(customer_id) <> root.root ||
			ARRAY(SELECT other.customer_id FROM root AS other WHERE other.root = root.root AND other.customer_id <> root.root ORDER BY 1)
$$;

CREATE TEMP TABLE tally (what text, times int);
DO $$
DECLARE
	a bigint;
	b bigint;
	merge bigint;
	wrong bigint := 0;
	merges int := 0;
	unmerges int := 0;
	refused int := 0;
	largest int := 0;
BEGIN
	FOR step IN 1..300
	LOOP
		IF random() < 0.8 THEN
			a := 101 + floor(random() * 20);
			b := 101 + floor(random() * 20);
			BEGIN
				PERFORM omnichannel.merge_customers(a, b);
				merges := merges + 1;
			EXCEPTION WHEN object_not_in_prerequisite_state OR invalid_parameter_value THEN
				refused := refused + 1;
			END;
		ELSE
			SELECT merge_id INTO merge FROM omnichannel.customer_merge WHERE unmerged_at IS NULL ORDER BY random() LIMIT 1;
			IF FOUND THEN
				PERFORM omnichannel.unmerge_customers(merge);
				unmerges := unmerges + 1;
			END IF;
		END IF;
		wrong := wrong + pg_temp.wrong_groups();
		largest := greatest(largest, (SELECT max(cardinality(omnichannel.customer_group(customer_id))) FROM omnichannel.customer));
	END LOOP;
	INSERT INTO tally VALUES ('wrong', wrong), ('merges', merges), ('unmerges', unmerges), ('refused', refused), ('largest', largest);
END
$$;
SELECT is((SELECT times FROM tally WHERE what = 'wrong'), 0, 'after each of 300 steps the groups are those of the merges that hold');
SELECT cmp_ok((SELECT min(times) FROM tally WHERE what IN ('merges', 'unmerges', 'refused')), '>', 30, 'all sorts of steps were taken');
SELECT cmp_ok((SELECT times FROM tally WHERE what = 'largest'), '>', 5, 'groups grew large');
SELECT isnt_empty('SELECT * FROM before JOIN pg_temp.portrait() AS now USING (customer_id) WHERE before.context <> now.context', 'merged customers are others than before');

SELECT count(omnichannel.unmerge_customers(merge_id)) FROM (SELECT merge_id FROM omnichannel.customer_merge WHERE unmerged_at IS NULL ORDER BY random()) AS merge \g /dev/null
SELECT is((SELECT count(*) FROM omnichannel.customer WHERE merged_into IS NOT NULL), 0::bigint, 'all are apart again');
SELECT set_eq('SELECT * FROM pg_temp.portrait()', 'SELECT * FROM before', 'and exactly who they were');
SELECT * FROM finish();
ROLLBACK;
