#!/bin/sh
# Installs what the tests need beside Python packages: PostgreSQL 15 (oracle, psql, pgbench) and
# Node.js (for node-postgres). Does nothing where they are already there.
set -eu

SUDO=""
[ "$(id -u)" = 0 ] || SUDO="sudo"

missing=""
[ -x /usr/lib/postgresql/15/bin/initdb ] || missing="$missing postgresql-15"
command -v psql >/dev/null || missing="$missing postgresql-client-15"
command -v node >/dev/null || missing="$missing nodejs"
command -v npm >/dev/null || missing="$missing npm"
if [ -n "$missing" ]; then
    $SUDO apt-get update -q
    # shellcheck disable=SC2086 # a list of package names
    DEBIAN_FRONTEND=noninteractive $SUDO apt-get install -q -y --no-install-recommends $missing
fi

here=$(dirname "$0")
if [ ! -d "$here/clients/node_modules/pg" ]; then
    (cd "$here/clients" && npm ci --silent --no-audit --no-fund)
fi
