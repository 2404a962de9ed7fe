-- What limits promotions, what was promised, shown and corrected is written by functions only, with no more rights than
-- those of the tables' owner.
SET search_path = omnichannel, public, pg_catalog;
SELECT plan(84);
INSERT INTO customer (customer_id) VALUES (1), (2);
INSERT INTO product (product) VALUES ('p');
INSERT INTO price_list (price_list) VALUES ('list');
INSERT INTO price (price_list, product, amount) VALUES ('list', 'p', 100);
INSERT INTO promotion (promotion, kind, value, use_limit, needs_coupon) VALUES ('few', 'percent', 10, 2, false), ('code', 'percent', 50, NULL, true);
INSERT INTO promotion (promotion, kind, value) VALUES ('plain', 'percent', 1);
INSERT INTO coupon (coupon, promotion, use_limit) VALUES ('ONCE', 'code', 1);
CREATE ROLE price_app;
CREATE ROLE price_desk;
CREATE ROLE price_analyst;
CREATE ROLE price_boss;
GRANT USAGE ON SCHEMA public TO price_app, price_desk, price_analyst, price_boss;
SELECT grant_access('price_app', 'app'), grant_access('price_desk', 'agent'), grant_access('price_analyst', 'bi'), grant_access('price_boss', 'supervisor') \g /dev/null
CREATE FUNCTION public.raised(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RETURN NULL;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;

-- The same key counts once, for a guest as well.
SELECT ok(reserve_use('plain', 'guest 1'), 'a guest reserves');
SELECT ok(reserve_use('plain', 'guest 1'), 'and sends it again');
SELECT throws_ok($$SELECT reserve_use('plain', 'guest 1', 1)$$, '23505', NULL, 'a key of a guest''s is no customer''s');
SELECT ok(reserve_use('plain', 'order 1', 1), 'a customer reserves');
SELECT throws_ok($$SELECT reserve_use('plain', 'order 1')$$, '23505', NULL, 'whose key is no guest''s');
SELECT throws_ok($$SELECT reserve_use('plain', 'order 1', 2)$$, '23505', NULL, 'nor another customer''s');
SELECT is((SELECT count(*) FROM promotion_use WHERE promotion = 'plain'), 2::bigint, 'each counts once');

-- Applications and desks use the functions, and write none of the tables.
SET ROLE price_app;
SELECT ok(reserve_use('few', 'app 1'), 'an application reserves');
SELECT ok(reserve_use('code', 'app 1', coupon => 'once'), 'also by a coupon');
SELECT is(commit_use('app 1'), 2, 'commits');
SELECT is(release_use('app 1'), 2, 'releases');
SELECT is(expire_uses(), 0, 'and expires');
SELECT ok(lock_quote(1, 'p', key => 'basket') = lock_quote(1, 'p', key => 'basket'), 'locks a quote');
SELECT ok(shown_price('app', 'p', 3), 'and reports what it shows');
RESET ROLE;
SET ROLE price_desk;
SELECT ok(reserve_use('few', 'desk 1'), 'so does a desk');
SELECT is(commit_use('desk 1'), 1, 'with all of it');
SELECT lock_quote(1, 'p') AS quote_id \gset
SELECT is((SELECT line_total FROM locked_quote(1, :quote_id)), 89.10, 'and with quotes');
SELECT ok(shown_price('phone', 'p', 100), 'which it says');
RESET ROLE;
SELECT is((SELECT uses FROM promotion_total WHERE promotion = 'few'), 1::bigint, 'all of it is counted');
SELECT is(check_shown_prices(), 2::bigint, 'and checked');
CREATE FUNCTION public.raised_as(role text, statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('role', role, true);
	EXECUTE statement;
	RETURN NULL;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
SELECT is(public.raised_as(role, statement), '42501', role || ': ' || statement) FROM unnest('{price_app,price_desk}'::text[]) AS role, (VALUES
	('UPDATE omnichannel.promotion_total SET uses = -1000'), ('DELETE FROM omnichannel.promotion_used_up'),
	('INSERT INTO omnichannel.promotion_use (key, promotion) VALUES (1, ''few'')'), ('UPDATE omnichannel.promotion_use SET amount = 9'),
	('UPDATE omnichannel.coupon SET uses = 0'), ('INSERT INTO omnichannel.locked_quote DEFAULT VALUES'), ('UPDATE omnichannel.shown_price SET cause = NULL'),
	('INSERT INTO omnichannel.price_change DEFAULT VALUES'), ('SELECT FROM omnichannel.segment_input')) AS tried (statement);
RESET ROLE;

-- Where a policy shows a use and lets nobody change it there is none to commit.
BEGIN;
GRANT UPDATE ON promotion_use TO price_app;
ALTER TABLE promotion_use ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen ON promotion_use FOR SELECT USING (true);
SET LOCAL statement_timeout = '20s';
SELECT is(public.raised_as('price_app', 'SELECT omnichannel.commit_use_as_owner(''app 1'')'), '23503', 'what may not be changed is not waited for');
ROLLBACK;

-- What is displayed they tell, not what was found out about it.
SELECT is(public.raised_as(role, statement), sqlstate, role || ': ' || statement) FROM unnest('{price_app,price_desk}'::text[]) AS role, (VALUES
	('SELECT omnichannel.shown_price(''app'', ''p'', 1)', NULL), ('INSERT INTO omnichannel.shown_price (channel, product, price, place) VALUES (''app'', ''p'', 1, ''x'')', NULL),
	('INSERT INTO omnichannel.shown_price (channel, product, price, cause) VALUES (''app'', ''p'', 1, ''theirs'')', '42501'),
	('INSERT INTO omnichannel.shown_price (channel, product, price, checked_at, expected) VALUES (''app'', ''p'', 1, now(), 9)', '42501')) AS tried (statement, sqlstate);

-- Others may call none of them.
SET ROLE price_analyst;
SELECT is(public.raised(statement), '42501', statement) FROM (VALUES ('SELECT omnichannel.reserve_use(''few'', ''bi'')'), ('SELECT omnichannel.commit_use(''app 1'')'),
	('SELECT omnichannel.release_use(''desk 1'')'), ('SELECT omnichannel.expire_uses()'), ('SELECT omnichannel.lock_quote(1, ''p'')'),
	('SELECT omnichannel.keep_quote(1, ''p'', 1, ''PLN'', ''{}'', ''1 hour'', NULL)'),
	('SELECT omnichannel.note_prepared()')) AS called (statement);
RESET ROLE;
-- Called by themselves, the functions that do the work have the caller's rights.
SET ROLE price_app;
SELECT is(public.raised(statement), '42501', statement) FROM (VALUES ('SELECT omnichannel.reserve_use_as_owner(''few'', ''x'', NULL, 0, NULL, ''1 hour'')'),
	('SELECT omnichannel.keep_quote_as_owner(1, ''p'', 1, ''PLN'', ''{}'', ''1 hour'', NULL)'), ('SELECT omnichannel.release_use_as_owner(''desk 1'')')) AS called (statement);
-- Their triggers are for the extension's tables.
CREATE TEMPORARY TABLE mine (price_list text, valid tstzrange);
CREATE TRIGGER forged AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION omnichannel.note_correction('price_list');
CREATE TRIGGER forged_change AFTER UPDATE ON mine FOR EACH ROW EXECUTE FUNCTION omnichannel.note_change();
SELECT is(public.raised('INSERT INTO mine VALUES (''x'')'), '39P01', 'no correction can be forged');
ALTER TABLE mine DISABLE TRIGGER forged;
INSERT INTO mine VALUES ('x');
SELECT is(public.raised('UPDATE mine SET price_list = ''y'''), '39P01', 'nor a change');
-- Nobody stops those who write prices by a table of their own.
CREATE TRIGGER lock_row BEFORE DELETE ON mine FOR EACH ROW EXECUTE FUNCTION omnichannel.lock_prices();
CREATE TRIGGER lock_all BEFORE TRUNCATE ON mine FOR EACH STATEMENT EXECUTE FUNCTION omnichannel.lock_prices();
SELECT is(public.raised(statement), '39P01', 'nor prices locked by ' || statement)
FROM unnest('{DELETE FROM mine,TRUNCATE mine,SELECT omnichannel.lock_prices()}'::text[]) AS statement;
RESET ROLE;
CREATE TRIGGER lock_late AFTER UPDATE ON price_list FOR EACH STATEMENT EXECUTE FUNCTION lock_prices();
SELECT is(public.raised('UPDATE price_list SET name = name'), '39P01', 'nor too late');
DROP TRIGGER lock_late ON price_list;
CREATE TRIGGER lock_gone BEFORE DELETE ON price_list FOR EACH STATEMENT EXECUTE FUNCTION lock_prices();
SELECT is(public.raised('DELETE FROM price_list WHERE false'), '39P01', 'nor for what derives nothing');
DROP TRIGGER lock_gone ON price_list;
-- Who must not see a price cannot have it locked.
REVOKE SELECT ON price FROM price_app;
SET ROLE price_app;
SELECT throws_ok($$SELECT lock_quote(1, 'p')$$, '42501', NULL, 'a price that is not to be read is not locked');
SELECT throws_ok($$SELECT keep_quote(1, 'p', 1, 'PLN', '{}', '1 hour', NULL)$$, '42501', NULL, 'nor by what lock_quote() calls');
RESET ROLE;
GRANT SELECT ON price TO price_app;
INSERT INTO product (product) VALUES ('hidden'), ('dear');
INSERT INTO price (price_list, product, amount) VALUES ('list', 'hidden', 7), ('list', 'dear', 9);
INSERT INTO price (price_list, product, amount, min_quantity) VALUES ('list', 'dear', 8, 5);
ALTER TABLE product ENABLE ROW LEVEL SECURITY;
ALTER TABLE price ENABLE ROW LEVEL SECURITY;
CREATE POLICY visible ON product USING (product <> 'hidden');
CREATE POLICY visible ON price USING (product <> 'dear' OR min_quantity = 0);
SET ROLE price_app;
SELECT throws_ok(statement, '23503', NULL, 'a hidden product is not known: ' || statement)
FROM unnest(ARRAY['SELECT lock_quote(1, ''hidden'')', 'SELECT keep_quote(1, ''hidden'', 1, ''PLN'', ''{}'', ''1 hour'', NULL)']) AS statement;
SELECT throws_ok($$SELECT lock_quote(1, 'dear', 5)$$, '42501', NULL, 'nor is one of which another price is seen');
SELECT throws_ok($$SELECT lock_quote(1, 'dear', 5, key => 'unseen')$$, '42501', NULL, 'nor under a key');
SELECT lock_quote(1, 'dear', 4) AS quote_id \gset
RESET ROLE;
SELECT lock_quote(1, 'dear', 6) AS hidden_quote \gset
SET ROLE price_app;
SELECT results_eq(format('SELECT same, reason, changes FROM verify_quote(%s)', :quote_id), $$VALUES (true, 'the rules that may be seen give the same price', '{}'::text[])$$, 'what is seen is verified');
SELECT throws_ok(format('SELECT verify_quote(%s)', :hidden_quote), '42501', NULL, 'what is not seen is neither verified nor named');
SELECT is((SELECT list_price FROM locked_quote(1, :quote_id)), 9.00, 'what is seen is locked');
SELECT is(keep_quote(1, 'dear', 4, 'PLN', '{}', '1 hour', 'k'), keep_quote(1, 'dear', 4, 'PLN', '{}', '1 hour', 'k'), 'once under a key');
RESET ROLE;
DROP POLICY visible ON product;
DROP POLICY visible ON price;
ALTER TABLE product DISABLE ROW LEVEL SECURITY;
ALTER TABLE price DISABLE ROW LEVEL SECURITY;
ALTER TABLE omnibus_rule ENABLE ROW LEVEL SECURITY;
SET ROLE price_app;
SELECT is((SELECT reason FROM verify_quote(:quote_id)), 'the rules that may be seen give the same price', 'rules of countries are hidden, too');
RESET ROLE;
ALTER TABLE omnibus_rule DISABLE ROW LEVEL SECURITY;
ALTER TABLE price_change ENABLE ROW LEVEL SECURITY;
SET ROLE price_app;
SELECT is((SELECT reason FROM verify_quote(:quote_id)), 'the rules that may be seen give the same price', 'and what was under way');
RESET ROLE;
ALTER TABLE price_change DISABLE ROW LEVEL SECURITY;
SELECT is((SELECT count(*) FROM locked_quote WHERE product IN ('hidden', 'dear')), 3::bigint, 'nothing else is locked');

-- Whatever table a price follows from: who may not read it has no price locked either.
INSERT INTO promotion (promotion, kind, value, customer_limit) VALUES ('once each', 'percent', 1, 1);
CREATE TEMP TABLE without (relation text, asked text, locked text);
DO $$
DECLARE
	relation text;
	asked text;
	locked text;
BEGIN
	FOR relation IN SELECT rule.relation FROM omnichannel.access_rule() AS rule WHERE strpos(rule.app, 'r') > 0 AND rule.relation <> 'locked_quote'
	LOOP
		EXECUTE format('REVOKE SELECT ON omnichannel.%I FROM price_app', relation);
		asked := public.raised_as('price_app', 'SELECT omnichannel.quote(1, ''p'', coupons => ''{once}'')');
		locked := public.raised_as('price_app', 'SELECT omnichannel.lock_quote(1, ''p'', coupons => ''{once}'')');
		RESET ROLE;
		INSERT INTO pg_temp.without VALUES (relation, asked, locked);
		EXECUTE format('GRANT SELECT ON omnichannel.%I TO price_app', relation);
	END LOOP;
END
$$;
SELECT is_empty($$SELECT * FROM without WHERE asked IS DISTINCT FROM locked$$, 'who may not ask may not lock');
SELECT cmp_ok((SELECT count(*) FROM without WHERE asked = '42501'), '>=', 12::bigint, 'without any of a dozen tables');
DELETE FROM promotion WHERE promotion = 'once each';

-- The owner of the tables need be no superuser, and gets nobody's rights by triggers on them.
CREATE ROLE price_keeper;
SELECT format('ALTER %s omnichannel.%I OWNER TO price_keeper', CASE relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, relname)
FROM pg_class WHERE relnamespace = 'omnichannel'::regnamespace AND relkind IN ('r', 'p', 'v') \gexec
GRANT ALL ON SCHEMA omnichannel TO price_keeper;
CREATE TABLE public.ran (relation text, who text);
GRANT INSERT ON public.ran TO PUBLIC;
CREATE FUNCTION public.note_who() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.ran VALUES (TG_TABLE_NAME, current_user);
	RETURN NULL;
END $$;
SELECT format('CREATE TRIGGER note_who AFTER INSERT OR UPDATE ON omnichannel.%I FOR EACH ROW EXECUTE FUNCTION public.note_who()', name)
FROM unnest('{price_correction,price_change,promotion_use,promotion_total,locked_quote}'::text[]) AS name \gexec
SET ROLE price_boss;
UPDATE price SET amount = 120, valid = tstzrange('2026-01-01', NULL) WHERE product = 'p';
RESET ROLE;
SET ROLE price_app;
SELECT ok(reserve_use('few', 'kept 1'), 'functions go on');
SELECT isnt(lock_quote(NULL, 'p'), NULL, 'and so do quotes');
RESET ROLE;
SELECT set_eq('SELECT DISTINCT relation, who FROM public.ran', $$VALUES ('price_correction', 'price_keeper'), ('price_change', 'price_keeper'),
	('promotion_use', 'price_keeper'), ('promotion_total', 'price_keeper'), ('locked_quote', 'price_keeper')$$, 'triggers run with the rights of the tables'' owner at most');
SELECT is((SELECT corrected_by FROM price_correction LIMIT 1), session_user::text, 'a correction says whose session it was');
SELECT is_empty($$SELECT proname FROM pg_proc WHERE pronamespace = 'omnichannel'::regnamespace AND prosecdef$$, 'no function has the rights of the extension''s owner');

SELECT * FROM finish();
