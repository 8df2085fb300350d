"""Where a running supervisor is asked for something: a Unix socket in its own folder.

    ▶ {"command": "upgrade", "roles": ["proxy"], "storage": false}
    ◀ {"event": "rolling", "role": "proxy", ...}
    ◀ {"event": "rolled", "role": "proxy", ...}
    ◀ {"event": "done", ...}                      or {"event": "failed", "reason": ...}

One JSON document a line, one command a connection. Whoever may open the socket (mode 0600, in a
folder of mode 0700) is the user that runs the gateway. What was begun goes on when the asker
leaves.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from dormouse.base.tasks import cancel, spawn
from dormouse.base.unixsocket import listen
from dormouse.cli.folder import CommandError
from dormouse.cli.rolling import LAST_EVENTS, Say, Upgrade, failed, roles_to_roll

LINE_BYTES_MAX = 64 << 10
_COMMAND_SECONDS_MAX = 5.0
_ASKERS_MAX = 8

_log = logging.getLogger(__name__)


class Door:
    """Takes commands for `upgrade`; opened by `serve`."""

    def __init__(self, upgrade: Upgrade) -> None:
        self._upgrade = upgrade
        self._answering: set[asyncio.Task[None]] = set()
        self._running: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Door askers={len(self._answering)} {self._upgrade}>"

    @contextlib.asynccontextmanager
    async def serve(self, path: Path) -> AsyncIterator[None]:
        """Listen at `path` inside the block."""
        server = await asyncio.start_unix_server(
            self._accept, sock=listen(path), limit=LINE_BYTES_MAX
        )
        try:
            yield
        finally:
            _remove(path)
            server.close()
            await cancel(*self._running)
            await asyncio.sleep(0)  # askers are told of the end of what they watched
            await cancel(*self._answering)

    def roll(self, roles: Sequence[str]) -> None:
        """Begin an upgrade that nobody watches; its steps are in the log."""
        self._begin(roles, lambda _line: None)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = spawn(self._answer(reader, writer), name="answer a command")
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if len(self._answering) > _ASKERS_MAX:
                raise CommandError("too many commands at a time")
            async with asyncio.timeout(_COMMAND_SECONDS_MAX):
                roles = _command(await reader.readline())
            await self._watched(roles, writer)
        except CommandError as error:
            with contextlib.suppress(OSError):
                await _send(writer, failed(None, error))
        except (OSError, ValueError, TimeoutError) as error:
            _log.warning("a command could not be taken", extra={"reason": repr(error)})
        finally:
            writer.close()

    async def _watched(self, roles: Sequence[str], writer: asyncio.StreamWriter) -> None:
        """Begin an upgrade and send what is said of it, to its end or that of the asker."""
        lines: asyncio.Queue[dict[str, Any]] = asyncio.Queue()  # two for each role, and the last
        self._begin(roles, lines.put_nowait)
        event = ""
        while event not in LAST_EVENTS:
            line = await lines.get()
            event = line["event"]
            await _send(writer, line)

    def _begin(self, roles: Sequence[str], say: Say) -> None:
        task = spawn(self._upgrade.run(roles, say), name="upgrade")
        self._running.add(task)
        task.add_done_callback(self._running.discard)


def _command(line: bytes) -> tuple[str, ...]:
    """The roles of an upgrade. Raises CommandError."""
    try:
        document = json.loads(line)
        if document["command"] != "upgrade":
            raise CommandError(f"there is no command {document['command']!r}")
        roles = [str(each) for each in document.get("roles", [])]
        return roles_to_roll(roles, storage=document.get("storage") is True)
    except (ValueError, KeyError, TypeError):
        raise CommandError("the command is not understood") from None


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


async def _send(writer: asyncio.StreamWriter, line: dict[str, Any]) -> None:
    writer.write(json.dumps(line).encode() + b"\n")
    await writer.drain()
