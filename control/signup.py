"""Signing up: a stranger makes an organisation and a key for all of it, both or neither."""

from control.actor import Access, Reach, Scope
from control.database import Database
from control.keys import Keys
from control.organisations import Organisation, Organisations


class Signup:
    """Makes newcomers."""

    def __init__(self, database: Database, organisations: Organisations, keys: Keys) -> None:
        self._database = database
        self._organisations = organisations
        self._keys = keys

    async def sign_up(self, *, name: str, time_zone: str) -> tuple[Organisation, str]:
        """A new organisation and the text of its key, which is kept nowhere. Raises NameTaken."""
        async with self._database.transaction() as connection:
            made = await self._organisations.insert(connection, name=name, time_zone=time_zone)
            reach = Reach(Scope.ORGANISATION, Access.WRITE, made.id)
            _, text = await self._keys.insert(connection, reach, label="signup")
        return made, text
