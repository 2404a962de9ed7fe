CREATE TYPE omnichannel.skill_set;

CREATE FUNCTION omnichannel.skill_set_in(cstring) RETURNS omnichannel.skill_set
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_skill_set_in';
COMMENT ON FUNCTION omnichannel.skill_set_in(cstring) IS
'Text input of skill_set. Raises 22P02.';

CREATE FUNCTION omnichannel.skill_set_out(omnichannel.skill_set) RETURNS cstring
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_skill_set_out';
COMMENT ON FUNCTION omnichannel.skill_set_out(omnichannel.skill_set) IS
'Canonical text of a skill_set.';

CREATE FUNCTION omnichannel.skill_set_recv(internal) RETURNS omnichannel.skill_set
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_skill_set_recv';
COMMENT ON FUNCTION omnichannel.skill_set_recv(internal) IS
'Binary input of skill_set. Raises 22P03.';

CREATE FUNCTION omnichannel.skill_set_send(omnichannel.skill_set) RETURNS bytea
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_skill_set_send';
COMMENT ON FUNCTION omnichannel.skill_set_send(omnichannel.skill_set) IS
'Binary form of a skill_set: a version byte 1, then for each skill by code the length of its code, the code and its level.';

CREATE TYPE omnichannel.skill_set (
	INPUT = omnichannel.skill_set_in,
	OUTPUT = omnichannel.skill_set_out,
	RECEIVE = omnichannel.skill_set_recv,
	SEND = omnichannel.skill_set_send,
	INTERNALLENGTH = VARIABLE,
	STORAGE = extended
);
COMMENT ON TYPE omnichannel.skill_set IS
'Skills with levels from 1 to 10, as in ''billing:4, lang.pl:5''; a skill without a level has level 1, the empty text is the empty set. A code begins with a letter and has ASCII letters, digits and underscores, joined by single dots or hyphens, at most 63 characters; capitals become small letters. Output is sorted by code. The same code twice, an unknown character, a level outside 1 to 10 or more than 1000 skills raise 22P02, a malformed binary form 22P03.';

CREATE FUNCTION omnichannel.skill_set_eq(omnichannel.skill_set, omnichannel.skill_set) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_skill_set_eq';
COMMENT ON FUNCTION omnichannel.skill_set_eq(omnichannel.skill_set, omnichannel.skill_set) IS 'The operator =.';

CREATE FUNCTION omnichannel.skill_set_ne(omnichannel.skill_set, omnichannel.skill_set) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_skill_set_ne';
COMMENT ON FUNCTION omnichannel.skill_set_ne(omnichannel.skill_set, omnichannel.skill_set) IS 'The operator <>.';

CREATE FUNCTION omnichannel.skill_set_lt(omnichannel.skill_set, omnichannel.skill_set) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_skill_set_lt';
COMMENT ON FUNCTION omnichannel.skill_set_lt(omnichannel.skill_set, omnichannel.skill_set) IS 'The operator <.';

CREATE FUNCTION omnichannel.skill_set_le(omnichannel.skill_set, omnichannel.skill_set) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_skill_set_le';
COMMENT ON FUNCTION omnichannel.skill_set_le(omnichannel.skill_set, omnichannel.skill_set) IS 'The operator <=.';

CREATE FUNCTION omnichannel.skill_set_gt(omnichannel.skill_set, omnichannel.skill_set) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_skill_set_gt';
COMMENT ON FUNCTION omnichannel.skill_set_gt(omnichannel.skill_set, omnichannel.skill_set) IS 'The operator >.';

CREATE FUNCTION omnichannel.skill_set_ge(omnichannel.skill_set, omnichannel.skill_set) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_skill_set_ge';
COMMENT ON FUNCTION omnichannel.skill_set_ge(omnichannel.skill_set, omnichannel.skill_set) IS 'The operator >=.';

CREATE FUNCTION omnichannel.skill_set_cmp(omnichannel.skill_set, omnichannel.skill_set) RETURNS integer
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_skill_set_cmp';
COMMENT ON FUNCTION omnichannel.skill_set_cmp(omnichannel.skill_set, omnichannel.skill_set) IS
'Order of two sets for sorting, skill by skill: below zero, zero or above.';

CREATE FUNCTION omnichannel.skill_set_hash(omnichannel.skill_set) RETURNS integer
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_skill_set_hash';
COMMENT ON FUNCTION omnichannel.skill_set_hash(omnichannel.skill_set) IS 'Hash of a set.';

CREATE FUNCTION omnichannel.skill_set_hash_extended(omnichannel.skill_set, bigint) RETURNS bigint
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_skill_set_hash_extended';
COMMENT ON FUNCTION omnichannel.skill_set_hash_extended(omnichannel.skill_set, bigint) IS 'Hash of a set with a seed.';

CREATE FUNCTION omnichannel.skill_set_contains(omnichannel.skill_set, omnichannel.skill_set) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_skill_set_contains';
COMMENT ON FUNCTION omnichannel.skill_set_contains(omnichannel.skill_set, omnichannel.skill_set) IS
'The operator @>: whether the left set has every skill of the right one, each at its level or above.';

CREATE FUNCTION omnichannel.skill_set_contained(omnichannel.skill_set, omnichannel.skill_set) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_skill_set_contained';
COMMENT ON FUNCTION omnichannel.skill_set_contained(omnichannel.skill_set, omnichannel.skill_set) IS
'The operator <@: whether the right set has every skill of the left one, each at its level or above.';

CREATE OPERATOR omnichannel.= (
	LEFTARG = omnichannel.skill_set, RIGHTARG = omnichannel.skill_set, FUNCTION = omnichannel.skill_set_eq,
	COMMUTATOR = OPERATOR(omnichannel.=), NEGATOR = OPERATOR(omnichannel.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
COMMENT ON OPERATOR omnichannel.= (omnichannel.skill_set, omnichannel.skill_set) IS 'the same skills at the same levels';

CREATE OPERATOR omnichannel.<> (
	LEFTARG = omnichannel.skill_set, RIGHTARG = omnichannel.skill_set, FUNCTION = omnichannel.skill_set_ne,
	COMMUTATOR = OPERATOR(omnichannel.<>), NEGATOR = OPERATOR(omnichannel.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR omnichannel.<> (omnichannel.skill_set, omnichannel.skill_set) IS 'not the same skills or levels';

CREATE OPERATOR omnichannel.< (
	LEFTARG = omnichannel.skill_set, RIGHTARG = omnichannel.skill_set, FUNCTION = omnichannel.skill_set_lt,
	COMMUTATOR = OPERATOR(omnichannel.>), NEGATOR = OPERATOR(omnichannel.>=),
	RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR omnichannel.< (omnichannel.skill_set, omnichannel.skill_set) IS 'sorts before';

CREATE OPERATOR omnichannel.<= (
	LEFTARG = omnichannel.skill_set, RIGHTARG = omnichannel.skill_set, FUNCTION = omnichannel.skill_set_le,
	COMMUTATOR = OPERATOR(omnichannel.>=), NEGATOR = OPERATOR(omnichannel.>),
	RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR omnichannel.<= (omnichannel.skill_set, omnichannel.skill_set) IS 'sorts before or is equal';

CREATE OPERATOR omnichannel.> (
	LEFTARG = omnichannel.skill_set, RIGHTARG = omnichannel.skill_set, FUNCTION = omnichannel.skill_set_gt,
	COMMUTATOR = OPERATOR(omnichannel.<), NEGATOR = OPERATOR(omnichannel.<=),
	RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR omnichannel.> (omnichannel.skill_set, omnichannel.skill_set) IS 'sorts after';

CREATE OPERATOR omnichannel.>= (
	LEFTARG = omnichannel.skill_set, RIGHTARG = omnichannel.skill_set, FUNCTION = omnichannel.skill_set_ge,
	COMMUTATOR = OPERATOR(omnichannel.<=), NEGATOR = OPERATOR(omnichannel.<),
	RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR omnichannel.>= (omnichannel.skill_set, omnichannel.skill_set) IS 'sorts after or is equal';

-- matchingsel tries the operator on the column's most common values and histogram, which the btree order provides.
CREATE OPERATOR omnichannel.@> (
	LEFTARG = omnichannel.skill_set, RIGHTARG = omnichannel.skill_set, FUNCTION = omnichannel.skill_set_contains,
	COMMUTATOR = OPERATOR(omnichannel.<@), RESTRICT = matchingsel, JOIN = matchingjoinsel
);
COMMENT ON OPERATOR omnichannel.@> (omnichannel.skill_set, omnichannel.skill_set) IS
'has all of these skills at these levels or above';

CREATE OPERATOR omnichannel.<@ (
	LEFTARG = omnichannel.skill_set, RIGHTARG = omnichannel.skill_set, FUNCTION = omnichannel.skill_set_contained,
	COMMUTATOR = OPERATOR(omnichannel.@>), RESTRICT = matchingsel, JOIN = matchingjoinsel
);
COMMENT ON OPERATOR omnichannel.<@ (omnichannel.skill_set, omnichannel.skill_set) IS
'is had by that set, each skill at its level or above';

CREATE OPERATOR CLASS omnichannel.skill_set_ops DEFAULT FOR TYPE omnichannel.skill_set USING btree AS
	OPERATOR 1 omnichannel.<, OPERATOR 2 omnichannel.<=, OPERATOR 3 omnichannel.=, OPERATOR 4 omnichannel.>=,
	OPERATOR 5 omnichannel.>,
	FUNCTION 1 omnichannel.skill_set_cmp(omnichannel.skill_set, omnichannel.skill_set),
	FUNCTION 4 btequalimage(oid);
COMMENT ON OPERATOR CLASS omnichannel.skill_set_ops USING btree IS 'Order of skill_set.';

CREATE OPERATOR CLASS omnichannel.skill_set_ops DEFAULT FOR TYPE omnichannel.skill_set USING hash AS
	OPERATOR 1 omnichannel.=,
	FUNCTION 1 omnichannel.skill_set_hash(omnichannel.skill_set),
	FUNCTION 2 omnichannel.skill_set_hash_extended(omnichannel.skill_set, bigint);
COMMENT ON OPERATOR CLASS omnichannel.skill_set_ops USING hash IS 'Hash of skill_set.';

CREATE FUNCTION omnichannel.skill_gin_value(omnichannel.skill_set, internal, internal) RETURNS internal
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_skill_gin_value';
COMMENT ON FUNCTION omnichannel.skill_gin_value(omnichannel.skill_set, internal, internal) IS
'GIN support: the keys of a set.';

CREATE FUNCTION omnichannel.skill_gin_query(omnichannel.skill_set, internal, smallint, internal, internal, internal, internal) RETURNS internal
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_skill_gin_query';
COMMENT ON FUNCTION omnichannel.skill_gin_query(omnichannel.skill_set, internal, smallint, internal, internal, internal, internal) IS
'GIN support: the keys to look up.';

CREATE FUNCTION omnichannel.skill_gin_consistent(internal, smallint, omnichannel.skill_set, integer, internal, internal, internal, internal) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_skill_gin_consistent';
COMMENT ON FUNCTION omnichannel.skill_gin_consistent(internal, smallint, omnichannel.skill_set, integer, internal, internal, internal, internal) IS
'GIN support: whether the keys found satisfy the query.';

CREATE FUNCTION omnichannel.skill_gin_triconsistent(internal, smallint, omnichannel.skill_set, integer, internal, internal, internal) RETURNS "char"
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_skill_gin_triconsistent';
COMMENT ON FUNCTION omnichannel.skill_gin_triconsistent(internal, smallint, omnichannel.skill_set, integer, internal, internal, internal) IS
'GIN support: whether the keys found can satisfy the query.';

CREATE FUNCTION omnichannel.skill_gin_partial(bytea, bytea, smallint, internal) RETURNS integer
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_skill_gin_partial';
COMMENT ON FUNCTION omnichannel.skill_gin_partial(bytea, bytea, smallint, internal) IS
'GIN support: whether a key is in the range of levels that a query asks for.';

CREATE OPERATOR CLASS omnichannel.skill_set_ops DEFAULT FOR TYPE omnichannel.skill_set USING gin AS
	OPERATOR 1 omnichannel.@>, OPERATOR 2 omnichannel.<@, OPERATOR 3 omnichannel.=,
	FUNCTION 1 byteacmp(bytea, bytea),
	FUNCTION 2 omnichannel.skill_gin_value(omnichannel.skill_set, internal, internal),
	FUNCTION 3 omnichannel.skill_gin_query(omnichannel.skill_set, internal, smallint, internal, internal, internal, internal),
	FUNCTION 4 omnichannel.skill_gin_consistent(internal, smallint, omnichannel.skill_set, integer, internal, internal, internal, internal),
	FUNCTION 5 omnichannel.skill_gin_partial(bytea, bytea, smallint, internal),
	FUNCTION 6 omnichannel.skill_gin_triconsistent(internal, smallint, omnichannel.skill_set, integer, internal, internal, internal),
	STORAGE bytea;
COMMENT ON OPERATOR CLASS omnichannel.skill_set_ops USING gin IS
'@>, <@ and = of skill_set: one key a skill and level, ranges of levels as partial matches.';

CREATE FUNCTION omnichannel.skill_level(skill_set omnichannel.skill_set, skill text) RETURNS integer
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_skill_level';
COMMENT ON FUNCTION omnichannel.skill_level(omnichannel.skill_set, text) IS
'The level of one skill, 1 to 10, or NULL where the set has it not. Capitals count as small letters.';

CREATE FUNCTION omnichannel.skills(skill_set omnichannel.skill_set) RETURNS TABLE (skill text, level integer)
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE ROWS 5
AS 'MODULE_PATHNAME', 'omnichannel_skills';
COMMENT ON FUNCTION omnichannel.skills(omnichannel.skill_set) IS 'One row a skill, by code.';

CREATE FUNCTION omnichannel.relationship_with(strength double precision, aged_at timestamptz, at timestamptz, half_life double precision) RETURNS double precision
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_relationship_with';
COMMENT ON FUNCTION omnichannel.relationship_with(double precision, timestamptz, timestamptz, double precision) IS
'A relationship''s strength with one more contact, as of the later of the two times; half_life in seconds. Raises 22023 for a half-life that is not positive.';

CREATE FUNCTION omnichannel.relationship_strength(strength double precision, aged_at timestamptz, at timestamptz DEFAULT now()) RETURNS double precision
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_relationship_strength';
COMMENT ON FUNCTION omnichannel.relationship_strength(double precision, timestamptz, timestamptz) IS
'A relationship''s strength as of a later time, halved for every relationship_half_life in between. Raises 55000 before setup().';

CREATE FUNCTION omnichannel.match_agents(
	request_id bigint, max_agents integer DEFAULT 10,
	OUT agent_id bigint, OUT score double precision, OUT relationship double precision, OUT fluency double precision,
	OUT skill double precision, OUT idle double precision, OUT load double precision, OUT reason text
) RETURNS SETOF record
LANGUAGE c STABLE STRICT PARALLEL RESTRICTED COST 1000 ROWS 10
AS 'MODULE_PATHNAME', 'omnichannel_match_agents';
COMMENT ON FUNCTION omnichannel.match_agents(bigint, integer) IS
'The agents whom route() would offer the request to as of now(), best first: present, member of the queue, at work in the request''s channel, with every required skill at its level, and with room for channel.cost. score is the sum of the queue''s weights times the parts, each between 0 and 1: relationship = strength / (strength + 1), fluency = fluency / 10, skill = mean level of the skills named / 10, idle = minutes / (minutes + 15), load = 1 - used / capacity. The owner comes first where the queue holds for owners; while a request is held, nobody else is returned, nor is who keeps his room for another request, as queue.keep_room_after says: an owner who does counts as one without room, for whom the request is held. Ties by longest idle, then agent_id. Reads, does not lock. Raises 23503 for an unknown request, 55000 for one that is closed or in no queue and before setup(), 22023 for max_agents below 1.';

CREATE FUNCTION omnichannel.explain_match(
	request_id bigint,
	OUT agent_id bigint, OUT verdict text, OUT score double precision, OUT relationship double precision,
	OUT fluency double precision, OUT skill double precision, OUT idle double precision, OUT load double precision,
	OUT reason text
) RETURNS SETOF record
LANGUAGE c STABLE STRICT PARALLEL RESTRICTED COST 1000 ROWS 100
AS 'MODULE_PATHNAME', 'omnichannel_explain_match';
COMMENT ON FUNCTION omnichannel.explain_match(bigint) IS
'Every agent and what becomes of him for this request as of now(), by the code of route(). verdict: offered or assigned (has the request), best (would get it, once those who wait before it for him have been served), lower_score, held_for_owner, declined, keeps_room (for a request that comes before it, see queue.keep_room_after; the request is held for an owner who does, as for one without room), preferred (lacks a preferred skill while prefer_for lasts), no_room, wrap_up, absent, later (join_after lasts), skill, channel, not_in_queue, inactive. Score and parts as in match_agents(), NULL for whom the configuration rules out. Raises as match_agents() does.';

CREATE FUNCTION omnichannel.route(request_id bigint) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 1000
AS 'MODULE_PATHNAME', 'omnichannel_route';
COMMENT ON FUNCTION omnichannel.route(bigint) IS
'Offers the request to the first of match_agents() and returns his agent_id, or lets it wait in its queue and returns NULL. What waits and comes before it for that agent, in any of his queues, as when his wrap-up has just ended, is offered to the first of its own match_agents() before it, up to 8 requests; where more wait before it, it waits too. A request that is offered or assigned already stays so; one that is offered in another channel than its customer is in by now does until the next tick_queues(), which offers it anew. Only in READ COMMITTED; takes the queue''s lock and, where the queue holds for owners, the customer''s until the transaction ends, so commit soon. Raises 22023 for NULL, 23503 for an unknown request, 55000 for one that is closed or in no queue, above READ COMMITTED and before setup(), 40001 where it was changed meanwhile, or somebody is changing it (try again), 25006 on a standby.';

CREATE FUNCTION omnichannel.set_presence(agent_id bigint, state text) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 1000
AS 'MODULE_PATHNAME', 'omnichannel_set_presence';
COMMENT ON FUNCTION omnichannel.set_presence(bigint, text) IS
'Sets an agent''s presence to a state of presence_state as of now(), keeps the interval before, ends a wrap-up, and offers an available agent the requests that come first and fit, in the same transaction; returns the first of them, or NULL. Only in READ COMMITTED. Raises 22023 for NULL, 23503 for an unknown agent or state, 55000 for an inactive agent who comes on, above READ COMMITTED and before setup(), 25006 on a standby.';

CREATE FUNCTION omnichannel.claim(agent_id bigint) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 1000
AS 'MODULE_PATHNAME', 'omnichannel_claim';
COMMENT ON FUNCTION omnichannel.claim(bigint) IS
'For agents who pull: assigns the agent the waiting request that comes first among those that suit and fit, and returns it, or NULL where there is none, the agent is not present or wraps up. Whoever is present but not available, as in state busy, is offered nothing and can claim. First is the highest aged priority, then the earliest due, then the longest wait, then the lowest id. Only in READ COMMITTED. Raises 22023 for NULL, 23503 for an unknown agent, 55000 above READ COMMITTED and before setup(), 25006 on a standby.';

CREATE FUNCTION omnichannel.next_offer(agent_id bigint, wait interval DEFAULT '0') RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 1000
AS 'MODULE_PATHNAME', 'omnichannel_next_offer';
COMMENT ON FUNCTION omnichannel.next_offer(bigint, interval) IS
'The oldest request that is offered to the agent and that accept_request() takes, or else what waits and suits him, offered now, as when his wrap-up has just ended; or NULL. Looks again every 100 ms for as long as wait says, at most 1 minute, because the snapshot of the statement stays open meanwhile; call it again then. Raises 23503 for an unknown agent, 22023 for NULL or a wait out of range, 55000 above READ COMMITTED and before setup(), 25006 on a standby.';

CREATE FUNCTION omnichannel.accept_request(request_id bigint, agent_id bigint) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 1000
AS 'MODULE_PATHNAME', 'omnichannel_accept_request';
COMMENT ON FUNCTION omnichannel.accept_request(bigint, bigint) IS
'The agent takes a request that is offered to him; a second time changes nothing. Raises 22023 for NULL, 55000 where it is offered to nobody or somebody else, the offer has expired, the customer is in another channel by now or the request was closed, above READ COMMITTED and before setup(), 23503 for an unknown agent, 25006 on a standby.';

CREATE FUNCTION omnichannel.decline_request(request_id bigint, agent_id bigint) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 1000
AS 'MODULE_PATHNAME', 'omnichannel_decline_request';
COMMENT ON FUNCTION omnichannel.decline_request(bigint, bigint) IS
'The agent does not take a request that is offered to him: it is offered to the next one, whose agent_id is returned, or goes back with its age, and not to this agent for queue.decline_for; he gets what comes next. Raises as accept_request() does, and 40001 where somebody else changed the request meanwhile: try again.';

CREATE FUNCTION omnichannel.transfer_request(
	request_id bigint, queue text DEFAULT NULL, agent_id bigint DEFAULT NULL, requires text DEFAULT NULL,
	prefers text DEFAULT NULL
) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 1000
AS 'MODULE_PATHNAME', 'omnichannel_transfer_request';
COMMENT ON FUNCTION omnichannel.transfer_request(bigint, text, bigint, text, text) IS
'Passes a request on, with its age and all that is known of it, to another queue, with other skills where given, or to a colleague; returns the agent_id to whom it is offered, or NULL where it waits. Its agent is freed and gets what comes next. Raises 22023 without a queue or an agent, 23503 for an unknown one, 22P02 for malformed skills, 55000 where the colleague cannot take it now or the request is closed, above READ COMMITTED and before setup(), 40001 where somebody else changed the request meanwhile (try again), 25006 on a standby.';

CREATE FUNCTION omnichannel.release_request(request_id bigint, state text DEFAULT 'waiting_customer') RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 1000
AS 'MODULE_PATHNAME', 'omnichannel_release_request';
COMMENT ON FUNCTION omnichannel.release_request(bigint, text) IS
'Ends an agent''s work on a request, or takes it out of its queue, and sets its state: waiting_customer, done or cancelled; a request that is closed already stays as it is. The agent, who stays its owner, wraps up for queue.wrap_up or gets what comes next, which is returned, or NULL. Raises 22023 for NULL or another state, 23503 for an unknown request, 55000 where the state cannot follow, above READ COMMITTED and before setup(), 40001 where somebody else changed the request meanwhile (try again), 25006 on a standby.';

CREATE FUNCTION omnichannel.abandon_request(request_id bigint, keep_for interval DEFAULT '5 minutes') RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 1000
AS 'MODULE_PATHNAME', 'omnichannel_abandon_request';
COMMENT ON FUNCTION omnichannel.abandon_request(bigint, interval) IS
'The customer has left the queue: the request waits for the customer. route() within keep_for, at most 366 days, gives it its old place. Raises 55000 where it does not wait for an agent or was closed, above READ COMMITTED and before setup(), 22023 for NULL or a time out of range, 23503 for an unknown request, 40001 where somebody else changed the request meanwhile (try again), 25006 on a standby.';

CREATE FUNCTION omnichannel.request_callback(request_id bigint, channel text DEFAULT 'phone') RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 1000
AS 'MODULE_PATHNAME', 'omnichannel_request_callback';
COMMENT ON FUNCTION omnichannel.request_callback(bigint, text) IS
'The customer wants to be called back instead of waiting: the request keeps its place and its age and waits in that channel (request.current_channel); returns the agent_id to whom it is offered, or NULL where it waits. Raises 22023 for NULL, 23503 for an unknown request or channel, 55000 where it does not wait for an agent or its queue has no members, above READ COMMITTED and before setup(), 40001 where somebody else changed the request meanwhile (try again), 25006 on a standby.';

CREATE FUNCTION omnichannel.tick_queues() RETURNS bigint
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE COST 10000
AS 'MODULE_PATHNAME', 'omnichannel_tick_queues';
COMMENT ON FUNCTION omnichannel.tick_queues() IS
'Does what only time makes due, and returns how many requests it moved: gives requests that plain statements put into a queue, changed or deleted the place that is theirs, takes back expired offers, gives what waits to whom it suits best of those who idle, as when a wrap-up has ended, the first request first and the load counted after each, gives to others what was held for an owner or a preferred skill for long enough, moves requests to overflow queues, ends the work on requests that were closed by a plain UPDATE or deleted. Up to 250 of each kind a call; what somebody else holds, a queue for more than 0.1 s, a request or an agent, is left to the next one. Of queues in which work has been due for more than 5 s one is waited for up to 1 s, unless the transaction has routed before; a WARNING names those that were left even so. Part of tick(). Raises 55000 above READ COMMITTED and before setup(), 25006 on a standby.';

CREATE FUNCTION omnichannel.note_arrival() RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'omnichannel_note_arrival';
COMMENT ON FUNCTION omnichannel.note_arrival() IS
'Trigger function of request: notes a request that does not stand where it should when its transaction ends, because a statement put it into a queue, changed or deleted it and it has not been passed to route(), for tick_queues().';

CREATE FUNCTION omnichannel.serve_changed() RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'omnichannel_serve_changed';
COMMENT ON FUNCTION omnichannel.serve_changed() IS
'Trigger function of agent, agent_channel and queue_member: when the transaction ends, offers an available agent what waits and suits him by then. What cannot be done is left to tick_queues(): above READ COMMITTED, by roles that may not match, and where the queues are held by others: they are waited for 0.1 s in all.';

CREATE FUNCTION omnichannel.guard_agent() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	held bigint;
BEGIN
	IF TG_OP = 'UPDATE' AND new.agent_id = old.agent_id THEN
		RETURN new;
	END IF;
	-- What was closed or deleted is left to the sweep.
	SELECT assignment.request_id INTO held FROM omnichannel.assignment
	JOIN omnichannel.request USING (request_id, customer_id)
	WHERE assignment.agent_id = old.agent_id AND request.closed_at IS NULL ORDER BY assignment.request_id LIMIT 1;
	IF NOT FOUND THEN
		SELECT request.request_id INTO held FROM omnichannel.request
		WHERE request.agent_id = old.agent_id AND request.closed_at IS NULL ORDER BY request.request_id LIMIT 1;
	END IF;
	IF FOUND THEN
		RAISE EXCEPTION 'agent % has request %', old.agent_id, held
			USING ERRCODE = 'foreign_key_violation',
				HINT = 'Set agent.active to false, which leaves the log whom it names, or pass on what the agent has by transfer_request().';
	END IF;
	IF TG_OP = 'DELETE' THEN
		RETURN old;
	END IF;
	RETURN new;
END
$$;
COMMENT ON FUNCTION omnichannel.guard_agent() IS
'Trigger function of agent: refuses with 23503 to delete an agent who has open requests, or to give him another agent_id.';

CREATE FUNCTION omnichannel.guard_queue() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM omnichannel.require_read_committed('a change of queue.overflow_queue',
		'Make it in a READ COMMITTED transaction: others'' changes must be seen.');
	-- One change of overflow at a time: two halves of a circle must see each other.
	LOCK TABLE omnichannel.queue IN SHARE UPDATE EXCLUSIVE MODE;
	IF EXISTS (
		WITH RECURSIVE next_queue (queue) AS (
			SELECT new.overflow_queue
			UNION
			SELECT queue.overflow_queue FROM next_queue JOIN omnichannel.queue USING (queue)
			WHERE queue.overflow_queue IS NOT NULL
		)
		SELECT FROM next_queue WHERE next_queue.queue = new.queue
	) THEN
		RAISE EXCEPTION 'queue "%" cannot overflow into "%", which leads back to it', new.queue, new.overflow_queue
			USING ERRCODE = 'invalid_parameter_value', HINT = 'The last queue of the chain must have no overflow_queue.';
	END IF;
	RETURN new;
END
$$;
COMMENT ON FUNCTION omnichannel.guard_queue() IS
'Trigger function of queue: refuses overflow in a circle with 22023, also of changes at the same time; and with 55000 above READ COMMITTED, where those would not be seen.';

CREATE FUNCTION omnichannel.level_waiting() RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'omnichannel_level_waiting';
COMMENT ON FUNCTION omnichannel.level_waiting() IS
'Trigger function of queue: puts the waiting requests in the order of a changed age_after, under the queue''s lock. Raises 55000 above READ COMMITTED, where those who arrived meanwhile would not be seen, and 40001 where the transaction has changed or locked other queues before and somebody else has this one.';

CREATE FUNCTION omnichannel.leave_lane() RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'omnichannel_leave_lane';
COMMENT ON FUNCTION omnichannel.leave_lane() IS
'Trigger function of lane: notes in waiting_history that what waits in a lane has left its queue, where that or its channel is deleted.';

CREATE FUNCTION omnichannel.waiting_level(priority integer, entered_at timestamptz, age_after interval) RETURNS bigint
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_waiting_level';
COMMENT ON FUNCTION omnichannel.waiting_level(integer, timestamptz, interval) IS
'What waiting.rank negates: the priority less the number of whole age_after between 2000-01-01 UTC and entered_at; the priority where age_after is NULL. Raises 22023 for a negative age_after, 22008 for an infinite entered_at.';

CREATE FUNCTION omnichannel.queue_position(request_id bigint, OUT place bigint, OUT waited interval, OUT estimated_wait interval) RETURNS record
LANGUAGE plpgsql STABLE STRICT PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	mine record;
	ended bigint;
	spent interval;
BEGIN
	PERFORM omnichannel.require_setup();
	SELECT lane.queue, waiting.rank, waiting.due_at, waiting.entered_at INTO mine
	FROM omnichannel.waiting JOIN omnichannel.lane USING (lane_id) WHERE waiting.request_id = queue_position.request_id;
	IF NOT FOUND THEN
		IF NOT EXISTS (SELECT FROM omnichannel.request WHERE request.request_id = queue_position.request_id) THEN
			RAISE EXCEPTION 'request % does not exist', request_id
				USING ERRCODE = 'foreign_key_violation', HINT = 'open_request() opens one and returns its id.';
		END IF;
		RETURN;
	END IF;

	-- Each lane is read up to the place of this request and no further, by the index alone that it is served by.
	SELECT coalesce(sum(ahead.requests), 0) + 1 INTO place
	FROM omnichannel.lane CROSS JOIN LATERAL (
		SELECT count(*) AS requests FROM omnichannel.waiting
		WHERE waiting.lane_id = lane.lane_id AND waiting.rank < mine.rank
		UNION ALL SELECT count(*) FROM omnichannel.waiting
		WHERE waiting.lane_id = lane.lane_id AND waiting.rank = mine.rank AND waiting.due_at < mine.due_at
		UNION ALL SELECT count(*) FROM omnichannel.waiting
		WHERE waiting.lane_id = lane.lane_id AND waiting.rank = mine.rank AND waiting.due_at = mine.due_at AND waiting.entered_at <= mine.entered_at
			AND (waiting.entered_at, waiting.request_id) < (mine.entered_at, queue_position.request_id)
	) AS ahead
	WHERE lane.queue = mine.queue;
	waited := greatest(now() - mine.entered_at, '0');

	-- Before they began, as in the morning, nobody was at work.
	SELECT count(*), least(now() - min(coalesce(history.accepted_at, history.ended_at)), '1 hour') INTO ended, spent FROM omnichannel.assignment_history AS history
	WHERE history.queue = mine.queue AND history.ended_at > now() - interval '1 hour' AND history.outcome = 'finished';
	estimated_wait := place * greatest(spent, '1 minute') / nullif(ended, 0);
END
$$;
COMMENT ON FUNCTION omnichannel.queue_position(bigint) IS
'For the customer who waits: the request''s place in its queue, 1 for the next one, how long it has waited, and how much longer it will at the pace of the last hour, or since the work on what was finished in it began, a minute at least; NULL where nothing of the queue was. All NULL for a request that does not wait. Raises 23503 for an unknown request, 55000 before setup().';

CREATE FUNCTION omnichannel.agent_card(agent_id bigint, OUT name text, OUT surname text, OUT photo_url text, OUT department text) RETURNS record
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM omnichannel.require_setup();
	SELECT agent.name, agent.surname, agent.photo_url, agent.department INTO name, surname, photo_url, department
	FROM omnichannel.agent WHERE agent.agent_id = agent_card.agent_id;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'agent % does not exist', agent_id
			USING ERRCODE = 'foreign_key_violation', HINT = 'The table omnichannel.agent lists them.';
	END IF;
END
$$;
COMMENT ON FUNCTION omnichannel.agent_card(bigint) IS
'What the customer may see of an agent: name, surname, photo and department. Raises 23503 for an unknown agent, 55000 before setup().';
