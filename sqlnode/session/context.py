"""What functions and type codecs see of a session: settings as attributes, names, times."""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from dormouse.base.clock import Clock
from sqlnode.session.settings import Settings

if TYPE_CHECKING:
    from sqlnode.catalog.catalog import Catalog
    from sqlnode.kv.advisory import AdvisoryLocks
    from sqlnode.kv.sequences import SessionSequences
    from sqlnode.session.notifications import Notifications
    from sqlnode.statements.costs import StatementCosts

EPOCH_MICROS = 946_684_800_000_000
"""2000-01-01 UTC since 1970-01-01 UTC."""
_NAME = re.compile(r'\s*("(?:[^"]|"")*"|[^",]+?)\s*(?:,|$)')


def split_names(text: str) -> list[str]:
    """The names of a comma-separated list such as search_path; unquoted ones in lower case."""
    names = []
    for match in _NAME.finditer(text):
        word = match[1]
        quoted = word.startswith('"')
        names.append(word[1:-1].replace('""', '"') if quoted else word.lower())
    return names


class SessionContext:
    """A `sqlnode.functions.base.FunctionContext`."""

    def __init__(
        self,
        settings: Settings,
        catalog: "Catalog",
        clock: Clock,
        *,
        user: str,
        database: str,
        pid: int,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._generation = -1
        self.current_user = user
        self.session_user = user
        self.current_database = database
        self.backend_pid = pid
        self.statement_costs: StatementCosts | None = None
        self.notifications: Notifications | None = None
        self.advisory: AdvisoryLocks | None = None
        self.export_snapshot: Callable[[], Awaitable[str]] | None = None
        self.sequences: SessionSequences | None = None
        self.warn: Callable[[str, str], None] | None = None
        self._catalog = catalog
        self._transaction_micros = 0
        self._statement_micros = 0
        self._search_path: tuple[str, ...] | None = None
        self.date_style = self.interval_style = self.time_zone = self.bytea_output = ""
        self.extra_float_digits = 1
        self.refresh()

    @property
    def catalog(self) -> "Catalog":
        """The catalog the current statement sees."""
        return self._catalog

    @catalog.setter
    def catalog(self, catalog: "Catalog") -> None:
        if catalog is not self._catalog:
            self._catalog = catalog
            self._search_path = None

    def refresh(self) -> None:
        """Take over changed settings; cheap where none has changed."""
        settings = self._settings
        if settings.generation == self._generation:
            return
        self._generation = settings.generation
        self.date_style = settings["DateStyle"]
        self.interval_style = settings["IntervalStyle"]
        self.time_zone = settings["TimeZone"]
        self.bytea_output = settings["bytea_output"]
        self.extra_float_digits = int(settings["extra_float_digits"])
        self._search_path = None

    def start_transaction(self) -> None:
        """The transaction's time is now."""
        self._transaction_micros = self._statement_micros or self.clock_micros()

    def start_statement(self) -> None:
        """The statement's time is now."""
        self._statement_micros = self.clock_micros()

    def now_micros(self) -> int:
        """See FormatSettings."""
        return self._transaction_micros or self.clock_micros()

    def statement_micros(self) -> int:
        """See FunctionContext."""
        return self._statement_micros

    def clock_micros(self) -> int:
        """See FunctionContext."""
        return self._clock.wall_ns() // 1000 - EPOCH_MICROS

    def setting(self, name: str) -> str | None:
        """See FunctionContext."""
        return self._settings.get(name)

    def set_setting(self, name: str, value: str, *, local: bool) -> None:
        """See FunctionContext. Raises SqlError."""
        self._settings.set(name, value, local=local)
        self.refresh()

    def search_path(self) -> Sequence[str]:
        """See FunctionContext."""
        if self._search_path is None:
            self._search_path = self._effective_path()
        return self._search_path

    def _effective_path(self) -> tuple[str, ...]:
        wanted = [
            self.current_user if name == "$user" else name
            for name in split_names(self._settings["search_path"])
        ]
        schemas = self._catalog.schemas
        names = [name for name in dict.fromkeys(wanted) if name in schemas]
        return tuple(names if "pg_catalog" in names else ["pg_catalog", *names])

    def analysis_key(self) -> object:
        """Whatever analysis depends on besides the catalog, where it says so itself."""
        return self.search_path()
