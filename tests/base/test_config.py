from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dormouse.base import config


@dataclass(frozen=True)
class Limits:
    connections_max: int = 10


@dataclass(frozen=True)
class Settings:
    folder: Path
    seconds: float = 1.5
    port: int | None = None
    limits: Limits = field(default_factory=Limits)
    names: tuple[str, ...] = ()


def test_settings_read_back(tmp_path: Path) -> None:
    settings = Settings(Path("a/b"), 2.0, 80, Limits(3), ("x", "y"))
    config.dump(settings, tmp_path / "s.json")
    assert config.load(Settings, tmp_path / "s.json") == settings
    assert (tmp_path / "s.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"folder": "a", "sekonds": 1}', "unknown setting 'sekonds'"),
        ('{"folder": "a", "port": "80"}', "port: expected int, got '80'"),
        ('{"folder": "a", "port": true}', "port: expected int, got True"),
        ('{"folder": "a", "limits": {"max": 1}}', "Limits: unknown setting 'max'"),
        ("{}", "folder"),
        ("[]", "expected an object"),
        ("{", "cannot be read"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "s.json"
    path.write_text(text)
    with pytest.raises(config.ConfigError) as caught:
        config.load(Settings, path)
    assert complaint in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_whole_number_is_a_duration(tmp_path: Path) -> None:
    assert config.from_json(Settings, {"folder": "a", "seconds": 2}).seconds == 2.0
