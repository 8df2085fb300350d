"""Request units of a pod (dormouse.base.units), as one number that people can follow."""

from dormouse.base.units import MICRO, units_of
from proto.pod_pb2 import Usage


def request_units(usage: Usage) -> float:
    """The units of everything in `usage` together."""
    return units_of(usage).total / MICRO
