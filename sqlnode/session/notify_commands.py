"""LISTEN, UNLISTEN and NOTIFY."""

from typing import TYPE_CHECKING

from sqlnode.session.portal import Portal
from sqlnode.session.utility import Answer, CopyStates

if TYPE_CHECKING:
    from sqlnode.session.session import Session


async def listen(session: "Session", portal: Portal, _states: CopyStates) -> Answer:
    """LISTEN."""
    session.notifications.listen(portal.planned.raw.node.conditionname)
    return Answer("LISTEN")


async def unlisten(session: "Session", portal: Portal, _states: CopyStates) -> Answer:
    """UNLISTEN, UNLISTEN *."""
    channel = portal.planned.raw.node.conditionname
    if channel:
        session.notifications.unlisten(channel)
    else:
        session.notifications.unlisten_all()
    return Answer("UNLISTEN")


async def notify(session: "Session", portal: Portal, _states: CopyStates) -> Answer:
    """NOTIFY. Raises SqlError 22023, 54000."""
    node = portal.planned.raw.node
    session.notifications.notify(node.conditionname, node.payload)
    return Answer("NOTIFY")
