#!/bin/sh
# Installs what the tests need beside Python packages: PostgreSQL 15 (oracle, psql, pgbench),
# Node.js (for node-postgres and axe-core) and Chromium (for the console). Does nothing where they
# are already there.
set -eu

SUDO=""
[ "$(id -u)" = 0 ] || SUDO="sudo"

missing=""
[ -x /usr/lib/postgresql/15/bin/initdb ] || missing="$missing postgresql-15"
command -v psql >/dev/null || missing="$missing postgresql-client-15"
command -v node >/dev/null || missing="$missing nodejs"
command -v npm >/dev/null || missing="$missing npm"
[ -x /usr/bin/chromium ] || missing="$missing chromium"
if [ -n "$missing" ]; then
    $SUDO apt-get update -q
    # shellcheck disable=SC2086 # a list of package names
    DEBIAN_FRONTEND=noninteractive $SUDO apt-get install -q -y --no-install-recommends $missing
fi

here=$(dirname "$0")
for package in clients/node_modules/pg console/node_modules/axe-core; do
    if [ ! -d "$here/$package" ]; then
        (cd "$here/${package%%/*}" && npm ci --silent --no-audit --no-fund)
    fi
done
