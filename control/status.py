"""The installation's roles, as the supervisor writes them down.

The supervisor replaces the file as a whole at every change, so it is read anew for each question
and is right also after a restart of any role, this one too.
"""

import json
import logging
from importlib import metadata
from pathlib import Path

from pydantic import ValidationError

from control.api.models import RoleView, StatusView, TenantTotals

_log = logging.getLogger(__name__)


class StatusFile:
    """Reads the supervisor's status file; without one (`None`) no role is listed."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._version = metadata.version("dormouse")

    def view(self, totals: TenantTotals) -> StatusView:
        """The installation just now."""
        return StatusView(version=self._version, roles=self._roles(), tenants=totals)

    def _roles(self) -> dict[str, RoleView]:
        if self._path is None:
            return {}
        try:
            document = json.loads(self._path.read_text(encoding="utf-8"))
            return {name: RoleView.model_validate(role) for name, role in document["roles"].items()}
        except (OSError, ValueError, KeyError, ValidationError):
            _log.exception("the status file cannot be read", extra={"path": str(self._path)})
            return {}
