CREATE SEQUENCE omnichannel.contact_contact_id_seq;
CREATE TABLE omnichannel.contact (
	customer_id bigint NOT NULL,
	contact_id bigint NOT NULL DEFAULT nextval('omnichannel.contact_contact_id_seq'),
	occurred_at timestamptz NOT NULL DEFAULT now(),
	channel text NOT NULL,
	direction text NOT NULL DEFAULT 'inbound',
	outcome text NOT NULL DEFAULT 'received',
	agent_id bigint,
	request_id bigint,
	thread text,
	subject text,
	body text,
	payload jsonb,
	source text,
	source_key text,
	logged_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (customer_id, occurred_at, contact_id),
	-- One function call, because the server parses each check again for every statement: three of them cost as much
	-- as the insert.
	CONSTRAINT contact_codes CHECK (omnichannel.is_contact(direction, outcome, occurred_at))
) PARTITION BY RANGE (occurred_at);
ALTER SEQUENCE omnichannel.contact_contact_id_seq OWNED BY omnichannel.contact.contact_id;
CREATE TABLE omnichannel.contact_default PARTITION OF omnichannel.contact DEFAULT;
COMMENT ON TABLE omnichannel.contact IS
'The log: what passed between the company and a customer, in whatever channel. The primary key is the timeline''s index. Customers, channels, agents and requests are checked by the functions that log, not by foreign keys, whose locks on the same few rows all writers would wait for; rows of these are never deleted.';
COMMENT ON TABLE omnichannel.contact_default IS
'Contacts of times that no other partition of contact takes.';
COMMENT ON COLUMN omnichannel.contact.customer_id IS
'Of whom it was logged; where that customer was merged since, customer.merged_into leads on.';
COMMENT ON COLUMN omnichannel.contact.direction IS 'inbound: from the customer; outbound: to the customer; internal: about the customer.';
COMMENT ON COLUMN omnichannel.contact.outcome IS
'received and sent: messages; answered: both spoke; missed, abandoned, voicemail, busy: they did not; failed: it did not get through.';
COMMENT ON COLUMN omnichannel.contact.agent_id IS 'Who dealt with it, or NULL: nobody or a machine.';
COMMENT ON COLUMN omnichannel.contact.thread IS 'The application''s key of the conversation, or NULL.';
COMMENT ON COLUMN omnichannel.contact.source IS 'The application or table that it was logged from, or NULL.';
COMMENT ON COLUMN omnichannel.contact.source_key IS 'The source''s own key, logged once; NULL where there is none.';
COMMENT ON COLUMN omnichannel.contact.logged_at IS 'When the transaction that logged it began.';

CREATE TABLE omnichannel.contact_key (
	source text NOT NULL,
	source_key text NOT NULL,
	customer_id bigint NOT NULL,
	contact_id bigint NOT NULL,
	occurred_at timestamptz NOT NULL,
	PRIMARY KEY (source, source_key)
);
COMMENT ON TABLE omnichannel.contact_key IS
'Which source''s rows are logged, and as which contact: it makes sure that each is logged once, which no key of the partitioned log can.';

CREATE TABLE omnichannel.tracking (
	tracking text PRIMARY KEY CHECK (tracking <> '' AND octet_length(tracking) < 256),
	relation regclass NOT NULL UNIQUE,
	source text NOT NULL CHECK (source <> '' AND octet_length(source) <= 1000),
	channel text NOT NULL,
	customer text,
	kind text,
	direction text,
	outcome text,
	occurred_at text,
	agent text,
	request text,
	thread text,
	subject text,
	body text,
	payload text,
	source_key text,
	value_maps jsonb CHECK (jsonb_typeof(value_maps) = 'object'),
	time_zone text NOT NULL CHECK ((timestamptz 'epoch' AT TIME ZONE time_zone) IS NOT NULL),
	on_error text NOT NULL DEFAULT 'error' CHECK (on_error IN ('error', 'quarantine')),
	updates boolean NOT NULL DEFAULT false,
	created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE omnichannel.tracking IS
'The tables whose rows are logged as contacts, written by track(). In a mapping, {column} stands for the value of a column and anything else for itself.';
COMMENT ON COLUMN omnichannel.tracking.relation IS 'The only table, with its partitions, that is logged by this mapping.';
COMMENT ON COLUMN omnichannel.tracking.source IS 'What contact.source becomes.';
COMMENT ON COLUMN omnichannel.tracking.value_maps IS
'By field, what the application''s values mean here, as in {"direction": {"I": "inbound", "note": null}}; null leaves the row out, "*" stands for all others.';
COMMENT ON COLUMN omnichannel.tracking.time_zone IS 'IANA name of the zone of columns without one.';
COMMENT ON COLUMN omnichannel.tracking.on_error IS
'error: a row that cannot be logged cannot be written; quarantine: it is written, and kept in contact_reject.';
COMMENT ON COLUMN omnichannel.tracking.updates IS 'Whether updated rows are logged too, or revise their contact.';
SELECT omnichannel.create_config_cache('tracking', 'tracking');
