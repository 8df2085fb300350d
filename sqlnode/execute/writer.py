"""Writing rows with everything that hangs on them: constraints, index entries, error details.

Shared by INSERT, UPDATE, DELETE and COPY. A row's entries in secondary indexes live and die with it
in the same transaction. Uniqueness is storage's answer to one `insert` request per batch, rows and
entries together, so that it costs no request of its own. The statement holds the table (ROW
EXCLUSIVE): who adds an index waits for the writer's transaction, or the writer is planned anew.

Locks: a row is locked by whoever changes it, which protects its index entries too, for nobody else
can want the same entry key, with two exceptions that are locked here: entries of unique indexes,
which another row may claim, and all touched entries of a row that changed after the statement's
snapshot, for the commit compares unlocked keys with that snapshot.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlnode import sqlstate
from sqlnode.catalog.descriptors import Index, Table
from sqlnode.errors import SqlError
from sqlnode.execute.api import Execution, Row
from sqlnode.functions.base import FunctionContext
from sqlnode.rowkeys import IndexKeys, row_keys
from sqlnode.rows import RowLayout
from sqlnode.types.registry import by_oid

_SHOWN_BYTES_MAX = 64


@dataclass(frozen=True, slots=True)
class Change:
    """A row to replace: where it is, what it was, what it becomes; `changed` as in kv Locked."""

    key: bytes
    old: Row
    new: Row
    changed: bool = False


class TableWriter:
    """Writes rows of one table. Stateless: one writer may serve many statements."""

    def __init__(self, table: Table, layout: RowLayout | None = None) -> None:
        self.table = table
        self.layout = layout or RowLayout(table)
        self.rows = row_keys(table)
        self._primary = table.primary
        self.indexes: tuple[tuple[Index, IndexKeys], ...] = tuple(
            (index, IndexKeys(table, index)) for index in table.indexes if not index.primary
        )
        self._not_null = tuple(at for at, column in enumerate(table.live) if column.not_null)
        self._key_columns = frozenset(self.rows.positions)

    # --- insert ---

    async def insert(self, execution: Execution, rows: Sequence[Row]) -> None:
        """Insert full rows, in live-column order.

        Raises SqlError 23502 for a NULL in a NOT NULL column, 23505 for a key that exists.
        """
        transaction = execution.transaction
        for row in rows:
            if None in row:
                self.check_nulls(row, execution.functions)
        if self._primary is None:
            keys = self.rows.encode_row_ids(await transaction.row_ids(len(rows)))
        else:
            keys = self.rows.encode_rows(rows)
        values = self.layout.encode_many(rows)
        unique = [self._primary is not None] * len(rows)
        if self.indexes:
            keys, values, unique = self._with_entries(rows, keys, values, unique)
        if len(rows) > 1 and True in unique:
            self._check_among(rows, keys, unique, execution.functions)
        taken = await transaction.insert(keys, values, unique=unique)
        if taken is not None:
            raise self._duplicate(rows, taken, execution.functions)

    def _with_entries(
        self,
        rows: Sequence[Row],
        row_keys_: list[bytes],
        row_values: list[bytes],
        row_unique: list[bool],
    ) -> tuple[list[bytes], list[bytes], list[bool]]:
        keys, values, unique = [], [], []
        for row, key, value, checked in zip(rows, row_keys_, row_values, row_unique, strict=True):
            keys.append(key)
            values.append(value)
            unique.append(checked)
            for _, index in self.indexes:
                entry_key, entry_value = index.entry(row, key)
                keys.append(entry_key)
                values.append(entry_value)
                unique.append(index.checks(row))
        return keys, values, unique

    def _check_among(
        self,
        rows: Sequence[Row],
        keys: Sequence[bytes],
        unique: Sequence[bool],
        context: FunctionContext,
    ) -> None:
        """Refuse rows of one batch that collide with each other."""
        checked = [key for key, unique_ in zip(keys, unique, strict=True) if unique_]
        if len(set(checked)) == len(checked):
            return
        seen: set[bytes] = set()
        for place, (key, unique_) in enumerate(zip(keys, unique, strict=True)):
            if unique_ and key in seen:
                raise self._duplicate(rows, place, context)
            seen.add(key)

    # --- update and delete ---

    async def update(
        self, execution: Execution, changes: Sequence[Change], assigned: frozenset[int]
    ) -> None:
        """Replace rows whose keys are locked. `assigned` are the positions that may differ.

        Raises SqlError 23502 and 23505.
        """
        for change in changes:
            if None in change.new:
                self.check_nulls(change.new, execution.functions)
        moves = bool(self._key_columns & assigned)
        touched = [
            (index, keys)
            for index, keys in self.indexes
            if moves or not assigned.isdisjoint(keys.positions)
        ]
        if not moves and not touched:
            put, encode = execution.transaction.put, self.layout.encode
            for change in changes:
                put(change.key, encode(change.new))
            return
        await self._update_keys(execution, changes, touched)

    async def _update_keys(
        self,
        execution: Execution,
        changes: Sequence[Change],
        touched: Sequence[tuple[Index, IndexKeys]],
    ) -> None:
        transaction = execution.transaction
        gone: list[bytes] = []
        locks: list[bytes] = []
        added: list[tuple[bytes, bytes, bool, int, Index | None]] = []
        for place, change in enumerate(changes):
            new_key = change.key if self._primary is None else self.rows.encode_row(change.new)
            encoded = self.layout.encode(change.new)
            if new_key == change.key:
                transaction.put(change.key, encoded)
            else:
                gone.append(change.key)
                added.append((new_key, encoded, True, place, self._primary))
            for index, keys in touched:
                old_entry, old_value = keys.entry(change.old, change.key)
                new_entry, new_value = keys.entry(change.new, new_key)
                checks = keys.checks(change.new) and new_entry != old_entry
                if old_entry != new_entry:
                    gone.append(old_entry)
                    if change.changed or keys.checks(change.old):
                        locks.append(old_entry)
                    if change.changed and not checks:
                        locks.append(new_entry)
                elif old_value == new_value:
                    continue
                added.append((new_entry, new_value, checks, place, index))
        if locks:
            await transaction.lock(locks)
        for key in gone:
            transaction.delete(key)
        await self._add(execution, changes, added)

    async def _add(
        self,
        execution: Execution,
        changes: Sequence[Change],
        added: Sequence[tuple[bytes, bytes, bool, int, Index | None]],
    ) -> None:
        checked = [item for item in added if item[2]]
        for key, value, checks, _, _ in added:
            if not checks:
                execution.transaction.put(key, value)
        if not checked:
            return
        seen: set[bytes] = set()
        taken: int | None = None
        for place, item in enumerate(checked):
            if item[0] in seen:
                taken = place
                break
            seen.add(item[0])
        if taken is None:
            taken = await execution.transaction.insert(
                [item[0] for item in checked],
                [item[1] for item in checked],
                unique=[True] * len(checked),
            )
        if taken is not None:
            _, _, _, place, index = checked[taken]
            raise self.duplicate(index, changes[place].new, execution.functions)

    async def delete(self, execution: Execution, rows: Sequence[tuple[bytes, Row, bool]]) -> None:
        """Remove rows whose keys are locked: (key, row, changed as in kv Locked)."""
        transaction = execution.transaction
        locks: list[bytes] = []
        entries: list[bytes] = []
        for key, row, changed in rows:
            for _, index in self.indexes:
                entry, _ = index.entry(row, key)
                entries.append(entry)
                if changed or index.checks(row):
                    locks.append(entry)
        if locks:
            await transaction.lock(locks)
        for key, _, _ in rows:
            transaction.delete(key)
        for entry in entries:
            transaction.delete(entry)

    # --- errors ---

    def check_nulls(self, row: Row, context: FunctionContext) -> None:
        """Raise 23502 where a NOT NULL column of the row is NULL."""
        for at in self._not_null:
            if row[at] is None:
                column = self.table.live[at]
                raise SqlError(
                    sqlstate.NOT_NULL_VIOLATION,
                    f'null value in column "{column.name}" of relation "{self.table.name}" '
                    "violates not-null constraint",
                    detail=f"Failing row contains ({self._shown_row(row, context)}).",
                    schema=self.table.schema,
                    table=self.table.name,
                    column=column.name,
                )

    def _shown_row(self, row: Row, context: FunctionContext) -> str:
        shown = []
        for value, column in zip(row, self.table.live, strict=True):
            text = "null" if value is None else by_oid(column.type).text_out(value, context)
            encoded = text.encode()
            if len(encoded) > _SHOWN_BYTES_MAX:
                text = encoded[:_SHOWN_BYTES_MAX].decode("utf-8", "ignore") + "..."
            shown.append(text)
        return ", ".join(shown)

    def _duplicate(self, rows: Sequence[Row], place: int, context: FunctionContext) -> SqlError:
        """The error for the key at `place` of what `insert` wrote."""
        row, which = divmod(place, 1 + len(self.indexes))
        index = self._primary if which == 0 else self.indexes[which - 1][0]
        return self.duplicate(index, rows[row], context)

    def duplicate(self, index: Index | None, row: Row, context: FunctionContext) -> SqlError:
        """23505 for a row that collides in an index."""
        if index is None:
            raise LookupError("a hidden row id was given twice")
        by_number = {column.number: at for at, column in enumerate(self.table.live)}
        places = [by_number[column.number] for column in index.columns]
        names = ", ".join(self.table.live[at].name for at in places)
        texts = [
            by_oid(self.table.live[at].type).text_out(row[at], context)
            if row[at] is not None
            else "null"
            for at in places
        ]
        return SqlError(
            sqlstate.UNIQUE_VIOLATION,
            f'duplicate key value violates unique constraint "{index.name}"',
            detail=f"Key ({names})=({', '.join(texts)}) already exists.",
            schema=self.table.schema,
            table=self.table.name,
            constraint=index.name,
        )
