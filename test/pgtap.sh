#!/bin/sh
# pgtap.sh FILE: runs one pgTAP file in a fresh copy of the database pgtap_template. Called by prove.pl.
set -eu
database=pgtap_$(basename "$1" .sql)
createdb -T pgtap_template "$database"
PGOPTIONS='-c client_min_messages=warning' \
	exec timeout 300 psql -X -q -A -t -v ON_ERROR_STOP=1 -v cases="${CASES:-}" -d "$database" -f "$1"
