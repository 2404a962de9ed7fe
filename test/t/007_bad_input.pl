# Every function, called with NULLs and with values no one should pass: no crash, no hang, and no error that is not meant
# for its reader (XX000 and the like are bugs).
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Omni;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = omni_node('bad_input');

omni_setup($node);
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE public.app (id bigint PRIMARY KEY, at timestamptz, who text);
CREATE TABLE public.verdict (call text, sqlstate text, message text, hint text);

-- What a value of a type can be at worst; n chooses.
CREATE FUNCTION public.worst(type regtype, n integer) RETURNS text LANGUAGE sql AS $$
	SELECT (CASE
		WHEN n = 0 THEN '{NULL}'
		WHEN type::text LIKE '%[]' THEN ARRAY['{}', '{NULL}', '{{}}', '{}', '{}', '{}']
		WHEN type IN ('bigint'::regtype) THEN ARRAY['0', '-1', '9223372036854775807', '-9223372036854775808', '1', '999999']
		WHEN type IN ('integer'::regtype) THEN ARRAY['0', '-1', '2147483647', '-2147483648', '1', '100']
		WHEN type IN ('numeric'::regtype) THEN ARRAY['0', '-1', 'NaN', 'Infinity', '1e1000', '1e-1000']
		WHEN type IN ('double precision'::regtype) THEN ARRAY['0', '-1', 'NaN', 'Infinity', '1e308', '1e-308']
		WHEN type IN ('timestamptz'::regtype) THEN ARRAY['-infinity', 'infinity', '4713-01-01 BC', '294276-12-31', '1900-01-01', '2026-03-29 01:30Z']
		WHEN type IN ('date'::regtype) THEN ARRAY['-infinity', 'infinity', '4713-01-01 BC', '294276-12-31', '1900-01-01', '2026-03-29']
		WHEN type IN ('interval'::regtype) THEN ARRAY['0', '-1 microsecond', '1 month', '178000000 years', '2147483647 days', '-2562047788 hours']
		WHEN type IN ('tstzrange'::regtype) THEN ARRAY['empty', '(,)', '[infinity,infinity]', '[4713-01-01 BC,294276-12-31]', '[2026-01-01,)', '(,2026-01-01)']
		WHEN type IN ('jsonb'::regtype) THEN ARRAY['null', '[]', '{}', '"x"', '{"a": {"b": [1, null, -1e400]}}', '[{"product": null, "quantity": "x"}]']
		WHEN type IN ('boolean'::regtype) THEN ARRAY['true', 'false', 'true', 'false', 'true', 'false']
		WHEN type IN ('regclass'::regtype) THEN ARRAY['0', '999999999', 'pg_catalog.pg_class', 'omnichannel.contact', 'public.app', 'pg_catalog.pg_class_oid_index']
		WHEN type IN ('regrole'::regtype) THEN ARRAY['0', '999999999', 'pg_monitor', 'pg_monitor', 'pg_monitor', 'pg_monitor']
		WHEN type IN ('uuid'::regtype) THEN array_fill('00000000-0000-0000-0000-000000000000'::text, ARRAY[6])
		WHEN type IN ('bytea'::regtype) THEN ARRAY['', '\x00', '\xff', '\x', '\x01', '\x02']
		WHEN type = 'omnichannel.working_hours'::regtype THEN ARRAY['off', '24/7', 'Mo 00:00-00:01', 'Su 23:59-24:00', 'Mo-Su 22:00-06:00', 'Fr 12:00-12:01']
		WHEN type = 'omnichannel.skill_set'::regtype THEN ARRAY['', 'a:1', 'a:10, b:1', 'z:1', 'a', 'b:3']
		ELSE ARRAY['', 'x', repeat('x', 100000), E'\n\t ', '../../%s%n{}', 'off']
	END)[1 + (n - 1) % 6]
$$;

CREATE PROCEDURE public.abuse(rounds integer) LANGUAGE plpgsql AS $$
DECLARE
	called record;
	call text;
	state text;
	said text;
	hinted text;
BEGIN
	PERFORM setseed(0.5);
	FOR called IN
		SELECT proc.oid, prokind, proname, proargtypes::oid[]::regtype[] AS types
		FROM pg_proc AS proc
		WHERE pronamespace = 'omnichannel'::regnamespace AND prorettype NOT IN ('trigger'::regtype, 'internal'::regtype, 'cstring'::regtype)
			AND NOT ('internal'::regtype = ANY (proargtypes) OR 'cstring'::regtype = ANY (proargtypes))
			AND proname NOT IN ('setup', 'create_config_cache') AND NOT ('record'::regtype = ANY (proargtypes))
			-- tells of the mistakes in the SQL that it is passed
			AND proname <> 'check_segment_rule'
		ORDER BY proc.oid
	LOOP
		FOR round IN 0 .. CASE WHEN array_length(called.types, 1) IS NULL THEN 0 ELSE rounds END
		LOOP
			-- all NULL, then each kind of badness for all, then mixtures
			SELECT format('%s omnichannel.%I(%s)', CASE called.prokind WHEN 'p' THEN 'CALL' ELSE 'SELECT * FROM' END, called.proname,
				coalesce(string_agg(coalesce(quote_literal(public.worst(type, CASE WHEN round <= 6 THEN round ELSE (random() * 6)::int END)), 'NULL')
					|| '::' || type::text, ', ' ORDER BY place), ''))
			INTO call FROM unnest(called.types) WITH ORDINALITY AS argument (type, place);
			BEGIN
				EXECUTE call;
				RAISE EXCEPTION USING ERRCODE = 'ZZ999'; -- undo it
			EXCEPTION WHEN OTHERS THEN
				GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, said = MESSAGE_TEXT, hinted = PG_EXCEPTION_HINT;
			END;
			INSERT INTO public.verdict VALUES (left(call, 400), state, left(said, 300), hinted);
		END LOOP;
		COMMIT;
	END LOOP;
END
$$;
SQL

# Nothing may take long: what loops must end by itself.
my ($code, $out, $err) = $node->psql('postgres', "SET statement_timeout = '170s'; CALL public.abuse(60)");
is($code, 0, 'all functions were called, and the server is alive') or diag $err;
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM public.verdict'), '>', 1000, 'with many bad values');

# Class XX is for what cannot happen, P0 for PL/pgSQL's own mistakes, 21 and 39 for mistakes in our SQL and C; 22004 is
# the only way to say that a NULL was passed. A violated constraint is told by the check that ought to have come first.
is($node->safe_psql('postgres', <<'SQL'), '', 'and every error is meant for its reader');
SELECT DISTINCT ON (sqlstate, message) sqlstate || ' ' || message || ' <- ' || call FROM public.verdict
WHERE sqlstate ~ '^(XX|P0|21|39|0A|2F|34|3D|3F|42601|42703|42883|42P01|42P02|57014|58|F0|HV|53|54001)' ORDER BY sqlstate, message
SQL
done_testing();
