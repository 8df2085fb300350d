"""A role for tests of the supervisor: does what its settings file says.

{"behaviour": "serve" | "die" | "hang" | "deaf", "trace": FILE}
"""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path)
    parser.add_argument("--ready-fd", type=int)
    options = parser.parse_args()
    settings = json.loads(options.config.read_text())
    name, behaviour = options.config.stem, settings["behaviour"]

    def note(event: str) -> None:
        with Path(settings["trace"]).open("a") as trace:
            trace.write(f"{name} {event}\n")

    def on_term(_number: int, _frame: object) -> None:
        note("ended")
        sys.exit(0)

    if behaviour == "die":
        print("I have no reason to live", file=sys.stderr)
        sys.exit(3)
    note("started")
    signal.signal(signal.SIGTERM, signal.SIG_IGN if behaviour == "deaf" else on_term)
    if behaviour != "hang":
        os.write(options.ready_fd, json.dumps({"name": name}).encode() + b"\n")
        os.close(options.ready_fd)
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main()
