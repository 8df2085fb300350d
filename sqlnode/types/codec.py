"""A codec: how values of one type are read and printed, before the type's facts are added."""

from dataclasses import dataclass

from sqlnode.types.base import (
    BinaryInput,
    BinaryOutput,
    Key,
    TextInput,
    TextOutput,
    TypmodApply,
    TypmodInput,
    TypmodOutput,
)


@dataclass(frozen=True, slots=True)
class Codec:
    """The behaviour of a type; the fields mean what `SqlType`'s of the same name mean."""

    text_in: TextInput
    text_out: TextOutput
    binary_in: BinaryInput
    binary_out: BinaryOutput
    apply_typmod: TypmodApply | None = None
    struct_code: str | None = None
    key_kind: str | None = None
    key: Key | None = None
    typmod_in: TypmodInput | None = None
    typmod_out: TypmodOutput | None = None
