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
'Logs a contact and returns its contact_id. The customer is customer_id, or whom kind and value identify (made new if unknown), or, with neither, a new customer. direction: inbound (the default), outbound or internal; outcome: received, sent, answered, missed, abandoned, voicemail, busy or failed, by default received or sent; occurred_at: NULL for now. What has the same source and source_key is logged once, whatever its time: later calls return the first contact_id. Raises 23503 for an unknown channel, customer, kind, request or agent, 22023 for another bad argument, 22008 for a time that is infinite or more than a minute to come, 22001 for a subject over 998 bytes or a thread, source or key over 1000, 54000 for a body or payload over 1 MB, 55000 before setup().';

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
