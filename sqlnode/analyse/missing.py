"""Errors for names that are not there, with PostgreSQL's guesses at what was meant."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlnode import tree
from sqlnode.analyse.locations import position
from sqlnode.analyse.state import State
from sqlnode.errors import SqlError

FUZZY_DISTANCE_MAX = 3


def relation(name: str, schema: str | None, location: int) -> SqlError:
    """42P01 for a table in FROM or as a statement's target."""
    shown = f"{schema}.{name}" if schema else name
    return SqlError("42P01", f'relation "{shown}" does not exist', position=position(location))


def table(state: State, name: str, location: int) -> SqlError:
    """42P01 for a qualifier that names no table of the query."""
    entry, alias_differs = _entry_named(state, name)
    if entry is None:
        message, hint = f'missing FROM-clause entry for table "{name}"', None
    else:
        message = f'invalid reference to FROM-clause entry for table "{name}"'
        if alias_differs:
            hint = f'Perhaps you meant to reference the table alias "{entry.alias}".'
        else:
            hint = (
                f'There is an entry for table "{entry.alias}", '
                "but it cannot be referenced from this part of the query."
            )
    return SqlError("42P01", message, hint=hint, position=position(location))


def _entries(state: State) -> Iterator[tree.RangeEntry]:
    level: State | None = state
    while level is not None:
        yield from level.entries
        level = level.parent


def _entry_named(state: State, name: str) -> tuple[tree.RangeEntry | None, bool]:
    for entry in _entries(state):
        if isinstance(entry.source, tree.RelationSource) and entry.source.table.name == name:
            return entry, entry.alias != name
        if entry.alias == name:
            return entry, False
    return None, False


@dataclass(slots=True)
class _Guess:
    distance: int = FUZZY_DISTANCE_MAX + 1
    first: tuple[tree.RangeEntry, str] | None = None
    second: tuple[tree.RangeEntry, str] | None = None


def column(state: State, qualifier: str | None, name: str, location: int) -> SqlError:
    """42703 with the closest column names as a hint."""
    shown = f"{qualifier}.{name}" if qualifier else f'"{name}"'
    return SqlError(
        "42703",
        f"column {shown} does not exist",
        hint=_column_hint(state, qualifier, name),
        position=position(location),
    )


def _column_hint(state: State, qualifier: str | None, name: str) -> str | None:
    guess = _Guess()
    for entry in _entries(state):
        penalty = 0
        if qualifier is not None:
            penalty = levenshtein(qualifier, entry.alias)
        for candidate in entry.columns:
            if candidate.name == name and penalty == 0:
                return (
                    f'There is a column named "{name}" in table "{entry.alias}", '
                    "but it cannot be referenced from this part of the query."
                )
            _consider(guess, penalty, entry, candidate.name, name)
    if guess.first is None:
        return None
    first = f'"{guess.first[0].alias}.{guess.first[1]}"'
    if guess.second is None:
        return f"Perhaps you meant to reference the column {first}."
    second = f'"{guess.second[0].alias}.{guess.second[1]}"'
    return f"Perhaps you meant to reference the column {first} or the column {second}."


def _consider(
    guess: _Guess, penalty: int, entry: tree.RangeEntry, candidate: str, name: str
) -> None:
    """PostgreSQL's updateFuzzyAttrMatchState: keep the one or two nearest names."""
    if penalty > guess.distance:
        return
    distance = levenshtein(candidate, name)
    if distance > len(name.encode()) // 2:
        return
    distance += penalty
    if distance < guess.distance:
        guess.distance = distance
        guess.first, guess.second = (entry, candidate), None
    elif distance == guess.distance:
        if guess.second is not None:
            guess.first = guess.second = None
            guess.distance = distance - 1
        elif guess.first is not None:
            guess.second = (entry, candidate)
        elif guess.distance <= FUZZY_DISTANCE_MAX:
            guess.first = (entry, candidate)


def levenshtein(one: str, other: str) -> int:
    """Edits between two names (63 characters at most)."""
    previous = list(range(len(other) + 1))
    for i, left in enumerate(one, start=1):
        current = [i]
        for j, right in enumerate(other, start=1):
            substituted = previous[j - 1] + (left != right)
            current.append(min(previous[j] + 1, current[j - 1] + 1, substituted))
        previous = current
    return previous[-1]
