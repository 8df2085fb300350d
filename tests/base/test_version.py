"""The fingerprint of the code."""

from importlib import metadata
from pathlib import Path

from dormouse.base.version import fingerprint, installed


def test_it_follows_the_files(tmp_path: Path) -> None:
    (tmp_path / "proxy").mkdir()
    seen = [fingerprint(tmp_path)]
    module = tmp_path / "proxy" / "a.py"
    module.write_text("x = 1\n")
    seen.append(fingerprint(tmp_path))
    module.write_text("x = 2\n")
    seen.append(fingerprint(tmp_path))
    module.rename(module.with_name("b.py"))
    seen.append(fingerprint(tmp_path))
    assert len(set(seen)) == len(seen)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "c.py").write_text("x = 3\n")
    (tmp_path / "proxy" / "notes.txt").write_text("x")
    assert fingerprint(tmp_path) == seen[-1]


def test_what_is_installed_has_a_release_and_a_fingerprint() -> None:
    release, _, digits = installed().partition("+")
    assert release == metadata.version("dormouse")
    assert len(digits) == 8
    assert int(digits, 16) >= 0
