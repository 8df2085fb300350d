"""The file of `dormouse up --billing`: control's settings about money, for one machine.

Elsewhere they stand in control's own settings; here the supervisor writes those, and takes these
from the file at every start.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from control.config import ControlSettings
from control.invoices.seller import Seller
from control.prices import read_book
from dormouse.base.config import ConfigError, from_json
from dormouse.cli.folder import CommandError

SETTINGS = (
    "price_book",
    "invoice_settle_hours",
    "invoice_number_prefix",
    "invoice_payment_days",
    "invoice_font",
    "seller_name",
    "seller_address",
    "seller_tax_id",
    "seller_note",
    "tax_label",
    "tax_percent",
)
_PATHS = ("price_book", "invoice_font")


def check_billing(file: Path | None) -> None:
    """Raises CommandError for a file that cannot be taken."""
    nothing = Path()
    settings = ControlSettings(
        registry=nothing,
        authority=nothing,
        certs=nothing,
        rpc_address="",
        autoscaler_address="",
        storage_address="",
    )
    try:
        with_billing(settings, file)
    except ConfigError as error:
        raise CommandError(f"--billing: {error}") from None


def with_billing(settings: ControlSettings, file: Path | None) -> ControlSettings:
    """The settings with those of the file; paths in it are relative to its folder. Raises
    ConfigError for a file that cannot be taken."""
    if file is None:
        return settings
    try:
        document: Any = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from error
    if not isinstance(document, dict) or (unknown := sorted(set(document) - set(SETTINGS))):
        what = f"unknown setting {unknown[0]!r}" if isinstance(document, dict) else "no object"
        raise ConfigError(f"{file}: {what}")
    for name in _PATHS:
        if isinstance(document.get(name), str):
            document[name] = str((file.parent / document[name]).resolve())
    whole = json.loads(json.dumps(asdict(settings), default=str)) | document
    found = from_json(ControlSettings, whole)
    # Better refused here, where a person looks, than by a role that does not start.
    if found.invoice_font is not None and not found.invoice_font.is_file():
        raise ConfigError(f"{file}: invoice_font: there is no {found.invoice_font}")
    Seller.of(found)
    read_book(found.price_book)
    return found
