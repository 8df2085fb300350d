"""The OpenAPI document and its page for people, written when somebody first asks for one.

Writing them takes half a second of CPU. A start does not wait for it, and the event loop does not
stand still for it: `read` is for a thread.
"""

import json
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from control.api import docs


class Texts(NamedTuple):
    """The document in both its forms."""

    json: bytes
    page: str


class Document:
    """`write` makes the OpenAPI document; it is called once."""

    def __init__(self, write: Callable[[], dict[str, Any]]) -> None:
        self._write = write
        self._writing = threading.Lock()
        self._texts: Texts | None = None

    def read(self) -> Texts:
        """The texts. The first call blocks for half a second, and others meanwhile with it."""
        with self._writing:
            if self._texts is None:
                document = self._write()
                text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
                self._texts = Texts(text.encode(), docs.render(document))
            return self._texts
