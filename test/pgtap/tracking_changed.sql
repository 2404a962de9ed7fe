-- Trackings are changed, and rows of others logged, while a statement logs its own: what it knows of its tracking stays.
BEGIN;
SELECT plan(7);
SET LOCAL search_path = omnichannel, public, pg_catalog;

INSERT INTO customer (customer_id) SELECT generate_series(1, 9);
CREATE TABLE public.mail (id bigint PRIMARY KEY, sender bigint, body text);
CREATE TABLE public.other (id bigint PRIMARY KEY, sender bigint, body text);
SELECT track('public.mail', channel => 'email', customer => '{sender}', body => '{body}', source_key => '{id}', on_error => 'quarantine') \g /dev/null
SELECT track('public.other', channel => 'chat', customer => '{sender}', body => '{body}', source_key => '{id}') \g /dev/null
CREATE FUNCTION pg_temp.change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE omnichannel.tracking SET source = repeat('other' || new.contact_id, 1 + (random() * 40)::integer) WHERE relation = 'public.other'::regclass;
	RETURN NULL;
END
$$;
CREATE TRIGGER mine AFTER INSERT ON contact FOR EACH ROW EXECUTE FUNCTION pg_temp.change();
SELECT lives_ok($$INSERT INTO public.mail SELECT n, CASE WHEN n % 7 = 0 THEN 1000 ELSE 1 + n % 9 END, repeat('x', n) FROM generate_series(1, 400) AS n$$, 'rows are logged one by one');
SELECT is((SELECT count(*) FROM contact), 343::bigint, 'those that can be');
SELECT is((SELECT array_agg(DISTINCT tracking || ' ' || source) FROM contact_reject), '{"public.mail public.mail"}', 'the others are kept');
SELECT is((SELECT array_agg(source_key::integer ORDER BY reject_id) FROM contact_reject), ARRAY(SELECT 7 * n FROM generate_series(1, 57) AS n), 'as they came');
DROP TRIGGER mine ON contact;

-- within one that is being written
CREATE FUNCTION pg_temp.nest() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	FOR n IN 1 .. 3 LOOP
		UPDATE omnichannel.tracking SET source = repeat('other' || n || new.contact_id, 1 + (random() * 40)::integer) WHERE relation = 'public.other'::regclass;
		INSERT INTO public.other VALUES (10 * new.contact_id + n, 1, 'nested');
	END LOOP;
	RETURN NULL;
END
$$;
CREATE TRIGGER mine AFTER INSERT ON contact FOR EACH ROW WHEN (new.channel = 'email') EXECUTE FUNCTION pg_temp.nest();
UPDATE tracking SET updates = true WHERE relation = 'public.mail'::regclass;
SELECT lives_ok($$INSERT INTO public.mail SELECT n, CASE WHEN n % 7 = 0 THEN 1000 ELSE 1 + n % 9 END, repeat('x', n) FROM generate_series(401, 500) AS n$$, 'rows of others are logged within');
SELECT is((SELECT count(*) FROM contact WHERE channel = 'chat'), (SELECT 3 * count(*) FROM contact WHERE channel = 'email' AND source_key::integer > 400), 'all of them');
SELECT is((SELECT array_agg(DISTINCT tracking || ' ' || source) FROM contact_reject), '{"public.mail public.mail"}', 'and what cannot be logged is kept as before');
SELECT * FROM finish();
ROLLBACK;
