CREATE FUNCTION omnichannel.guard_request() RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'omnichannel_guard_request';
COMMENT ON FUNCTION omnichannel.guard_request() IS
'Trigger function of request: refuses a state that does not follow from the one before with 55000; counts version; sets state_since and closed_at where the statement that changes the state does not.';

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
'Opens a request of a customer and returns its request_id. kind: what it is about, a code of the company''s own; channel: where it was opened; queue: where it waits for an agent, NULL where nobody is to deal with it; priority: larger is sooner; requires, prefers: skills as in ''billing:4, lang.pl:5''; agent_id: who owns it already; opened_at: NULL for now. Its state is assigned with an owner, else waiting_agent in a queue, else new. Raises 23503 for an unknown customer, channel, queue or agent, 22023 for another bad argument, 22P02 for malformed skills, 22008 for a time that is infinite or to come, 55000 before setup().';
