CREATE TABLE omnichannel.erasure_salt (
	only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
	salt uuid NOT NULL DEFAULT gen_random_uuid()
);
COMMENT ON TABLE omnichannel.erasure_salt IS
'One row: what is mixed into erasure_digest(), so that a digest tells nothing to those who cannot read it. Deleting it makes all digests meaningless: rows under masked keys would then be logged again.';
INSERT INTO omnichannel.erasure_salt DEFAULT VALUES;
SELECT omnichannel.create_config_cache('erasure_salt', 'erasure_salt');

CREATE TABLE omnichannel.erased_source (
	source text PRIMARY KEY CHECK (source ~ '^[0-9a-f]{64}$')
);
COMMENT ON TABLE omnichannel.erased_source IS
'The sources of which erasures have masked keys in contact_key, because these held an identity: whose rows the logger looks up by digest too.';
COMMENT ON COLUMN omnichannel.erased_source.source IS 'erasure_digest(contact.source, '''').';
SELECT omnichannel.create_config_cache('erased_source', 'erased_source');

CREATE TABLE omnichannel.erasure (
	customer_id bigint PRIMARY KEY REFERENCES omnichannel.customer,
	identities text[] NOT NULL,
	erased_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	running text[]
);
COMMENT ON TABLE omnichannel.erasure IS
'Erasures that transactions may still not have seen, which ran at the same time; tick_erasure() sweeps after them and then deletes the row.';
COMMENT ON COLUMN omnichannel.erasure.customer_id IS 'The customer that all in the group were merged into.';
COMMENT ON COLUMN omnichannel.erasure.identities IS 'erasure_digest(kind, value) of what the customer was known by.';
COMMENT ON COLUMN omnichannel.erasure.erased_at IS 'When the erasure was done, by the clock.';
COMMENT ON COLUMN omnichannel.erasure.running IS
'The virtual transactions that ran when the erasure, or what was swept last, was first seen; NULL until then.';
