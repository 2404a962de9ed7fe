#!/bin/sh
# check.sh: tries the extension on a private server and prints "N passed, N failed" last.
#
# usage: test/check.sh [KIND | FILE]...
# KIND is one of regress, isolation, pgtap, tap, fuzz, readme; FILE is one test of them. All kinds where none is named.
# A kind without a test, or without the tools that it needs, fails. Installs what a Debian lacks. KEEP=1 leaves the
# temporary folder with results, logs and the server's data in place.
set -eu
cd "$(dirname "$0")/.."
COUNTS=yes
. test/lib.sh
in_workshop test/check.sh "$BUILD_PACKAGES $CHECK_PACKAGES" "$@"

RESULTS=$WORKSHOP/results
: >"$RESULTS"
JOBS=$(nproc)
PGXS_TEST=$(dirname "$("$PG_CONFIG" --pgxs)")/../test

# tests KIND GLOB...: prints the kind's files: those that were asked for, or all.
tests() {
	tests_kind=$1
	shift
	for file; do
		[ -e "$file" ] || continue
		case " $ASKED " in
		*" $tests_kind "* | *" $file "*) echo "$file" ;;
		esac
	done
}

# record KIND PASSED FAILED [NOTE]: enters a kind's count; nothing tried is a failure.
record() {
	if [ $(($2 + $3)) -eq 0 ]; then
		echo "$1: there is nothing to try" >&2
		set -- "$1" 0 1 "nothing to try"
	fi
	printf '%s|%s|%s|%s\n' "$1" "$2" "$3" "${4:-}" >>"$RESULTS"
	now=$(date +%s)
	printf '%-10s %5d passed %5d failed %4d s  %s\n' "$1" "$2" "$3" $((now - since)) "${4:-}"
	since=$now
}

# record_regress KIND ASKED LOG DIFFS: enters what pg_regress or pg_isolation_regress said.
record_regress() {
	passed=$(grep -cE '^(test .*\.\.\. ok|ok )' "$3" || true)
	if [ "$passed" -ne "$2" ]; then
		cat "$3"
		[ -e "$4" ] && head -n 400 "$4"
	fi
	record "$1" "$passed" $(($2 - passed))
}

run_regress() {
	files=$(tests regress sql/*.sql)
	[ -e sql/setup.sql ] || files=
	names=
	[ -z "$files" ] || names="setup $(printf '%s\n' "$files" | sed 's,^sql/\(.*\)\.sql$,\1,' | grep -vx setup | LC_ALL=C sort || true)"
	# shellcheck disable=SC2086
	set -- $names
	if [ $# -gt 0 ]; then
		timeout 900 "$PG_REGRESS" --inputdir=. --outputdir="$WORKSHOP/regress" --bindir="$SERVER_BIN" --dbname=contrib_regression --encoding=UTF8 \
			"$@" >"$WORKSHOP/regress.log" 2>&1 || true
	else
		: >"$WORKSHOP/regress.log"
	fi
	record_regress regress $# "$WORKSHOP/regress.log" "$WORKSHOP/regress/regression.diffs"
}

# Each in a database of its own: what one leaves behind is no other's business. A step that hangs is named.
run_isolation() {
	# shellcheck disable=SC2046
	set -- $(tests isolation test/isolation/specs/*.spec | sed 's,.*/\(.*\)\.spec$,\1,')
	: >"$WORKSHOP/isolation.log"
	mkdir -p "$WORKSHOP/isolation"
	for spec; do
		createdb -T prepared "isolation_$spec"
		PGISOLATIONTIMEOUT=60 timeout 300 "$PGXS_TEST/isolation/pg_isolation_regress" --inputdir=test/isolation \
			--outputdir="$WORKSHOP/isolation/$spec" --bindir="$SERVER_BIN" --dbname="isolation_$spec" --use-existing \
			"$spec" >>"$WORKSHOP/isolation.log" 2>&1 || true
		cat "$WORKSHOP/isolation/$spec/regression.diffs" >>"$WORKSHOP/isolation/regression.diffs" 2>/dev/null || true
	done
	record_regress isolation $# "$WORKSHOP/isolation.log" "$WORKSHOP/isolation/regression.diffs"
}

# run_prove KIND FILE...: runs files that speak TAP and enters their count.
run_prove() {
	prove_kind=$1
	shift
	counts="0 0 0"
	if [ $# -gt 0 ]; then
		perl test/prove.pl "$prove_kind" "$JOBS" "$WORKSHOP/$prove_kind.count" "$@" || true
		counts=$(cat "$WORKSHOP/$prove_kind.count" 2>/dev/null || echo "0 1 0")
	fi
	# shellcheck disable=SC2086
	set -- $counts
	note=
	[ "$3" = 0 ] || note="$3 skipped, see above"
	record "$prove_kind" "$1" "$2" "$note"
}

run_pgtap() {
	files=$(tests pgtap test/pgtap/*.sql)
	if [ -n "$files" ]; then
		createdb -T prepared pgtap_template
		psql -X -q -d pgtap_template -c 'CREATE EXTENSION pgtap' || files=/dev/null
	fi
	# shellcheck disable=SC2086
	run_prove pgtap $files
}

run_tap() {
	mkdir -p "$WORKSHOP/tap"
	TESTDIR=$WORKSHOP/tap
	top_builddir=$WORKSHOP/tap
	export TESTDIR top_builddir
	# shellcheck disable=SC2046
	run_prove tap $(tests tap test/t/*.pl)
}

run_fuzz() {
	mkdir -p "$WORKSHOP/fuzz"
	passed=0
	failed=0
	for file in $(tests fuzz test/fuzz/*.c); do
		target=$(basename "$file" .c)
		[ "$target" != driver ] || continue
		sources=$(sed -n '1s,^/\* sources: \(.*\) \*/$,\1,p' "$file")
		corpus=test/fuzz/corpus/$target
		if [ -z "$sources" ]; then
			echo "fuzz: the first line of $file does not name its sources" >&2
			failed=$((failed + 1))
			continue
		elif [ -z "$(ls "$corpus" 2>/dev/null)" ]; then
			echo "fuzz: $corpus is empty" >&2
			failed=$((failed + 1))
			continue
		fi
		# shellcheck disable=SC2086
		if gcc -std=gnu99 -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer \
			-fwrapv -fno-strict-aliasing -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers \
			-Isrc -Itest/fuzz -I"$("$PG_CONFIG" --includedir-server)" -o "$WORKSHOP/fuzz/$target" \
			"$file" test/fuzz/driver.c $sources -lm &&
			ASAN_OPTIONS=detect_leaks=0:print_legend=0 "$WORKSHOP/fuzz/$target" "${FUZZ_RUNS:-200000}" "$corpus"/*; then
			passed=$((passed + 1))
		else
			echo "fuzz: $target failed" >&2
			failed=$((failed + 1))
		fi
	done
	record fuzz $passed $failed
}

# The README's examples, in order, in one database that begins empty.
run_readme() {
	passed=0
	failed=0
	if [ -n "$(tests readme README.md)" ]; then
		awk '/^```sql$/ {n++; show = 1; printf "\n\\echo example %d, line %d of README.md\n", n, NR; next}
			/^```$/ {show = 0}
			show' README.md >"$WORKSHOP/readme.sql"
		examples=$(grep -c '^\\echo example' "$WORKSHOP/readme.sql" || true)
		createdb readme
		if [ "$examples" -eq 0 ]; then
			:
		elif quietly "$WORKSHOP/readme.log" timeout 300 psql -X -v ON_ERROR_STOP=1 -d readme -f "$WORKSHOP/readme.sql"; then
			passed=$examples
		else
			passed=$(($(grep -c '^example' "$WORKSHOP/readme.log") - 1))
			failed=$((examples - passed))
		fi
	fi
	record readme "$passed" "$failed"
}

KINDS=
ASKED=
for asked in "${@:-all}"; do
	case $asked in
	all) kind="regress isolation pgtap tap fuzz readme" && asked=$kind ;;
	regress | isolation | pgtap | tap | fuzz | readme) kind=$asked ;;
	sql/*) kind=regress ;;
	test/isolation/*) kind=isolation ;;
	test/pgtap/*) kind=pgtap ;;
	test/t/*) kind=tap ;;
	test/fuzz/*) kind=fuzz ;;
	README.md) kind=readme ;;
	*) fail "$asked is neither a kind nor a file of tests" ;;
	esac
	[ -e "$asked" ] || [ "$asked" = "$kind" ] || fail "$asked does not exist"
	ASKED="$ASKED $asked"
	for one in $kind; do
		case " $KINDS " in *" $one "*) ;; *) KINDS="$KINDS $one" ;; esac
	done
done

# What is freed is overwritten: whoever reads it all the same is found out each time, and not only where the memory has
# been given to somebody else by then. Where the C library is another one, nothing comes of it.
MALLOC_PERTURB_=165
export MALLOC_PERTURB_

use_server
set_up_database prepared || fail "the extension could not be created and set up"
echo "$("$PG_CONFIG" --version) in $WORKSHOP"
since=$(date +%s)
for kind in $KINDS; do
	"run_$kind"
done

# A crash fails the check even where no test noticed.
crashes=$(find "$WORKSHOP" -name '*.log' -exec grep -hE 'was terminated by signal (4|6|7|8|11)|^TRAP:|PANIC:' {} + || true)
[ -z "$crashes" ] || {
	echo "$crashes"
	record server 0 "$(echo "$crashes" | wc -l)" "crashed"
}

echo
awk -F '|' '{passed += $2; failed += $3; printf "%-10s %6d passed %6d failed  %s\n", $1, $2, $3, $4}
	END {printf "\n%d passed, %d failed\n", passed, failed; exit failed > 0}' "$RESULTS"
