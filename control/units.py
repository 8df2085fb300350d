"""Work of the system in request units (dormouse.base.units): shown beside what is billed."""

from control.amounts import Amounts
from dormouse.base.units import units_of


def system_units(amounts: Amounts) -> int:
    """What the system's own part would weigh, in millionths of a unit."""
    return units_of(
        Amounts(
            sql_cpu_micros=amounts.system_cpu_micros,
            read_batches=amounts.system_read_batches,
            read_requests=amounts.system_read_requests,
            read_bytes=amounts.system_read_bytes,
            write_batches=amounts.system_write_batches,
            write_requests=amounts.system_write_requests,
            write_bytes=amounts.system_write_bytes,
        )
    ).total
