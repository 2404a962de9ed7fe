# shellcheck shell=sh
# lib.sh: the workshop that the tests, the demo and the benchmarks run in. Sourced, not run.
#
# A workshop is a temporary folder with a copy of the tree and a copy of the server's programs. The extension is built in
# the first and installed into the second: PostgreSQL finds its own folders relative to its program, so that nothing
# outside the workshop is touched, the checkout stays clean, and any number of workshops can stand side by side. All
# work in it is done by an unprivileged user, as PostgreSQL demands. Its servers listen on sockets in it only. It is
# swept away at the end, also after Ctrl-C.

PG_MAJOR=${PG_MAJOR:-15}
if [ -z "${PG_CONFIG:-}" ]; then
	PG_CONFIG=/usr/lib/postgresql/$PG_MAJOR/bin/pg_config
	[ -x "$PG_CONFIG" ] || ! command -v pg_config >/dev/null || [ -e /etc/debian_version ] || PG_CONFIG=pg_config
fi
export PG_CONFIG

# What must be there: to build and run the extension, to try it, and to read it critically.
BUILD_PACKAGES="postgresql-$PG_MAJOR postgresql-server-dev-$PG_MAJOR make gcc libc6-dev pkg-config libical-dev"
DEMO_PACKAGES="python3-pg8000"
CHECK_PACKAGES="perl libipc-run-perl libdbd-pg-perl postgresql-$PG_MAJOR-pgtap postgresql-$PG_MAJOR-cron postgresql-$PG_MAJOR-partman"
LINT_PACKAGES="clang clang-format cppcheck shellcheck postgresql-$PG_MAJOR-plpgsql-check"
export BUILD_PACKAGES DEMO_PACKAGES CHECK_PACKAGES LINT_PACKAGES

# fail MESSAGE: says what is wrong and ends the script; one that counts counts it.
fail() {
	printf '%s: %s\n' "$(basename "$0")" "$1" >&2
	[ -z "${COUNTS:-}" ] || echo "0 passed, 1 failed"
	exit 1
}

# missing_packages PACKAGE...: prints those that are not installed.
missing_packages() {
	for package; do
		dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || printf '%s ' "$package"
	done
}

# install_packages PACKAGE...: installs what is missing, for root. Nothing is downloaded where nothing is missing.
#
# Debian's server package makes and starts a cluster when it is installed. Two stand-ins on the path of its scripts keep
# it from that for this one call; no file of the system is changed for it.
install_packages() {
	exec 9>/run/lock/omnichannel-packages.lock || fail "cannot write to /run/lock"
	flock 9
	missing=$(missing_packages "$@")
	if [ -n "$missing" ]; then
		echo "installing $missing"
		stand_ins=$(mktemp -d)
		chmod 755 "$stand_ins"
		printf '#!/bin/sh\n' >"$stand_ins/pg_createcluster"
		printf '#!/bin/sh\ncase " $* " in *" postgresql "*) exit 0 ;; esac\nexec /usr/sbin/invoke-rc.d "$@"\n' \
			>"$stand_ins/invoke-rc.d"
		chmod 755 "$stand_ins"/*
		for attempt in "try" "again"; do
			# shellcheck disable=SC2086
			if DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
				-o DPkg::Path="$stand_ins:/usr/sbin:/usr/bin:/sbin:/bin" -o DPkg::Lock::Timeout=600 \
				-o Dpkg::Use-Pty=0 $missing </dev/null >"$stand_ins/log" 2>&1 9>&-; then
				break
			elif [ $attempt = again ]; then
				cat "$stand_ins/log" >&2
				rm -rf "$stand_ins"
				fail "could not install: $missing"
			fi
			apt-get update -qq </dev/null 9>&- || true
		done
		rm -rf "$stand_ins"
	fi
	exec 9>&-
}

# need_packages PACKAGE...: as install_packages, with sudo where needed; elsewhere than on Debian it trusts the machine.
need_packages() {
	command -v dpkg-query >/dev/null || return 0
	missing=$(missing_packages "$@")
	[ -n "$missing" ] || return 0
	if [ "$(id -u)" = 0 ]; then
		install_packages "$@"
	elif command -v sudo >/dev/null; then
		# shellcheck disable=SC2016
		sudo sh -c '. test/lib.sh && install_packages "$@"' sh "$@"
	else
		fail "missing packages, and no root to install them: $missing"
	fi
}

# sweep_workshop: ends what the workshop started and removes it. Runs as who opened it.
sweep_workshop() {
	trap '' INT TERM HUP
	trap - EXIT
	if [ -n "${workshop_job:-}" ]; then
		kill -TERM -- "-$workshop_job" 2>/dev/null || true
		for attempt in 1 2 3 4 5 6 7 8 9 10; do
			kill -0 -- "-$workshop_job" 2>/dev/null || break
			[ "$attempt" = 10 ] && kill -KILL -- "-$workshop_job" 2>/dev/null
			sleep 0.2
		done
	fi
	# Servers stand in groups of their own. A stale file may name a stranger: a server's directory is its own.
	find "$WORKSHOP" -name postmaster.pid 2>/dev/null | while read -r pid_file; do
		pid=$(head -n 1 "$pid_file")
		[ "$(readlink "/proc/$pid/cwd")" = "$(dirname "$pid_file")" ] || continue
		kill -QUIT "$pid" 2>/dev/null || continue
		for attempt in 1 2 3 4 5 6 7 8 9 10; do
			kill -0 "$pid" 2>/dev/null || break
			[ "$attempt" = 10 ] && kill -KILL "$pid" 2>/dev/null
			sleep 0.2
		done
	done
	if [ -n "${KEEP:-}" ]; then
		echo "kept: $WORKSHOP"
	else
		rm -rf "$WORKSHOP"
	fi
}

# in_workshop SCRIPT PACKAGES [ARG...]: returns where it is called in a workshop; elsewhere opens one, runs the script
# there with the arguments, sweeps the workshop away and exits with the script's status.
#
# The script starts in the copy of the tree, with WORKSHOP naming the folder and CASES that of the shared cases, empty
# where there are none. KEEP=1 in the environment leaves the workshop in place, to look at.
in_workshop() {
	[ -z "${WORKSHOP:-}" ] || return 0
	workshop_script=$1
	workshop_packages=$2
	shift 2
	# shellcheck disable=SC2086
	need_packages $workshop_packages

	WORKSHOP=$(mktemp -d "${TMPDIR:-/tmp}/omnichannel.XXXXXX")
	workshop_job=
	trap sweep_workshop EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
	chmod 755 "$WORKSHOP"
	mkdir "$WORKSHOP/tree" "$WORKSHOP/home" "$WORKSHOP/tmp"
	tar -c --exclude=./.git . | tar -x -C "$WORKSHOP/tree"
	SHARED=${SHARED:-../shared}
	CASES=
	if [ -d "$SHARED" ]; then
		cp -RL "$SHARED" "$WORKSHOP/shared"
		[ -d "$WORKSHOP/shared/cases" ] && CASES=$WORKSHOP/shared/cases
	fi

	set -- env HOME="$WORKSHOP/home" TMPDIR="$WORKSHOP/tmp" LANG=C.UTF-8 WORKSHOP="$WORKSHOP" CASES="$CASES" \
		"$workshop_script" "$@"
	if [ "$(id -u)" = 0 ]; then
		workshop_user=${SERVER_USER:-postgres}
		id "$workshop_user" >/dev/null 2>&1 || workshop_user=nobody
		chown -R "$workshop_user" "$WORKSHOP"
		set -- setpriv --reuid="$workshop_user" --regid="$(id -g "$workshop_user")" --init-groups -- "$@"
	fi
	# In a group of its own, so that all of it can be ended. A shell that waits for a background job heeds signals at once.
	unset LC_ALL
	# shellcheck disable=SC2016
	setsid sh -c 'cd "$0" && exec "$@"' "$WORKSHOP/tree" "$@" </dev/null &
	workshop_job=$!
	workshop_status=0
	wait "$workshop_job" || workshop_status=$?
	exit "$workshop_status"
}

# as_server CMD...: runs a command as a user that PostgreSQL agrees to run as.
as_server() {
	if [ "$(id -u)" = 0 ]; then
		runuser -u "${SERVER_USER:-postgres}" -- "$@"
	else
		"$@"
	fi
}

# quietly LOG CMD...: runs a command whose output is of interest only if it fails.
quietly() {
	quiet_log=$1
	shift
	"$@" >"$quiet_log" 2>&1 || {
		cat "$quiet_log" >&2
		return 1
	}
}

# stage_server DIR: copies the server's programs to DIR/root, and builds and installs the extension there, without the
# bitcode for JIT, which the copy lacks too.
stage_server() {
	"$PG_CONFIG" --version >/dev/null || return 1
	SERVER_BIN=$1/root$("$PG_CONFIG" --bindir)
	for folder in "$("$PG_CONFIG" --bindir)" "$("$PG_CONFIG" --pkglibdir)" "$("$PG_CONFIG" --sharedir)"; do
		mkdir -p "$1/root$folder"
		(cd "$folder" && tar -c --exclude=./bitcode --exclude=./pgxs .) | tar -x -C "$1/root$folder"
	done
	quietly "$1/install.log" make -s -j"$(nproc)" PG_CONFIG="$PG_CONFIG" with_llvm=no install DESTDIR="$1/root" || return 1
	export SERVER_BIN
}

# start_server DIR: creates a cluster in DIR/data, listening on a socket in DIR only, and starts it. SERVER_SETTINGS may
# hold more lines for its postgresql.conf.
start_server() {
	PGHOST=$1
	PGPORT=5432
	PGUSER=postgres
	PGDATABASE=postgres
	export PGHOST PGPORT PGUSER PGDATABASE
	[ "$(id -u)" = 0 ] && chown "${SERVER_USER:-postgres}" "$1"
	quietly "$1/initdb.log" as_server "$SERVER_BIN/initdb" -D "$1/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 -N ||
		return 1
	cat >>"$1/data/postgresql.conf" <<-CONF
		listen_addresses = ''
		unix_socket_directories = '$1'
		fsync = off
		full_page_writes = off
		max_connections = 100
		max_prepared_transactions = 10
		log_min_messages = warning
	CONF
	printf '%s\n' "${SERVER_SETTINGS:-}" >>"$1/data/postgresql.conf"
	as_server "$SERVER_BIN/pg_ctl" -s -w -D "$1/data" -l "$1/server.log" start || {
		cat "$1/server.log" >&2
		return 1
	}
}

# stop_server DIR
stop_server() {
	as_server "$SERVER_BIN/pg_ctl" -s -w -D "$1/data" -m immediate stop 2>/dev/null || true
}

# use_server: in a workshop, builds, installs and starts the server; its programs come first in PATH.
use_server() {
	clean_tree
	stage_server "$WORKSHOP/server" || fail "the extension could not be built"
	start_server "$WORKSHOP/server" || fail "the server could not be started"
	PATH=$SERVER_BIN:$PATH
	PG_REGRESS=$(dirname "$("$PG_CONFIG" --pgxs)")/../test/regress/pg_regress
	PERL5LIB=$(dirname "$("$PG_CONFIG" --pgxs)")/../test/perl${PERL5LIB:+:$PERL5LIB}
	export PATH PG_REGRESS PERL5LIB
}

# clean_tree: in a workshop, removes what the checkout had built, perhaps by another compiler or for another version.
clean_tree() {
	quietly "$WORKSHOP/clean.log" make -s PG_CONFIG="$PG_CONFIG" clean || fail "the tree could not be cleaned"
}

# set_up_database NAME [EXTENSION...]: creates a database with the extension, set up, and others.
set_up_database() {
	database=$1
	shift
	createdb "$database" || return 1
	{
		for extension in omnichannel "$@"; do
			echo "CREATE EXTENSION \"$extension\" CASCADE;"
		done
		echo "CALL omnichannel.setup(currency => 'PLN', country => 'PL', time_zone => 'Europe/Warsaw');"
	} | quietly "$WORKSHOP/set_up.log" psql -X -q -v ON_ERROR_STOP=1 -d "$database" || return 1
}
