"""What a pod host does before its first fork, so that no pod does it after its stamp.

Imports that hang in functions, tables that are built on first use (types, functions, system
relations), protobuf classes: a few statements are parsed, analysed, planned and compiled against
the catalog of a fresh tenant. Nothing here starts a thread, a loop or anything of gRPC.
"""

from dormouse.base.clock import SystemClock
from sqlnode.catalog import virtual
from sqlnode.catalog.catalog import Catalog
from sqlnode.parse import parse
from sqlnode.session import handlers
from sqlnode.session.context import SessionContext
from sqlnode.session.encoding import column_encoder, param_decoder
from sqlnode.session.pipeline import make_plan
from sqlnode.session.settings import Settings
from sqlnode.types import oids

_STATEMENTS = (
    "SELECT 1",
    """SELECT n.nspname, c.relname FROM pg_catalog.pg_class c
       JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
       WHERE c.relkind IN ('r', 'v') AND n.nspname <> 'pg_toast' ORDER BY 1, 2 LIMIT $1""",
    "SELECT count(*), max(oid) FROM pg_catalog.pg_type GROUP BY typtype HAVING count(*) > 1",
    "SELECT now(), current_user, 'a' || $1::text, $2::int + 1, CASE WHEN true THEN 1.5 END",
)
_TYPES = (oids.BOOL, oids.INT4, oids.INT8, oids.TEXT, oids.NUMERIC, oids.TIMESTAMPTZ)


def warm_up() -> tuple[object, ...]:
    """Do everything once that is slow only once; what it returns keeps it alive."""
    settings = Settings({}, internal={})
    catalog = Catalog(owner="nobody", database="nothing")
    context = SessionContext(
        settings, catalog, SystemClock(), user="nobody", database="nothing", pid=1
    )
    plans = [make_plan(parse(text)[0], context) for text in _STATEMENTS]
    codecs = [
        (column_encoder(kind, form), param_decoder(kind, form))
        for kind in _TYPES
        for form in (0, 1)
    ]
    return plans, codecs, handlers.HANDLERS, virtual
