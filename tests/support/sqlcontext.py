"""A session's function context for tests that call types and functions directly."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class StubContext:
    """Fixed settings and clocks."""

    date_style: str = "ISO, MDY"
    interval_style: str = "postgres"
    time_zone: str = "America/New_York"
    extra_float_digits: int = 1
    bytea_output: str = "hex"
    current_user: str = "alice"
    session_user: str = "alice"
    current_database: str = "shop"
    backend_pid: int = 42
    catalog: Any = None
    statement_costs: Any = None
    notifications: Any = None
    advisory: Any = None
    export_snapshot: Any = None
    sequences: Any = None
    warn: Any = None
    settings: dict[str, str] = field(default_factory=dict)
    micros: int = 700_000_000_000_000

    def now_micros(self) -> int:
        return self.micros

    def statement_micros(self) -> int:
        return self.micros

    def clock_micros(self) -> int:
        return self.micros

    def setting(self, name: str) -> str | None:
        return self.settings.get(name)

    def set_setting(self, name: str, value: str, *, local: bool) -> None:
        self.settings[name] = value

    def search_path(self) -> Sequence[str]:
        return ("pg_catalog", "public")
