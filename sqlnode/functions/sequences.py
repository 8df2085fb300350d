"""nextval, currval, lastval, setval, and what they stand on."""

from sqlnode.bridge import wait
from sqlnode.errors import SqlError
from sqlnode.functions.base import FunctionContext
from sqlnode.functions.family import Family

FAMILY = Family()


@FAMILY.function("nextval_oid", needs_context=True, waits=True)
def nextval(context: FunctionContext, oid: int) -> int:
    """nextval(regclass); 2200H, 25006, 42809."""
    sequences = context.sequences
    ready: int | None = sequences.ready(oid)
    return int(wait(sequences.nextval(oid))) if ready is None else ready


@FAMILY.function("currval_oid", needs_context=True)
def currval(context: FunctionContext, oid: int) -> int:
    """currval(regclass); 55000, 42809."""
    return int(context.sequences.currval(oid))


@FAMILY.function("lastval", needs_context=True)
def lastval(context: FunctionContext) -> int:
    """lastval(); 55000."""
    return int(context.sequences.lastval())


@FAMILY.function("setval_oid", needs_context=True, waits=True)
def setval(context: FunctionContext, oid: int, value: int) -> int:
    """setval(regclass, bigint); 22003, 25006, 42809."""
    return setval_called(context, oid, value, True)


@FAMILY.function("setval3_oid", needs_context=True, waits=True)
def setval_called(context: FunctionContext, oid: int, value: int, is_called: bool) -> int:
    """setval(regclass, bigint, boolean)."""
    wait(context.sequences.setval(oid, value, is_called=is_called))
    return value


@FAMILY.function("pg_sequence_last_value", needs_context=True, waits=True)
def last_value(context: FunctionContext, oid: int) -> int | None:
    """What was given last, NULL where none was."""
    sequences = context.sequences
    value, _, is_called = wait(sequences.look(sequences.named(oid)))
    return int(value) if is_called else None


@FAMILY.function("pg_sequence_parameters", needs_context=True)
def parameters(context: FunctionContext, oid: int) -> tuple[int | bool, ...]:
    """start, minimum, maximum, increment, cycle, cache, type."""
    found = context.catalog.sequence_by_oid(oid)
    if found is None:
        raise SqlError("XX000", f"cache lookup failed for sequence {oid}")
    return (
        *(found.start, found.min, found.max, found.increment),
        *(found.cycle, found.cache, found.type),
    )
