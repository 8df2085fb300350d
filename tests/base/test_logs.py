import json
import logging

from dormouse.base import logs


def _line(**extra: object) -> dict[str, object]:
    record = logging.LogRecord("storage.x", logging.INFO, "", 0, "opened %s", ("it",), None)
    record.__dict__ |= extra
    line: dict[str, object] = json.loads(logs.JsonFormatter("storage").format(record))
    return line


def test_a_line_says_who_and_what() -> None:
    line = _line(keys=3)
    assert (line["role"], line["event"], line["level"], line["keys"]) == (
        "storage",
        "opened it",
        "info",
        3,
    )


def test_bound_fields_are_on_every_line_inside() -> None:
    with logs.bound(tenant=17):
        with logs.bound(session=4):
            assert _line().items() >= {"tenant": 17, "session": 4}.items()
        assert "session" not in _line()
    assert "tenant" not in _line()


def test_secrets_are_masked() -> None:
    line = _line(password="p", admin_api_key="k", scram_verifier="v", session_key="s")
    names = ("password", "admin_api_key", "scram_verifier", "session_key")
    assert {line[name] for name in names} == {"***"}
