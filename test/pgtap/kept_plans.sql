-- Statements of the extension are planned to use indexes; what else runs while they do is planned as the session says.
BEGIN;
SELECT plan(2);

SET LOCAL jit = on;
CREATE TABLE public.seen (setting text, value text);
CREATE FUNCTION public.note_settings() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.seen SELECT name, setting FROM pg_settings
		WHERE name IN ('enable_seqscan', 'enable_hashjoin', 'enable_mergejoin', 'jit');
	RETURN NULL;
END $$;
CREATE TRIGGER note AFTER INSERT ON omnichannel.contact FOR EACH ROW EXECUTE FUNCTION public.note_settings();

-- The first statement of its kind is planned when it runs.
SELECT isnt(omnichannel.log_contact('chat', kind => 'account', value => 'k1'), NULL, 'a contact is logged');
SELECT results_eq('SELECT setting, value FROM public.seen ORDER BY setting',
	$$VALUES ('enable_hashjoin', 'on'), ('enable_mergejoin', 'on'), ('enable_seqscan', 'on'), ('jit', 'on')$$,
	'a trigger that fires while it runs sees the session''s own settings');

SELECT * FROM finish();
ROLLBACK;
