#!/bin/sh
# Prints the folder that a run of the tests keeps its data in: memory where there is room, for a run
# syncs tens of thousands of times, and each costs a disk some milliseconds. What is tested of a
# disk is tested with faults of our own making, and kill -9 loses nothing that was written.
set -eu

MEMORY=/dev/shm
ROOM_KB=4194304 # a run has 1 GB in use at most

default=${TMPDIR:-/tmp}
if [ -n "${TMPDIR:-}" ] || ! [ -w "$MEMORY" ]; then
    echo "$default"
    exit
fi
room=$(df -Pk "$MEMORY" | awk 'NR == 2 { print $4 }')
free=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo)
# Containers often mount it so that nothing can be executed there, as some tests have to.
probe=$(mktemp "$MEMORY/probe.XXXXXX")
trap 'rm -f "$probe"' EXIT
printf '#!/bin/sh\n' >"$probe"
chmod +x "$probe"
if [ "$room" -ge "$ROOM_KB" ] && [ "$free" -ge $((2 * ROOM_KB)) ] && "$probe" 2>/dev/null; then
    echo "$MEMORY"
else
    echo "$default"
fi
