"""The settings of one session: what SET, SET LOCAL, RESET and transactions do to them.

Two maps say all: what the session has set, and what the open transaction has set for itself. Both
are replaced, never changed, so that a savepoint is a pair of references and a rollback puts them
back:

    effective = local, else session, else the start of the session (startup packet, stamp, default)

    SET x          session[x] = v, and no local x any more        COMMIT    local = {}
    SET LOCAL x    local[x] = v                                   ROLLBACK  both as at BEGIN
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from sqlnode.errors import SqlError
from sqlnode.session.guc import REPORTED, SETTINGS, Context, Setting
from sqlnode.session.guc_values import canonical, milliseconds

_CUSTOM = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)+")
CUSTOM_MAX = 1000
"""Custom settings (with a dot) of one session; one more is refused with 54000."""


@dataclass(frozen=True, slots=True)
class SettingsMark:
    """The settings at one moment, to go back to."""

    session: Mapping[str, str]
    local: Mapping[str, str]


def find(name: str) -> Setting | None:
    """The setting called `name`, in any case."""
    return SETTINGS.get(_ALIASES.get(name.lower(), name.lower()))


_ALIASES = {"time zone": "timezone"}
_FOLLOWS = {
    "transaction_isolation": "default_transaction_isolation",
    "transaction_read_only": "default_transaction_read_only",
    "transaction_deferrable": "default_transaction_deferrable",
}
"""Settings of the open transaction only, and what each new transaction starts with."""


def unrecognised(name: str) -> SqlError:
    """The error for a name that is no setting."""
    return SqlError("42704", f'unrecognized configuration parameter "{name}"')


class Settings:
    """The settings of one session. `generation` changes whenever a value may have."""

    def __init__(self, start: Mapping[str, str], *, internal: Mapping[str, str]) -> None:
        """`start` comes from the stamp and the startup packet and is checked; `internal` holds
        facts such as is_superuser. Raises SqlError where `start` does not stand the check."""
        self._start: dict[str, str] = dict(internal)
        self._session: Mapping[str, str] = {}
        self._local: dict[str, str] = {}
        self.generation = 0
        self.check_mode: Callable[[str, str], None] = lambda _name, _value: None
        """Called with a setting of the open transaction and what it is about to become. Raises
        SqlError."""
        for name, value in start.items():
            key, text = self._checked(name, value)
            self._start[key] = text

    @classmethod
    def resumed(
        cls, start: Mapping[str, str], changed: Mapping[str, str], *, internal: Mapping[str, str]
    ) -> "Settings":
        """The settings of a session that another pod has had: as `start` and `changed` gave them
        there, unchecked. A setting this version does not have is left out."""
        settings = cls({}, internal=internal)
        settings._start |= {name: value for name, value in start.items() if _is_name(name)}
        settings._session = {name: value for name, value in changed.items() if _is_name(name)}
        return settings

    def get(self, name: str) -> str | None:
        """The effective value of a setting, None if there is none of that name."""
        setting = find(name)
        key = setting.name if setting is not None else name.lower()
        for values in (self._local, self._session, self._start):
            if key in values:
                return values[key]
        if key in _FOLLOWS:
            return self.get(_FOLLOWS[key])
        return setting.default if setting is not None else None

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise unrecognised(name)
        return value

    def milliseconds(self, name: str) -> int:
        """The value of a time setting in milliseconds."""
        return milliseconds(self[name])

    def set(self, name: str, value: str, *, local: bool = False) -> None:
        """SET or SET LOCAL. Raises SqlError 42704, 22023, 55P02, 42501, 0A000."""
        key, text = self._checked(name, value)
        if key in _FOLLOWS:
            self.check_mode(key, text)
        self._keep_mode(key)
        if local or key in _FOLLOWS:
            self._local = {**self._local, key: text}
        else:
            self._session = {**self._session, key: text}
            self._local = {k: v for k, v in self._local.items() if k != key}
        self.generation += 1

    def reset(self, name: str, *, local: bool = False) -> None:
        """RESET, or SET … TO DEFAULT: back to what the session started with."""
        setting = find(name)
        if setting is None and not _CUSTOM.fullmatch(name):
            raise unrecognised(name)
        if setting is not None:
            _check_allowed(setting)
        key = setting.name if setting is not None else name.lower()
        self._keep_mode(key)
        if local:
            default = setting.default if setting is not None else ""
            self._local = {**self._local, key: self._start.get(key, default)}
        else:
            self._session = {k: v for k, v in self._session.items() if k != key}
            self._local = {k: v for k, v in self._local.items() if k != key}
        self.generation += 1

    def reset_all(self) -> None:
        """RESET ALL: everything but what belongs to the open transaction."""
        for default in _FOLLOWS.values():
            self._keep_mode(default)
        self._session = {}
        self._local = {k: v for k, v in self._local.items() if k in _FOLLOWS}
        self.generation += 1

    def _keep_mode(self, key: str) -> None:
        """A transaction keeps the mode it began with, whatever becomes of the default."""
        for name, default in _FOLLOWS.items():
            if key == default and name not in self._local:
                self._local = {**self._local, name: self[default]}

    def restore_mode(self, name: str, value: str) -> None:
        """Give a setting of the open transaction a value it has had before."""
        self._local = {**self._local, name: value}
        self.generation += 1

    def mark(self) -> SettingsMark:
        """The present state, for `restore`."""
        return SettingsMark(self._session, self._local)

    def restore(self, mark: SettingsMark) -> None:
        """Back to a mark: ROLLBACK, ROLLBACK TO."""
        if mark.session is not self._session or mark.local is not self._local:
            self._session, self._local = dict(mark.session), dict(mark.local)
            self.generation += 1

    def end_transaction(self) -> None:
        """COMMIT: what was set LOCAL ends."""
        if self._local:
            self._local = {}
            self.generation += 1

    def start(self) -> Mapping[str, str]:
        """What the session started with, checked, without the facts."""
        facts = Context.INTERNAL, Context.FIXED
        return {
            name: value
            for name, value in self._start.items()
            if (setting := find(name)) is None or setting.context not in facts
        }

    def changed(self) -> Mapping[str, str]:
        """What the session itself has set. The map is never changed, only replaced."""
        return self._session

    def reported(self) -> dict[str, str]:
        """The values that the client is told."""
        return {name: self[name] for name in REPORTED}

    def everything(self) -> Iterator[tuple[str, str, str]]:
        """SHOW ALL: name, value, description."""
        for setting in SETTINGS.values():
            if not setting.hidden:
                yield setting.name, self[setting.name], setting.description

    def _checked(self, name: str, value: str) -> tuple[str, str]:
        setting = find(name)
        if setting is None:
            return self._custom(name), value
        _check_allowed(setting)
        text = canonical(setting, value, self.get(name) or setting.default)
        if setting.context is Context.FIXED and text != self[name]:
            raise SqlError("0A000", f'parameter "{setting.name}" cannot be set to "{text}"')
        return setting.name, text

    def _custom(self, name: str) -> str:
        if not _CUSTOM.fullmatch(name):
            raise unrecognised(name)
        key = name.lower()
        known = self._session.keys() | self._local.keys() | self._start.keys()
        if key not in known and sum("." in k for k in known) >= CUSTOM_MAX:
            raise SqlError("54000", f"a session has at most {CUSTOM_MAX} custom parameters")
        return key


def _is_name(name: str) -> bool:
    return "." in name or name.lower() in SETTINGS


def _check_allowed(setting: Setting) -> None:
    if setting.context is Context.INTERNAL:
        raise SqlError("55P02", f'parameter "{setting.name}" cannot be changed')
    if setting.context is Context.SUPERUSER:
        raise SqlError("42501", f'permission denied to set parameter "{setting.name}"')
