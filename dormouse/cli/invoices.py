"""`dormouse invoice list|show|download`."""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from dormouse.cli.client import Client
from dormouse.cli.folder import CommandError
from dormouse.cli.output import fields, plain, print_json, table
from dormouse.cli.tenants import target_of
from dormouse.cli.usage import money

_DIGITS = re.compile(r"[0-9]{1,19}$")
_FACTORS = {
    "micro_request_unit": (1_000_000, "request units"),
    "kib_second": ((1 << 20) * 3600, "GiB-hours"),
    "byte": (1 << 30, "GiB"),
    "millisecond": (1000, "pod-seconds"),
    "tenant": (1, "tenants"),
}


def run(options: argparse.Namespace) -> int:
    """Run `dormouse invoice ACTION`."""
    client = Client(target_of(options))
    match options.action:
        case "list":
            found = client.invoices(_organisation(client, options.org))
            if options.json:
                print_json(found)
            else:
                print(listed(found))
        case "download":
            _download(client, options)
        case _:
            invoice = _shown(client, options)
            if options.json:
                print_json(invoice)
            else:
                print(report(invoice))
    return 0


def _organisation(client: Client, name: str | None) -> int:
    if name is not None:
        return int(client.find_organisation(name)["id"])
    found = client.organisations()
    if len(found) != 1:
        raise CommandError(
            f"{len(found)} organisations are within reach", hint="name one with --org"
        )
    return int(found[0]["id"])


def _shown(client: Client, options: argparse.Namespace) -> dict[str, Any]:
    if options.invoice is None:
        return client.invoice_draft(_organisation(client, options.org))
    return _find(client, options.invoice)


def _find(client: Client, text: str) -> dict[str, Any]:
    """The invoice of this number or id. A number is a prefix and the id with zeros before it."""
    digits = _DIGITS.search(text)
    if digits is not None and int(digits[0]):
        invoice = client.invoice(int(digits[0]))
        if text in (invoice["number"], str(invoice["id"])):
            return invoice
    raise CommandError(f"there is no invoice {text!r}", hint="see `dormouse invoice list`")


def _download(client: Client, options: argparse.Namespace) -> None:
    invoice = _find(client, options.invoice)
    if options.format == "json":
        content = (json.dumps(invoice, indent=2) + "\n").encode()
    else:
        content = client.invoice_file(invoice["id"], options.format)
    if str(options.output) == "-":
        sys.stdout.buffer.write(content)
        return
    name = re.sub(r"[^A-Za-z0-9-]", "", invoice["number"])
    file = options.output or Path(f"invoice-{name}.{options.format}")
    try:
        file.write_bytes(content)
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror}") from None
    if options.json:
        print_json({"file": str(file), "bytes": len(content)})
    else:
        print(f"{file}, {len(content):,} bytes")


def listed(invoices: list[dict[str, Any]]) -> str:
    """The list, for people."""
    rows = [
        (
            each["id"],
            plain(each["number"] or "draft"),
            each["month"],
            (each["closed_at"] or "-")[:10],
            money(each["total_micros"], each["currency"]),
            f"{each['payable']} {each['currency']}",
        )
        for each in invoices
    ]
    return table(("ID", "NUMBER", "MONTH", "CLOSED", "NET", "TO PAY"), rows)


def report(invoice: dict[str, Any]) -> str:
    """An invoice, for people: what all tenants come to together."""
    currency, tax = invoice["currency"], invoice["tax"]
    pairs = [
        ("Invoice", plain(invoice["number"] or "draft")),
        ("For", plain(invoice["buyer"]["name"])),
        ("Month", f"{invoice['month']} ({invoice['time_zone']})"),
        ("Net", f"{invoice['net']} {currency}"),
        (f"{plain(tax['label'])} {tax['percent']} %", f"{tax['amount']} {currency}"),
        ("To pay", f"{invoice['payable']} {currency}"),
    ]
    if invoice["status"] == "closed":
        pairs.append(("Due", invoice["due_date"]))
    return "\n\n".join([fields(pairs), _sums(invoice)])


def _sums(invoice: dict[str, Any]) -> str:
    rows = []
    for section in invoice["sections"]:
        for line in section["sums"]:
            factor, unit = _FACTORS[line["unit"]]
            rows.append(
                (
                    section["month"],
                    line["kind"],
                    f"{line['quantity'] / factor:,.3f}",
                    f"{line['free_quantity'] / factor:,.3f}",
                    unit,
                    money(line["amount_micros"], invoice["currency"]),
                )
            )
    return (
        table(("MONTH", "ITEM", "QUANTITY", "FREE", "UNIT", "AMOUNT"), rows)
        if rows
        else ("Nothing was used.")
    )
