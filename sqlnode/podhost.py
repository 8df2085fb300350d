"""The pod host: a process that has everything imported, of which pods are forked.

                 import, rehearse, freeze
    python ──────────────────────────────▶ host ──fork──▶ warm pod ──stamp──▶ tenant's pod
      1.5 s                                  │    ~10 ms
                                             └──fork──▶ warm pod         pages shared until written

A pod shares the host's pages until one of the two writes them. Python writes a reference count
whenever it looks at an object, and the garbage collector writes a header into every container it
visits: `gc.freeze` takes all that exists out of its sight, which keeps most pages shared.

The host must be fit to fork at any time: it runs one thread and owns no gRPC object and no event
loop (both keep threads and locks that would be broken in the child). Hence the selector loop and
the Unix socket of `proto/podhost.proto`.
"""

import argparse
import functools
import json
import logging
import os
from pathlib import Path

from dormouse.base import config, logs, version
from dormouse.base.clock import SystemClock
from dormouse.base.unixsocket import listen
from sqlnode.confinement import confinement
from sqlnode.podhost_child import freeze
from sqlnode.podhost_config import PodHostSettings
from sqlnode.podhost_link import socket_path
from sqlnode.podhost_loop import PodHost

_log = logging.getLogger(__name__)


def main() -> None:
    """Run the pod host until SIGTERM or SIGINT, or until it has retired and is empty."""
    parser = argparse.ArgumentParser(prog="python -m sqlnode.podhost")
    parser.add_argument("--config", type=Path, required=True, help="settings, a JSON file")
    parser.add_argument("--ready-fd", type=int, help="write one JSON line here when answering")
    parser.add_argument(
        "--generation", type=int, default=1, help="larger than that of every host before this one"
    )
    arguments = parser.parse_args()
    settings = config.load(PodHostSettings, arguments.config)
    logs.configure("podhost", os.environ.get("DORMOUSE_LOG_LEVEL", "info"))
    _serve(settings, arguments.generation, arguments.ready_fd)


def _serve(settings: PodHostSettings, generation: int, ready_fd: int | None) -> None:
    # Here, for they take half a second: a usage error answers at once.
    from proto import kv_pb2 as kv
    from sqlnode import pod
    from sqlnode.rehearsal import rehearse

    version.installed()  # of the code that was imported, not of what may replace it
    for failure in rehearse(settings.pod):
        _log.error("the rehearsal failed", extra={"reason": failure})
    path = socket_path(settings.sockets, generation)
    host = PodHost(
        listen(path),
        functools.partial(pod.run, settings.pod),
        SystemClock(),
        confinement(settings, os.getpid()),
        generation=generation,
        pods_max=settings.pods_max,
        start_timeout_seconds=settings.start_timeout_seconds,
        stop_timeout_seconds=settings.stop_timeout_seconds,
    )
    freeze()

    def ready() -> None:
        line = {
            "socket": str(path),
            "pid": os.getpid(),
            "generation": generation,
            "version": version.installed(),
            "kv_protocol": int(kv.PROTOCOL_VERSION),
        }
        if ready_fd is not None:
            os.write(ready_fd, json.dumps(line).encode() + b"\n")
            os.close(ready_fd)
        _log.info("ready", extra={"ready": line})

    host.serve(ready)
    path.unlink(missing_ok=True)
    _log.info("ended")


if __name__ == "__main__":
    main()
