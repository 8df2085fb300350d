"""A pod host whose pods are toys: what it runs is chosen by a word on the command line.

python -m tests.sqlnode.toy_podhost SOCKET WORD [pods_max] [start_timeout] [stop_timeout]
"""

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc.aio
import uvloop

from dormouse.base import logs
from dormouse.base.clock import SystemClock
from dormouse.base.unixsocket import listen
from proto import pod_pb2, pod_pb2_grpc
from sqlnode.confinement import Confinement
from sqlnode.podhost_child import freeze
from sqlnode.podhost_loop import PodHost
from sqlnode.priority import OWN, may_return_from

NICE = 3
OOM_SCORE = 700

Report = Callable[[str], None]


def sleeper(report: Report) -> None:
    report(f"127.0.0.1:{os.getpid()}")
    signal.pause()


def stubborn(report: Report) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sleeper(report)


def slow(report: Report) -> None:
    time.sleep(0.3)
    sleeper(report)


def silent(_report: Report) -> None:
    time.sleep(60)


def failing(_report: Report) -> None:
    raise RuntimeError("a toy that breaks")


def quick(report: Report) -> None:
    report("127.0.0.1:1")


def curious(report: Report) -> None:
    """Reports what it has inherited: open descriptors, group leadership, a random number."""
    import random

    # The descriptor of the listing itself is closed again when its entry is looked at.
    inherited = sum(entry.exists() for entry in list(Path("/proc/self/fd").iterdir()))
    leads = int(os.getpgid(0) == os.getpid())
    report(f"{inherited}:{leads}:{random.random()}")
    signal.pause()


def nice(report: Report) -> None:
    """Reports how nice it is, threads and all, before and after its priority is given back."""
    begun, done = threading.Event(), threading.Event()

    def other() -> None:
        begun.set()
        done.wait()

    thread = threading.Thread(target=other)
    thread.start()
    begun.wait()
    before = _nice_values()
    OWN.restore()
    score = Path("/proc/self/oom_score_adj").read_text().strip()
    report(f"{before}:{_nice_values()}:{score}")
    done.set()
    signal.pause()


def _nice_values() -> str:
    threads = sorted(int(each.name) for each in Path("/proc/self/task").iterdir())
    return ",".join(str(os.getpriority(os.PRIO_PROCESS, each)) for each in threads)


class _Service(pod_pb2_grpc.PodServicer):
    async def Status(  # noqa: N802
        self,
        request: pod_pb2.StatusRequest,
        context: "grpc.aio.ServicerContext[pod_pb2.StatusRequest, pod_pb2.StatusReply]",
    ) -> pod_pb2.StatusReply:
        return pod_pb2.StatusReply(pod_id=os.getpid())

    async def Stamp(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise NotImplementedError

    Drain = TakeBack = SetOwner = Renew = Stamp


def grpc_pod(report: Report) -> None:
    async def body() -> None:
        server = grpc.aio.server()
        pod_pb2_grpc.add_PodServicer_to_server(_Service(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        report(f"127.0.0.1:{port}")
        ended = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
        await ended.wait()
        await server.stop(None)

    uvloop.run(body())


def main(path: str, word: str, *limits: str) -> None:
    logs.configure("podhost", "warning")
    pods_max, start, stop = (*limits, *("8", "10", "10")[len(limits) :])
    host = PodHost(
        listen(Path(path)),
        globals()[word],
        SystemClock(),
        Confinement(nice=NICE if may_return_from(NICE) else 0, oom_score=OOM_SCORE),
        generation=5,
        pods_max=int(pods_max),
        start_timeout_seconds=float(start),
        stop_timeout_seconds=float(stop),
    )
    freeze()
    host.serve(lambda: print("ready", flush=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
