-- Triggers that were made by hand, with every mistake that can be made: a clear error, or what track() would have done.
BEGIN;
SELECT plan(32);
CREATE TABLE public.made (id int PRIMARY KEY, who text, g int GENERATED ALWAYS AS (id * 2) STORED);
CREATE VIEW public.made_view AS SELECT id, who FROM public.made;
CREATE TABLE public.others (id int PRIMARY KEY, who text);
CREATE TABLE public.part (id int, who text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE public.part_all PARTITION OF public.part DEFAULT;
SELECT omnichannel.track('public.made', channel => 'chat', customer => '{who}', kind => 'email') \g /dev/null
INSERT INTO public.made VALUES (1, 'a@made.test');

-- What a trigger of this definition makes of a statement: the SQLSTATE and the start of the message.
CREATE FUNCTION public.made_by_hand(definition text, statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE 'CREATE ' || definition;
	EXECUTE statement;
	SET CONSTRAINTS ALL IMMEDIATE;
	RAISE EXCEPTION USING ERRCODE = 'ZZ999', MESSAGE = 'none, logged ' || (SELECT count(*) FROM omnichannel.contact);
EXCEPTION WHEN OTHERS THEN
	RETURN CASE SQLSTATE WHEN 'ZZ999' THEN '' ELSE SQLSTATE || ' ' END || left(SQLERRM, 90);
END
$$;
SELECT is(public.made_by_hand(format(definition, 'EXECUTE FUNCTION omnichannel.log_contact_trigger'), statement), wanted, format('%s: %s', definition, left(statement, 40)))
FROM (VALUES
	-- timing and level
	($$TRIGGER t BEFORE INSERT ON public.made FOR EACH ROW %s('public.made')$$, $$INSERT INTO public.made VALUES (2)$$,
		'39P01 function "log_contact_trigger" must be fired AFTER the write'),
	($$TRIGGER t BEFORE INSERT ON public.made %s('public.made')$$, $$INSERT INTO public.made VALUES (2)$$,
		'39P01 function "log_contact_trigger" must be fired AFTER the write'),
	($$TRIGGER t INSTEAD OF INSERT ON public.made_view FOR EACH ROW %s('public.made')$$, $$INSERT INTO public.made_view VALUES (2)$$,
		'39P01 function "log_contact_trigger" must be fired AFTER the write'),
	($$TRIGGER t AFTER INSERT ON public.made %s('public.made')$$, $$INSERT INTO public.made VALUES (2)$$,
		'39P01 function "log_contact_trigger" needs a transition table FOR EACH STATEMENT'),
	($$TRIGGER t AFTER INSERT ON public.part %s('public.part')$$, $$INSERT INTO public.part VALUES (2)$$,
		'39P01 function "log_contact_trigger" needs a transition table FOR EACH STATEMENT'),
	-- events
	($$TRIGGER t AFTER UPDATE ON public.made %s('public.made')$$, $$UPDATE public.made SET who = NULL$$,
		'39P01 function "log_contact_trigger" must be fired by INSERT, or by UPDATE FOR EACH ROW'),
	($$TRIGGER t AFTER UPDATE ON public.made REFERENCING NEW TABLE AS n %s('public.made')$$, $$UPDATE public.made SET who = NULL$$,
		'39P01 function "log_contact_trigger" must be fired by INSERT, or by UPDATE FOR EACH ROW'),
	($$TRIGGER t AFTER DELETE ON public.made FOR EACH ROW %s('public.made')$$, $$DELETE FROM public.made$$,
		'39P01 function "log_contact_trigger" must be fired by INSERT, or by UPDATE FOR EACH ROW'),
	($$TRIGGER t AFTER DELETE ON public.made REFERENCING OLD TABLE AS o %s('public.made')$$, $$DELETE FROM public.made$$,
		'39P01 function "log_contact_trigger" must be fired by INSERT, or by UPDATE FOR EACH ROW'),
	($$TRIGGER t AFTER TRUNCATE ON public.made %s('public.made')$$, $$TRUNCATE public.made$$,
		'39P01 function "log_contact_trigger" must be fired by INSERT, or by UPDATE FOR EACH ROW'),
	-- arguments
	($$TRIGGER t AFTER INSERT ON public.made FOR EACH ROW %s()$$, $$INSERT INTO public.made VALUES (2)$$,
		'39P01 function "log_contact_trigger" takes the code of a tracking as its only argument'),
	($$TRIGGER t AFTER INSERT ON public.made FOR EACH ROW %s('public.made', 'x')$$, $$INSERT INTO public.made VALUES (2)$$,
		'39P01 function "log_contact_trigger" takes the code of a tracking as its only argument'),
	($$TRIGGER t AFTER INSERT ON public.made FOR EACH ROW %s('')$$, $$INSERT INTO public.made VALUES (2)$$,
		'42501 relation "made" has a trigger of tracking "", which there is not'),
	($$TRIGGER t AFTER INSERT ON public.made FOR EACH ROW %s('made')$$, $$INSERT INTO public.made VALUES (2)$$,
		'42501 relation "made" has a trigger of tracking "made", which there is not'),
	($$TRIGGER t AFTER INSERT ON public.made FOR EACH ROW %s(17)$$, $$INSERT INTO public.made VALUES (2)$$,
		'42501 relation "made" has a trigger of tracking "17", which there is not'),
	-- tables that the tracking is not of
	($$TRIGGER t AFTER INSERT ON public.others FOR EACH ROW %s('public.made')$$, $$INSERT INTO public.others VALUES (2)$$,
		'42501 relation "others" is not what tracking "public.made" tracks'),
	($$TRIGGER t AFTER INSERT ON public.others REFERENCING NEW TABLE AS n %s('public.made')$$, $$INSERT INTO public.others VALUES (2)$$,
		'42501 relation "others" is not what tracking "public.made" tracks'),
	($$TRIGGER t AFTER INSERT ON public.part FOR EACH ROW %s('public.made')$$, $$INSERT INTO public.part VALUES (2)$$,
		'42501 relation "part_all" is not what tracking "public.made" tracks'),
	($$TRIGGER t AFTER DELETE ON public.part FOR EACH ROW %s('public.made')$$, $$DELETE FROM public.part$$, 'none, logged 1'),
	-- a second one of the right make: what is logged is logged once
	($$TRIGGER t AFTER INSERT ON public.made FOR EACH ROW %s('public.made')$$, $$INSERT INTO public.made VALUES (2), (3)$$, 'none, logged 3'),
	($$TRIGGER a AFTER INSERT ON public.made FOR EACH ROW %s('public.made')$$, $$INSERT INTO public.made VALUES (2), (3)$$, 'none, logged 3'),
	($$TRIGGER t AFTER INSERT ON public.made REFERENCING NEW TABLE AS n %s('public.made')$$, $$INSERT INTO public.made VALUES (2), (3)$$, 'none, logged 3'),
	($$TRIGGER t AFTER INSERT ON public.made REFERENCING NEW TABLE AS n FOR EACH ROW %s('public.made')$$, $$INSERT INTO public.made VALUES (2), (3)$$, 'none, logged 3'),
	($$TRIGGER t AFTER INSERT ON public.made FOR EACH ROW WHEN (new.id > 2) %s('public.made')$$, $$INSERT INTO public.made VALUES (2), (3)$$, 'none, logged 3'),
	($$TRIGGER t AFTER UPDATE OF who ON public.made FOR EACH ROW %s('public.made')$$, $$UPDATE public.made SET who = 'b@made.test'$$, 'none, logged 1'),
	($$CONSTRAINT TRIGGER t AFTER INSERT OR UPDATE ON public.made DEFERRABLE INITIALLY DEFERRED FOR EACH ROW %s('public.made')$$,
		$$INSERT INTO public.made VALUES (2), (3); UPDATE public.made SET who = 'b@made.test' WHERE id = 2$$, 'none, logged 3'),
	($$CONSTRAINT TRIGGER t AFTER DELETE ON public.made DEFERRABLE INITIALLY DEFERRED FOR EACH ROW %s('public.made')$$, $$DELETE FROM public.made$$,
		'39P01 function "log_contact_trigger" must be fired by INSERT, or by UPDATE FOR EACH ROW')
) AS made (definition, statement, wanted);

-- Called otherwise
SELECT throws_ok('SELECT omnichannel.log_contact_trigger()', '39P01', 'function "log_contact_trigger" was not called by the trigger manager', 'by SELECT');
SELECT throws_ok('CREATE EVENT TRIGGER t ON ddl_command_end EXECUTE FUNCTION omnichannel.log_contact_trigger()', '42P17', NULL, 'as an event trigger');
-- A code longer than any tracking's is not shown in full.
SELECT ok(length(public.made_by_hand(format($$TRIGGER t AFTER INSERT ON public.made FOR EACH ROW EXECUTE FUNCTION omnichannel.log_contact_trigger(%L)$$,
	repeat('x', 5000)), $$INSERT INTO public.made VALUES (2)$$)) <= 96, 'a code of 5,000 letters');
-- It does not help to be somebody: the tracking decides whose rows are logged.
CREATE ROLE regress_forger;
GRANT CREATE, USAGE ON SCHEMA public TO regress_forger;
GRANT USAGE ON SCHEMA omnichannel TO regress_forger;
SET LOCAL ROLE regress_forger;
CREATE TABLE public.forged (id int PRIMARY KEY, who text);
SELECT throws_ok($$SELECT omnichannel.track('public.forged', channel => 'chat')$$, '42501', NULL, 'track() wants rights on tracking');
CREATE TRIGGER t AFTER INSERT ON public.forged FOR EACH ROW EXECUTE FUNCTION omnichannel.log_contact_trigger('public.made');
SELECT throws_ok($$INSERT INTO public.forged VALUES (9, 'a@made.test')$$, '42501', 'relation "forged" is not what tracking "public.made" tracks', 'and a trigger is no way round them');
SELECT * FROM finish();
ROLLBACK;
