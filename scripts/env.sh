# shellcheck shell=bash
# Sourced by the scripts and the test runners. Sets:
#   root         the checkout
#   cache        what is kept between runs: servers, tools, builds (PGFLOW_CACHE moves it)
#   server_user  who runs PostgreSQL, which refuses to run as root
# and defines say, die and as_server.
# shellcheck disable=SC2034  # the variables are for whoever sources this

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

if [ "$(id -u)" = 0 ]; then
	# Not under /root: the server's user must be able to read it.
	cache=${PGFLOW_CACHE:-/var/cache/pgflow}
	if id postgres >/dev/null 2>&1; then server_user=postgres; else server_user=nobody; fi
else
	cache=${PGFLOW_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/pgflow}
	server_user=$(id -un)
fi
# Node.js trusts the certificates that it brings along, and with this those that the administrator of the system trusts.
if [ -z "${NODE_EXTRA_CA_CERTS:-}" ] && [ -f /etc/ssl/certs/ca-certificates.crt ]; then
	export NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt
fi
umask 022
mkdir -p "$cache"

pgrx_version=0.18.1
tools=$cache/cargo-pgrx-$pgrx_version
PATH=$tools/bin:$PATH

say() { printf '%s\n' "$*" >&2; }

die() {
	say "${0##*/}: $*"
	exit 1
}

# Runs a command as the user who runs the servers, without what would change the server's messages
# (RUST_BACKTRACE adds backtraces to DETAIL) and without a home folder it may not read.
as_server() {
	if [ "$(id -u)" = 0 ]; then
		runuser -u "$server_user" -- env -u RUST_BACKTRACE HOME=/nonexistent "$@"
	else
		env -u RUST_BACKTRACE "$@"
	fi
}
