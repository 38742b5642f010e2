# shellcheck shell=bash
# Sourced by the examples: builds pgflow, starts a throw-away server with it, and ends at the end what they began.
# PG (15, the version of PostgreSQL) or PG_CONFIG (a server to install into) may be set in the environment, and
# INSTALL=no, which takes the pgflow that PG_CONFIG has.
#
# Sets pg_config, and pids, to which an example adds the processes that it begins. Defines step, install_pgflow,
# start_server and keep_server.
# shellcheck source=scripts/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/env.sh"

unset PGFLOW_CLUSTER
pids=()

finish() {
	status=$?
	# What is begun here is ended, however often Ctrl-C is pressed.
	trap '' INT TERM HUP
	trap - EXIT
	if [ ${#pids[@]} -gt 0 ]; then
		kill "${pids[@]}" 2>/dev/null || true
		wait "${pids[@]}" 2>/dev/null || true
	fi
	if [ -n "${PGFLOW_CLUSTER:-}" ]; then
		"$root/scripts/cluster" stop "$PGFLOW_CLUSTER"
		say "the server is stopped, its folder removed"
	fi
	exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

step() { say "==> $*"; }

install_pgflow() {
	if [ "${INSTALL:-}" = no ]; then
		pg_config=${PG_CONFIG:?is to be set with INSTALL=no}
		return
	fi
	step "what building needs (compilers, cargo-pgrx)"
	"$root/scripts/toolchain"
	step "a PostgreSQL to install into"
	pg_config=${PG_CONFIG:-$("$root/scripts/postgres" "${PG:-15}")}
	say "$("$pg_config" --version), $pg_config"
	step "building pgflow and installing it there (the first build takes some minutes)"
	"$root/scripts/install" "$pg_config"
}

# A server, and on it a database with pgflow. Each name=value is a line of postgresql.conf.
start_server() { # database, name=value …
	local database=$1 cluster
	shift
	step "a throw-away server"
	cluster=$("$root/scripts/cluster" start "$pg_config" "$@")
	eval "$cluster"
	say "running in $PGFLOW_CLUSTER as user $server_user"
	psql -qX -v ON_ERROR_STOP=1 -c "CREATE DATABASE $database"
	export PGDATABASE=$database
	psql -qX -v ON_ERROR_STOP=1 -c 'CREATE EXTENSION pgflow'
}

# Leaves it running when the example ends.
keep_server() { PGFLOW_CLUSTER=; }
