CREATE FUNCTION omnichannel.calling_code(country text) RETURNS text
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_calling_code';
COMMENT ON FUNCTION omnichannel.calling_code(text) IS
'Telephone calling code of a country (ISO 3166-1 alpha-2), with its plus, or NULL where none is known. Source: ITU-T E.164, list of assigned country codes.';

CREATE FUNCTION omnichannel.normalise_identity(kind text, value text) RETURNS text
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_normalise_identity';
COMMENT ON FUNCTION omnichannel.normalise_identity(text, text) IS
'The form in which identities of this kind are stored and compared: e-mail addresses in lower case without a name around them, telephone numbers as in ITU-T E.164 (numbers without a plus are the company''s country''s), other kinds as identity_kind says. Raises 23503 for an unknown kind, 22023 for a value that is NULL, empty, longer than 1000 bytes or none of its kind, 55000 before setup().';

CREATE FUNCTION omnichannel.identify(kind text, value text, "create" boolean DEFAULT true) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'omnichannel_identify';
COMMENT ON FUNCTION omnichannel.identify(text, text, boolean) IS
'The customer_id of the customer with this identity, after merges. An unknown identity becomes a new customer, once also when several sessions meet it at the same time; with create => false the answer is NULL. Raises what normalise_identity() raises; 40001 under REPEATABLE READ and SERIALIZABLE where another transaction made the customer meanwhile.';

CREATE FUNCTION omnichannel.customer_root(customer_id bigint) RETURNS bigint
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_customer_root';
COMMENT ON FUNCTION omnichannel.customer_root(bigint) IS
'The customer that this one was merged into, or itself, or NULL where there is none.';
