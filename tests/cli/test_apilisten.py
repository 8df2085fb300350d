"""What follows from the flags about the HTTP API."""

import argparse
from pathlib import Path
from typing import Any

import pytest

from control.authority import Authority
from dormouse.base.clock import SystemClock
from dormouse.cli.apiflags import add_api_flags
from dormouse.cli.apilisten import ApiOptions
from dormouse.cli.folder import CommandError, DataFolder


def _options(*flags: str) -> ApiOptions:
    parser = argparse.ArgumentParser()
    add_api_flags(parser)
    return ApiOptions.of(parser.parse_args(flags, argparse.Namespace(api_port=8080)))


def _own(folder: Path, *names: str) -> list[str]:
    authority = Authority.open(folder / "authority", SystemClock())
    authority.ensure_api(folder, names, ["192.0.2.9"])
    pair = ("--api-certificate", "api.crt"), ("--api-private-key", "api.key")
    return [word for flag, file in pair for word in (flag, str(folder / file))]


@pytest.mark.parametrize(
    ("flags", "addresses", "url"),
    [
        ([], ("127.0.0.1", "::1"), "http://127.0.0.1:80"),
        (["--api-tls"], ("127.0.0.1", "::1"), "https://localhost:80"),
        (["--api-host", "localhost"], ("127.0.0.1", "::1"), "http://127.0.0.1:80"),
        (["--api-host", "0.0.0.0", "--api-tls"], ("0.0.0.0",), "https://localhost:80"),
        (["--api-host", "192.0.2.1", "--api-tls"], ("192.0.2.1",), "https://192.0.2.1:80"),
        (["--api-host", "2001:db8::1", "--api-tls"], ("2001:db8::1",), "https://[2001:db8::1]:80"),
        (["--api-host", "0.0.0.0", "--api-insecure"], ("0.0.0.0",), "http://127.0.0.1:80"),
    ],
)
def test_where_it_answers(flags: list[str], addresses: tuple[str, ...], url: str) -> None:
    options = _options(*flags)
    options.check()
    assert (options.addresses, options.url(80)) == (addresses, url)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_others_are_answered_over_tls_or_not_at_all(host: str) -> None:
    with pytest.raises(CommandError, match="in the clear") as refused:
        _options("--api-host", "127.0.0.1", "--api-host", host).check()
    assert "--api-tls" in str(refused.value.hint)


def test_the_issued_certificate_is_for_what_clients_say(tmp_path: Path) -> None:
    flags = ["--api-tls", "--api-host", "0.0.0.0", "--api-host", "192.0.2.1"]
    given = ["--api-name", "Gateway.Example", "--api-name", "198.51.100.7"]
    options = _options(*flags, *given)
    names, addresses = options.names_in_certificate()
    assert names == ("localhost", "gateway.example")
    assert addresses == ("127.0.0.1", "::1", "192.0.2.1", "198.51.100.7")
    folder = DataFolder.at(tmp_path)
    files = options.certificate_files(folder)
    assert files == (folder.certificates / "api.crt", folder.certificates / "api.key")
    assert _options().certificate_files(folder) is None


def test_an_own_certificate_says_what_it_is_called(tmp_path: Path) -> None:
    flags = _own(tmp_path, "*.example", "db.example")
    options = _options("--api-host", "0.0.0.0", *flags)
    options.check()
    assert options.url(443) == "https://db.example:443"
    assert options.certificate_files(DataFolder.at(tmp_path)) == (
        tmp_path / "api.crt",
        tmp_path / "api.key",
    )
    assert _options(*flags, "--api-name", "x.example").url(443) == "https://x.example:443"
    (tmp_path / "api.crt").write_text("nonsense")
    with pytest.raises(CommandError, match="is no certificate"):
        options.url(443)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--api-certificate", "a"], "go together"),
        (["--api-private-key", "a"], "go together"),
        (["--api-certificate", "a", "--api-private-key", "b"], "there is no file a"),
        (["--api-tls", "--api-certificate", "a", "--api-private-key", "b"], "brings one"),
    ],
)
def test_flags_that_contradict_each_other(flags: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        _options(*flags).check()


@pytest.mark.parametrize(
    "flags", [["--api-host", "gateway.example"], ["--api-name", "a b"], ["--api-name", ""]]
)
def test_what_is_no_address_and_no_name(flags: list[str], capsys: Any) -> None:
    with pytest.raises(SystemExit):
        _options(*flags)
    assert flags[0] in capsys.readouterr().err
