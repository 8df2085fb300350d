"""SCRAM: RFC 7677's example, both ends together, PostgreSQL's own verifiers, and liars."""

from base64 import b64decode
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgwire import scram
from pgwire.errors import AuthenticationFailed, ProtocolViolation
from pgwire.saslprep import saslprep
from pgwire.scram import ScramClient, ScramServer, Verifier

SALT = bytes(range(16))


def verifier(password: str, iterations: int = 3) -> Verifier:
    return Verifier.of_password(password, salt=SALT, iterations=iterations)


def exchange(server: ScramServer, client: ScramClient) -> None:
    client.check(server.verify(client.final(server.challenge(client.first()))))


@settings(max_examples=50)
@given(st.text(min_size=1, max_size=20), st.binary(min_size=18, max_size=18))
def test_the_right_password_proves_both_ends(password: str, nonce: bytes) -> None:
    exchange(ScramServer(verifier(password), nonce=nonce[::-1]), ScramClient(password, nonce=nonce))


def test_a_wrong_password_fails_at_the_end() -> None:
    server = ScramServer(verifier("right"), nonce=b"s" * 18)
    client = ScramClient("wrong", nonce=b"c" * 18)
    final = client.final(server.challenge(client.first()))
    with pytest.raises(AuthenticationFailed):
        server.verify(final)


def test_the_right_password_of_nobody_fails_too() -> None:
    server = ScramServer(verifier("right"), nonce=b"s" * 18, doomed=True)
    client = ScramClient("right", nonce=b"c" * 18)
    final = client.final(server.challenge(client.first()))
    with pytest.raises(AuthenticationFailed):
        server.verify(final)


def test_a_server_without_the_password_is_found_out() -> None:
    server = ScramServer(verifier("right"), nonce=b"s" * 18)
    client = ScramClient("right", nonce=b"c" * 18)
    client.final(server.challenge(client.first()))
    with pytest.raises(AuthenticationFailed, match="incorrect server signature"):
        client.check(b"v=" + b"A" * 43 + b"=")


def test_mock_exchanges_look_alike_and_stay_the_same() -> None:
    def challenge(user: str) -> bytes:
        server = ScramServer(scram.mock_verifier(user, b"secret"), nonce=b"s" * 18, doomed=True)
        return server.challenge(ScramClient("x", nonce=b"c" * 18).first())

    assert challenge("nobody") == challenge("nobody")
    assert challenge("nobody") != challenge("somebody")
    real = ScramServer(verifier("x", scram.ITERATIONS), nonce=b"s" * 18)
    assert len(challenge("nobody")) == len(
        real.challenge(ScramClient("x", nonce=b"c" * 18).first())
    )


def test_the_example_of_rfc_7677() -> None:
    server = ScramServer(
        Verifier.of_password("pencil", salt=b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), iterations=4096),
        nonce=b"",
    )
    server._nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    nonce = b"rOprNGfwEbeRWgbNEkqO" + server._nonce.encode()
    assert server.challenge(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO") == (
        b"r=" + nonce + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    )
    proof = b"dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    assert server.verify(b"c=biws,r=" + nonce + b",p=" + proof) == (
        b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    )


def test_verifiers_have_the_form_of_postgresql() -> None:
    text = str(verifier("secret", 4096))
    assert Verifier.parse(text) == verifier("secret", 4096)
    from_postgresql = (
        "SCRAM-SHA-256$4096:AAECAwQFBgcICQoLDA0ODw==$"
        "hIohnGt3OQjkuX0OcTE4+7SpVXwYaZB5vGJrZYvYnEw=:"
        "hIohnGt3OQjkuX0OcTE4+7SpVXwYaZB5vGJrZYvYnEw="
    )
    parsed = Verifier.parse(from_postgresql)
    assert parsed is not None
    assert str(parsed) == from_postgresql
    assert parsed.salt == SALT


@pytest.mark.parametrize(
    "text",
    ["", "md5abc", "SCRAM-SHA-256$0:AA==$AA==:AA==", "SCRAM-SHA-256$4096:!$x:y", "plain"],
)
def test_what_is_no_verifier(text: str) -> None:
    assert Verifier.parse(text) is None


@given(st.binary(max_size=100))
def test_any_bytes_from_a_client_are_a_violation_or_a_challenge(data: bytes) -> None:
    server = ScramServer(verifier("x"), nonce=b"s" * 18)
    with suppress(ProtocolViolation, AuthenticationFailed):
        server.challenge(data)
        server.verify(data)


@given(st.text(max_size=60))
def test_any_text_after_the_client_key_is_refused(data: str) -> None:
    server = ScramServer(verifier("x"), nonce=b"s" * 18)
    server.challenge(b"n,,n=,r=abc")
    with pytest.raises((ProtocolViolation, AuthenticationFailed)):
        server.verify(b"c=biws,r=abc" + data.encode())


@pytest.mark.parametrize("first", [b"p=tls-unique,,n=,r=x", b"n,a=bob,n=,r=x", b"n,,m=1,n=,r=x"])
def test_what_is_not_offered_is_refused(first: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        ScramServer(verifier("x"), nonce=b"s" * 18).challenge(first)


@pytest.mark.parametrize(
    ("raw", "prepared"),
    [
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),
        ("\u0007", "\u0007"),
        ("\u06271", "\u06271"),
    ],
)
def test_saslprep_as_rfc_4013_and_postgresql_have_it(raw: str, prepared: str) -> None:
    assert saslprep(raw) == prepared
