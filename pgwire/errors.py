"""What the protocol layer raises: a peer that breaks the protocol, text that is none."""

from dormouse.base.errors import Blame, DormouseError


class ProtocolViolation(DormouseError):
    """The peer sent what the protocol does not allow; the connection cannot be followed further."""

    sqlstate = "08P01"
    blame = Blame.USER


class BadText(DormouseError):
    """Bytes that are no text in the client's encoding; the connection can go on."""

    sqlstate = "22021"
    blame = Blame.USER


class AuthenticationFailed(DormouseError):
    """The peer did not prove who it is. The message says no more than that."""

    sqlstate = "28P01"
    blame = Blame.USER
