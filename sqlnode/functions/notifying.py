"""pg_notify and its relatives."""

from sqlnode.functions.base import FunctionContext
from sqlnode.functions.family import Family

FAMILY = Family()


@FAMILY.function("pg_notify", needs_context=True)
def notify(context: FunctionContext, channel: str | None, payload: str | None) -> str:
    """pg_notify(channel, payload); 22023, 54000."""
    context.notifications.notify(channel or "", payload or "")
    return ""


@FAMILY.function("pg_listening_channels", needs_context=True)
def listening_channels(context: FunctionContext) -> list[str]:
    """What the session listens to; a LISTEN of the transaction that runs does not count yet."""
    return list(context.notifications.listening)


@FAMILY.function("pg_notification_queue_usage", needs_context=True)
def queue_usage(context: FunctionContext) -> float:
    """How full the session's queue is, from 0 to 1."""
    usage: float = context.notifications.usage
    return usage
