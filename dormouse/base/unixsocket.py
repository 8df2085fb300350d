"""Unix sockets at paths of any length, for this user alone.

A socket's name holds about 100 bytes; a path through an open folder is always short.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def short_name(path: Path) -> Iterator[str]:
    """A short name of `path` that is good inside the block."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def listen(path: Path, *, backlog: int = 4) -> socket.socket:
    """A listening, non-blocking socket at `path`, of mode 0600, in the place of whatever was there.

    It has its name only once it listens, so that one that refuses has been left by the dead.
    """
    nascent = path.with_name(f"{path.name}.new")
    nascent.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    umask = os.umask(0o177)
    try:
        with short_name(nascent) as name:
            listener.bind(name)
        listener.setblocking(False)
        listener.listen(backlog)
        nascent.replace(path)
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(umask)
    return listener
