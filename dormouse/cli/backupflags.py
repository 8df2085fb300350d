"""The arguments of `dormouse backup`, `verify` and `restore`."""

from dormouse.cli.adminflags import AddTarget
from dormouse.cli.backupkey import add_key_flag
from dormouse.cli.objectstore import add_store_options
from dormouse.cli.words import Commands, add_command, late

_KEY = "what it was encrypted with"
_FILE = "of `dormouse backup`, or its URL in a bucket"


def add_backup_commands(commands: Commands, add_target: AddTarget) -> None:
    """The three commands."""
    _add_backup(commands, add_target)
    verify = add_command(
        commands, "verify", "check a backup file; exit code 1 if a byte of it is not as it was"
    )
    verify.add_argument("file", metavar="FILE", help=_FILE)
    add_key_flag(verify, _KEY)
    add_store_options(verify)
    verify.add_argument("--json", action="store_true", help="print JSON: its manifest")
    verify.set_defaults(run=late("backup", "verify"))
    _add_restore(commands, add_target)


def _add_backup(commands: Commands, add_target: AddTarget) -> None:
    backup = add_command(
        commands,
        "backup",
        "write tenants to files, each as it is at one moment",
        description="Write tenants to files, each as it is at one moment, while they are in use."
        " Credentials of a bucket come from the environment (docs/backup.md).",
    )
    which = backup.add_mutually_exclusive_group(required=True)
    which.add_argument("name", metavar="NAME", nargs="?", help="its name, its id or name-id")
    which.add_argument("--all", action="store_true", help="all tenants within reach")
    which.add_argument("--list", metavar="PLACE", help="show what lies there, and write nothing")
    which.add_argument(
        "--clean", metavar="PLACE", help="remove what broke off there more than a day ago"
    )
    backup.add_argument(
        "--to",
        metavar="PLACE",
        help="a folder, or a bucket's, as s3://bucket/folder (default: here); files in it are"
        " NAME-ID-TIME.backup",
    )
    backup.add_argument(
        *("-o", "--output"), metavar="FILE", help="the file, of one tenant, by a name of your own"
    )
    add_key_flag(
        backup, "encrypt with the key in it, 32 bytes in hexadecimal or base64 (AES-256-GCM)"
    )
    add_store_options(backup)
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
    restore.add_argument("file", metavar="FILE", help=_FILE)
    restore.add_argument(
        "--as", dest="new_name", metavar="NAME", help="its name (default: the one it had)"
    )
    restore.add_argument("--org", metavar="NAME", help="whose it is to be")
    add_key_flag(restore, _KEY)
    add_store_options(restore)
    add_target(restore)
    restore.set_defaults(run=late("backup", "restore"))
