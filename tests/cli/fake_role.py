"""A role for tests of the supervisor: does what its settings file says.

{"behaviour": "serve" | "die" | "hang" | "deaf" | "drain" | "fail", "trace": FILE,
 "kv_protocol": NUMBER}

`drain` finishes its work after a SIGTERM: it ends when FILE.done is there. `fail` ends as soon as
it is let go, or at once where it is not held.
"""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path


class FakeRole:
    def __init__(self, options: argparse.Namespace) -> None:
        settings = json.loads(options.config.read_text())
        self.name = options.config.stem
        if options.generation is not None:
            self.name += f".{options.generation}"
        self.behaviour: str = settings["behaviour"]
        self.trace = Path(settings["trace"])
        self.kv_protocol: int = settings["kv_protocol"]
        self.ready_fd: int = options.ready_fd
        self.hold_fd: int | None = options.hold_fd

    def note(self, event: str) -> None:
        with self.trace.open("a") as trace:
            trace.write(f"{self.name} {event}\n")

    def run(self) -> None:
        if self.behaviour == "die":
            print("I have no reason to live", file=sys.stderr)
            sys.exit(3)
        if self.hold_fd is not None:
            self.note("stands by")
            os.write(self.ready_fd, b'{"standby": true}\n')
            if not os.read(self.hold_fd, 1):
                return
        if self.behaviour == "fail":
            sys.exit(4)
        self.note("started")
        deaf = self.behaviour == "deaf"
        signal.signal(signal.SIGTERM, signal.SIG_IGN if deaf else self.on_term)
        signal.signal(signal.SIGINT, signal.SIG_IGN if deaf else self.on_int)
        if self.behaviour != "hang":
            line = {"name": self.name, "version": "1", "kv_protocol": self.kv_protocol}
            os.write(self.ready_fd, json.dumps(line).encode() + b"\n")
            os.close(self.ready_fd)
        while True:
            time.sleep(60)

    def on_int(self, _number: int, _frame: object) -> None:
        self.note("ended")
        sys.exit(0)

    def on_term(self, number: int, frame: object) -> None:
        if self.behaviour == "drain":
            self.note("drains")
            while not Path(f"{self.trace}.done").exists():
                time.sleep(0.01)
        self.on_int(number, frame)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path)
    parser.add_argument("--ready-fd", type=int)
    parser.add_argument("--hold-fd", type=int)
    parser.add_argument("--generation", type=int)
    FakeRole(parser.parse_args()).run()


if __name__ == "__main__":
    main()
