-- Names and preferences recorded while customers are merged are with whom they were recorded of, once they are apart.
BEGIN;
SELECT plan(21);
CREATE FUNCTION pg_temp.profile(bigint) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws('/', coalesce(name, '-'), coalesce(birth_date::text, '-'), coalesce(language, '-'), coalesce(preferred_channel, '-'))
		|| CASE WHEN set_by IS NULL THEN '' ELSE ' *' END FROM omnichannel.customer WHERE customer_id = $1
$$;
INSERT INTO omnichannel.customer (customer_id, name, birth_date) VALUES (101, 'Anna Alpha', '1980-01-01'), (102, 'Beata Beta', NULL), (103, NULL, NULL), (104, 'Dora Delta', NULL);
SELECT omnichannel.merge_customers(102, 103) AS third, omnichannel.merge_customers(101, 102) AS second, omnichannel.merge_customers(101, 104) AS fourth \gset
SELECT is(omnichannel.set_customer(102, name => 'Beata Gamma', preferred_channel => 'sms'), 101::bigint, 'the group''s customer is told');
SELECT is(omnichannel.customer_context(104) ->> 'name', 'Beata Gamma', 'all in the group have the name');
SELECT is(pg_temp.profile(101), 'Beata Gamma/1980-01-01/-/sms *', 'the row of whom the others were merged into has it');
SELECT is(pg_temp.profile(102), 'Beata Gamma/-/-/sms', 'and whose it is');
SELECT is(pg_temp.profile(104), 'Dora Delta/-/-/-', 'but no other');
SELECT omnichannel.set_customer(103, name => 'Cecylia', birth_date => '1990-01-01'), omnichannel.set_customer(101, language => 'pl'), omnichannel.set_customer(103, language => 'de') \g /dev/null
SELECT is(pg_temp.profile(101), 'Cecylia/1990-01-01/de/sms *', 'the last holds, column by column');
SELECT is(pg_temp.profile(102), 'Cecylia/1990-01-01/de/sms *', 'also of who is between');
-- the third leaves from under the second
SELECT omnichannel.unmerge_customers(:third) \g /dev/null
SELECT is(pg_temp.profile(103), 'Cecylia/1990-01-01/de/-', 'who leaves takes along what is theirs');
SELECT is(pg_temp.profile(102), 'Beata Gamma/-/-/sms', 'and nobody else keeps it');
SELECT is(pg_temp.profile(101), 'Beata Gamma/1980-01-01/pl/sms *', 'what held before is back');
-- what is written into the row otherwise stays; what is set again of itself does
UPDATE omnichannel.customer SET preferred_channel = 'post' WHERE customer_id = 101;
SELECT omnichannel.set_customer(101, name => 'Anna Omega') \g /dev/null
SELECT omnichannel.unmerge_customers(:second) \g /dev/null
SELECT is(pg_temp.profile(101), 'Anna Omega/1980-01-01/pl/post', 'her own words stay');
SELECT is(pg_temp.profile(102), 'Beata Gamma/-/-/sms', 'and are nobody else''s');
-- erased, one leaves nothing with the other; the other loses nothing
SELECT omnichannel.set_customer(104, name => 'Dora Omega', birth_date => '1970-07-07', language => 'eo', preferred_channel => 'chat') \g /dev/null
SELECT is(pg_temp.profile(101), 'Dora Omega/1970-07-07/eo/chat *', 'set of the fourth');
SELECT omnichannel.unmerge_customers(:fourth) \g /dev/null
SELECT omnichannel.erase_customer(104) \g /dev/null
SELECT is(pg_temp.profile(101), 'Anna Omega/1980-01-01/pl/post', 'nothing of the erased is left');
SELECT is(pg_temp.profile(104), '-/-/-/-', 'and nothing is left to the erased');
SELECT omnichannel.merge_customers(101, 103) \g /dev/null
SELECT omnichannel.set_customer(103, name => 'Cecylia Omega') \g /dev/null
SELECT omnichannel.erase_customer(103) \g /dev/null
SELECT is(pg_temp.profile(101) || pg_temp.profile(103), '-/-/-/--/-/-/-', 'merged, both are erased, with what was set by whom');
SELECT throws_ok('SELECT omnichannel.set_customer(103, name => ''x'')', '55000', NULL, 'and nothing can be set any more');

-- Random names of random customers in random groups: apart again, each has what was last said of that one.
SELECT setseed(0.3);
INSERT INTO omnichannel.customer (customer_id, name) SELECT i, 'Name ' || i FROM generate_series(201, 212) AS i;
CREATE TEMP TABLE said AS SELECT i AS customer_id, 'Name ' || i AS name FROM generate_series(201, 212) AS i;
CREATE TEMP TABLE done (what text);
DO $$
DECLARE
	a bigint;
	merge bigint;
BEGIN
	FOR step IN 1..400
	LOOP
		a := 201 + floor(random() * 12);
		CASE floor(random() * 5)
			WHEN 0, 1 THEN
				BEGIN
					PERFORM omnichannel.merge_customers(a, 201 + floor(random() * 12)::bigint);
					INSERT INTO done VALUES ('merge');
				EXCEPTION WHEN object_not_in_prerequisite_state OR invalid_parameter_value THEN
					NULL;
				END;
			WHEN 2 THEN
				SELECT merge_id INTO merge FROM omnichannel.customer_merge WHERE unmerged_at IS NULL AND kept_id >= 201 ORDER BY random() LIMIT 1;
				IF FOUND THEN
					PERFORM omnichannel.unmerge_customers(merge);
					INSERT INTO done VALUES ('unmerge');
				END IF;
			ELSE
				PERFORM omnichannel.set_customer(a, name => 'Step ' || step);
				UPDATE said SET name = 'Step ' || step WHERE customer_id = a;
				INSERT INTO done VALUES ('set');
		END CASE;
	END LOOP;
END
$$;
SELECT cmp_ok((SELECT min(count) FROM (SELECT count(*) FROM done GROUP BY what) AS times), '>', 30::bigint, 'all sorts of steps were taken');
SELECT count(omnichannel.unmerge_customers(merge_id)) FROM (SELECT merge_id FROM omnichannel.customer_merge WHERE unmerged_at IS NULL AND kept_id >= 201 ORDER BY random()) AS merge \g /dev/null
SELECT set_eq('SELECT customer_id, name FROM omnichannel.customer WHERE customer_id >= 201', 'SELECT customer_id, name FROM said', 'each has what was last said of that one');
SELECT is((SELECT count(*) FROM omnichannel.customer WHERE customer_id >= 201 AND set_by IS NOT NULL), 0::bigint, 'and remembers nothing of the others');
SELECT is((SELECT count(*) FROM omnichannel.customer WHERE set_by IS NOT NULL), 0::bigint, 'nor does anybody else');
SELECT * FROM finish();
ROLLBACK;
