"""Types that hold nothing or are only shown: void, trigger and the like, pg_node_tree, aclitem."""

from typing import NoReturn

from sqlnode import sqlstate
from sqlnode.errors import SqlError, unsupported
from sqlnode.types.base import FormatSettings, Value
from sqlnode.types.codec import Codec
from sqlnode.types.reading import same_text, text_binary_in, text_binary_out


def _void_in(text: str, typmod: int, settings: FormatSettings) -> str:
    return ""


def _void_out(value: str, settings: FormatSettings) -> str:
    return ""


def _void_binary_in(data: bytes, typmod: int) -> str:
    return ""


def _void_binary_out(value: str) -> bytes:
    return b""


def _shown_only(type_name: str) -> Codec:
    def refuse(*_: Value) -> NoReturn:
        raise SqlError(sqlstate.FEATURE_NOT_SUPPORTED, f"cannot accept a value of type {type_name}")

    return Codec(refuse, same_text, refuse, text_binary_out)


def _acl_in(text: str, typmod: int, settings: FormatSettings) -> str:
    if "=" not in text:
        raise unsupported("input of type aclitem")
    return text


CODECS = {
    "void": Codec(_void_in, _void_out, _void_binary_in, _void_binary_out),
    "pg_node_tree": _shown_only("pg_node_tree"),
    "pg_ndistinct": _shown_only("pg_ndistinct"),
    "pg_dependencies": _shown_only("pg_dependencies"),
    "pg_mcv_list": _shown_only("pg_mcv_list"),
    "pg_ddl_command": _shown_only("pg_ddl_command"),
    "any": _shown_only("any"),
    "anyelement": _shown_only("anyelement"),
    "anynonarray": _shown_only("anynonarray"),
    "trigger": _shown_only("trigger"),
    "event_trigger": _shown_only("event_trigger"),
    "internal": _shown_only("internal"),
    "language_handler": _shown_only("language_handler"),
    "index_am_handler": _shown_only("index_am_handler"),
    "table_am_handler": _shown_only("table_am_handler"),
    "aclitem": Codec(_acl_in, same_text, text_binary_in, text_binary_out),
}
