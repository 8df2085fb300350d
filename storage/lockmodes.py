"""Lock modes as bits, and PostgreSQL's matrix of which conflict (manual, 13.3.1 and 13.3.2).

Four modes of rows (advisory locks use two of them). In order of strength, each conflicts with all
that a weaker one conflicts with, so what an owner holds of a row is one bit, the strongest:

                      KEY_SHARE  SHARE  NO_KEY_UPDATE  UPDATE
      KEY_SHARE                                          ✗
      SHARE                                   ✗          ✗
      NO_KEY_UPDATE               ✗           ✗          ✗
      UPDATE              ✗       ✗           ✗          ✗

Eight modes of tables. They are not in order (SHARE UPDATE EXCLUSIVE conflicts with itself, SHARE
does not), so what an owner holds of a table is the set of all it asked for:

                               AS  RS  RE  SUE  S  SRE  E  AE
      ACCESS SHARE                                         ✗
      ROW SHARE                                         ✗  ✗
      ROW EXCLUSIVE                         ✗    ✗      ✗  ✗     the columns: S, SRE, E, AE
      SHARE UPDATE EXCLUSIVE           ✗    ✗    ✗      ✗  ✗
      SHARE                        ✗   ✗         ✗      ✗  ✗
      SHARE ROW EXCLUSIVE          ✗   ✗    ✗    ✗      ✗  ✗
      EXCLUSIVE                ✗   ✗   ✗    ✗    ✗      ✗  ✗
      ACCESS EXCLUSIVE     ✗   ✗   ✗   ✗    ✗    ✗      ✗  ✗
"""

from collections.abc import Iterator

KEY_SHARE, SHARE, NO_KEY_UPDATE, UPDATE = (1 << place for place in range(4))
ACCESS_SHARE, ROW_SHARE, ROW_EXCLUSIVE, SHARE_UPDATE_EXCLUSIVE = (
    1 << place for place in range(4, 8)
)
TABLE_SHARE, SHARE_ROW_EXCLUSIVE, EXCLUSIVE, ACCESS_EXCLUSIVE = (
    1 << place for place in range(8, 12)
)

_ROW_MODES = 4
STRONG = TABLE_SHARE | SHARE_ROW_EXCLUSIVE | EXCLUSIVE | ACCESS_EXCLUSIVE
"""The modes of tables that conflict with ROW EXCLUSIVE or less: who writes, or only reads, has to
know of them."""
_ALL = STRONG | SHARE_UPDATE_EXCLUSIVE | ROW_EXCLUSIVE | ROW_SHARE | ACCESS_SHARE

CONFLICTS = {
    KEY_SHARE: UPDATE,
    SHARE: NO_KEY_UPDATE | UPDATE,
    NO_KEY_UPDATE: SHARE | NO_KEY_UPDATE | UPDATE,
    UPDATE: KEY_SHARE | SHARE | NO_KEY_UPDATE | UPDATE,
    ACCESS_SHARE: ACCESS_EXCLUSIVE,
    ROW_SHARE: EXCLUSIVE | ACCESS_EXCLUSIVE,
    ROW_EXCLUSIVE: STRONG,
    SHARE_UPDATE_EXCLUSIVE: SHARE_UPDATE_EXCLUSIVE | STRONG,
    TABLE_SHARE: ROW_EXCLUSIVE | SHARE_UPDATE_EXCLUSIVE | STRONG & ~TABLE_SHARE,
    SHARE_ROW_EXCLUSIVE: ROW_EXCLUSIVE | SHARE_UPDATE_EXCLUSIVE | STRONG,
    EXCLUSIVE: _ALL & ~ACCESS_SHARE,
    ACCESS_EXCLUSIVE: _ALL,
}
"""By mode: the modes, or-ed, that no other owner may hold of the same key."""


def row_mode(number: int) -> int:
    """The bit of a kv.LockMode; 0 is none."""
    return 1 << number - 1 if number else 0


def row_number(mode: int) -> int:
    """The kv.LockMode of what is held of a row."""
    return mode.bit_length()


def table_mode(number: int) -> int:
    """The bit of a kv.TableMode."""
    return 1 << _ROW_MODES - 1 + number


def table_numbers(modes: int) -> Iterator[int]:
    """The kv.TableMode of each mode in what is held of a table."""
    return (number for number in range(1, 9) if modes & table_mode(number))


def covers(held: int, mode: int) -> bool:
    """Whether who holds `held` need not ask for `mode`."""
    return bool(held & mode) or (mode < ACCESS_SHARE and held > mode)


def joined(held: int, mode: int) -> int:
    """What is held once `mode`, which `held` does not cover, is got."""
    return mode if mode < ACCESS_SHARE else held | mode
