#!/bin/sh
# reference.sh: the README's reference, made of the COMMENTs of the extension.
#
# usage: test/reference.sh write    writes it anew into README.md
#        test/reference.sh print    prints its lines
#        test/reference.sh check    fails, and shows where, if README.md says something else; for lint.sh's database
set -eu
cd "$(dirname "$0")/.."
. test/lib.sh

# with_reference FILE: prints the README with FILE below the introduction of its reference.
with_reference() {
	awk -v file="$1" '
		/^## / {
			if (in_reference) {while ((getline line <file) > 0) print line}
			in_reference = $0 == "## Reference"
			skip = 0
		}
		in_reference && /^### / {skip = 1}
		!skip {print}' README.md
}

# reference: prints the reference of the database that has the extension set up, by rooms.
#
# Functions that the rest of the README does not name are the extension's own: they come last.
reference() {
	{
		echo 'CREATE TEMP TABLE room (place int, room text, title text);'
		echo "INSERT INTO room VALUES
			(1, 'core', 'Setting up and looking after it'), (2, 'calendar', 'Working time'), (3, 'sla', 'Service levels'),
			(4, 'pricing', 'Prices and promotions'), (5, 'routing', 'Agents and queues'), (6, 'customer', 'Customers'),
			(7, 'contact', 'Contacts'), (8, 'request', 'Requests'), (9, 'access', 'Rights and privacy'),
			(10, 'catalogue', 'Codes');"
		echo 'CREATE TEMP TABLE made (room text, name text);'
		echo 'COPY made FROM stdin;'
		for file in src/*/*functions.sql; do
			room=$(basename "$(dirname "$file")")
			sed -nE "s/^CREATE (FUNCTION|PROCEDURE|TYPE|AGGREGATE) ([a-z]+\.)?([a-z_0-9]+).*/$room	\3/p" "$file"
		done | LC_ALL=C sort -u
		echo '\.'
		echo 'CREATE TEMP TABLE shown (name text);'
		echo 'COPY shown FROM stdin;'
		awk '/^## / {skip = $0 == "## Reference"} !skip' README.md | grep -oE '[a-z_0-9]+' | LC_ALL=C sort -u
		echo '\.'
		cat test/reference.sql
	} | psql -X -q -v ON_ERROR_STOP=1 -d prepared
}

case ${1:-} in
write)
	folder=$(mktemp -d)
	trap 'rm -rf "$folder"' EXIT
	test/reference.sh print >"$folder/lines"
	with_reference "$folder/lines" >"$folder/README.md"
	cat "$folder/README.md" >README.md
	;;
print)
	in_workshop test/reference.sh "$BUILD_PACKAGES" "$@"
	use_server >&2
	set_up_database prepared
	reference
	;;
check)
	reference >"$WORKSHOP/reference"
	with_reference "$WORKSHOP/reference" | diff -u README.md -
	;;
*) fail "write, print or check?" ;;
esac
