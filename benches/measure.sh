# shellcheck shell=bash
# Sourced by the pieces of the benchmark, after scripts/env.sh and with their arguments: `. measure.sh "$@"`. Every piece is called as
#
#   benches/PIECE ROUNDS OUTFILE
#
# against the server that PGHOST and so on name, as a superuser of it. It measures its lines ROUNDS times, interleaved,
# in databases of its own, and adds to OUTFILE lines of tab-separated values: section, label, measure, value. The
# environment may say SCALE (100), a percentage of the work to do.
# shellcheck disable=SC2034,SC2154  # variables for whoever sources this, and of scripts/env.sh

here=$root/benches
rounds=${1:-} out=${2:-} scale=${SCALE:-100}
[[ $rounds =~ ^[1-9][0-9]{0,3}$ && -n $out ]] || die "usage: ${0##*/} ROUNDS OUTFILE"
[[ $scale =~ ^[1-9][0-9]{0,3}$ ]] || die "not a percentage: $scale"
: >>"$out"

work=$(mktemp -d)
prefix=pgflow_bench_$$
# Notices of the server would be taken for errors of pgbench.
export PGOPTIONS='-c client_min_messages=warning'

sql() { psql -qXAt -v ON_ERROR_STOP=1 "$@"; }

finish() {
	status=$?
	trap '' INT TERM HUP
	trap - EXIT
	# shellcheck disable=SC2046  # the children, if there are any
	[ -z "$(jobs -p)" ] || kill $(jobs -p) 2>/dev/null || true
	sql -d postgres -c "SELECT format('DROP DATABASE IF EXISTS %I WITH (FORCE);', datname) FROM pg_database
		WHERE starts_with(datname, '${prefix}_')" | sql -d postgres || true
	rm -rf "$work"
	exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# The postmaster is the parent of every backend; none of this machine's where the server is on another.
postmaster=$(sql -d postgres <<-'END'
	SELECT pg_backend_pid() AS pid \gset
	\setenv pid :pid
	\! awk '$2 ~ /postgres/ { print $4 }' /proc/$pid/stat 2>/dev/null
END
)
tick=$((1000000 / $(getconf CLK_TCK)))

# SCALE percent of an amount of work, and at least one.
share() { echo $((($1 * scale + 99) / 100)); }

# 1234567 → 1,234,567
grouped() { sed -E ':again; s/^([0-9]+)([0-9]{3})/\1,\2/; t again' <<<"$1"; }

sql -d postgres -c "CREATE DATABASE ${prefix}_template"
PGDATABASE=${prefix}_template sql -c 'CREATE EXTENSION pgflow' -f "$here/flows.sql" >/dev/null

# Makes a database with pgflow and the flows in it, and goes there. Argument: its name (bench), for those that are kept.
# shellcheck disable=SC2120  # most need no other name
fresh() {
	export PGDATABASE=${prefix}_${1:-bench}
	sql -d postgres -c "DROP DATABASE IF EXISTS $PGDATABASE WITH (FORCE)" -c "CREATE DATABASE $PGDATABASE TEMPLATE ${prefix}_template"
}

# Starts runs. Arguments: flow, how many.
enqueue() {
	sql -v flow="$1" -v runs="$2" >/dev/null <<-'END'
		SELECT count(*) FROM generate_series(1, :runs, 1000) first, LATERAL pgflow.run_flows(:'flow',
		  ARRAY(SELECT '{"n": 1}'::jsonb FROM generate_series(first, least(first + 999, :runs)))) run_id;
	END
}

# A measurement begins with nothing to flush and, where there is a queue, nothing to vacuum.
settle_down() { sql -c 'VACUUM (ANALYZE) pgflow.live_tasks' -c CHECKPOINT; }

# Waits until the other sessions have ended and so have reported what they did.
alone_again() {
	until [ "$(sql -c "SELECT count(*) FROM pg_stat_activity
		WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()")" = 0 ]; do
		sleep 0.01
	done
	sleep 0.1 # and until the postmaster has buried them
}

# The processor time of the server's processes that have ended, in microseconds.
server_cpu() { awk -v tick="$tick" '{ printf "%.0f\n", ($16 + $17) * tick }' "/proc/$postmaster/stat" 2>/dev/null || echo 0; }

# Fails if pgbench met errors. A client that finds nothing left ends itself with a division by zero: pgbench has no
# other way to stop in time.
examine() {
	if grep -v -e 'division by zero$' -e 'aborted in command .* (set) of script 0' -e 'Run was aborted' -e '^progress: ' \
		"$work/errors" >"$work/faults" || ! grep -q '^tps' "$work/report"; then
		head -n 5 "$work/faults" >&2
		die "pgbench met errors"
	fi
}

# Runs pgbench. Sets seconds (without connecting), and cpu, the microseconds of the server's sessions.
run_pgbench() {
	local before
	before=$(server_cpu)
	timeout 3600 pgbench -n -M prepared -D results='[]' "$@" >"$work/report" 2>"$work/errors" || true
	examine
	alone_again
	cpu=$(($(server_cpu) - before))
	seconds=$(awk '
		/^number of transactions actually processed/ { split($NF, done, "/") }
		/^tps/ { print done[1] / $3 }' "$work/report")
}

# Workers that work a queue off. Arguments: queue, clients, batch.
drain() { run_pgbench -c "$2" -t 10000000 -f "$here/work.pgbench" -D queue="$1" -D batch="$3"; }

# One worker that starts work whenever there is none left, so many times. Arguments: queue, batch, times, statement.
alternate() {
	local script
	script=$(<"$here/alone.pgbench")
	printf '%s\n' "${script//START;/"$4;"}" >"$work/alone.pgbench"
	run_pgbench -c 1 -t 10000000 -f "$work/alone.pgbench" -D queue="$1" -D batch="$2" -D left="$3"
}

# Fails unless there are so many runs and all are completed.
all_completed() {
	local found
	found=$(sql -F ' ' -c "SELECT count(*), count(*) FILTER (WHERE status <> 'completed') FROM pgflow.runs")
	[ "$found" = "$1 0" ] || die "runs, and those not completed: $found, and not $1 0"
}

# Fails if the engine's invariants do not hold.
intact() {
	local problems
	problems=$(sql -c 'SELECT count(*) FROM pgflow.check_integrity()')
	[ "$problems" = 0 ] || die "check_integrity() found $problems problems"
}

# Arguments: section, label, measure, value.
note() { (IFS=$'\t' && printf '%s\n' "$*") >>"$out"; }

# Notes the rate and the processor time of so many tasks or steps. Arguments: section, label, how many.
record() {
	local rate each
	rate=$(awk "BEGIN { print $3 / $seconds }")
	each=$(awk "BEGIN { print $cpu / $3 }")
	note "$1" "$2" rate "$rate"
	[ "$cpu" = 0 ] || note "$1" "$2" cpu "$each"
	printf '  %-60s %9.0f/s %8.1f µs of processor time\n' "$1, $2" "$rate" "$each" >&2
}
