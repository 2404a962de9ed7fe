#!/bin/sh
# reference.sh: the README's reference, made of the COMMENTs of the extension.
#
# usage: test/reference.sh write    writes it anew into README.md
#        test/reference.sh print    prints its lines
#        test/reference.sh check    fails, and shows where, if README.md says something else; for lint.sh's database
set -eu
cd "$(dirname "$0")/.."
. test/lib.sh

# with_reference FILE: prints the README with the lines of FILE as its reference.
with_reference() {
	awk -v file="$1" '
		/^\| (`|type `)/ && in_reference {next}
		{print}
		/^## / {in_reference = $0 == "## Reference"}
		/^\| --- / && in_reference {while ((getline line <file) > 0) print line}' README.md
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
	psql -X -q -d prepared -f test/reference.sql
	;;
check)
	psql -X -q -d prepared -f test/reference.sql >"$WORKSHOP/reference"
	with_reference "$WORKSHOP/reference" | diff -u README.md -
	;;
*) fail "write, print or check?" ;;
esac
