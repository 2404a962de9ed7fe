-- What many rows that wait, or have waited while somebody may still see them, cost those who log: nothing. Counted in pages.
BEGIN;
SELECT plan(5);
CREATE TABLE public.card (id int PRIMARY KEY, who text, at timestamptz DEFAULT '2026-03-01 10:00+00', body text);
CREATE FUNCTION public.track_card(kind text) RETURNS text LANGUAGE sql AS $$
	SELECT omnichannel.track('public.card', channel => 'forum', kind => kind, customer => '{who}', body => '{body}', occurred_at => '{at}', on_error => 'quarantine')
$$;
SELECT public.track_card('email') \g /dev/null
-- Returns how many pages a statement, as a function, looks at.
CREATE FUNCTION public.pages(call text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT json) SELECT ' || call INTO plan;
	RETURN (plan #>> '{0,Plan,Shared Hit Blocks}')::bigint + (plan #>> '{0,Plan,Shared Read Blocks}')::bigint;
END
$$;
CREATE FUNCTION public.add(first int, last int, who text) RETURNS void LANGUAGE sql AS $$
	INSERT INTO public.card SELECT i, who || i, now(), (SELECT string_agg(md5(i || '/' || j), '') FROM generate_series(1, 30) AS j) FROM generate_series(first, last) AS i
$$;
-- plans are kept from here on
SELECT public.add(i, i, 'k@x.test'), public.add(1000 + i, 1000 + i, 'bad') FROM generate_series(1, 10) AS i \g /dev/null
SELECT public.add(100, 100, 'a@x.test') \g /dev/null
SELECT public.pages($$public.add(101, 101, 'a@x.test')$$) AS before \gset
SELECT public.add(2001, 4000, 'bad') \g /dev/null
SELECT is((SELECT count(*) FROM omnichannel.contact_reject), 2010::bigint, 'many rows wait');
SELECT cmp_ok(public.pages($$public.add(102, 102, 'a@x.test')$$), '<', :before + 50, 'who logs a row does not read them');

SELECT public.track_card('account') \g /dev/null
SELECT public.pages('omnichannel.retry_rejects(max_rows => 50)') AS first \gset
SELECT is(omnichannel.retry_rejects(max_rows => 1910), 1910::bigint, 'nearly all are logged');
-- the list is read from its beginning, once
SELECT cmp_ok(public.pages('omnichannel.retry_rejects()'), '<', 2 * :first, 'the last ones look at no more pages than the first');
SELECT public.track_card('email') \g /dev/null
SELECT cmp_ok(public.pages($$public.add(103, 103, 'a@x.test')$$), '<', :before + 50, 'nor does who logs a row then');
SELECT * FROM finish();
ROLLBACK;
