"""A session without a pod is taken up by one: after a move, a pod's death, or a time in the park.

    state ─▶ a pod of the tenant (woken if there is none) ─▶ startup + resume ─▶ attach
                 ▲                                               │
                 └──── cannot be reached, or 57P01, 57P03 ───────┘     any other error: the client's

Nothing is lost by trying: until a pod has said that it is ready, the state is here. Only if several
pods in a row die over it the session is given up, lest it takes down one after the other.
"""

import asyncio
import logging
from typing import TYPE_CHECKING

from dormouse.base import logs
from dormouse.base.errors import DormouseError
from proxy import errors, metrics
from proxy.dialer import Dialer, Seat
from proxy.login import ResumeRefused
from proxy.phase import Phase

if TYPE_CHECKING:
    from proxy.session import Session

_log = logging.getLogger(__name__)


async def resume(session: "Session", sealed: bytes, *, spare: Seat | None = None) -> bool:
    """Have the session taken up; if nobody will, end it and tell its client. False: it has ended.

    `spare` is a connection to a pod that waits for it.
    """
    transfer = session.transfer
    cause = "move" if transfer is None else transfer.cause
    with logs.bound(session=session.name, tenant=session.tenant):
        outcome = await _resume(session, sealed, spare)
        metrics.RESUMES.labels(cause, outcome).inc()
        _log.info(
            "session resumed", extra={"why": cause, "outcome": outcome, "pod": session.pod_id}
        )
    return outcome == "taken_up"


async def _resume(session: "Session", sealed: bytes, spare: Seat | None) -> str:
    dialer = Dialer(session.door, session.tenant, session.link)
    try:
        async with asyncio.timeout(session.door.limits.resume_timeout):
            while session.phase is Phase.RESUMING:
                address, pod = await dialer.resume(session.user, sealed, spare=spare)
                if session.attach(address, pod):
                    return "taken_up"
                pod.close()
                spare = None
                if pod.lost:
                    dialer.lose()
    except ResumeRefused as refused:
        session.shut_down(refused.answer)
        return "refused"
    except DormouseError as error:
        session.shut_down(errors.packet(error))
        return "unavailable"
    except TimeoutError:
        session.shut_down(errors.packet(dialer.failure))
        return "unavailable"
    except BaseException:
        session.shut_down(errors.POD_GONE)
        raise
    return "client_gone"
