"""The rehearsal before the first fork runs whole, and leaves nothing that a fork would break."""

import asyncio
import logging
import subprocess
import sys
import threading
from pathlib import Path

from dormouse.base.tasks import cancel, spawn
from dormouse.base.tls import Identity, Role
from sqlnode.config import PodSettings
from sqlnode.rehearsal import rehearse, rehearse_briefly, script
from tests.support.certificates import Authority


def test_every_statement_of_the_script_succeeds(tmp_path: Path) -> None:
    Authority().write(tmp_path, Identity(role=Role.POD))
    open_before = set(Path("/proc/self/fd").iterdir())
    threads_before = threading.active_count()
    assert rehearse(PodSettings(certs=tmp_path)) == []
    assert set(Path("/proc/self/fd").iterdir()) <= open_before
    assert threading.active_count() <= threads_before
    assert len(script()) > 30


def test_the_brief_one_succeeds_and_logs_as_before(tmp_path: Path) -> None:
    Authority().write(tmp_path, Identity(role=Role.POD))
    assert asyncio.run(rehearse_briefly(PodSettings(certs=tmp_path))) == []
    assert logging.root.manager.disable == 0


def test_it_can_be_broken_off_anywhere(tmp_path: Path) -> None:
    Authority().write(tmp_path, Identity(role=Role.POD))

    async def body() -> None:
        for turns in range(0, 40, 3):
            rehearsal = spawn(rehearse_briefly(PodSettings(certs=tmp_path)), name="rehearsal")
            for _ in range(turns):
                await asyncio.sleep(0)
            await cancel(rehearsal)
            assert logging.root.manager.disable == 0
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(body())


def test_a_statement_that_fails_is_said(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from sqlnode import rehearsal; from sqlnode.config import *;"
        "rehearsal.script = lambda: ['SELECT 1', 'SELECT nonsense'];"
        "print(rehearsal.rehearse(PodSettings(certs=pathlib.Path(sys.argv[1]))))"
    )
    Authority().write(tmp_path, Identity(role=Role.POD))
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert 'column "nonsense" does not exist' in done.stdout


def test_forks_of_a_process_that_has_made_a_key_make_keys_of_their_own() -> None:
    program = """
import os
from sqlnode.podservice import make_key

children = [pid for _ in range(4) if (pid := os.fork())] if make_key() else []
os.write(1, b"%d\\n" % make_key().private_numbers().private_value)
for child in children:
    os.waitpid(child, 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    keys = done.stdout.split()
    assert len(keys) == len(set(keys)) == 2**4
