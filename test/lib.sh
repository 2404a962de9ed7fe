# shellcheck shell=sh
# lib.sh: a private PostgreSQL for the tests. Sourced, not run.
#
# The server's programs are copied below a temporary folder and the extension is installed into that copy: PostgreSQL
# finds its own folders relative to its program, so that nothing outside the temporary folder is touched, and any number
# of these can run side by side.

PG_CONFIG=${PG_CONFIG:-pg_config}

# as_server CMD...: runs a command as a user that PostgreSQL agrees to run as.
as_server() {
	if [ "$(id -u)" = 0 ]; then
		runuser -u "${SERVER_USER:-postgres}" -- "$@"
	else
		"$@"
	fi
}

# stage_server DIR: copies the server's programs to DIR/root and installs the extension there.
stage_server() {
	STAGE=$1
	SERVER_BIN=$STAGE/root$("$PG_CONFIG" --bindir)
	mkdir -p "$STAGE/root$("$PG_CONFIG" --bindir)" "$STAGE/root$("$PG_CONFIG" --pkglibdir)" "$STAGE/root$("$PG_CONFIG" --sharedir)"
	cp -R "$("$PG_CONFIG" --bindir)/." "$STAGE/root$("$PG_CONFIG" --bindir)"
	cp -R "$("$PG_CONFIG" --pkglibdir)/." "$STAGE/root$("$PG_CONFIG" --pkglibdir)"
	cp -R "$("$PG_CONFIG" --sharedir)/." "$STAGE/root$("$PG_CONFIG" --sharedir)"
	make -s PG_CONFIG="$PG_CONFIG" install DESTDIR="$STAGE/root" >"$STAGE/install.log" 2>&1 || {
		cat "$STAGE/install.log" >&2
		return 1
	}
	export SERVER_BIN
}

# start_server DIR: creates a cluster in DIR/data, listening on a socket in DIR only, and starts it.
start_server() {
	PGHOST=$1
	PGPORT=5432
	PGUSER=postgres
	PGDATABASE=postgres
	export PGHOST PGPORT PGUSER PGDATABASE
	[ "$(id -u)" = 0 ] && chown "${SERVER_USER:-postgres}" "$1"
	as_server "$SERVER_BIN/initdb" -D "$1/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 -N >"$1/initdb.log" 2>&1 || {
		cat "$1/initdb.log" >&2
		return 1
	}
	cat >>"$1/data/postgresql.conf" <<-CONF
		listen_addresses = ''
		unix_socket_directories = '$1'
		fsync = off
		full_page_writes = off
		max_connections = 100
		max_prepared_transactions = 10
		log_min_messages = warning
	CONF
	as_server "$SERVER_BIN/pg_ctl" -s -w -D "$1/data" -l "$1/server.log" start
}

# stop_server DIR
stop_server() {
	as_server "$SERVER_BIN/pg_ctl" -s -w -D "$1/data" -m immediate stop 2>/dev/null || true
}
