"""The command `dormouse`."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TypeAlias

from dormouse.cli.adminflags import (
    add_key_actions,
    add_login_flags,
    add_operation_actions,
    add_org_actions,
)
from dormouse.cli.apiflags import add_api_flags
from dormouse.cli.backupflags import add_backup_commands
from dormouse.cli.eventflags import (
    add_event_actions,
    add_webhook_actions,
    add_webhook_flags,
)
from dormouse.cli.folder import CommandError
from dormouse.cli.invoiceflags import add_billing_flags, add_invoice_actions
from dormouse.cli.limitflags import add_limit_actions
from dormouse.cli.objectstore import add_object_store_flags, object_storage
from dormouse.cli.tenantflags import add_role_actions, add_tenant_actions
from dormouse.cli.trustflags import add_authority_actions, add_pod_actions
from dormouse.cli.usageflags import add_statement_flags, add_usage_flags
from dormouse.cli.words import add_command, late

_DESCRIPTION = """\
A multi-tenant serverless SQL gateway: every tenant a PostgreSQL-compatible database that costs
nothing while nobody uses it."""

_EXAMPLES = """\
examples:
  dormouse up                         start the gateway here, data in ./.dormouse
  dormouse tenant create shop         a new database; prints its connection URL
  dormouse sql shop                   open psql on it
  dormouse sql shop -- -c 'SELECT 1'  everything after -- goes to psql
  dormouse tenant set shop --idle-timeout 10m --pods-max 4
  dormouse tenant explain shop        why it is awake, and what was decided
  dormouse status                     the roles and the tenants
  dormouse upgrade                    take up newly installed code; no session is dropped
  dormouse top                        what is awake just now, live
  dormouse usage shop --by day        what it used this month, and what that costs
  dormouse statements shop            which of its statements cost most
  dormouse limit set shop --money 20  no bill above 20 a month
  dormouse backup shop                its rows in a file; `dormouse restore FILE` brings them back

A gateway is found by its data folder (--data, $DORMOUSE_DATA, ./.dormouse), or by URL with
--api and --api-key ($DORMOUSE_API, $DORMOUSE_API_KEY), or it is the one of `dormouse login`.
Exit codes: 0 done, 1 refused or failed, 2 wrong arguments, 130 interrupted."""

_UP_EXAMPLES = """\
examples:
  dormouse up --data /var/lib/dormouse --sql-port 5432 --demo
  dormouse up --api-host 0.0.0.0 --api-tls --api-name gateway.example"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    given, psql = _split(list(sys.argv[1:] if arguments is None else arguments))
    parser = _parser()
    if "_ARGCOMPLETE" in os.environ:  # a shell asks what could come next
        import argcomplete

        argcomplete.autocomplete(parser)
    options = parser.parse_args(given)
    options.psql = psql
    if psql and options.run is not _sql:
        _parser().error("only `sql` takes arguments after --")
    try:
        code: int = options.run(options)
    except CommandError as error:
        print(f"dormouse: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader had enough; nothing more may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Our arguments, and those after `--`, which are psql's."""
    if "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dormouse",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_up(commands)
    _add_tenant(commands)
    add_backup_commands(commands, _add_target)
    _add_sql(commands)
    _add_access(commands)
    _add_top(commands)
    _add_usage(commands)
    status = add_command(
        commands,
        "status",
        "show the roles and how many tenants there are; exit code 1 while a role does not run",
    )
    _add_target(status)
    status.set_defaults(run=_status)
    _add_upgrade(commands)
    version = add_command(commands, "version", "show the version")
    version.add_argument("--json", action="store_true", help="print JSON")
    version.set_defaults(run=_version)
    return parser


_tenant = late("tenants")
_role = late("tenants", "run_role")
_status = late("tenants", "status")
_top = late("top")
_usage = late("usage")
_statements = late("statements")
_login = late("login")
_logout = late("login", "forget")
_org = late("org")
_key = late("keys")
_invoice = late("invoices")
_limit = late("limits")
_event = late("events")
_webhook = late("webhooks")
_authority = late("authority")
_pod = late("pods")
_operation = late("operations")
_upgrade = late("upgrade")
_sql = late("sql")

_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _add_up(commands: _Commands) -> None:
    up = commands.add_parser(
        "up",
        help="run the whole gateway on this machine, in the foreground",
        description="Run the whole gateway on this machine until Ctrl-C or SIGTERM.",
        epilog=_UP_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_data(up)
    up.add_argument(
        "--sql-port",
        type=_port,
        default=5433,
        metavar="N",
        help="port for SQL clients; 0 takes a free one (default: %(default)s)",
    )
    up.add_argument(
        "--api-port",
        type=_port,
        default=8080,
        metavar="N",
        help="port of the HTTP API; 0 takes a free one (default: %(default)s)",
    )
    up.add_argument(
        "--ready-file",
        type=Path,
        metavar="FILE",
        help="write addresses, admin key and pids here, as JSON, when all roles answer",
    )
    up.add_argument(
        "--idle-timeout",
        type=_seconds,
        default=300.0,
        metavar="SECONDS",
        help="a tenant sleeps after so long without a statement (default: 300)",
    )
    up.add_argument(
        "--warm-pods",
        type=_count,
        default=2,
        metavar="N",
        help="SQL pods kept ready for the next wake (default: %(default)s)",
    )
    up.add_argument(
        "--pod-cpu",
        type=_cores,
        metavar="CORES",
        help="cores that one SQL pod may use, as 0.5 (needs control groups v2; default: no limit)",
    )
    up.add_argument(
        "--pod-memory",
        type=_bytes,
        metavar="SIZE",
        help="memory that one SQL pod may use, as 512M (likewise)",
    )
    up.add_argument(
        "--demo",
        action="store_true",
        help="make a tenant `demo` on the first start and print its psql line",
    )
    add_api_flags(up)
    add_webhook_flags(up)
    add_billing_flags(up)
    add_object_store_flags(up)
    up.set_defaults(run=_up)


def _add_upgrade(commands: _Commands) -> None:
    upgrade = commands.add_parser(
        "upgrade",
        help="have the running gateway take up the code that is installed now",
        description="Have the running gateway take up the code that is installed now. No session "
        "is dropped: those of an old proxy go on there, those of old pods are moved.",
    )
    _add_data(upgrade)
    upgrade.add_argument(
        "--role",
        action="append",
        metavar="ROLE",
        help="only this one; may be repeated (default: control, autoscaler, podhost, proxy)",
    )
    upgrade.add_argument(
        "--storage",
        action="store_true",
        help="storage, too: for a moment statements wait, and some transactions fail (40001)",
    )
    upgrade.add_argument(
        "--wait", action="store_true", help="wait until old proxies and pods have ended, too"
    )
    upgrade.add_argument(
        "--timeout",
        type=_seconds,
        default=900.0,
        metavar="SECONDS",
        help="how long to watch (default: 900)",
    )
    upgrade.add_argument("--json", action="store_true", help="print JSON")
    upgrade.set_defaults(run=_upgrade)


def _add_tenant(commands: _Commands) -> None:
    tenant = add_command(commands, "tenant", "make, list, change, suspend, delete tenants")
    add_tenant_actions(tenant, _add_target, _tenant)
    role = add_command(commands, "role", "list a tenant's roles, give a new password")
    add_role_actions(role, _add_target, _role)


def _add_access(commands: _Commands) -> None:
    login = commands.add_parser(
        "login",
        help="keep the URL and key of a gateway elsewhere",
        description="Keep the URL and key of a gateway elsewhere, for this user alone. Commands\n"
        "use it where no other gateway is named and none runs in the data folder.",
        epilog="example:\n  dormouse login --api https://gateway.example:8080 --ca ca.crt",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_login_flags(login)
    login.set_defaults(run=_login)
    logout = add_command(
        commands, "logout", "forget what `login` keeps; the key stays valid until it is revoked"
    )
    logout.set_defaults(run=_logout)
    org = add_command(commands, "org", "list, create, show, set, delete organisations")
    add_org_actions(org, _add_target, _org)
    key = add_command(commands, "key", "list, create, revoke API keys")
    add_key_actions(key, _add_target, _key)
    invoice = add_command(commands, "invoice", "list, show and download invoices")
    add_invoice_actions(invoice, _add_target, _invoice)
    limit = add_command(commands, "limit", "show, set, clear spend limits")
    add_limit_actions(limit, _add_target, _limit)
    event = add_command(commands, "event", "list and follow what happens")
    add_event_actions(event, _add_target, _event)
    webhook = add_command(commands, "webhook", "have events sent to a URL")
    add_webhook_actions(webhook, _add_target, _webhook)
    authority = add_command(commands, "authority", "show and rotate the certificate authority")
    add_authority_actions(authority, _add_target, _authority)
    pod = add_command(commands, "pod", "list a tenant's pods, revoke one")
    add_pod_actions(pod, _add_target, _pod)
    operation = add_command(commands, "operation", "list and show long actions on tenants")
    add_operation_actions(operation, _add_target, _operation)


def _add_top(commands: _Commands) -> None:
    top = commands.add_parser(
        "top",
        help="show what is awake just now, live",
        description="Show the tenants that are awake, live: the busiest first. On a terminal q "
        "quits, letters sort and arrows scroll; into a pipe or a file it prints each time anew.",
    )
    _add_target(top)
    top.add_argument(
        "--interval",
        type=_interval,
        default=2.0,
        metavar="SECONDS",
        help="between two looks, 0.2 to 3600 (default: 2)",
    )
    top.add_argument("--once", action="store_true", help="print once and end")
    top.set_defaults(run=_top)


def _add_usage(commands: _Commands) -> None:
    usage = commands.add_parser(
        "usage",
        help="show what was used, and what it costs",
        description="Show what a tenant, or all of them, used in a period and what it costs; "
        "without dates, this month with a forecast. Asking wakes nobody.",
    )
    _add_target(usage)
    add_usage_flags(usage)
    usage.set_defaults(run=_usage)
    statements = commands.add_parser(
        "statements",
        help="show what a tenant's statements cost",
        description="Show a tenant's statements of a period without their constants, those that "
        "cost most first; without dates, of this month. Asking wakes nobody.",
    )
    _add_target(statements)
    add_statement_flags(statements)
    statements.set_defaults(run=_statements)


def _add_sql(commands: _Commands) -> None:
    sql = commands.add_parser(
        "sql",
        usage="dormouse sql [-h] [--data DIR] [--api URL] [--api-key KEY] [--ca FILE] NAME "
        "[-- PSQL-ARG ...]",
        help="open psql on a tenant, or a simple prompt where psql is not installed",
        description="Open psql on a tenant, or a simple prompt where psql is not installed. The "
        "password is the one kept when the tenant was created from here; else $PGPASSWORD; "
        "else it is asked for.",
    )
    sql.add_argument("name", metavar="NAME", help="its name, its id or name-id")
    _add_where(sql)
    sql.set_defaults(run=_sql)


def _add_data(parser: "argparse.ArgumentParser | argparse._ArgumentGroup") -> None:
    default = Path(os.environ.get("DORMOUSE_DATA", ".dormouse"))
    parser.add_argument(
        "--data",
        type=Path,
        default=default,
        metavar="DIR",
        help="the data folder (default: $DORMOUSE_DATA, or ./.dormouse)",
    )


def _add_target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")
    _add_where(parser)


def _add_where(parser: argparse.ArgumentParser) -> None:
    where = parser.add_argument_group(
        "which gateway", "by its data folder, by URL, or the one that `dormouse login` keeps"
    )
    _add_data(where)
    where.add_argument("--api", metavar="URL", help="a gateway elsewhere (default: $DORMOUSE_API)")
    where.add_argument(
        "--api-key",
        metavar="KEY",
        help="its key; better in $DORMOUSE_API_KEY, which other users of the machine do not see",
    )
    where.add_argument(
        "--ca",
        type=Path,
        metavar="FILE",
        help="what its certificate is verified with (default: $DORMOUSE_API_CA, or the public "
        "authorities)",
    )


def _port(text: str) -> int:
    return _bounded(text, 0, 65_535)


def _count(text: str) -> int:
    return _bounded(text, 0, 1_000)


def _bounded(text: str, low: int, high: int) -> int:
    if not text.isdecimal() or not low <= int(text) <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {low} to {high}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 7 * 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds up to 7 days")
    return value


def _interval(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.2 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0.2 to 3600")
    return value


def _cores(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.01 <= value <= 1_024:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of cores from 0.01 to 1024")
    return value


def _bytes(text: str) -> int:
    factor = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:].upper(), 1)
    digits = text if factor == 1 else text[:-1]
    value = int(digits) * factor if digits.isdecimal() and len(digits) <= 15 else 0
    if not 64 << 20 <= value <= 1 << 50:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size from 64M on, with K, M or G")
    return value


def _up(options: argparse.Namespace) -> int:
    import uvloop

    from dormouse.cli.apilisten import ApiOptions
    from dormouse.cli.eventflags import WebhookOptions
    from dormouse.cli.up import UpOptions, up
    from sqlnode.cgroups import Limits

    uvloop.run(
        up(
            UpOptions(
                data=options.data,
                sql_port=options.sql_port,
                api=ApiOptions.of(options),
                ready_file=options.ready_file,
                idle_timeout_seconds=options.idle_timeout,
                warm_pods=options.warm_pods,
                pod_limits=Limits(options.pod_cpu, options.pod_memory),
                demo=options.demo,
                webhooks=WebhookOptions.of(options),
                billing=options.billing,
                objects=object_storage(options),
            )
        )
    )
    return 0


def _version(options: argparse.Namespace) -> int:
    version = metadata.version("dormouse")
    print(f'{{"version": "{version}"}}' if options.json else f"dormouse {version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
