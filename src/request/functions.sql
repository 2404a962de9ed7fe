CREATE FUNCTION omnichannel.guard_request() RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'omnichannel_guard_request';
COMMENT ON FUNCTION omnichannel.guard_request() IS
'Trigger function of request: refuses another customer, and a state that does not follow from the one before, with 55000; counts version; sets state_since and closed_at where the statement that changes the state does not, and refuses times that are infinite or to come with 22008.';

CREATE FUNCTION omnichannel.follow_request() RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'omnichannel_follow_request';
COMMENT ON FUNCTION omnichannel.follow_request() IS
'Trigger function of request, for rows and for statements: makes the service levels follow an INSERT, UPDATE or DELETE of open requests by whoever runs it, once a statement and with the rights of the tables'' owner. Requests that are inserted closed have none. Refuses times of inserted requests that are infinite or to come with 22008, and open requests of an agent that there is not with 23503.';

CREATE FUNCTION omnichannel.open_request(
	customer_id bigint,
	kind text,
	channel text,
	queue text DEFAULT NULL,
	priority integer DEFAULT 0,
	requires text DEFAULT NULL,
	prefers text DEFAULT NULL,
	data jsonb DEFAULT '{}',
	agent_id bigint DEFAULT NULL,
	subject text DEFAULT NULL,
	opened_at timestamptz DEFAULT NULL
) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'omnichannel_open_request';
COMMENT ON FUNCTION omnichannel.open_request(bigint, text, text, text, integer, text, text, jsonb, bigint, text, timestamptz) IS
'Opens a request of a customer and returns its request_id. kind: what it is about, a code of the company''s own; channel: where it was opened; queue: where it waits for an agent, NULL where nobody is to deal with it; priority: larger is sooner; requires, prefers: skills as in ''billing:4, lang.pl:5''; agent_id: who owns it already; opened_at: NULL for now. Its state is assigned with an owner, else waiting_agent in a queue, else new. Raises 23503 for an unknown customer, channel, queue or agent, 22023 for another bad argument, 22P02 for malformed skills, 22001 for a subject over 998 bytes, 22008 for a time that is infinite or to come, 55000 for an erased customer and before setup().';

CREATE FUNCTION omnichannel.open_requests(
	customer_id bigint,
	OUT request_id bigint,
	OUT kind text,
	OUT state text,
	OUT channel text,
	OUT current_channel text,
	OUT queue text,
	OUT priority integer,
	OUT agent_id bigint,
	OUT subject text,
	OUT data jsonb,
	OUT version bigint,
	OUT opened_at timestamptz,
	OUT state_since timestamptz
) RETURNS SETOF record
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	PERFORM omnichannel.require_setup();
	IF open_requests.customer_id IS NULL THEN
		RAISE EXCEPTION 'customer_id must not be NULL'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'identify(''email'', ''anna@example.com'') returns the customer of an address.';
	END IF;
	RETURN QUERY
	SELECT r.request_id, r.kind, r.state, r.channel, coalesce(r.current_channel, r.channel), r.queue, r.priority, r.agent_id, r.subject, r.data, r.version,
		r.opened_at, r.state_since
	FROM (
		SELECT omnichannel.customer_root(open_requests.customer_id) AS customer_id
		UNION ALL
		SELECT merged.customer_id FROM omnichannel.customer AS merged
		WHERE merged.merged_into = omnichannel.customer_root(open_requests.customer_id)
	) AS who
	JOIN omnichannel.request AS r ON r.customer_id = who.customer_id AND r.closed_at IS NULL
	ORDER BY r.opened_at, r.request_id;
END
$$;
COMMENT ON FUNCTION omnichannel.open_requests(bigint) IS
'What a customer wants to get done and is not done yet, oldest first, in whatever channel it was opened and in whatever its customer is now (current_channel), with the requests of customers merged with this one. Raises 22023 for NULL, 55000 before setup().';

CREATE FUNCTION omnichannel.note_request(request_id bigint) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'omnichannel_note_request';
COMMENT ON FUNCTION omnichannel.note_request(bigint) IS
'Makes the service levels of a request follow a change of its state, queue, kind, priority, channel or opened_at where the triggers of request do not fire: with session_replication_role = replica, or disabled. A call too many does nothing. Raises 55000 before setup().';

CREATE FUNCTION omnichannel.prepare_close(request_id bigint, state text DEFAULT 'done') RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'omnichannel_prepare_close';
COMMENT ON FUNCTION omnichannel.prepare_close(bigint, text) IS
'Ends the work of the agent who has the request, or takes it out of its queue; for those who then close requests by a plain UPDATE in the same transaction, before they lock its row. The agent wraps up or gets what comes next at once. state: what the request is about to become, done or cancelled: the reports on queues tell the two apart. Does nothing where nobody has the request, for a role that may not write assignments, and above READ COMMITTED: there tick() does it. Raises 22023 for another state, 55000 before setup().';

CREATE FUNCTION omnichannel.continue_request(
	request_id bigint,
	channel text,
	data jsonb DEFAULT NULL,
	expected_version bigint DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	found_request record;
	new_version bigint;
BEGIN
	PERFORM omnichannel.require_setup();
	PERFORM omnichannel.require_channel(continue_request.channel);
	IF jsonb_typeof(continue_request.data) <> 'object' THEN
		RAISE EXCEPTION 'the data of a request are no JSON object'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Write them as in ''{"order": 17}''; null takes a key away.';
	END IF;
	SELECT r.customer_id, r.state, r.closed_at, r.version INTO found_request FROM omnichannel.request AS r
	WHERE r.request_id = continue_request.request_id FOR NO KEY UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'request % does not exist', coalesce(continue_request.request_id::text, 'NULL')
			USING ERRCODE = 'foreign_key_violation', HINT = 'open_requests(customer_id) lists those of a customer.';
	END IF;
	IF found_request.closed_at IS NOT NULL THEN
		RAISE EXCEPTION 'request % is %', continue_request.request_id, found_request.state
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Open a new one with open_request().';
	END IF;
	IF found_request.version <> continue_request.expected_version THEN
		RAISE EXCEPTION 'request % has version %, not %', continue_request.request_id, found_request.version, continue_request.expected_version
			USING ERRCODE = 'serialization_failure', HINT = 'Somebody changed it meanwhile: read it again and repeat what you meant.';
	END IF;
	UPDATE omnichannel.request AS r
	SET data = (r.data || coalesce(continue_request.data, '{}'))
			- ARRAY(SELECT given.key FROM jsonb_each(continue_request.data) AS given WHERE given.value = 'null'),
		current_channel = nullif(continue_request.channel, r.channel)
	WHERE r.request_id = continue_request.request_id AND r.customer_id = found_request.customer_id
	RETURNING r.version INTO new_version;
	RETURN new_version;
END
$$;
COMMENT ON FUNCTION omnichannel.continue_request(bigint, text, jsonb, bigint) IS
'Goes on with a request in whatever channel the customer is now: adds data to it, key by key (null takes a key away), and returns its new version. Where it waits for an agent, it waits in that channel from now on, at its old place; tick_queues() or route() sees to that. expected_version: the version that the caller has read; NULL for whatever it is. Raises 40001 where somebody else changed it meanwhile, 55000 for a closed request and before setup(), 23503 for an unknown request or channel, 22023 for data that are no JSON object.';

CREATE FUNCTION omnichannel.complete_request(
	request_id bigint,
	disposition text,
	data jsonb DEFAULT NULL,
	expected_version bigint DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	found_request record;
	found_disposition record;
	new_version bigint;
BEGIN
	PERFORM omnichannel.require_setup();
	IF jsonb_typeof(complete_request.data) <> 'object' THEN
		RAISE EXCEPTION 'the data of a request are no JSON object'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Write them as in ''{"order": 17}''; null takes a key away.';
	END IF;
	-- Ends what routing does with it: that locks the request, and then its queues and its agent.
	PERFORM omnichannel.prepare_close(complete_request.request_id,
		(SELECT d.state FROM omnichannel.disposition AS d WHERE d.disposition = complete_request.disposition));
	SELECT r.customer_id, r.kind, r.state, r.closed_at, r.version INTO found_request FROM omnichannel.request AS r
	WHERE r.request_id = complete_request.request_id FOR NO KEY UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'request % does not exist', coalesce(complete_request.request_id::text, 'NULL')
			USING ERRCODE = 'foreign_key_violation', HINT = 'open_requests(customer_id) lists those of a customer.';
	END IF;
	SELECT d.state, d.request_kind, d.active INTO found_disposition FROM omnichannel.disposition AS d
	WHERE d.disposition = complete_request.disposition;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'disposition % does not exist', coalesce('"' || complete_request.disposition || '"', 'NULL')
			USING ERRCODE = 'foreign_key_violation', HINT = 'The table omnichannel.disposition lists them; insert a row for a new one.';
	END IF;
	IF NOT found_disposition.active OR found_disposition.request_kind <> found_request.kind THEN
		RAISE EXCEPTION 'disposition "%" is not for requests of kind "%"', complete_request.disposition, found_request.kind
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Choose an active one of this kind, or of all kinds, from omnichannel.disposition.';
	END IF;
	IF found_request.closed_at IS NOT NULL THEN
		RAISE EXCEPTION 'request % is %', complete_request.request_id, found_request.state
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'It can be completed once.';
	END IF;
	IF found_request.version <> complete_request.expected_version THEN
		RAISE EXCEPTION 'request % has version %, not %', complete_request.request_id, found_request.version, complete_request.expected_version
			USING ERRCODE = 'serialization_failure', HINT = 'Somebody changed it meanwhile: read it again and repeat what you meant.';
	END IF;
	UPDATE omnichannel.request AS r
	SET state = found_disposition.state, disposition = complete_request.disposition,
		data = (r.data || coalesce(complete_request.data, '{}'))
			- ARRAY(SELECT given.key FROM jsonb_each(complete_request.data) AS given WHERE given.value = 'null')
	WHERE r.request_id = complete_request.request_id AND r.customer_id = found_request.customer_id
	RETURNING r.version INTO new_version;
	RETURN new_version;
END
$$;
COMMENT ON FUNCTION omnichannel.complete_request(bigint, text, jsonb, bigint) IS
'Closes a request with what became of it, a disposition, which says whether it is done or cancelled; adds data to it, and returns its new version. The agent who has it wraps up or gets what comes next, in the same transaction in READ COMMITTED, otherwise by tick(). expected_version: the version that the caller has read; NULL for whatever it is. Raises 40001 where somebody else changed it meanwhile, 55000 for a closed request and before setup(), 23503 for an unknown request or disposition, 22023 for a disposition that is not for it.';
