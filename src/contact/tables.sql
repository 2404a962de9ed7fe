CREATE SEQUENCE omnichannel.contact_contact_id_seq;
CREATE TABLE omnichannel.contact (
	customer_id bigint NOT NULL,
	contact_id bigint NOT NULL DEFAULT nextval('omnichannel.contact_contact_id_seq'),
	occurred_at timestamptz NOT NULL DEFAULT now() CHECK (isfinite(occurred_at)),
	channel text NOT NULL,
	direction text NOT NULL DEFAULT 'inbound' CHECK (direction IN ('inbound', 'outbound', 'internal')),
	outcome text NOT NULL DEFAULT 'received' CHECK
		(outcome IN ('received', 'sent', 'answered', 'missed', 'abandoned', 'voicemail', 'busy', 'failed')),
	agent_id bigint,
	request_id bigint,
	thread text,
	subject text,
	body text,
	payload jsonb,
	source text,
	source_key text,
	logged_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (customer_id, occurred_at, contact_id)
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
