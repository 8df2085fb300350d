"""A simulated month of 1,000 tenants closes in time and adds up to the ledger."""

import asyncio
from pathlib import Path

import pytest

from bench import invoices
from bench.breakdown import DoesNotAddUp

_SECONDS_MAX = 240


@pytest.mark.slow
def test_a_month_of_a_thousand_tenants_adds_up(tmp_path: Path) -> None:
    async def run() -> None:
        async with asyncio.timeout(_SECONDS_MAX):
            figures = await invoices.measure(tmp_path, 1000)
        assert figures["lines"] == 6 * 1000

    asyncio.run(run())


def test_a_month_without_an_invoice_does_not_add_up(tmp_path: Path) -> None:
    with pytest.raises(DoesNotAddUp, match="no invoice"):
        asyncio.run(invoices.measure(tmp_path, 0))
