CREATE FUNCTION omnichannel.is_contact(direction text, outcome text, occurred_at timestamptz) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_is_contact';
COMMENT ON FUNCTION omnichannel.is_contact(text, text, timestamptz) IS
'The check on contact: whether direction and outcome are known codes and the time is finite.';

CREATE FUNCTION omnichannel.log_contact(
	channel text,
	customer_id bigint DEFAULT NULL,
	kind text DEFAULT NULL,
	value text DEFAULT NULL,
	direction text DEFAULT NULL,
	outcome text DEFAULT NULL,
	occurred_at timestamptz DEFAULT NULL,
	agent_id bigint DEFAULT NULL,
	request_id bigint DEFAULT NULL,
	thread text DEFAULT NULL,
	subject text DEFAULT NULL,
	body text DEFAULT NULL,
	payload jsonb DEFAULT NULL,
	source text DEFAULT NULL,
	source_key text DEFAULT NULL
) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'omnichannel_log_contact';
COMMENT ON FUNCTION omnichannel.log_contact(text, bigint, text, text, text, text, timestamptz, bigint, bigint, text, text, text, jsonb, text, text) IS
'Logs a contact and returns its contact_id.

The customer is customer_id, or whom kind and value identify (made new if unknown), or, with neither, the customer of request_id, or of the conversation that thread names, or a new one.

A conversation is with whoever was named in it first; a contact of somebody else under its key gets a request of its own, unless merge_customers() made the two one, and who is named first in a conversation or a request of a customer nobody knows by an identity or a name turns out to be that customer, who is merged.

direction: inbound (the default), outbound or internal;
outcome: received, sent, answered, missed, abandoned, voicemail, busy or failed, by default received or sent;
occurred_at: NULL for now.

What has the same source and source_key is logged once, whatever its time: later calls return the first contact_id.

Raises 23503 for an unknown channel, customer, kind, request or agent,
22023 for a request of another customer or another bad argument,
22008 for a time that is infinite or more than a minute to come,
22001 for a subject over 998 bytes or a thread, source or key over 1000,
54000 for a body or payload over 1 MB,
09000 where a trigger of your own on omnichannel''s tables keeps a row from them,
55000 for a customer_id that was erased, unless the key is logged, and before setup().';

CREATE FUNCTION omnichannel.timeline(
	customer_id bigint,
	before timestamptz DEFAULT 'infinity',
	max_rows integer DEFAULT 50,
	before_contact bigint DEFAULT NULL,
	OUT contact_id bigint,
	OUT occurred_at timestamptz,
	OUT channel text,
	OUT direction text,
	OUT outcome text,
	OUT agent_id bigint,
	OUT request_id bigint,
	OUT thread text,
	OUT subject text,
	OUT body text,
	OUT payload jsonb,
	OUT logged_as bigint
) RETURNS SETOF record
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	PERFORM omnichannel.require_setup();
	IF timeline.customer_id IS NULL OR timeline.max_rows IS NULL OR timeline.max_rows < 0 THEN
		RAISE EXCEPTION 'timeline(%, max_rows => %) has no answer',
			coalesce(timeline.customer_id::text, 'NULL'), coalesce(timeline.max_rows::text, 'NULL')
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Name a customer, and a number of rows from 0 on.';
	END IF;
	-- One index scan for each customer that was merged, newest first; (x, NULL) < (y, NULL) is what x < y says.
	RETURN QUERY
	SELECT c.contact_id, c.occurred_at, c.channel, c.direction, c.outcome, c.agent_id, c.request_id, c.thread,
		c.subject, c.body, c.payload, c.customer_id
	FROM (
		SELECT root.customer_id FROM omnichannel.customer AS root
		WHERE root.customer_id = omnichannel.customer_root(timeline.customer_id)
		UNION ALL
		SELECT merged.customer_id FROM omnichannel.customer AS merged
		WHERE merged.merged_into = omnichannel.customer_root(timeline.customer_id)
	) AS who
	CROSS JOIN LATERAL (
		SELECT * FROM omnichannel.contact AS logged
		WHERE logged.customer_id = who.customer_id
			AND (logged.occurred_at, logged.contact_id) < (coalesce(before, 'infinity'), coalesce(before_contact, 0))
		ORDER BY logged.occurred_at DESC, logged.contact_id DESC
		LIMIT timeline.max_rows
	) AS c
	ORDER BY c.occurred_at DESC, c.contact_id DESC
	LIMIT timeline.max_rows;
END
$$;
COMMENT ON FUNCTION omnichannel.timeline(bigint, timestamptz, integer, bigint) IS
'The contacts of a customer in every channel, newest first, with those of customers merged with this one (logged_as says of which). before: only what occurred earlier; the next page is asked for with the occurred_at and the contact_id of the last row as before and before_contact, and stays the same whatever is logged meanwhile with a later time. Raises 22023 for NULL or a negative number of rows, 55000 before setup().';

CREATE FUNCTION omnichannel.customer_context(customer_id bigint, contacts integer DEFAULT 10) RETURNS jsonb
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_customer_context';
COMMENT ON FUNCTION omnichannel.customer_context(bigint, integer) IS
'What anyone who talks to this customer must know now, with what was recorded of customers merged with this one:

customer_id (the one that all were merged into),
merged (the others),
as_of, name, birth_date, language, preferred_channel, created_at, erased_at,
identities, segments,
facts (by key: value, since, source),
consents (as consents() has them),
open_requests in whatever channel, the oldest first,
service_levels (what was promised and is still to be done, the first due first, as sla_status has it),
last_contacts in every channel, the newest first, as many as contacts says (0 to 1000),
and best_agent, the active agent who knows the customer best, or null.

Times are in the session''s zone.

Raises 23503 for an unknown customer, 22023 for NULL or a bad number, 55000 before setup(), 42501 without SELECT on what it reads.';

CREATE FUNCTION omnichannel.context_since(customer_id bigint, since timestamptz, contacts integer DEFAULT 100) RETURNS jsonb
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_context_since';
COMMENT ON FUNCTION omnichannel.context_since(bigint, timestamptz, integer) IS
'What is new of a customer since then: contacts that occurred or were logged, the newest first, as many as contacts says (0 to 1000), requests opened or in another state, facts and consents recorded, identities linked or verified, and merges made or undone. as_of is what to ask with next; a transaction that began before and commits later is seen where one asks a little further back, and its ids tell what is known already. Raises what customer_context() raises.';
