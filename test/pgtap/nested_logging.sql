-- A trigger of one's own on the log may log contacts itself, as an automatic acknowledgement does, however often the
-- statements of the extension run inside themselves and are planned anew meanwhile; and what it sets stays set.
BEGIN;
SELECT plan(12);

CREATE FUNCTION public.acknowledge() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
	PERFORM omnichannel.log_contact('email', customer_id => new.customer_id, direction => 'outbound', outcome => 'sent',
		body => 'We got your message.');
	RETURN NULL;
END $$;
CREATE TRIGGER acknowledge AFTER INSERT ON omnichannel.contact FOR EACH ROW
	WHEN (new.direction = 'inbound') EXECUTE FUNCTION public.acknowledge();

-- Statements are planned again after 64 runs, 128, 256 ...
SELECT lives_ok($$SELECT omnichannel.log_contact('email', kind => 'email', value => 'a' || i || '@example.com')
	FROM generate_series(1, 300) AS i$$, 'contacts are logged, each with its acknowledgement');
SELECT results_eq('SELECT direction, count(*) FROM omnichannel.contact GROUP BY direction ORDER BY direction',
	$$VALUES ('inbound', 300::bigint), ('outbound', 300::bigint)$$, 'none is missing');

CREATE TABLE public.mail (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, way text, who text);
SELECT omnichannel.track('public.mail', channel => 'email', direction => '{way}', customer => '{who}', kind => 'email',
	outcome => NULL) IS NOT NULL AS tracked;
DROP TRIGGER acknowledge ON omnichannel.contact;
CREATE FUNCTION public.answer() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
	INSERT INTO public.mail (way, who)
	SELECT 'outbound', i.value FROM omnichannel.identity AS i WHERE i.customer_id = new.customer_id;
	RETURN NULL;
END $$;
CREATE TRIGGER answer AFTER INSERT ON omnichannel.contact FOR EACH ROW
	WHEN (new.direction = 'inbound') EXECUTE FUNCTION public.answer();
SELECT lives_ok($$INSERT INTO public.mail (way, who) SELECT 'inbound', 'b' || i || '@example.com'
	FROM generate_series(1, 300) AS i$$, 'one statement writes tracked rows, whose contacts write tracked rows');
SELECT results_eq($$SELECT c.direction, count(*), count(DISTINCT c.customer_id) FROM omnichannel.contact AS c
	JOIN omnichannel.contact_key AS k USING (contact_id) JOIN public.mail AS m ON k.source_key = m.id::text
	WHERE c.direction = m.way GROUP BY c.direction ORDER BY c.direction$$,
	$$VALUES ('inbound', 300::bigint, 300::bigint), ('outbound', 300, 300)$$, 'each row is the contact of its own customer');

-- What others do to the tables meanwhile makes the plans invalid while they run.
CREATE OR REPLACE FUNCTION public.answer() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
	ANALYZE omnichannel.contact, omnichannel.contact_key, omnichannel.customer, omnichannel.identity;
	INSERT INTO public.mail (way, who)
	SELECT 'outbound', i.value FROM omnichannel.identity AS i WHERE i.customer_id = new.customer_id;
	RETURN NULL;
END $$;
SELECT lives_ok($$INSERT INTO public.mail (way, who) SELECT 'inbound', 'c' || i || '@example.com'
	FROM generate_series(1, 5) AS i$$, 'plans may become invalid while they run');
SELECT is((SELECT count(*) FROM omnichannel.contact AS c JOIN omnichannel.identity AS i USING (customer_id)
	WHERE i.value LIKE 'c%' AND i.kind = 'email'), 10::bigint, 'and nothing is missing');

-- Settings of a trigger are the session's, as those of a trigger on any other table.
CREATE OR REPLACE FUNCTION public.answer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('app.last_contact', new.contact_id::text, false);
	PERFORM set_config('app.last_local', new.contact_id::text, true);
	RETURN NULL;
END $$;
SET search_path = public, pg_catalog;
INSERT INTO public.mail (way, who) VALUES ('inbound', 'd@example.com');
SELECT is(current_setting('app.last_contact', true), (SELECT max(contact_id)::text FROM omnichannel.contact),
	'a setting that a trigger makes while a tracked row is written stays');
SELECT omnichannel.log_contact('email', kind => 'email', value => 'e@example.com') AS logged \gset
SELECT is(current_setting('app.last_contact', true), :'logged', 'the same of log_contact()');
SELECT is(current_setting('app.last_local', true), :'logged', 'one for the transaction stays as long as that');
SELECT is(current_setting('search_path'), 'public, pg_catalog', 'the search_path is the session''s again');

-- So may one that changes the configuration that the contact around it is being logged by, again and again.
RESET search_path;
CREATE OR REPLACE FUNCTION public.answer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 5 LOOP
		UPDATE omnichannel.channel SET name = 'E-mail ' || i WHERE channel = 'email';
		UPDATE omnichannel.sla_policy SET name = 'Policy ' || i;
		UPDATE omnichannel.tracking SET on_error = on_error;
		PERFORM omnichannel.log_contact('email', customer_id => new.customer_id, direction => 'outbound');
	END LOOP;
	RETURN NULL;
END $$;
SELECT lives_ok($$INSERT INTO public.mail (way, who) SELECT 'inbound', 'f' || i || '@example.com'
	FROM generate_series(1, 20) AS i$$, 'configuration may change while contacts are logged by it');
SELECT is((SELECT count(*) FROM omnichannel.contact AS c JOIN omnichannel.identity AS i USING (customer_id)
	WHERE i.value LIKE 'f%' AND i.kind = 'email'), 120::bigint, 'and nothing is missing');

SELECT * FROM finish();
ROLLBACK;
