"""A gateway for a test: `dormouse up` in a folder of its own, and its logs read afterwards.

    def test_rows_survive(tmp_path: Path) -> None:
        with gateway(tmp_path) as running:
            tenant = running.create_tenant("shop")
            with psycopg.connect(tenant["connection_url"]) as connection: ...
            running.kill_role("storage")

A test that passes while a role logs an error has not passed: every error line that the test does
not expect (`allowed`, patterns searched in the line) fails it.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.gateway import OwnGateway, own_gateway

_ROLE_DIED = r"role \w+ died"
"""What the supervisor logs of a role that a test kills."""


@contextmanager
def gateway(
    folder: Path,
    *,
    idle_timeout: float = 300.0,
    warm_pods: int = 2,
    arguments: Sequence[str] = (),
    allowed: Sequence[str] = (_ROLE_DIED,),
    environment: Mapping[str, str] | None = None,
) -> Iterator[OwnGateway]:
    """Start a gateway in `folder`; ends it, expects exit code 0, and reads the logs."""
    with own_gateway(
        folder / "gateway",
        idle_timeout=idle_timeout,
        warm_pods=warm_pods,
        arguments=arguments,
        environment=environment,
    ) as running:
        yield running
        code = running.stop()
        if code != 0:
            raise AssertionError(f"`dormouse up` ended with exit code {code}")
    unexpected = list(error_lines(running.folder / "logs", allowed))
    if unexpected:
        raise AssertionError("errors in the logs:\n" + "\n".join(unexpected[:20]))


def error_lines(logs: Path, allowed: Sequence[str] = ()) -> Iterator[str]:
    """Error lines of all roles that match none of `allowed`, with their file."""
    patterns = [re.compile(each) for each in allowed]
    for file in sorted(logs.glob("*.log*")):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            if _is_error(line) and not any(each.search(line) for each in patterns):
                yield f"{file.name}: {line}"


def _is_error(line: str) -> bool:
    try:
        document = json.loads(line)
    except ValueError:
        # Only a crash, or a library behind our back, writes anything else.
        return bool(line.strip())
    return isinstance(document, dict) and document.get("level") in ("error", "critical")
