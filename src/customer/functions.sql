CREATE FUNCTION omnichannel.calling_code(country text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN CASE country WHEN 'PL' THEN '+48' WHEN 'DE' THEN '+49' WHEN 'GB' THEN '+44' WHEN 'FR' THEN '+33' WHEN 'US' THEN '+1' END;
COMMENT ON FUNCTION omnichannel.calling_code(text) IS
'Telephone calling code of a country (ISO 3166-1 alpha-2), with its plus, or NULL where none is known. Source: ITU-T E.164 assigned country codes.';
