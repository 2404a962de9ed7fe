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
