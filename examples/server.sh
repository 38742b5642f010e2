# shellcheck shell=bash
# Sourced by the examples: builds pgflow, starts a throw-away server with it, and ends at the end what they began.
# PG (15, the version of PostgreSQL) or PG_CONFIG (a server to install into) may be set in the environment, and
# INSTALL=no, which takes the pgflow that PG_CONFIG has.
#
# Sets pg_config, and pids, to which an example adds the processes that it begins. Defines step, install_pgflow,
# start_server, start_live (which sets live), start_page (which sets page) and keep_server.
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

# pgflow-live, the door for browsers, which logs in as role gateway. Its options say whose tokens it takes.
start_live() { # option …
	step "pgflow-live, which browsers speak to"
	export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
	(cd "$root" && cargo build --quiet --release -p pgflow-live)
	local output
	exec {output}< <(exec "$CARGO_TARGET_DIR/release/pgflow-live" --database "host=$PGHOST user=gateway dbname=$PGDATABASE" \
		--listen "127.0.0.1:${PGFLOW_LIVE_PORT:-0}" "$@" 2>>"$PGFLOW_CLUSTER/live.log")
	pids+=($!)
	read -r live <&"$output" || { cat "$PGFLOW_CLUSTER/live.log" >&2; die "pgflow-live did not start"; }
	say "$live is process $!"
}

# Its page, which shows runs of these flows live, for whoever is on this machine: a visitor may see, start, cancel and
# retry them.
start_page() { # flow …
	local flow
	psql -qX -v ON_ERROR_STOP=1 -o /dev/null <<-'END'
		CREATE ROLE gateway LOGIN NOINHERIT;
		CREATE ROLE visitor;
		GRANT visitor TO gateway;
		INSERT INTO pgflow.gateway_roles VALUES ('gateway');
		SELECT pgflow.grant_access('visitor', 'operator'), pgflow.grant_access('visitor', 'client');
	END
	for flow; do
		psql -qX -v ON_ERROR_STOP=1 -v flow="$flow" -o /dev/null \
			<<<"SELECT pgflow.set_realtime(:'flow'), pgflow.grant_run(:'flow', 'visitor')"
	done
	start_live --anon-role visitor
	# shellcheck disable=SC2034  # it is for the example
	page=$live
}

# Leaves it running when the example ends.
keep_server() { PGFLOW_CLUSTER=; }
