"""`dormouse top`: the tenants that are awake, as they are just now, again and again.

A thread asks the gateway, at its own pace and with its own patience, so that a gateway that hangs
does not make the keys hang. On a terminal the main thread draws; into a pipe or a file every
answer is written below the last one, or with --json as a line of its own.
"""

import argparse
import json
import sys
import threading
from collections.abc import Callable
from typing import Any

from dormouse.base.clock import Clock, SystemClock
from dormouse.cli import live
from dormouse.cli.client import Client
from dormouse.cli.folder import CommandError
from dormouse.cli.live import Snapshot, View
from dormouse.cli.output import plain, print_json
from dormouse.cli.tenants import target_of
from dormouse.cli.terminal import ENDED, Terminal, is_fit

_PATIENCE_SECONDS = 10.0
_Ask = Callable[[str], dict[str, Any]]


def run(options: argparse.Namespace) -> int:
    """Show until the person quits; with --once a single time. The exit code."""
    where = target_of(options).api  # a wrong folder is said before anything is drawn

    def ask(sort: str) -> dict[str, Any]:
        # Found anew each time: a gateway that comes back may have another port.
        client = Client(target_of(options), timeout_seconds=_PATIENCE_SECONDS)
        return client.live(sort=sort)

    if options.once:
        document = ask("cpu")
        print_json(document) if options.json else print(live.report(document))
        return 0
    if options.json or not is_fit():
        _print_on(ask, options)
    else:
        _draw_on(ask, f"dormouse top   {where}   every {options.interval:g} s", options.interval)
    return 0


class Poller:
    """Asks every `interval_seconds`, and at once when the order changes; remembers the last answer.

    `wake` is called whenever there is something new to show.
    """

    def __init__(
        self, ask: _Ask, *, interval_seconds: float, clock: Clock, wake: Callable[[], None]
    ) -> None:
        self._ask = ask
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._wake = wake
        self._sort = View().sort
        self._document: dict[str, Any] | None = None
        self._heard = 0.0
        self._problem = ""
        self._at_once = threading.Event()
        self._ending = False
        # A thread that waits for a gateway must not keep the command from ending.
        self._thread = threading.Thread(target=self._run, name="poll", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def end(self) -> None:
        """Ask no more; an answer that is awaited is thrown away."""
        self._ending = True
        self._at_once.set()

    def sort_by(self, sort: str) -> None:
        """Ask for this order from now on, and now."""
        if sort != self._sort:
            self._sort = sort
            self._at_once.set()

    def snapshot(self) -> Snapshot:
        """What is known just now."""
        return Snapshot(self._document, self._problem, self._clock.monotonic() - self._heard)

    def _run(self) -> None:
        while not self._ending:
            self._at_once.clear()
            try:
                document = self._ask(self._sort)
                self._heard = self._clock.monotonic()
                self._document, self._problem = document, ""
            except CommandError as error:
                self._problem = plain(error.message)
            if not self._ending:
                self._wake()
                self._at_once.wait(self._interval_seconds)


def _draw_on(ask: _Ask, title: str, interval_seconds: float) -> None:
    """Draw on the terminal until the person quits."""
    with Terminal() as terminal:
        poller = Poller(
            ask, interval_seconds=interval_seconds, clock=SystemClock(), wake=terminal.wake
        )
        poller.start()
        view: View | None = View()
        try:
            while view is not None:
                columns, lines = terminal.size()
                snapshot = poller.snapshot()
                drawn = live.screen(snapshot, view, title=title, columns=columns, lines=lines)
                terminal.draw(drawn)
                # Woken by every answer; the age of an old one is to grow in between.
                keys = terminal.wait(1.0 if snapshot.problem else None)
                view = _after(view, keys, snapshot, lines)
                if view is not None:
                    poller.sort_by(view.sort)
        finally:
            poller.end()


def _after(view: View, keys: list[str], snapshot: Snapshot, lines: int) -> View | None:
    """The view after some keys; None: quit."""
    rows = len(snapshot.document["tenants"]) if snapshot.document is not None else 0
    for key in keys:
        after = None if key == ENDED else live.pressed(view, key, rows=rows, lines=lines)
        if after is None:
            return None
        view = after
    return view


def _print_on(ask: _Ask, options: argparse.Namespace) -> None:
    """Write every answer below the last one, until Ctrl-C or until nobody reads."""
    pause = threading.Event()
    problem = ""
    while True:
        try:
            document = ask(View().sort)
            problem = ""
            text = json.dumps(document) if options.json else live.report(document) + "\n"
            print(text, flush=True)
        except CommandError as error:
            if error.message != problem:  # once is enough
                problem = error.message
                print(f"dormouse: {plain(problem)}; trying again", file=sys.stderr, flush=True)
        pause.wait(options.interval)
