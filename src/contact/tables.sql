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
	still boolean,
	PRIMARY KEY (customer_id, occurred_at, contact_id),
	-- One function call, because the server parses each check again for every statement: three of them cost as much
	-- as the insert.
	CONSTRAINT contact_codes CHECK (omnichannel.is_contact(direction, outcome, occurred_at))
) PARTITION BY RANGE (occurred_at);
ALTER SEQUENCE omnichannel.contact_contact_id_seq OWNED BY omnichannel.contact.contact_id;
CREATE TABLE omnichannel.contact_default PARTITION OF omnichannel.contact DEFAULT;
COMMENT ON TABLE omnichannel.contact IS
'The log: what passed between the company and a customer, in whatever channel. The primary key is the timeline''s index. Customers, channels, agents and requests are checked by the functions that log, not by foreign keys, whose locks on the same few rows all writers would wait for; rows of these are never deleted. What is put here by COPY or INSERT is history, which has no effects: who gives it a source_key claims that by a row in contact_key.';
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
COMMENT ON COLUMN omnichannel.contact.still IS
'true: it moved no clock when it was logged, and where clocks are reckoned anew they read it from here, not from sla_moment; else NULL.';

-- Keys are the same byte for byte or not at all; compared by the words of a language, as indexes would else, each costs
-- a multiple of that.
CREATE TABLE omnichannel.contact_key (
	source text COLLATE "C" NOT NULL,
	source_key text COLLATE "C" NOT NULL,
	customer_id bigint NOT NULL,
	contact_id bigint NOT NULL,
	occurred_at timestamptz NOT NULL,
	PRIMARY KEY (source, source_key)
);
COMMENT ON TABLE omnichannel.contact_key IS
'Which source''s rows are logged, and as which contact: it makes sure that each is logged once, which no key of the partitioned log can.';

CREATE TABLE omnichannel.thread (
	source text COLLATE "C" NOT NULL DEFAULT '',
	thread text COLLATE "C" NOT NULL CHECK (thread <> ''),
	customer_id bigint NOT NULL,
	request_id bigint,
	request_at timestamptz,
	PRIMARY KEY (source, thread)
);
COMMENT ON TABLE omnichannel.thread IS
'The conversations that applications name, written by the logger: a reply without a customer of its own is the conversation''s customer''s, and is about its request. A contact of somebody else, not merged with that customer, under the same key belongs to neither: keys can be guessed, and copies go to others.';
COMMENT ON COLUMN omnichannel.thread.source IS 'contact.source of its contacts, empty for none.';
COMMENT ON COLUMN omnichannel.thread.thread IS 'contact.thread: the application''s key.';
COMMENT ON COLUMN omnichannel.thread.customer_id IS 'Whom the conversation is with, before merges: who was named in it first.';
COMMENT ON COLUMN omnichannel.thread.request_id IS 'The last request that it was about, or NULL.';
COMMENT ON COLUMN omnichannel.thread.request_at IS
'Time of a contact since which it is about that: one of before, logged later, is about what it was about then.';
CREATE INDEX thread_customer_id ON omnichannel.thread (customer_id);

CREATE TABLE omnichannel.tracking (
	tracking text PRIMARY KEY CHECK (tracking <> '' AND octet_length(tracking) < 260),
	relation regclass NOT NULL UNIQUE,
	source text NOT NULL CHECK (source <> '' AND octet_length(source) <= 1000),
	channel text NOT NULL,
	customer text,
	recipient text,
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

CREATE TABLE omnichannel.tracked_table (
	source text NOT NULL,
	relation regclass NOT NULL,
	tracking text NOT NULL,
	partition boolean NOT NULL DEFAULT false,
	tracked_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (source, relation)
);
COMMENT ON TABLE omnichannel.tracked_table IS
'The tables that were ever tracked under a source, also those that are no longer there, and the partitions that such tables have had: so that the keys of one table are never taken for those of another, and a partition that is detached is noticed. Written by track(), untrack() and tick_tracking().';
COMMENT ON COLUMN omnichannel.tracked_table.source IS 'contact.source of its rows.';
COMMENT ON COLUMN omnichannel.tracked_table.relation IS 'The table; 0, shown as a dash, where it is gone.';
COMMENT ON COLUMN omnichannel.tracked_table.tracking IS 'Code of the tracking, that of the whole for a partition.';
COMMENT ON COLUMN omnichannel.tracked_table.partition IS 'Whether it was tracked as a partition of a tracked table.';
COMMENT ON COLUMN omnichannel.tracked_table.tracked_at IS 'When track() was last called for it, or the partition was noticed.';

CREATE TABLE omnichannel.contact_reject (
	reject_id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
	tracking text NOT NULL,
	data jsonb NOT NULL,
	as_text boolean NOT NULL DEFAULT false,
	sqlstate text NOT NULL,
	message text NOT NULL,
	live boolean NOT NULL DEFAULT true,
	updated boolean NOT NULL DEFAULT false,
	source text,
	source_key text,
	rejected_at timestamptz NOT NULL DEFAULT now(),
	tries integer NOT NULL DEFAULT 1,
	UNIQUE (tracking, source, source_key)
);
COMMENT ON TABLE omnichannel.contact_reject IS
'Rows of tracked tables that could not be logged, where their tracking says on_error => ''quarantine''. retry_rejects() logs them when the cause is removed. Of the rows of one source and key the last one that was written is kept, until one is logged; a row whose key changes, where its tracking has updates, is kept under the new one instead, which its contact gets at once; of the same row without a key that can be told, one, if it is updated or read by backfill().';
COMMENT ON COLUMN omnichannel.contact_reject.tracking IS 'Code of the tracking.';
COMMENT ON COLUMN omnichannel.contact_reject.data IS 'The row as it was written, by column; times in UTC.';
COMMENT ON COLUMN omnichannel.contact_reject.as_text IS
'Whether data has the texts of all columns instead of their JSON, because no jsonb can hold that: \u0000 in a column of type json, for example.';
COMMENT ON COLUMN omnichannel.contact_reject.sqlstate IS 'SQLSTATE of the last try''s error.';
COMMENT ON COLUMN omnichannel.contact_reject.message IS 'Message of the last try''s error.';
COMMENT ON COLUMN omnichannel.contact_reject.live IS 'Whether it was just written, or imported by backfill().';
COMMENT ON COLUMN omnichannel.contact_reject.source IS 'Source of the tracking when it was written; NULL for the one that it has now.';
COMMENT ON COLUMN omnichannel.contact_reject.source_key IS
'Key of the row in the source, by which it is replaced and cleared; NULL where it has none, or none that can be told.';
COMMENT ON COLUMN omnichannel.contact_reject.rejected_at IS 'When it was written last.';
COMMENT ON COLUMN omnichannel.contact_reject.tries IS 'How often a row of this key was tried in vain.';
COMMENT ON COLUMN omnichannel.contact_reject.updated IS 'Whether an UPDATE wrote it and what is logged under its key, if anything is, was logged of it, so that it is revised; where that is not known, it is told by time and customer whose it is.';
CREATE INDEX contact_reject_tracking ON omnichannel.contact_reject (tracking, reject_id);
CREATE INDEX contact_reject_unkeyed ON omnichannel.contact_reject (tracking, jsonb_hash_extended(data, 0)) WHERE source_key IS NULL;

CREATE VIEW omnichannel.tracked_relations AS
SELECT t.tracking, t.relation, t.source, t.channel, t.updates, t.on_error, t.created_at,
	CASE
		WHEN c.oid IS NULL THEN 'gone'
		WHEN g.enabled IS NULL THEN 'no trigger'
		WHEN NOT g.enabled THEN 'trigger disabled'
		WHEN c.relispartition AND g.of_statement THEN 'trigger of a partition'
		ELSE 'tracked'
	END AS state,
	(SELECT count(*) FROM omnichannel.contact_reject AS r WHERE r.tracking = t.tracking) AS rejects
FROM omnichannel.tracking AS t
LEFT JOIN pg_catalog.pg_class AS c ON c.oid = t.relation
LEFT JOIN LATERAL (
	SELECT bool_and(p.tgenabled <> 'D') AS enabled, bool_or((p.tgtype & 1) = 0) AS of_statement
	FROM pg_catalog.pg_trigger AS p
	WHERE p.tgrelid = t.relation AND p.tgfoid = 'omnichannel.log_contact_trigger()'::regprocedure
		AND p.tgname <> 'omnichannel_untrack_before_attach'
) AS g ON true
UNION ALL
SELECT t.tracking, m.relation, m.source, t.channel, t.updates, t.on_error, m.tracked_at, 'detached', 0
FROM omnichannel.tracked_table AS m
JOIN omnichannel.tracking AS t ON t.tracking = m.tracking
JOIN pg_catalog.pg_class AS c ON c.oid = m.relation
WHERE m.partition
	AND NOT EXISTS (SELECT FROM pg_catalog.pg_partition_ancestors(m.relation) AS a WHERE a.relid = t.relation)
	AND NOT EXISTS (SELECT FROM omnichannel.tracking AS own WHERE own.relation = m.relation);
COMMENT ON VIEW omnichannel.tracked_relations IS
'The tables that are tracked, whether they still are, and how many of their rows wait in contact_reject; also partitions that were detached from them.';
COMMENT ON COLUMN omnichannel.tracked_relations.state IS
'tracked; gone: the table was dropped; no trigger or trigger disabled: its rows are not logged; trigger of a partition: rows written through the partitioned table are not logged, track that one; detached: a partition that it had is one no longer, and what is written to it is not logged: call track() with nothing but the table to go on, and backfill() for what was written meanwhile, or untrack() to no longer see it here. no trigger, trigger disabled: the same mends it. Partitions made since track() are noticed by tick().';
