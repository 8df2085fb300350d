"""The cache of newest versions: what it keeps, and what it must not believe."""

from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from storage.cache import Record, VersionCache

BYTES_MAX = 3000
KEYS = st.sampled_from([b"k%d" % number for number in range(12)])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("get"), KEYS, st.just(0)),
        st.tuples(st.sampled_from(["publish", "keep"]), KEYS, st.integers(-1, 900)),
        st.tuples(st.just("forget"), KEYS, st.just(0)),
    ),
    max_size=60,
)


def bytes_of(key: bytes, record: Record) -> int:
    one = VersionCache(1 << 20)
    one.keep(key, record)
    return one.bytes


@given(steps=STEPS)
def test_what_was_used_least_recently_goes_first(steps: list[tuple[str, bytes, int]]) -> None:
    cache = VersionCache(BYTES_MAX)
    twin: OrderedDict[bytes, Record] = OrderedDict()
    for number, (step, key, size) in enumerate(steps):
        record = (number, None if size < 0 else bytes(size))
        if step == "get":
            found = cache.get(key)
            assert found == twin.get(key)
            if found is not None:
                twin[key] = twin.pop(key)
        elif step == "forget":
            cache.forget([key])
            twin.pop(key, None)
        else:
            (cache.publish if step == "publish" else cache.keep)(key, record)
            twin.pop(key, None)
            twin[key] = record
            while sum(bytes_of(*each) for each in twin.items()) > BYTES_MAX:
                del twin[min(twin, key=list(twin).index)]
        assert cache.bytes == sum(bytes_of(*each) for each in twin.items()) <= BYTES_MAX


def test_a_load_keeps_nothing_that_was_published_meanwhile() -> None:
    cache = VersionCache(BYTES_MAX)
    with cache.loading() as load:
        cache.publish(b"changed", (7, b"new"))
        cache.loaded(load, b"changed", (1, b"old"))
        cache.loaded(load, b"same", (1, b"old"))
    assert cache.get(b"changed") == (7, b"new")
    assert cache.get(b"same") == (1, b"old")
