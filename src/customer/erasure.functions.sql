CREATE FUNCTION omnichannel.erasure_digest(a text, b text) RETURNS text
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_erasure_digest';
COMMENT ON FUNCTION omnichannel.erasure_digest(text, text) IS
'What stands for two texts, a kind and a value of identity or a source and its key, after an erasure: 64 hexadecimal digits (SHA-256) that only those can compute who may read erasure_salt. Raises 42501 for others, 55000 before setup().';

CREATE FUNCTION omnichannel.identity_or_null(kind text, value text) RETURNS text
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_identity_or_null';
COMMENT ON FUNCTION omnichannel.identity_or_null(text, text) IS
'As normalise_identity(), but NULL for what that refuses: a value that is none of its kind, an unknown kind, and NULL. Raises 55000 before setup().';

CREATE FUNCTION omnichannel.identity_digests(who bigint[]) RETURNS text[]
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM omnichannel.require_setup();
	RETURN ARRAY(
		SELECT omnichannel.erasure_digest(identity.kind, identity.value) FROM omnichannel.identity
		WHERE identity.customer_id = ANY (who) ORDER BY 1
	);
END
$$;
COMMENT ON FUNCTION omnichannel.identity_digests(bigint[]) IS
'The erasure_digest() of each identity of these customers. Raises 42501 for roles that may not read erasure_salt, 55000 before setup().';
