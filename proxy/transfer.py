"""A session on its way from one pod to another, or to nowhere for a while."""

import asyncio

from pgwire.link import GivenAway, Purpose, Refused

Answer = GivenAway | Refused | None


class Transfer:
    """What a session needs only while it is moved, parked or resumed."""

    __slots__ = ("answer", "asked", "begun", "cause", "held", "patient", "purpose", "was_quiet")

    def __init__(self, purpose: Purpose, cause: str, begun: float) -> None:
        self.purpose = purpose
        self.cause = cause
        """Why, for metrics: move, park or recover."""
        self.begun = begun
        """Since when the client may have to wait (monotonic seconds)."""
        self.asked = False
        self.patient = True
        """Wait for a moment when the pod has nothing left to do."""
        self.was_quiet = False
        """The session was quiescent when the pod was asked."""
        self.held: list[bytes] = []
        """What the client has sent in the meantime."""
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        """The pod's; None if there is none to come, for the session has ended or has lost its pod.
        A pod that dies once it was asked counts as having given the session away."""

    def __repr__(self) -> str:
        return f"<Transfer {self.cause} asked={self.asked} held={len(self.held)}>"

    def settle(self, answer: Answer) -> None:
        """Tell whoever waits for it. Idempotent."""
        if not self.answer.done():
            self.answer.set_result(answer)
