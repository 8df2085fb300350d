"""Advisory locks: pg_advisory_lock and its relatives, for a bigint or two integers."""

from collections.abc import Callable

from sqlnode.bridge import wait
from sqlnode.functions.base import FunctionContext
from sqlnode.functions.family import Family
from sqlnode.kv.advisory import EXCLUSIVE, SHARED, Key, big_key, pair_key

FAMILY = Family()
_KEYS: dict[str, Callable[..., Key]] = {"int8": big_key, "int4": pair_key}
_MODES = {"lock": EXCLUSIVE, "lock_shared": SHARED}


def _define(kind: str, suffix: str, mode: int, make: Callable[..., Key]) -> None:
    lasts = kind == ""

    @FAMILY.function(f"pg_advisory_{kind}{suffix}", needs_context=True, waits=True)
    def lock(context: FunctionContext, *numbers: int) -> str:
        key = make(*numbers)
        wait(context.advisory.lock(key, mode, wait=True, lasts=lasts))
        return ""

    @FAMILY.function(f"pg_try_advisory_{kind}{suffix}", needs_context=True, waits=True)
    def try_lock(context: FunctionContext, *numbers: int) -> bool:
        key = make(*numbers)
        return bool(wait(context.advisory.lock(key, mode, wait=False, lasts=lasts)))


def _define_unlock(suffix: str, mode: int, make: Callable[..., Key]) -> None:
    @FAMILY.function(f"pg_advisory_un{suffix}", needs_context=True)
    def unlock(context: FunctionContext, *numbers: int) -> bool:
        warning = context.advisory.unlock(make(*numbers), mode)
        if warning:
            context.warn("01000", warning)
        return not warning


for _type, _make in _KEYS.items():
    for _verb, _mode in _MODES.items():
        for _kind in ("", "xact_"):
            _define(_kind, f"{_verb}_{_type}", _mode, _make)
        _define_unlock(f"{_verb}_{_type}", _mode, _make)


@FAMILY.function("pg_advisory_unlock_all", needs_context=True)
def unlock_all(context: FunctionContext) -> str:
    """pg_advisory_unlock_all()."""
    context.advisory.unlock_all()
    return ""
