"""Rows about sequences: pg_sequence, pg_sequences, information_schema.sequences.

pg_sequences says where each one stands, which storage is asked for.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from sqlnode.bridge import wait
from sqlnode.catalog.descriptors import NumberSequence
from sqlnode.catalog.makers import Fact, Maker, database_name, owner_name, user_sequences
from sqlnode.types.registry import by_oid, format_type

if TYPE_CHECKING:
    from sqlnode.catalog.catalog import Catalog
    from sqlnode.execute.api import Execution


def _sequences(catalog: "Catalog", execution: "Execution") -> Iterator[Fact]:
    for sequence in user_sequences(catalog):
        yield {
            "seqrelid": sequence.oid,
            "seqtypid": sequence.type,
            "seqstart": sequence.start,
            "seqincrement": sequence.increment,
            "seqmax": sequence.max,
            "seqmin": sequence.min,
            "seqcache": sequence.cache,
            "seqcycle": sequence.cycle,
        }
    del execution


def _standing(catalog: "Catalog", execution: "Execution") -> Iterator[Fact]:
    shown = user_sequences(catalog)
    if not shown:
        return
    looks = wait(execution.functions.sequences.look_at(shown))
    for sequence, (last, _, called) in zip(shown, looks, strict=True):
        yield {
            "schemaname": sequence.schema,
            "sequencename": sequence.name,
            "sequenceowner": owner_name(catalog, sequence.owner, execution),
            "data_type": sequence.type,
            "start_value": sequence.start,
            "min_value": sequence.min,
            "max_value": sequence.max,
            "increment_by": sequence.increment,
            "cycle": sequence.cycle,
            "cache_size": sequence.cache,
            "last_value": last if called else None,
        }


def _of_the_standard(catalog: "Catalog", execution: "Execution") -> Iterator[Fact]:
    for sequence in user_sequences(catalog):
        if sequence.identity:
            continue  # a part of its column, by the standard
        yield {
            "sequence_catalog": database_name(catalog, execution),
            "sequence_schema": sequence.schema,
            "sequence_name": sequence.name,
            "data_type": format_type(sequence.type),
            "numeric_precision": by_oid(sequence.type).length * 8,
            "numeric_precision_radix": 2,
            "numeric_scale": 0,
            "start_value": str(sequence.start),
            **_bounds(sequence),
        }


def _bounds(sequence: NumberSequence) -> Fact:
    return {
        "minimum_value": str(sequence.min),
        "maximum_value": str(sequence.max),
        "increment": str(sequence.increment),
        "cycle_option": "YES" if sequence.cycle else "NO",
    }


def identity_facts(sequence: NumberSequence | None, generation: str) -> Fact:
    """What information_schema.columns says of an identity column, and of another (None)."""
    if sequence is None:
        return {"is_identity": "NO", "identity_cycle": "NO"}
    bounds = _bounds(sequence)
    return {
        "is_identity": "YES",
        "identity_generation": "ALWAYS" if generation == "a" else "BY DEFAULT",
        "identity_start": str(sequence.start),
        "identity_increment": bounds["increment"],
        "identity_maximum": bounds["maximum_value"],
        "identity_minimum": bounds["minimum_value"],
        "identity_cycle": bounds["cycle_option"],
    }


MAKERS: Mapping[str, Maker] = {"pg_sequence": _sequences, "pg_sequences": _standing}
STANDARD_MAKERS: Mapping[str, Maker] = {"sequences": _of_the_standard}
