"""Statement reports as they come (proto/control.proto), checked."""

from collections.abc import Iterable

from control.ledger import AMOUNT_MAX
from control.statements import Cost, RoleSum, StatementReport, StatementSum
from proto import control_pb2

STATEMENTS_MAX = 100
ROLES_MAX = 101
"""The one without a name comes on top."""
TEXT_BYTES_MAX = 2048
ROLE_BYTES_MAX = 256
_SIGN = 1 << 63


def read_report(message: control_pb2.StatementReport) -> StatementReport:
    """The report. Raises ValueError for one that no correct pod sends."""
    statements, roles = message.statements, message.roles
    if len(statements) > STATEMENTS_MAX or len(roles) > ROLES_MAX:
        raise ValueError("too many statements or roles")
    _check((message.sequence, message.at_unix_ms))
    if not message.tenant_id or message.tenant_id > AMOUNT_MAX:
        raise ValueError("no such tenant")
    return StatementReport(
        tenant_id=message.tenant_id,
        pod_id=message.pod_id,
        sequence=message.sequence,
        at_ms=message.at_unix_ms,
        statements=[_statement(each) for each in statements],
        roles=[_role(each) for each in roles],
        last=message.last,
    )


def _statement(message: control_pb2.StatementCost) -> StatementSum:
    cost = Cost(message.calls, message.rows, message.elapsed_micros, message.micro_units)
    _check((*cost.row, message.number))
    query = message.query
    if not message.query_id or len(query.encode()) > TEXT_BYTES_MAX:
        raise ValueError("a statement without a number, or with too long a text")
    signed = message.query_id - (1 << 64) if message.query_id >= _SIGN else message.query_id
    return StatementSum(_name(message.role), signed, query, message.number, cost)


def _role(message: control_pb2.RoleCost) -> RoleSum:
    _check((message.calls, message.micro_units))
    return RoleSum(_name(message.role), message.calls, message.micro_units)


def _name(role: str) -> str:
    if len(role.encode()) > ROLE_BYTES_MAX:
        raise ValueError("a role with too long a name")
    return role


def _check(amounts: Iterable[int]) -> None:
    if max(amounts) > AMOUNT_MAX:
        raise ValueError("an amount is out of range")
