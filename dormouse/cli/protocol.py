"""Whether the pods and the storage that an upgrade leaves will understand each other.

    running:    storage 1    pods 1         each has told it when it became ready
    installed:          2
    upgrade                 ──▶ storage 1, pods 2    refused: no pod would be served
    upgrade --storage       ──▶ storage 2, pods 2

Asked before anything is replaced: by the command, which is of the installed code already, and by
the supervisor, for an upgrade may also be asked for with a signal. The supervisor's own code may be
older than what is installed, so it has that one say which version it speaks:

    python -m dormouse.cli.protocol
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dormouse.cli.folder import CommandError
from proto import kv_pb2 as kv

INSTALLED = int(kv.PROTOCOL_VERSION)
"""The version of proto/kv.proto that this code speaks, on either side."""
_HINT = (
    "upgrade both, with `dormouse upgrade --storage`: for a moment statements wait, and some "
    "transactions fail with an error that says to retry them (40001); nothing has been restarted"
)


def check(running: Mapping[str, Any], roles: Sequence[str], *, installed: int) -> None:
    """Raises CommandError where pods and storage would speak different versions after `roles` have
    been replaced by code that speaks `installed`. `running`: what each role speaks, None where it
    does not say so, as versions up to 2 did not."""
    if not {"storage", "podhost"} & set(roles):
        return
    storage, pods = (
        installed if role in roles else running.get(role) for role in ("storage", "podhost")
    )
    if storage == pods:
        return
    if storage == installed:
        text = f"the installed storage speaks {_version(storage)}, the pods that run {_short(pods)}"
    else:
        text = f"the installed pods speak {_version(pods)}, the storage that runs {_short(storage)}"
    raise CommandError(f"{text}, so no database could be used", hint=_HINT)


def _version(version: int | None) -> str:
    return f"version {version} of the protocol between them"


def _short(version: int | None) -> str:
    return f"version {version}" if version is not None else "an older one"


if __name__ == "__main__":
    print(INSTALLED)
