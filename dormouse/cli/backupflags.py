"""The arguments of `dormouse backup`, `verify` and `restore`."""

from pathlib import Path

from dormouse.cli.adminflags import AddTarget
from dormouse.cli.words import Commands, add_command, late


def add_backup_commands(commands: Commands, add_target: AddTarget) -> None:
    """The three commands."""
    _add_backup(commands, add_target)
    verify = add_command(
        commands, "verify", "check a backup file; exit code 1 if a byte of it is not as it was"
    )
    verify.add_argument("file", type=Path, metavar="FILE", help="of `dormouse backup`")
    verify.add_argument("--json", action="store_true", help="print JSON: its manifest")
    verify.set_defaults(run=late("backup", "verify"))
    _add_restore(commands, add_target)


def _add_backup(commands: Commands, add_target: AddTarget) -> None:
    backup = add_command(
        commands,
        "backup",
        "write a tenant to a file, as it is at one moment",
        description="Write a tenant to a file, as it is at one moment, while it is in use.",
    )
    which = backup.add_mutually_exclusive_group(required=True)
    which.add_argument("name", metavar="NAME", nargs="?", help="its name, its id or name-id")
    which.add_argument(
        "--all", type=Path, metavar="DIR", help="all tenants within reach, a file each in DIR"
    )
    backup.add_argument(
        *("-o", "--output"),
        type=Path,
        metavar="FILE",
        help="where to (default: NAME-ID-TIME.backup here)",
    )
    add_target(backup)
    backup.set_defaults(run=late("backup"))


def _add_restore(commands: Commands, add_target: AddTarget) -> None:
    restore = add_command(
        commands,
        "restore",
        "make a tenant of a backup file",
        description="Make a tenant of a backup file, with its settings and labels and with a new "
        "password, which is printed once. The file is checked first.",
    )
    restore.add_argument("file", type=Path, metavar="FILE", help="of `dormouse backup`")
    restore.add_argument(
        "--as", dest="new_name", metavar="NAME", help="its name (default: the one it had)"
    )
    restore.add_argument("--org", metavar="NAME", help="whose it is to be")
    add_target(restore)
    restore.set_defaults(run=late("backup", "restore"))
