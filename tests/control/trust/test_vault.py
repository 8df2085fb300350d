"""Secrets at rest: what the vault seals, refuses and forgets."""

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.vault import KEYS_MAX, OVERHEAD_BYTES, Vault, VaultError

PURPOSE = "webhook secret"


def test_a_secret_comes_back_and_is_not_to_be_seen(tmp_path: Path) -> None:
    vault = Vault.at(tmp_path / "deep" / "secrets.keys")
    sealed = vault.seal(PURPOSE, b"very private")
    assert b"very private" not in sealed
    assert len(sealed) == len(b"very private") + OVERHEAD_BYTES
    assert sealed != vault.seal(PURPOSE, b"very private")
    again = Vault.at(tmp_path / "deep" / "secrets.keys")
    assert again.open(PURPOSE, sealed) == b"very private"


def test_the_key_file_is_this_users_alone_and_in_no_repr(tmp_path: Path) -> None:
    file = tmp_path / "secrets.keys"
    vault = Vault.at(file)
    vault.add_key()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for line in file.read_text().splitlines():
        assert line.split()[1] not in repr(vault)


def test_another_purpose_opens_nothing(tmp_path: Path) -> None:
    vault = Vault.at(tmp_path / "keys")
    sealed = vault.seal(PURPOSE, b"s")
    with pytest.raises(VaultError, match="does not open under its key"):
        vault.open("session key", sealed)


@given(at=st.integers(min_value=0), flip=st.integers(min_value=1, max_value=255))
def test_whatever_was_changed_does_not_open(
    tmp_path_factory: pytest.TempPathFactory, at: int, flip: int
) -> None:
    vault = Vault.at(tmp_path_factory.mktemp("vault") / "keys")
    sealed = bytearray(vault.seal(PURPOSE, b"private"))
    sealed[at % len(sealed)] ^= flip
    with pytest.raises(VaultError):
        vault.open(PURPOSE, bytes(sealed))


def test_a_lost_key_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    sealed = Vault.at(file).seal(PURPOSE, b"s")
    file.unlink()
    with pytest.raises(VaultError, match=f"{file} does not have"):
        Vault.at(file).open(PURPOSE, sealed)


@pytest.mark.parametrize("text", ["", "word", "00 11", "zz AAAA", "00000000 AAAA", "é 1"])
def test_a_damaged_key_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "keys"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(VaultError, match="not a file of secret keys"):
        Vault.at(file)
    assert file.read_text(encoding="utf-8") == text


def test_the_same_key_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    Vault.at(file)
    file.write_text(file.read_text() * 2)
    with pytest.raises(VaultError):
        Vault.at(file)


def test_a_new_key_seals_and_the_old_one_opens_until_it_is_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    vault = Vault.at(file)
    old = vault.seal(PURPOSE, b"s")
    assert vault.is_current(old)
    vault.add_key()
    assert not vault.is_current(old)
    assert Vault.at(file).open(PURPOSE, old) == b"s"
    new = vault.seal(PURPOSE, b"s")
    vault.forget_old_keys()
    again = Vault.at(file)
    assert again.open(PURPOSE, new) == b"s"
    with pytest.raises(VaultError, match="does not have"):
        again.open(PURPOSE, old)


def test_keys_are_bounded(tmp_path: Path) -> None:
    vault = Vault.at(tmp_path / "keys")
    for _ in range(KEYS_MAX - 1):
        vault.add_key()
    with pytest.raises(VaultError, match="old ones must go first"):
        vault.add_key()
