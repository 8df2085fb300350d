"""Settings: values as PostgreSQL reads and shows them, and what transactions do to them."""

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sqlnode.errors import SqlError
from sqlnode.session.context import split_names
from sqlnode.session.settings import CUSTOM_MAX, Settings, SettingsMark


@pytest.fixture
def settings() -> Settings:
    return Settings({}, internal={})


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("work_mem", "65536", "64MB"),
        ("work_mem", "1.5GB", "1536MB"),
        ("work_mem", "100kB", "100kB"),
        ("statement_timeout", "300s", "5min"),
        ("statement_timeout", "1500", "1500ms"),
        ("statement_timeout", "0", "0"),
        ("statement_timeout", " 90 min ", "90min"),
        ("enable_seqscan", "no", "off"),
        ("enable_seqscan", "t", "on"),
        ("client_min_messages", "WARNING", "warning"),
        ("synchronous_commit", "false", "off"),
        ("extra_float_digits", "3", "3"),
        ("random_page_cost", "1.1", "1.1"),
        ("DateStyle", "sql, dmy", "SQL, DMY"),
        ("datestyle", "German", "German, DMY"),
        ("datestyle", "iso", "ISO, MDY"),
        ("timezone", "europe/berlin", "Europe/Berlin"),
        ("timezone", "-3", "<-03>+03"),
        ("client_encoding", "unicode", "UTF8"),
        ("client_encoding", "'latin-1'", "LATIN1"),
        ("intervalstyle", "ISO_8601", "iso_8601"),
        ("application_name", "caf\u00e9", "caf??"[:4]),
    ],
)
def test_values_are_shown_as_postgresql_shows_them(
    settings: Settings, name: str, value: str, shown: str
) -> None:
    settings.set(name, value)
    assert settings[name] == shown


@pytest.mark.parametrize(
    ("name", "value", "sqlstate", "message"),
    [
        ("nonsense", "1", "42704", 'unrecognized configuration parameter "nonsense"'),
        ("work_mem", "1", "22023", '1 kB is outside the valid range for parameter "work_mem"'),
        ("work_mem", "x", "22023", 'invalid value for parameter "work_mem": "x"'),
        ("statement_timeout", "1MB", "22023", 'invalid value for parameter "statement_timeout"'),
        ("enable_sort", "perhaps", "22023", 'parameter "enable_sort" requires a Boolean value'),
        ("enable_sort", "o", "22023", 'parameter "enable_sort" requires a Boolean value'),
        ("bytea_output", "base64", "22023", 'invalid value for parameter "bytea_output": "base64"'),
        ("server_version", "16", "55P02", 'parameter "server_version" cannot be changed'),
        ("deadlock_timeout", "2s", "42501", "permission denied to set parameter"),
        ("timezone", "Mars/Olympus", "22023", 'invalid value for parameter "TimeZone"'),
        ("standard_conforming_strings", "off", "0A000", "cannot be set"),
        ("client_encoding", "EBCDIC", "22023", 'invalid value for parameter "client_encoding"'),
    ],
)
def test_what_is_refused(
    settings: Settings, name: str, value: str, sqlstate: str, message: str
) -> None:
    before = settings.get(name)
    with pytest.raises(SqlError) as caught:
        settings.set(name, value)
    assert caught.value.sqlstate == sqlstate
    assert message in caught.value.message
    assert settings.get(name) == before


def test_a_transaction_starts_with_the_defaults(settings: Settings) -> None:
    settings.set("default_transaction_isolation", "repeatable read")
    assert settings["transaction_isolation"] == "read committed"  # it has begun already
    settings.end_transaction()
    assert settings["transaction_isolation"] == "repeatable read"
    settings.set("transaction_isolation", "read committed")
    assert settings["transaction_isolation"] == "read committed"
    settings.end_transaction()
    assert settings["transaction_isolation"] == "repeatable read"


def test_reset_goes_back_to_the_start_of_the_session() -> None:
    settings = Settings({"work_mem": "8MB"}, internal={})
    settings.set("work_mem", "9MB")
    settings.reset("work_mem")
    assert settings["work_mem"] == "8MB"


def test_custom_settings_need_a_dot_and_have_a_bound(settings: Settings) -> None:
    settings.set("My.Own", "x")
    assert settings["my.own"] == "x"
    for number in range(CUSTOM_MAX - 1):
        settings.set(f"many.n{number}", "x")
    with pytest.raises(SqlError, match="at most 1000 custom"):
        settings.set("one.more", "x")
    settings.set("my.own", "y")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('"$user", public', ["$user", "public"]),
        ('Foo,"Bar ""x""", baz', ["foo", 'Bar "x"', "baz"]),
        ("", []),
    ],
)
def test_lists_of_names(text: str, names: list[str]) -> None:
    assert split_names(text) == names


class Model(RuleBasedStateMachine):
    """A dumb twin: a list of whole value tables, one per savepoint."""

    NAMES = ("work_mem", "a.b", "statement_timeout")

    def __init__(self) -> None:
        super().__init__()
        self.settings = Settings({}, internal={})
        self.session: dict[str, str] = {}
        self.local: dict[str, str] = {}
        self.stack: list[tuple[dict[str, str], dict[str, str], SettingsMark]] = []

    @rule(name=st.sampled_from(NAMES), value=st.integers(100, 999), local=st.booleans())
    def set(self, name: str, value: int, local: bool) -> None:
        self.settings.set(name, str(value), local=local)
        if local:
            self.local[name] = str(value)
        else:
            self.session[name] = str(value)
            self.local.pop(name, None)

    @rule(name=st.sampled_from(NAMES))
    def reset(self, name: str) -> None:
        self.settings.reset(name)
        self.session.pop(name, None)
        self.local.pop(name, None)

    @rule()
    def savepoint(self) -> None:
        self.stack.append((dict(self.session), dict(self.local), self.settings.mark()))

    @rule(depth=st.integers(0, 5))
    def rollback(self, depth: int) -> None:
        if self.stack:
            session, local, mark = self.stack[depth % len(self.stack)]
            del self.stack[depth % len(self.stack) + 1 :]
            self.session, self.local = dict(session), dict(local)
            self.settings.restore(mark)

    @rule()
    def commit(self) -> None:
        self.stack.clear()
        self.local.clear()
        self.settings.end_transaction()

    @invariant()
    def same(self) -> None:
        wanted: Any = {"work_mem": "4MB", "a.b": None, "statement_timeout": "0"}
        wanted |= self.session | self.local
        for name in self.NAMES:
            got = self.settings.get(name)
            digits = got.removesuffix("kB").removesuffix("ms") if got else got
            assert digits == wanted[name] or got == wanted[name]


TestModel = Model.TestCase
