#!/bin/sh
# lint.sh: reads the code critically, with two compilers and whatever else knows better, and prints "N passed, N failed".
# Installs what a Debian lacks.
set -eu
cd "$(dirname "$0")/.."
COUNTS=yes
. test/lib.sh
in_workshop test/lint.sh "$BUILD_PACKAGES $LINT_PACKAGES" "$@"

passed=0
failed=0

# lint WHAT FUNCTION: runs a check; what it prints matters only if it fails.
lint() {
	if "$2" >"$WORKSHOP/lint.log" 2>&1; then
		passed=$((passed + 1))
		echo "ok      $1"
	else
		failed=$((failed + 1))
		echo "FAILED  $1"
		sed 's/^/        /; 200q' "$WORKSHOP/lint.log"
	fi
}

c_files() {
	find src test -name '*.[ch]' | LC_ALL=C sort
}

# nothing: fails, and shows it, where there is input.
nothing() {
	! grep .
}

gcc_build() {
	clean_tree
	make -s -j2 PG_CONFIG="$PG_CONFIG" CC=gcc COPT=-Werror
}

# PostgreSQL's flags and headers are those of the compiler that built it: what clang does not know in them is no fault of
# this code.
clang_build() {
	clean_tree
	make -s -j2 PG_CONFIG="$PG_CONFIG" CC=clang \
		COPT='-Werror -Wno-unknown-warning-option -Wno-ignored-optimization-argument -Wno-ignored-attributes'
}

clang_formatted() {
	for file in $(c_files); do
		clang-format "$file" | diff -u --label "$file" --label "$file" "$file" - || true
	done | nothing
}

narrow_lines() {
	for file in $(c_files); do
		expand -t 4 "$file" | awk -v file="$file" 'length > 120 && !/^\/\* sources:/ {print file ":" NR ": " length " columns, more than 120"}'
	done | nothing
}

cppchecked() {
	cppcheck --quiet --std=c99 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
		--suppressions-list=test/cppcheck.txt -Isrc src test/fuzz
}

shellchecked() {
	# shellcheck disable=SC2046
	shellcheck -x .ci/run $(find . -name '*.sh')
}

small_files() {
	{
		awk 'END {if (NR > 100) print FILENAME ": " NR " lines, more than 100"}' Makefile
		find src -type f \( -name '*.[ch]' -o -name '*.sql' -o -name '*.sh' \) -exec awk '
			FNR == 1 {n++} {lines[FILENAME] = FNR}
			END {for (f in lines) if (lines[f] > 1300) print f ": " lines[f] " lines, more than 1300"}' {} +
	} | nothing
}

version_tests_in_one_place() {
	grep -rnE 'PG_VERSION_NUM|PG_MAJORVERSION' src --include='*.[ch]' | grep -v '^src/compat.h:' | nothing
}

# A script in another encoding than the database's is not installed where that has no such character.
ascii_script() {
	LC_ALL=C grep -n '[^ -~[:space:]]' omnichannel--*.sql | nothing
}

plain_create() {
	grep -rniE 'CREATE OR REPLACE' src --include='*functions.sql' --include='*tables.sql' | nothing
}

# ask: runs a query that finds mistakes.
ask() {
	psql -X -q -A -t -F ': ' -v ON_ERROR_STOP=1 -d prepared -c "$1" >"$WORKSHOP/answer" || return 1
	nothing <"$WORKSHOP/answer"
}

commented() {
	ask "
		WITH object(class, object) AS (
			SELECT 'pg_proc'::regclass, oid FROM pg_proc
			WHERE pronamespace = 'omnichannel'::regnamespace
				AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype = 'i')
			UNION ALL
			SELECT 'pg_class', oid FROM pg_class
			WHERE relnamespace = 'omnichannel'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f', 'c')
			UNION ALL
			SELECT 'pg_type', oid FROM pg_type
			WHERE typnamespace = 'omnichannel'::regnamespace AND typrelid = 0 AND typcategory <> 'A' AND typtype <> 'm'
			UNION ALL
			SELECT 'pg_operator', oid FROM pg_operator WHERE oprnamespace = 'omnichannel'::regnamespace
			UNION ALL
			SELECT 'pg_opclass', oid FROM pg_opclass WHERE opcnamespace = 'omnichannel'::regnamespace
		)
		SELECT 'no COMMENT on ' || pg_describe_object(class, object, 0) FROM object
		WHERE obj_description(object, class::text::name) IS NULL
			-- a composite type's comment may stand on either
			AND NOT (class = 'pg_class'::regclass AND EXISTS (SELECT FROM pg_type WHERE typrelid = object
				AND obj_description(oid, 'pg_type') IS NOT NULL))
		UNION ALL
		-- the columns of these tables: whoever administers queues or prices, or reports on them, reads all of them
		SELECT 'no COMMENT on ' || pg_describe_object('pg_class'::regclass, attrelid, attnum) FROM pg_attribute
		WHERE attrelid = ANY (ARRAY(SELECT ('omnichannel.' || name)::regclass FROM unnest('{request,agent,agent_channel,
			agent_state,arrival,assignment,assignment_history,kept_place,lane,lane_head,presence,presence_state,queue,
			queue_department,queue_member,refusal,relationship,routing_setting,waiting,waiting_history,coupon,currency,
			locked_quote,omnibus_rule,price,price_change,price_correction,price_list,price_staging,product,promotion,
			promotion_total,promotion_use,promotion_used_up,segment,segment_member,shown_price}'::text[]) AS name))
			AND attnum > 0 AND NOT attisdropped AND col_description(attrelid, attnum) IS NULL
		ORDER BY 1"
}

pinned_search_path() {
	ask "
		SELECT 'no search_path pinned on ' || proc.oid::regprocedure
		FROM pg_proc AS proc JOIN pg_language AS language ON language.oid = proc.prolang
		WHERE pronamespace = 'omnichannel'::regnamespace
			AND (lanname = 'plpgsql' OR lanname = 'sql' AND prosqlbody IS NULL)
			AND NOT coalesce(proconfig @> '{\"search_path=pg_catalog, pg_temp\"}', false)
		ORDER BY 1"
}

plpgsql_checked() {
	psql -X -q -v ON_ERROR_STOP=1 -d prepared -c 'CREATE EXTENSION IF NOT EXISTS plpgsql_check' || return 1
	# A trigger function is checked once for each way in which a trigger uses it. Which tables of transition there are, and
	# which columns, depends on that: what is wrong in one of them only stands where the others do not go.
	ask "
		WITH used AS (
			SELECT proc.oid::regprocedure AS function, coalesce(tgrelid, 0) AS relation, tgoldtable, tgnewtable,
				count(*) OVER (PARTITION BY proc.oid) AS uses
			FROM pg_proc AS proc
			JOIN pg_language AS language ON language.oid = proc.prolang AND lanname = 'plpgsql'
			LEFT JOIN (SELECT DISTINCT tgfoid, tgrelid, tgoldtable, tgnewtable FROM pg_trigger) AS trigger
				ON prorettype = 'trigger'::regtype AND tgfoid = proc.oid
			WHERE pronamespace = 'omnichannel'::regnamespace AND (prorettype <> 'trigger'::regtype OR tgrelid IS NOT NULL)
		)
		SELECT function, mistake.lineno, mistake.level, concat_ws(E'\n\t', mistake.message, mistake.detail, mistake.query)
		FROM used, LATERAL plpgsql_check_function_tb(function, relation, fatal_errors => false, extra_warnings => true,
			oldtable => tgoldtable, newtable => tgnewtable) AS mistake
		-- untrue: several OUT parameters may well be composite
		WHERE mistake.message NOT LIKE 'composite OUT variable % is not single argument'
			-- made by the function itself, at run time
			AND mistake.message NOT LIKE 'relation \"pg_temp.%\" does not exist'
		GROUP BY 1, 2, 3, 4, uses HAVING count(*) = uses
		ORDER BY 1, 2"
}

# The reference is made of the COMMENTs: test/reference.sh write.
reference_renewed() {
	test/reference.sh check
}

lint "gcc -Wall -Wextra -Werror" gcc_build
lint "clang -Wall -Wextra -Werror" clang_build
lint "clang-format" clang_formatted
lint "lines of at most 120 columns" narrow_lines
lint "cppcheck" cppchecked
lint "shellcheck" shellchecked
lint "Makefile of at most 100 lines, files of at most 1,300" small_files
lint "PostgreSQL's version tested in compat.h only" version_tests_in_one_place
lint "no CREATE OR REPLACE in the install script" plain_create
lint "nothing but ASCII in the install script" ascii_script

use_server
set_up_database prepared || fail "the extension could not be created and set up"
lint "a COMMENT on every object" commented
lint "search_path pinned" pinned_search_path
lint "plpgsql_check" plpgsql_checked
lint "README's reference" reference_renewed

printf '\n%d passed, %d failed\n' $passed $failed
[ $failed -eq 0 ]
