#!/bin/sh
# Prints the install script: the rooms' functions.sql, then the function whose body is their tables.sql.
# usage: build-sql.sh "FUNCTIONS.SQL ..." "TABLES.SQL ..."
set -eu
printf '%s\n' '\echo Use "CREATE EXTENSION omnichannel" to load this file. \quit'
for file in $1; do
	printf '\n-- %s\n' "$file"
	cat "$file"
done
# shellcheck disable=SC2086
if grep -l 'omnichannel_tables' $2 >&2; then
	echo "build-sql.sh: a tables.sql contains the quote that surrounds them all" >&2
	exit 1
fi
cat <<'SQL'

-- what setup() runs
CREATE FUNCTION omnichannel.setup_script() RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN $omnichannel_tables$
SQL
for file in $2; do
	printf '\n-- %s\n' "$file"
	cat "$file"
done
cat <<'SQL'
$omnichannel_tables$::text;
COMMENT ON FUNCTION omnichannel.setup_script() IS
'The DDL and seed rows that setup() runs, for reading. @ltree@ stands for the schema of the extension ltree, and @name@ for an argument of setup().';

-- An extension script runs with client_min_messages = warning, where it was lower before.
DO $notice$
BEGIN
	IF pg_catalog.current_setting('client_min_messages') OPERATOR(pg_catalog.=) 'warning' THEN
		PERFORM pg_catalog.set_config('client_min_messages', 'notice', true);
		RAISE NOTICE 'omnichannel has no tables yet'
			USING HINT = 'CALL omnichannel.setup(currency => ''EUR'', country => ''DE'', time_zone => ''Europe/Berlin'') creates them.';
		PERFORM pg_catalog.set_config('client_min_messages', 'warning', true);
	END IF;
END
$notice$;
SQL
