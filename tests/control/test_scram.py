"""Verifiers are PostgreSQL's, byte for byte."""

import base64
import string

from hypothesis import given
from hypothesis import strategies as st

from control import scram

# PostgreSQL 15: CREATE ROLE a PASSWORD 'dormouse-Password_1'; SELECT rolpassword FROM pg_authid.
_PASSWORD = "dormouse-Password_1"
_GOLDEN = (
    "SCRAM-SHA-256$4096:N26GmJ5UHcJKooueQsCeRg=="
    "$8mY4nyREPjrdCHFw6l4BTh/yJ4Yj8p2bWiJsv5T/Mg4=:w1wG9FNJXy3hJiqog66yHO++Zy/yv3/DYkD9kEksW7E="
)


def test_the_verifier_is_the_one_postgresql_makes() -> None:
    salt = base64.b64decode(_GOLDEN.split(":")[1].split("$")[0])
    assert scram.build_verifier(_PASSWORD, salt) == _GOLDEN


@given(st.text(string.ascii_letters, min_size=1), st.binary(min_size=16, max_size=16))
def test_the_password_is_not_in_the_verifier(password: str, salt: bytes) -> None:
    verifier = scram.build_verifier(password, salt, iterations=1)
    assert base64.b64encode(salt).decode() in verifier
    assert scram.build_verifier(password + "x", salt, iterations=1) != verifier


def test_passwords_need_no_quoting() -> None:
    passwords = {scram.generate_password() for _ in range(2000)}
    assert len(passwords) == 2000
    assert {len(each) for each in passwords} == {32}
    assert not {char for each in passwords for char in each} - set(
        string.ascii_letters + string.digits + "-_"
    )
    assert not any(each.startswith("-") for each in passwords)
