#!/bin/sh
# Keeps a private server with the extension for work by hand. usage: test/dev-server.sh start|install|stop DIR
set -eu
cd "$(dirname "$0")/.."
. test/lib.sh
case $1 in
start)
	mkdir -p "$2"
	chmod 755 "$2"
	stage_server "$2"
	start_server "$2"
	# Behind the others: make is to find the installed pg_config, not the copy, which has no pgxs.
	echo "export PGHOST=$2 PGPORT=5432 PGUSER=postgres PGDATABASE=postgres PATH=\$PATH:$SERVER_BIN"
	;;
install)
	make -s install DESTDIR="$2/root"
	;;
stop)
	SERVER_BIN=$2/root$("$PG_CONFIG" --bindir)
	stop_server "$2"
	rm -rf "$2"
	;;
esac
