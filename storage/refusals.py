"""Why a request is refused: the one exception the operations raise on purpose."""

from proto import kv_pb2 as kv
from storage.engines.interface import EngineDamaged, EngineError, EngineFull

Code = kv.Error.Code


class Refusal(Exception):
    """An error reply in the making; `message` is for the log and for people."""

    def __init__(
        self,
        code: "kv.Error.Code.ValueType",
        message: str,
        *,
        key: bytes = b"",
        version: int = 0,
        used: int = 0,
        limit: int = 0,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.key = key
        self.version = version
        self.used = used
        self.limit = limit

    def reply(self, request_id: int) -> kv.Reply:
        """The reply to the request with this id."""
        error = kv.Error(
            code=self.code,
            message=self.message,
            key=self.key,
            version=self.version,
            used=self.used,
            limit=self.limit,
        )
        return kv.Reply(id=request_id, error=error)


def engine_failed(error: EngineError) -> Refusal:
    """The engine could not do what a request needs; what it said is for the log alone."""
    if isinstance(error, EngineFull):
        return Refusal(kv.Error.DISK_FULL, "the disk is full")
    if isinstance(error, EngineDamaged):
        return Refusal(kv.Error.DAMAGED, "data on the disk is damaged")
    return Refusal(kv.Error.IO, "the engine failed")


def bad_request(message: str) -> Refusal:
    """A request that no correct pod sends."""
    return Refusal(kv.Error.BAD_REQUEST, message)


def snapshot_too_old(oldest: int) -> Refusal:
    """The versions visible at the snapshot may be gone; `oldest` can be read."""
    text = "the snapshot is older than the history kept"
    return Refusal(kv.Error.SNAPSHOT_TOO_OLD, text, version=oldest)


def snapshot_in_future() -> Refusal:
    """A time was asked for that has not come yet."""
    return Refusal(kv.Error.SNAPSHOT_IN_FUTURE, "the time has not come yet")


def not_exported() -> Refusal:
    """The transaction that exported the snapshot is over, or there never was one."""
    return Refusal(kv.Error.NOT_EXPORTED, "the snapshot is not exported")


def transaction_ended() -> Refusal:
    """The transaction was ended or resolved before."""
    return Refusal(kv.Error.TXN_ENDED, "the transaction has ended")


def catalog_stale(version: int) -> Refusal:
    """The catalog has changed since the pod read it; it has `version` now."""
    return Refusal(kv.Error.CATALOG_STALE, "the catalog has changed", version=version)
