"""A dress rehearsal: one session over memory, login to `\\d`, before anybody waits for it.

    script ─▶ client ─▶ Connection ─▶ session ─▶ parse … execute ─▶ KvTransaction ─▶ a dict

Imports are not all that a first statement waits for. Generated code, type tables, catalogs, parsers
and OpenSSL set themselves up when they are first used, and a pod that has just been forked would do
so while its tenant waits. The host does it once for all pods. Each pod then repeats the commonest
part while it is still nobody's: what a statement looks at it also writes to (reference counts), and
a page of memory that is written to for the first time after a fork costs a copy.

What is used is the real thing but for its two ends: a transport that goes nowhere, and a KV client
whose requests are answered from a dict at once. So nothing here opens a socket, starts a thread or
makes a gRPC object, and the host's event loop is closed before anything is forked.

Nothing of a rehearsal reaches a tenant: it works for a tenant id that no installation gives, and
all it made but the caches goes with it.
"""

import asyncio
import logging
import secrets
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization

from dormouse.base import blocks
from dormouse.base.clock import SystemClock
from dormouse.base.ids import TENANT_ID_MAX, PodId, TenantId
from dormouse.base.tls import Credentials, Role
from pgwire import frontend
from pgwire.client import LoginClient, ServerError
from pgwire.framing import FrameDecoder
from pgwire.notices import parse as parse_notice
from pgwire.scram import Verifier
from proto import kv_pb2 as kv
from sqlnode.catalog import store
from sqlnode.config import PodLimits, PodSettings
from sqlnode.kv.client import KvClient
from sqlnode.kv.errors import KvRefused
from sqlnode.podservice import make_key
from sqlnode.server import SqlServer
from sqlnode.session.seals import KEY_BYTES, Seals
from sqlnode.session.tenant import Tenant

_SCRIPT = Path(__file__).with_suffix(".sql")
_USER, _DATABASE = "owner", "rehearsal"
_ITERATIONS = 16
"""A password that lives for a moment needs no hardening."""
_PARAMETERS = (b"1", b"1", b"cheese", b"1.25", b"2024-02-29 12:00+00", b"t")
_WITH_PARAMETERS = (
    "SELECT id, price, made, $2::bigint, $3::text, $4::numeric, $5::timestamptz, $6::bool"
    " FROM item WHERE id = $1"
)
"""Run after every INSERT of the script."""
_BRIEFLY = (
    "CREATE TABLE item (id int PRIMARY KEY, name text, price numeric(10,2), made timestamptz)",
    "INSERT INTO item (id, name) VALUES (1, 'cheese')",
    "SELECT * FROM item WHERE id = 1",
    "UPDATE item SET name = upper(name) WHERE id = 1",
    "SELECT count(*) FROM item",
)
_TURNS_MAX = 10_000
"""Turns of the event loop one statement may take."""


def rehearse(settings: PodSettings) -> list[str]:
    """Run the whole script; what went wrong, by statement. Takes about a second."""
    _rehearse_tls(settings.certs)
    _rehearse_seals()
    return asyncio.run(_rehearse_sql(settings.limits, script()))


async def rehearse_briefly(settings: PodSettings) -> list[str]:
    """In a fresh pod: the login and the commonest statements; what went wrong. Some 50 ms."""
    _rehearse_tls(settings.certs)
    _rehearse_seals()
    return await _rehearse_sql(settings.limits, _BRIEFLY)


def script() -> list[str]:
    """The statements."""
    lines = _SCRIPT.read_text(encoding="utf-8").splitlines()
    text = "\n".join([*(line for line in lines if not line.startswith("--")), ""])
    return [part.strip() for part in text.split(";\n") if part.strip()]


def _rehearse_tls(certs: Path) -> None:
    """A handshake in memory, and what a stamp does with a key."""
    key = make_key()
    key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    credentials = Credentials.read(certs, str(Role.POD))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = credentials.for_tls_server(mutual=True).wrap_bio(to_server, to_client, True)
    context = credentials.for_tls_client()
    context.check_hostname = False
    client = context.wrap_bio(to_client, to_server)
    unfinished = [client, server]
    for _ in range(10):
        for end in list(unfinished):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            unfinished.remove(end)
    client.write(b"hello")
    server.read()


def _rehearse_seals() -> None:
    """What the first checkpoint of a session does."""
    seals = Seals(secrets.token_bytes(KEY_BYTES), TenantId(TENANT_ID_MAX))
    seals.open(seals.seal(b"state"))


async def _rehearse_sql(limits: PodLimits, statements: Sequence[str]) -> list[str]:
    disabled = logging.root.manager.disable
    logging.disable(logging.INFO)  # what the tenant that is none does is no news
    try:
        return await _play(limits, statements)
    finally:
        logging.disable(disabled)


async def _play(limits: PodLimits, statements: Sequence[str]) -> list[str]:
    password = secrets.token_urlsafe()
    memory = Memory()
    tenant = Tenant(
        id=memory.tenant,
        database=_DATABASE,
        owner=_USER,
        owner_verifier=Verifier.of_password(
            password, salt=secrets.token_bytes(16), iterations=_ITERATIONS
        ),
        kv=memory,
        catalog=await store.load(memory, owner=_USER, database=_DATABASE),
        clock=SystemClock(),
        limits=limits,
    )
    server = SqlServer(tenant, context=None)
    stage = _Stage(server)
    try:
        await stage.log_in(LoginClient(_USER, password, secrets.token_bytes(18), _DATABASE))
        failures = [each for text in statements for each in await stage.run(text)]
    except (ServerError, TimeoutError) as error:
        failures = [f"{type(error).__name__}: {error}"]
    finally:
        await server.close()
    return failures


class Memory(KvClient):
    """A KV client without storage. Every commit is at once the only version there is."""

    def __init__(self) -> None:
        nobody = Credentials(key=b"", certificate=b"", authority=b"")
        super().__init__("", nobody, tenant=TenantId(TENANT_ID_MAX), pod=PodId(1))
        self._rows: dict[bytes, bytes] = {}
        self._times: dict[bytes, int] = {}
        self._counters: dict[bytes, int] = {}
        self._time = 1
        self._catalog_version = 0
        self.tables.greeted(kv.HelloReply())

    def call(
        self, request: kv.Request, *, epoch: int = 0, retry: bool = False, elsewhere: int = 0
    ) -> asyncio.Future[kv.Reply]:
        """See `KvClient.call`."""
        future: asyncio.Future[kv.Reply] = asyncio.get_running_loop().create_future()
        if request.catalog_version in (0, self._catalog_version):
            future.set_result(self._answer(request))
        else:
            stale = kv.Error(code=kv.Error.CATALOG_STALE, version=self._catalog_version)
            future.set_exception(KvRefused(stale))
        return future

    def send(self, request: kv.Request, *, epoch: int) -> None:
        """See `KvClient.send`: what has no reply has no effect here."""

    def _answer(self, request: kv.Request) -> kv.Reply:
        match request.WhichOneof("op"):
            case "get":
                values = self._values(request.get.keys)
                return kv.Reply(get=kv.GetReply(snapshot=self._time, values=blocks.pack(values)))
            case "scan":
                return kv.Reply(scan=self._scan(request.scan))
            case "lock":
                return kv.Reply(lock=self._lock(request.lock))
            case "commit":
                return kv.Reply(commit=self._commit(request.commit))
            case "increment":
                counter = request.increment
                previous = self._counters.get(counter.key, 0)
                self._counters[counter.key] = previous + counter.delta
                return kv.Reply(increment=kv.IncrementReply(previous=previous))
            case "sequence":
                return kv.Reply(sequence=self._numbers(request.sequence))
        return kv.Reply()

    def _numbers(self, asked: kv.Sequence) -> kv.SequenceReply:
        given, count = self._counters.get(asked.key, 0), asked.take.count
        self._counters[asked.key] = given + count
        return kv.SequenceReply(first=asked.take.start + given, count=count)

    def _values(self, keys: bytes) -> list[bytes | None]:
        return [self._rows.get(key) for key in blocks.unpack_present(keys)]

    def _scan(self, scan: kv.Scan) -> kv.ScanReply:
        found = sorted(key for key in self._rows if scan.start <= key < scan.end)
        if scan.reverse:
            found.reverse()
        reply = kv.ScanReply(snapshot=self._time)
        if not scan.values_only:
            reply.keys = blocks.pack([key[scan.strip :] for key in found])
        if not scan.keys_only:
            reply.values = blocks.pack([self._rows[key] for key in found])
        return reply

    def _lock(self, lock: kv.Lock) -> kv.LockReply:
        values = self._values(lock.keys)
        versions = [
            self._times[key] if key in self._rows else 0 for key in blocks.unpack_present(lock.keys)
        ]
        return kv.LockReply(
            snapshot=self._time,
            values=blocks.pack(values),
            versions=b"".join(time.to_bytes(8, "little") for time in versions),
            locked=b"\1" * len(values),
        )

    def _commit(self, commit: kv.Commit) -> kv.CommitReply:
        self._time += 1
        if commit.changes_catalog:
            self._catalog_version = self._time
        for each in commit.retired:
            for key in [key for key in self._rows if each.start <= key < each.end]:
                del self._rows[key]
        writes = commit.writes
        if writes.keys:
            keys, values = blocks.unpack_present(writes.keys), blocks.unpack(writes.values)
            for key, value in zip(keys, values, strict=True):
                if value is None:
                    self._rows.pop(key, None)
                else:
                    self._rows[key], self._times[key] = value, self._time
        return kv.CommitReply(commit_time=self._time)


class _Stage(asyncio.Transport):
    """A transport to nowhere, and the client at its end."""

    def __init__(self, server: SqlServer) -> None:
        super().__init__()
        self._written = bytearray()
        self._closing = False
        self._connection = server.connect(self)

    def write(self, data: Any) -> None:
        """See `asyncio.WriteTransport`."""
        self._written += data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """See `asyncio.WriteTransport`."""

    def close(self) -> None:
        """See `asyncio.BaseTransport`."""
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_soon(self._connection.connection_lost, None)

    abort = close

    async def log_in(self, client: LoginClient) -> None:
        """Up to the first ReadyForQuery. Raises ServerError, TimeoutError."""
        self._connection.data_received(client.start())
        while not client.ready:
            if answer := client.feed(await self._replies()):
                self._connection.data_received(answer)

    async def run(self, text: str) -> list[str]:
        """Run one statement by the simple protocol; queries by the extended one as well. What went
        wrong. Raises TimeoutError."""
        pipelines: list[list[Any]] = [[frontend.Query(text)]]
        if text.startswith("SELECT"):
            pipelines += [_extended(text, (), form) for form in (frontend.TEXT, frontend.BINARY)]
        if text.startswith("INSERT"):
            pipelines += [
                _extended(_WITH_PARAMETERS, _PARAMETERS, form)
                for form in (frontend.TEXT, frontend.BINARY)
            ]
        return [failure for each in pipelines for failure in await self._exchange(text, each)]

    async def _exchange(self, text: str, messages: list[Any]) -> list[str]:
        self._connection.data_received(b"".join(map(frontend.build, messages)))
        decoder, failures = FrameDecoder(small=frozenset()), []
        while True:
            decoder.feed(await self._replies())
            while (frame := decoder.next()) is not None:
                if frame.kind == ord("E"):
                    failures.append(f"{text}: {parse_notice(frame.body).message}")
                elif frame.kind == ord("Z"):
                    return failures

    async def _replies(self) -> bytes:
        """What the session has written, once it waits. Raises TimeoutError."""
        for _ in range(_TURNS_MAX):
            if self._written:
                data = bytes(self._written)
                self._written.clear()
                return data
            await asyncio.sleep(0)
        raise TimeoutError("a statement of the rehearsal does not end")


def _extended(text: str, parameters: tuple[bytes, ...], form: int) -> list[Any]:
    """The messages that run a statement; results in one form, parameters as text."""
    return [
        frontend.Parse("", text, ()),
        frontend.Bind("", "", (), parameters, (form,)),
        frontend.Describe("P", ""),
        frontend.Execute("", 0),
        frontend.Sync(),
    ]
