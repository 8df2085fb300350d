"""Regular expressions end, whatever the pattern."""

import pytest

from sqlnode.errors import SqlError
from sqlnode.functions import regexes
from sqlnode.functions.patterns import like
from sqlnode.functions.regexes import compile_regex


def test_a_search_with_too_many_ways_to_try_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regexes, "SEARCH_SECONDS_MAX", 0.05)
    pattern = compile_regex("^(a|aa)+$")
    text = "a" * 60 + "!"
    for search in (
        lambda: pattern.matches(text),
        lambda: pattern.search(text),
        lambda: list(pattern.finditer(text)),
        lambda: pattern.sub(lambda found: "", text, count=0),
    ):
        with pytest.raises(SqlError) as raised:
            search()
        assert raised.value.sqlstate == "54001"


def test_like_does_not_go_back_to_an_earlier_wildcard() -> None:
    assert not like("a" * 100_000, "%a%a%a%a%a%a%a%a%b")
    assert like("a" * 100_000 + "b", "%a%a%a%a%a%a%a%a%b")
