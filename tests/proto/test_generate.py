from proto import generate


def test_the_stubs_are_fresh() -> None:
    assert generate.stale() == []
