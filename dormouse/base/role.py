"""How a role runs: settings from a file, uvloop, JSON logs, a ready line, an end on SIGTERM.

The parent learns that a role answers, and where, from one JSON line the role writes to the file
descriptor named by `--ready-fd`, after which the role closes it.
"""

import argparse
import asyncio
import json
import logging
import os
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from dormouse.base import config, logs

T = TypeVar("T")
Ready = dict[str, Any]
"""What a role tells its parent once it answers: at least its addresses."""

_log = logging.getLogger(__name__)


def run(name: str, kind: type[T], serve: Callable[[T], AbstractAsyncContextManager[Ready]]) -> None:
    """Run the role `name` until SIGTERM or SIGINT.

    `serve(settings)` is an async context manager: entering it brings the role up and yields what
    to report; leaving it ends the role in order.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {name}")
    parser.add_argument("--config", type=Path, required=True, help="settings, a JSON file")
    parser.add_argument("--ready-fd", type=int, help="write one JSON line here when answering")
    arguments = parser.parse_args()
    settings = config.load(kind, arguments.config)
    logs.configure(name, os.environ.get("DORMOUSE_LOG_LEVEL", "info"))
    uvloop.run(_until_signal(name, serve(settings), arguments.ready_fd))


async def _until_signal(
    name: str, service: AbstractAsyncContextManager[Ready], ready_fd: int | None
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with service as ready:
        if ready_fd is not None:
            os.write(ready_fd, json.dumps(ready).encode() + b"\n")
            os.close(ready_fd)
        _log.info("ready", extra={"ready": ready})
        await stop.wait()
        _log.info("ending")
    _log.info("ended")
