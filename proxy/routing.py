"""Which tenant a startup message means, and what the message says without it. Pure.

    form       where                         what the pod sees
    sni        <name>-<id>.anything (TLS)    the message as it was
    options    --tenant=… or -c tenant=…     options without it
    user       <user>.<name>-<id>            user <user>
    database   <name>-<id>.<database>        database <database>

The last three are explicit: they win over SNI, and must agree where there are several. Where libpq
is given no database it sends the user's name as one, suffix and all; the pod then gets none and
applies the same default to the bare user.

Protocol options go on to the pod, but for those that proxies and pods keep to themselves.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from dormouse.base.ids import TenantAddress
from pgwire.errors import ProtocolViolation
from pgwire.link import PRIVATE_OPTIONS
from pgwire.startup import StartupMessage, parse_options
from proxy.errors import conflicting_tenants, no_tenant


class Form(StrEnum):
    """How a tenant was named; a metric label."""

    SNI = "sni"
    OPTIONS = "options"
    USER = "user"
    DATABASE = "database"


@dataclass(frozen=True, slots=True)
class Route:
    """Where a session goes, and the startup message to forward."""

    tenant: TenantAddress
    form: Form
    startup: StartupMessage


def route(startup: StartupMessage, sni: str | None) -> Route:
    """Find the tenant.

    Raises Rejected (none, or two) and ProtocolViolation (broken options, or private ones).
    """
    if not PRIVATE_OPTIONS.isdisjoint(startup.protocol_options):
        raise ProtocolViolation("protocol options of the gateway's own are not for clients")
    parameters = dict(startup.parameters)
    named: dict[Form, TenantAddress] = {}
    for form, take in _EXPLICIT:
        address = take(parameters)
        if address is not None:
            named[form] = address
    if len(set(named.values())) > 1:
        raise conflicting_tenants()
    if not named and (address := _from_sni(sni)) is not None:
        named[Form.SNI] = address
    if not named:
        raise no_tenant()
    form, tenant = next(iter(named.items()))
    forwarded = StartupMessage(parameters, startup.minor, startup.protocol_options)
    return Route(tenant, form, forwarded)


def _from_sni(sni: str | None) -> TenantAddress | None:
    return TenantAddress.parse(sni.partition(".")[0].lower()) if sni else None


def _take_options(parameters: dict[str, str]) -> TenantAddress | None:
    settings = parse_options(parameters.get("options", ""))
    text = settings.pop("tenant", None)
    if text is None:
        return None
    address = TenantAddress.parse(text)
    if address is None:
        raise no_tenant()  # it was meant to name one
    if settings:
        parameters["options"] = _options(settings)
    else:
        del parameters["options"]
    return address


def _options(settings: Mapping[str, str]) -> str:
    return " ".join(f"-c {_escaped(f'{name}={value}')}" for name, value in settings.items())


def _escaped(word: str) -> str:
    return "".join(f"\\{each}" if each == "\\" or each.isspace() else each for each in word)


def _take_user(parameters: dict[str, str]) -> TenantAddress | None:
    whole = parameters["user"]
    user, dot, suffix = whole.rpartition(".")
    address = TenantAddress.parse(suffix) if dot and user else None
    if address is not None:
        parameters["user"] = user
        if parameters.get("database") == whole:
            del parameters["database"]
    return address


def _take_database(parameters: dict[str, str]) -> TenantAddress | None:
    prefix, dot, database = parameters.get("database", "").partition(".")
    address = TenantAddress.parse(prefix) if dot and database else None
    if address is not None:
        parameters["database"] = database
    return address


# In the order of which form counts where several agree; the user's goes before the database's, for
# it removes a database that is only the user's name.
_EXPLICIT = (
    (Form.OPTIONS, _take_options),
    (Form.USER, _take_user),
    (Form.DATABASE, _take_database),
)
