"""Backups in a bucket: each the bytes of its file, in objects of some MiB, the last one last.

    s3://bucket/folder/shop-17-….backup/00000000.part      the file, cut anywhere
                                        00000001.part
                                        00000002.manifest  written when all parts are there

    cat shop-17-….backup/* > shop.backup                   … is the file again

What has no manifest is no backup: it is under way, or broke off. The manifest's number says how
many parts there are, so one that went missing is named. Before it is written the bucket is asked
for what it has, which must be what was sent. Nothing is written where something is, so of two
writers of one name at most one succeeds. An object that is a backup file, put there by other means,
is read too.

One part is sent while the next is filled, and one is fetched while another is read: memory holds
two of them, however large the tenant is.

The library is obstore, a binding of the object_store crate that the SlateDB engine is built upon:
its options have the same words. It retries what can be retried, with pauses, for as long as
`patience_seconds`; then the backup fails.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotSupportedError
from obstore.store import AzureStore, GCSStore, S3Store

from dormouse.base.archive import Damaged
from dormouse.cli.folder import CommandError
from dormouse.cli.places import Kept

T = TypeVar("T")

_PATIENCE_SECONDS = 120.0
PART_BYTES = 8 << 20
_OF_CLIENT = re.compile(
    "allow_http|allow_invalid_certificates|connect_timeout|http1_only|http2_only|user_agent"
    "|pool_idle_timeout|proxy_(url|ca_certificate|excludes)|read_timeout|root_certificate|timeout"
)
"""Options of the connection, which the library takes apart from the provider's."""
_STORES: dict[str, tuple[type[Any], str]] = {
    "s3": (S3Store, "aws"),
    "gs": (GCSStore, "google"),
    "az": (AzureStore, "azure"),
}
_PART = re.compile(r"(\d{8})\.(part|manifest)")
_LISTED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class _Object:
    """One object, or a range of one."""

    path: str
    size: int
    start: int = 0


class Bucket:
    """See `places.Place`. `url` is as s3://bucket/folder; credentials are the environment's."""

    def __init__(
        self,
        url: str,
        options: Mapping[str, str],
        *,
        patience_seconds: float = _PATIENCE_SECONDS,
        part_bytes: int = PART_BYTES,
    ) -> None:
        self._url = url.rstrip("/")
        self._part_bytes = part_bytes
        self._store = _store(self._url, options, patience_seconds)

    def path_of(self, name: str) -> str:
        """See `Place.path_of`."""
        return f"{self._url}/{name}"

    def refuse_taken(self, name: str) -> None:
        """See `Place.refuse_taken`."""
        if self._objects(name) or self._single(name) is not None:
            raise CommandError(
                f"{self.path_of(name)} exists, or broke off", hint="take another name"
            )

    @contextmanager
    def writing(self, name: str) -> Iterator["BucketSink"]:
        """See `Place.writing`."""
        self.refuse_taken(name)
        with ThreadPoolExecutor(1, thread_name_prefix="upload") as worker:
            sink = BucketSink(self, name, worker)
            try:
                yield sink
            finally:
                if not sink.is_finished:
                    sink.remove()

    @contextmanager
    def reading(self, name: str) -> Iterator["BucketSource"]:
        """See `Place.reading`."""
        parts = self._parts(name)
        with ThreadPoolExecutor(1, thread_name_prefix="download") as worker:
            yield BucketSource(self, parts, worker)

    def kept(self) -> list[Kept]:
        """See `Place.kept`."""
        found: dict[str, Kept] = {}
        for each in self._listed(None):
            name, _, rest = each["path"].partition("/")
            part = _PART.fullmatch(rest)
            if not name.endswith(".backup") or (rest and part is None):
                continue
            kept = found.get(name, Kept(name, 0, each["last_modified"], is_whole=False))
            found[name] = Kept(
                name,
                kept.size + each["size"],
                max(kept.written, each["last_modified"]),
                is_whole=kept.is_whole or part is None or part[2] == "manifest",
            )
        return [found[name] for name in sorted(found)]

    def remove(self, kept: Kept) -> None:
        """See `Place.remove`."""
        self.delete([each["path"] for each in self._objects(kept.name)])

    # --- objects -----------------------------------------------------------------------------

    def put(self, path: str, data: bytes) -> str | None:
        """Write an object where there is none; its tag. Raises CommandError."""
        try:
            return self._put(path, data, "create")
        except AlreadyExistsError:
            # The answer to the first of several tries may have been lost.
            if self.has(path, data):
                return None
            raise CommandError(f"{self.path_of(path)} was written by somebody else") from None
        except NotSupportedError:
            return self._put(path, data, "overwrite")

    def _put(self, path: str, data: bytes, mode: Literal["create", "overwrite"]) -> str | None:
        return self._asked(lambda: obstore.put(self._store, path, data, mode=mode))["e_tag"]

    def has(self, path: str, data: bytes) -> bool:
        """Whether this is what lies there. Raises CommandError."""
        with suppress(Damaged):
            return self.get(_Object(path, len(data) + 1), exactly=False) == data
        return False

    def get(self, wanted: _Object, *, exactly: bool = True) -> bytes:
        """An object or a part of it. Raises Damaged where it has gone, CommandError."""
        start, end = wanted.start, wanted.start + wanted.size
        if start == end:
            return b""
        try:
            read = obstore.get_range
            data = bytes(self._asked(lambda: read(self._store, wanted.path, start=start, end=end)))
        except FileNotFoundError:
            raise Damaged(f"{wanted.path} has gone") from None
        if exactly and len(data) != wanted.size:
            raise Damaged(f"{wanted.path} has another length than it had")
        return data

    def sent(self, name: str) -> dict[str, tuple[int, str | None]]:
        """Size and tag of what lies there under a name."""
        return {each["path"]: (each["size"], each["e_tag"]) for each in self._objects(name)}

    def delete(self, paths: list[str]) -> None:
        """Remove objects, those that are there. Raises CommandError."""
        for at in range(0, len(paths), _LISTED_AT_ONCE):
            some = paths[at : at + _LISTED_AT_ONCE]
            with suppress(FileNotFoundError):
                self._asked(partial(obstore.delete, self._store, some))

    @property
    def part_bytes(self) -> int:
        """About the size of a part."""
        return self._part_bytes

    def _objects(self, name: str) -> list[Any]:
        return list(self._listed(name))

    def _listed(self, prefix: str | None) -> Iterator[Any]:
        pages = iter(self._asked(lambda: obstore.list(self._store, prefix)))
        while (page := self._asked(lambda: next(pages, None))) is not None:
            yield from page

    def _single(self, name: str) -> _Object | None:
        """An object of that name, which is a file that was copied there."""
        try:
            found = self._asked(lambda: obstore.head(self._store, name))
        except FileNotFoundError:
            return None
        return _Object(name, found["size"])

    def _parts(self, name: str) -> list[_Object]:
        """What is to be read, in order. Raises Damaged, CommandError."""
        found: dict[int, _Object] = {}
        manifest = None
        for each in self._objects(name):
            if part := _PART.fullmatch(each["path"].removeprefix(f"{name}/")):
                found[int(part[1])] = _Object(each["path"], each["size"])
                manifest = int(part[1]) if part[2] == "manifest" else manifest
        if manifest is not None:
            missing = [number for number in range(manifest) if number not in found]
            if missing:
                raise Damaged(f"part {missing[0]:08} is missing, of {manifest}")
            return [found[number] for number in range(manifest + 1)]
        if found:
            raise Damaged("it has no manifest: it is being written, or broke off")
        single = self._single(name)
        if single is None:
            raise CommandError(f"there is no backup {self.path_of(name)}")
        steps = range(0, single.size, self._part_bytes)
        return [_Object(name, min(self._part_bytes, single.size - at), at) for at in steps]

    def _asked(self, ask: Callable[[], T]) -> T:
        """Raises what the callers know what to do about as it is, else CommandError."""
        try:
            return ask()
        except (FileNotFoundError, AlreadyExistsError, NotSupportedError):
            raise
        except (BaseError, OSError) as error:
            raise CommandError(f"{self._url}: {reason(error)}", hint=_hint(str(error))) from None


class BucketSink:
    """See `places.Sink`."""

    def __init__(self, bucket: Bucket, name: str, worker: ThreadPoolExecutor) -> None:
        self._bucket = bucket
        self._name = name
        self._worker = worker
        self._filling = bytearray()
        self._sending: Future[str | None] | None = None
        self._sent: dict[str, tuple[int, str | None]] = {}
        self._path = ""
        self._manifest = b""
        self.is_finished = False

    def write(self, data: bytes) -> None:
        """See `Sink.write`."""
        self._filling += data
        if len(self._filling) >= self._bucket.part_bytes:
            self._send()

    def finish(self, manifest: bytes) -> int:
        """See `Sink.finish`."""
        self._send()
        self._await()
        there = self._bucket.sent(self._name)
        if there.keys() != self._sent.keys() or any(
            size != there[path][0] or (tag and there[path][1] and tag != there[path][1])
            for path, (size, tag) in self._sent.items()
        ):
            path = self._bucket.path_of(self._name)
            raise CommandError(f"{path} is not what was sent: does somebody else write there?")
        self._manifest = manifest
        self._bucket.put(f"{self._name}/{len(self._sent):08}.manifest", manifest)
        self.is_finished = True
        return sum(size for size, _ in self._sent.values()) + len(manifest)

    def remove(self) -> None:
        """Take back what was sent, as far as the bucket can be reached."""
        if self._sending is not None:
            self._sending.exception()  # whether it came to something or not, it is over
        with suppress(CommandError):
            # Its own manifest may be there, if only the answer was lost: it goes first.
            manifests = [
                each for each in self._bucket.sent(self._name) if each.endswith("manifest")
            ]
            if all(self._bucket.has(each, self._manifest) for each in manifests):
                self._bucket.delete(manifests)
                self._bucket.delete([*self._sent])

    def _send(self) -> None:
        self._await()
        if not self._filling:
            return
        path, data = f"{self._name}/{len(self._sent):08}.part", bytes(self._filling)
        self._filling.clear()
        self._path, self._sent[path] = path, (len(data), None)
        self._sending = self._worker.submit(self._bucket.put, path, data)

    def _await(self) -> None:
        if self._sending is not None:
            tag, self._sending = self._sending.result(), None
            self._sent[self._path] = (self._sent[self._path][0], tag)


class BucketSource:
    """See `places.Source`."""

    def __init__(self, bucket: Bucket, parts: list[_Object], worker: ThreadPoolExecutor) -> None:
        self._bucket = bucket
        self._parts = parts
        self._worker = worker
        self._next = 0
        self._coming: Future[bytes] | None = None
        self._data = b""
        self._at = 0
        self.size = sum(each.size for each in parts)
        self._fetch()

    @property
    def where(self) -> str:
        """See `Source.where`."""
        read = self._next - (2 if self._coming is not None else 1)
        return self._parts[read].path if read >= 0 else ""

    def read(self, size: int) -> bytes:
        """See `Source.read`."""
        found = bytearray()
        while len(found) < size:
            if self._at == len(self._data) and not self._turn():
                break
            some = self._data[self._at : self._at + size - len(found)]
            self._at += len(some)
            found += some
        return bytes(found)

    def _turn(self) -> bool:
        """Go on with the next part; False at the end."""
        if self._coming is None:
            return False
        self._data, self._at, self._coming = self._coming.result(), 0, None
        self._fetch()
        return True

    def _fetch(self) -> None:
        if self._next < len(self._parts):
            self._coming = self._worker.submit(self._bucket.get, self._parts[self._next])
            self._next += 1


def reason(error: BaseException) -> str:
    """What the store said, without addresses, which may be signed, and without the insides."""
    text = str(error).partition("\n\nDebug source:")[0]
    if "169.254.169.254" in text or "metadata.google" in text:
        return "no credentials are in the environment, and this machine has none of its own"
    code, message = re.search("<Code>(.*?)</Code>", text), re.search("<Message>(.*?)</Mess", text)
    if code or message:
        return ": ".join(each[1] for each in (code, message) if each)
    tries = re.search(r"after (\d+) retries", text)
    said = re.split(r"\s+- ", re.sub(r"\s*\bhttps?://\S+", "", text.partition("\n")[0]))[-1]
    return f"{said}, after {tries[1]} retries" if tries else said


def _hint(text: str) -> str | None:
    if "builder error" in text:
        return "for a store without TLS add --object-store-option aws_allow_http=true"
    if re.search("40[13] (Unauth|Forbid)|169.254.169.254", text):
        return "credentials come from the environment, as AWS_ACCESS_KEY_ID (docs/backup.md)"
    return None


def _sorted(options: Mapping[str, str], provider: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Options of the connection, the environment's too, which the library reads the others from by
    itself; and those of the provider."""
    client: dict[str, Any] = {"timeout": "60s"}
    config: dict[str, str] = {}
    prefix = f"{provider}_"
    own = {name: value for name, value in os.environ.items() if name.lower().startswith(prefix)}
    for name, value in {**own, **options}.items():
        word = name.lower().removeprefix(prefix)
        if _OF_CLIENT.fullmatch(word):
            client[word] = value
        elif name in options:
            config[name.lower()] = value
        if word == "endpoint" and not value.startswith(("http://", "https://")):
            raise CommandError(f"{name}: expected https://…, got {value!r}")
    return client, config


def _store(url: str, options: Mapping[str, str], patience_seconds: float) -> Any:
    parts = urlsplit(url)
    known = _STORES.get(parts.scheme)
    if known is None or not parts.netloc:
        names = ", ".join(f"{name}://bucket/folder" for name in _STORES)
        raise CommandError(f"{url!r} is no place for backups: expected a folder, or {names}")
    kind, provider = known
    client, config = _sorted(options, provider)
    retry = {"max_retries": 10, "retry_timeout": timedelta(seconds=patience_seconds)}
    prefix = parts.path.strip("/") or None
    try:
        return kind(
            parts.netloc,
            prefix=prefix,
            config=config or None,
            client_options=client,
            retry_config=retry,
        )
    except (BaseError, ValueError, TypeError) as error:
        raise CommandError(f"{url}: {reason(error)}") from None
