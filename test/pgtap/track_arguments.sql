-- What track(), untrack(), backfill() and retry_rejects() are told wrongly is said at once: its SQLSTATE, the value and a hint.
BEGIN;
SELECT plan(58);
CREATE TABLE public.w (id int PRIMARY KEY, who text, at timestamptz, flag boolean, ids int[], ref uuid, more jsonb);
CREATE TABLE public.pt (id int, st text, who text, PRIMARY KEY (id, st)) PARTITION BY LIST (st);
CREATE TABLE public.pt_a PARTITION OF public.pt FOR VALUES IN ('a') PARTITION BY LIST (st);
CREATE TABLE public.pt_a_a PARTITION OF public.pt_a FOR VALUES IN ('a');
CREATE FUNCTION public.refusal(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint text;
	name text;
BEGIN
	EXECUTE statement;
	RETURN 'nothing';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT, name = CONSTRAINT_NAME;
	RETURN concat_ws(' ', SQLSTATE, SQLERRM, nullif(name, ''), CASE hint WHEN '' THEN 'without a hint' END);
END
$$;

-- of track('public.w', channel => 'phone', …): what is given besides
CREATE TABLE public.wrong (n int GENERATED ALWAYS AS IDENTITY, given text, refusal text);
INSERT INTO public.wrong (given, refusal) VALUES
	($$value_maps => '[1]'$$, '22023 value_maps cannot be [1]'),
	($$value_maps => 'null'$$, '22023 value_maps cannot be null'),
	($$value_maps => to_jsonb(repeat('x', 100000))$$, '22023 value_maps cannot be "' || repeat('x', 59)),
	($$value_maps => '{"direction": {}}'$$, '22023 the value map of "direction" belongs to nothing that is mapped'),
	($$value_maps => jsonb_build_object(repeat('x', 100000), 1)$$, '22023 the value map of "' || repeat('x', 100) || '..." belongs to nothing that is mapped'),
	($$direction => '{who}', value_maps => '{"direction": [1]}'$$, '22023 the value map of direction is no JSON object'),
	($$direction => '{who}', value_maps => '{"direction": {"a": [1]}}'$$, '22023 a value map holds something nested'),
	($$direction => '{who}', value_maps => '{"direction": {"a": "sideways"}}'$$, '22023 "sideways" is no direction of a contact'),
	($$agent => '{who}', value_maps => '{"agent": {"a": 77}}'$$, '23503 agent 77 does not exist'),
	($$source => ''$$, '22023 source "" is empty'),
	($$source => repeat('s', 1001)$$, '22001 source "' || repeat('s', 60) || '" is longer than 1000 bytes'),
	($$source_key => 'constant'$$, '22023 source_key of tracking "public.w" names no column: "constant"'),
	($$source_key => '{nope}'$$, '42703 column "nope" of relation "w", which tracking "public.w" reads as source_key, does not exist'),
	($$kind => ''$$, '23503 identity kind "" does not exist'),
	($$kind => repeat('k', 100000)$$, '23503 identity kind "' || repeat('k', 100) || '..." does not exist'),
	($$customer => 'abc'$$, '22P02 customer of tracking "public.w" is no id: "abc"'),
	($$customer => '7'$$, '23503 customer 7 does not exist'),
	($$customer => '{who}}', kind => 'email'$$, '22023 customer of tracking "public.w" has a brace that names no column: "}"'),
	($$customer => 'a}{who}', kind => 'email'$$, '22023 customer of tracking "public.w" has a brace that names no column: "a}"'),
	($$customer => 'not an address', kind => 'email'$$, '22023 email "not an address" has characters that are no part of an e-mail address'),
	($$customer => '{at}', kind => 'email'$$, '42804 column "at" of tracking "public.w" has type timestamp with time zone, but customer must be an identity'),
	($$customer => '{ref}'$$, '42804 column "ref" of tracking "public.w" has type uuid, but customer must be an id'),
	($$recipient => '{ids}'$$, '42804 column "ids" of tracking "public.w" has type integer[], but recipient must be an id'),
	($$direction => ''$$, '22023 "" is no direction of a contact'),
	($$direction => 'up'$$, '22023 "up" is no direction of a contact'),
	($$direction => '{flag}'$$, '42804 column "flag" of tracking "public.w" has type boolean, but direction must be a code'),
	($$outcome => ''$$, '22023 "" is no outcome of a contact'),
	($$outcome => '{more}'$$, '42804 column "more" of tracking "public.w" has type jsonb, but outcome must be a code'),
	($$occurred_at => ''$$, '22023 occurred_at of tracking "public.w" is no column'),
	($$occurred_at => 'now'$$, '22023 occurred_at of tracking "public.w" is no column'),
	($$agent => 'x'$$, '22P02 agent of tracking "public.w" is no id: "x"'),
	($$agent => '77'$$, '23503 agent 77 does not exist'),
	($$agent => '{at}'$$, '42804 column "at" of tracking "public.w" has type timestamp with time zone, but agent must be an id'),
	($$request => '77777777777777777777'$$, '22P02 request of tracking "public.w" is no id: "77777777777777777777"'),
	($$request => '77'$$, '23503 request 77 does not exist'),
	($$payload => 'none'$$, '22P02 payload of tracking "public.w" is no JSON: "none"'),
	($$payload => '{who}'$$, '42804 column "who" of tracking "public.w" has type text, but payload must be json or jsonb'),
	($$thread => repeat('t', 1001)$$, '22001 the thread "' || repeat('t', 100) || '..." of a contact is longer than 1000 bytes'),
	($$subject => repeat('s', 999)$$, '22001 the subject of a contact is longer than 998 bytes'),
	($$body => repeat('b', 1048577)$$, '54000 the body of a contact has 1048577 bytes, more than 1048576'),
	($$time_zone => repeat('z', 100000)$$, '22023 time zone "' || repeat('z', 60) || '" is not known'),
	($$on_error => repeat('e', 100000)$$, '22023 on_error cannot be ''' || repeat('e', 60) || '''');
SELECT is(public.refusal(format('SELECT omnichannel.track(''public.w'', channel => ''phone'', %s)', given)), refusal, left(given, 80)) FROM public.wrong ORDER BY n;

-- of anything else
CREATE TABLE public.other (n int GENERATED ALWAYS AS IDENTITY, statement text, refusal text);
INSERT INTO public.other (statement, refusal) VALUES
	($$SELECT omnichannel.track('public.w', channel => '')$$, '23503 channel "" does not exist'),
	($$SELECT omnichannel.track('public.w', channel => repeat('c', 100000))$$, '23503 channel "' || repeat('c', 100) || '..." does not exist'),
	($$SELECT omnichannel.track('public.w', channel => '{at}')$$, '42804 column "at" of tracking "public.w" has type timestamp with time zone, but channel must be a code'),
	($$SELECT omnichannel.untrack(NULL)$$, '22023 the relation must not be NULL'),
	($$SELECT omnichannel.backfill(NULL)$$, '22023 the relation must not be NULL'),
	($$SELECT omnichannel.backfill('public.w')$$, '55000 table "public.w" is not tracked'),
	($$SELECT omnichannel.retry_rejects(repeat('t', 100))$$, '42704 tracking "' || repeat('t', 60) || '" does not exist'),
	($$SELECT omnichannel.retry_rejects(max_rows => -1)$$, '22023 max_rows cannot be -1'),
	($$SELECT omnichannel.log_contact('phone', value => repeat('v', 100000))$$, '22023 the identity "' || repeat('v', 100) || '..." has no kind'),
	($$SELECT omnichannel.track('public.pt', channel => 'phone', source_key => '{id}'), omnichannel.track('public.pt_a_a', channel => 'phone', source_key => '{id}')$$,
		'55000 table "public.pt_a_a" is a partition of "public.pt": both cannot be tracked'),
	($$SELECT omnichannel.track('public.pt_a_a', channel => 'phone', source_key => '{id}'), omnichannel.track('public.pt', channel => 'phone', source_key => '{id}')$$,
		'55000 table "public.pt_a_a" is a partition of "public.pt": both cannot be tracked');
SELECT is(public.refusal(statement), refusal, left(statement, 80)) FROM public.other ORDER BY n;
SELECT is_empty('TABLE omnichannel.tracking', 'nothing is tracked');

-- What is odd and right
INSERT INTO omnichannel.agent (agent_id, name) VALUES (77, 'Ola');
SELECT lives_ok($$SELECT omnichannel.track('public.w', channel => 'phone', agent => '77', direction => '{flag}', customer => '{ref}', kind => 'device', recipient => '', occurred_at => '{at}',
	payload => '[1]', source_key => '', value_maps => '{"direction": {"t": "inbound", "f": "outbound"}}')$$, 'constants and a value map for a type that is no code');
SELECT is(public.refusal($$SELECT omnichannel.backfill('public.w')$$), '55000 rows of table "public.w" have no key', 'an empty key is none');
-- the longest name
CREATE SCHEMA """""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""";
CREATE TABLE """"""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""."""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""" (id int PRIMARY KEY);
SELECT is((SELECT length(omnichannel.track(oid, channel => 'phone')) FROM pg_class WHERE relname = repeat('"', 63)), 257, 'the longest name of a table') ;
INSERT INTO """"""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""."""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""" VALUES (1);
SELECT is((SELECT count(*) FROM omnichannel.contact WHERE length(source) = 257), 1::bigint, 'is logged');
SELECT * FROM finish();
ROLLBACK;
