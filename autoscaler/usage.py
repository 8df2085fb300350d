"""Request units: what a pod has used, as one number that people can follow.

The weights are the price list's: one unit is 3 ms of SQL CPU.
"""

from proto.pod_pb2 import Usage

CPU_MICROS_PER_UNIT = 3000
READ_BATCH = 0.5
READ_REQUEST = 0.125
READ_MIB = 16.0
WRITE_BATCH = 1.0
WRITE_REQUEST = 1.0
WRITE_MIB = 1024.0
EGRESS_MIB = 1024.0
_MIB = 1 << 20


def request_units(usage: Usage) -> float:
    """The units of everything in `usage` together."""
    return (
        usage.sql_cpu_micros / CPU_MICROS_PER_UNIT
        + usage.read_batches * READ_BATCH
        + usage.read_requests * READ_REQUEST
        + usage.read_bytes / _MIB * READ_MIB
        + usage.write_batches * WRITE_BATCH
        + usage.write_requests * WRITE_REQUEST
        + usage.write_bytes / _MIB * WRITE_MIB
        + usage.egress_bytes / _MIB * EGRESS_MIB
    )
