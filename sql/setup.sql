-- The database that all the other cases use.
\set SHOW_CONTEXT never
CREATE EXTENSION ltree;
CREATE EXTENSION btree_gist;
CREATE EXTENSION omnichannel;
SELECT omnichannel.default_currency();
CALL omnichannel.setup(currency => 'PLN', country => 'PL', time_zone => 'Europe/Warsaw');
SELECT currency, country, calling_code, time_zone, rounding, version FROM omnichannel.company;
CALL omnichannel.setup(currency => 'EUR', country => 'DE', time_zone => 'Europe/Berlin');
SELECT omnichannel.upgrade();
-- For the cases that follow: what a statement raises, NULL for nothing, and the same in a line.
CREATE FUNCTION public.raises(statement text, OUT code text, OUT message text, OUT detail text, OUT hint text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
END
$$;
CREATE FUNCTION public.raised(statement text) RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN code IS NULL THEN 'nothing' ELSE format('%s %s. %s', code, message, hint) END FROM public.raises(statement)
$$;
