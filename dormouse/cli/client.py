"""The HTTP API as the command line uses it.

By the standard library alone: a command that answers at once is worth more than a client's comfort.
"""

import json
import os
import secrets
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from email.message import Message
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from dormouse.cli.folder import CommandError, DataFolder
from dormouse.cli.login import ca_file_from_environment, read_login

T = TypeVar("T")
_TIMEOUT_SECONDS = 30.0
_PAGE = 500
_TRIES = 15
_PAUSE_SECONDS = 0.25
_PAUSE_SECONDS_MAX = 5.0
_LATER = (429, 503)
"""What is answered to who should ask again."""


@dataclass(frozen=True, slots=True)
class Target:
    """The installation a command talks to."""

    api: str
    key: str
    folder: DataFolder | None
    """Its data folder, where it runs on this machine."""
    ca_file: Path | None = None
    """What its certificate is verified with; None: the public authorities."""


def find_target(*, data: Path, api: str | None, key: str | None, ca_file: Path | None) -> Target:
    """The installation that flags and environment name: by URL, or by a local data folder; where
    none runs in that, the one that was logged in to.

    Raises CommandError where there is none.
    """
    api = api or os.environ.get("DORMOUSE_API")
    key = key or os.environ.get("DORMOUSE_API_KEY")
    ca_file = ca_file or ca_file_from_environment()
    folder = DataFolder.at(data)
    kept = read_login()
    if api is not None:
        if not api.startswith(("http://", "https://")):
            raise CommandError(f"{api!r} is not the URL of an API", hint="it starts with http")
        if kept is not None and kept.api == api.rstrip("/"):
            key, ca_file = key or kept.key, ca_file or kept.ca_file
        if not key:
            raise CommandError("an API key is needed", hint="give --api-key or $DORMOUSE_API_KEY")
        return Target(api.rstrip("/"), key, None, ca_file)
    try:
        document = json.loads(folder.ready.read_bytes())
        own = document.get("api_ca_file")
        ca_file = ca_file or (Path(own) if own is not None else None)
        return Target(document["api"], key or document["admin_key"], folder, ca_file)
    except (OSError, ValueError, KeyError, TypeError):
        if kept is not None:
            return Target(kept.api, key or kept.key, None, ca_file or kept.ca_file)
        raise CommandError(
            f"no gateway runs with the data folder {folder.root}",
            hint="start one with `dormouse up`, name another with --data or --api, or log in to one"
            " with `dormouse login`",
        ) from None


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Verifies the API by what is in `ca_file` and nothing else: an authority, or the API's own
    certificate. None: by the public authorities. Raises CommandError."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise CommandError(f"{ca_file} holds no certificates: {error}") from None
    if ca_file is not None:
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


class NoAnswer(CommandError):
    """Nobody answered, or somebody who could not just now: it may be asked again."""


class Client:
    """Calls the API; every failure is a CommandError with the API's own words."""

    def __init__(self, target: Target, *, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
        self._target = target
        self._timeout_seconds = timeout_seconds
        # No proxy from the environment: the API is here, or named in full.
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if target.api.startswith("https://"):
            handlers.append(urllib.request.HTTPSHandler(context=tls_context(target.ca_file)))
        self._opener = urllib.request.build_opener(*handlers)

    def create(self, name: str, **more: Any) -> dict[str, Any]:
        """POST /v1/tenants; `more` is of its document."""
        return self._call("POST", "/v1/tenants", {"name": name, **more})

    def tenants(
        self, query: Mapping[str, str | Sequence[str]], *, limit: int | None = None
    ) -> list[dict[str, Any]]:
        """The tenants that match, `limit` at most."""
        return self._pages("/v1/tenants", "tenants", limit=limit, **query)

    def named(self, name: str) -> dict[str, Any] | None:
        """The tenant of this name."""
        page = self._call("GET", f"/v1/tenants?{urlencode({'name': name})}")
        return next(iter(page["tenants"]), None)

    def find(self, name: str) -> dict[str, Any]:
        """The tenant of this name, of this id, or of this `<name>-<id>`."""
        if (named := self.named(name)) is not None:
            return named
        if name.isdecimal():
            return self._call("GET", f"/v1/tenants/{name}")
        base, _, number = name.rpartition("-")
        if base and number.isdecimal():
            tenant = self._call("GET", f"/v1/tenants/{number}")
            if tenant["name"] == base:
                return tenant
        raise CommandError(f"there is no tenant {name!r}", hint="see `dormouse tenant list`")

    def delete(self, tenant_id: int, *, purge: bool = False) -> dict[str, Any]:
        """DELETE /v1/tenants/{id}; empty once the data is gone."""
        return self._call("DELETE", f"/v1/tenants/{tenant_id}{'?purge=true' if purge else ''}")

    def find_any(self, name: str) -> dict[str, Any]:
        """See `find`; where there is none that lives, the newest deleted one of this name or id."""
        try:
            return self.find(name)
        except CommandError:
            deleted = self._pages("/v1/tenants", "tenants", state="deleted", search=name)
        matching = (
            each
            for each in reversed(deleted)
            if name in (each["name"], str(each["id"]), f"{each['name']}-{each['id']}")
        )
        found: dict[str, Any] | None = next(matching, None)
        if found is not None:
            return found
        raise CommandError(f"there is no tenant {name!r}", hint="see `dormouse tenant list`")

    def rename(self, tenant_id: int, name: str) -> dict[str, Any]:
        """PATCH /v1/tenants/{id}."""
        return self._call("PATCH", f"/v1/tenants/{tenant_id}", {"name": name})

    def label(self, tenant_id: int, changes: Mapping[str, str | None]) -> dict[str, Any]:
        """PATCH /v1/tenants/{id}: set some labels, take those away that are None; none of it where
        somebody else has changed the tenant in between."""
        path = f"/v1/tenants/{tenant_id}"
        tenant, headers = self._exchange("GET", path)
        labels = {**tenant["labels"], **changes}
        left = {name: value for name, value in labels.items() if value is not None}
        return self._exchange("PATCH", path, {"labels": left}, if_match=headers["ETag"])[0]

    def connection_urls(self, tenant_id: int) -> dict[str, Any]:
        """GET /v1/tenants/{id}/connection-urls."""
        return self._call("GET", f"/v1/tenants/{tenant_id}/connection-urls")

    def roles(self, tenant_id: int) -> list[dict[str, Any]]:
        """GET /v1/tenants/{id}/roles."""
        found: list[dict[str, Any]] = self._call("GET", f"/v1/tenants/{tenant_id}/roles")["roles"]
        return found

    def restore(self, tenant_id: int, name: str | None) -> dict[str, Any]:
        """POST /v1/tenants/{id}/restore."""
        return self._call("POST", f"/v1/tenants/{tenant_id}/restore", {"name": name})

    def reset_password(self, tenant_id: int) -> dict[str, Any]:
        """POST /v1/tenants/{id}/roles/owner/password."""
        return self._call("POST", f"/v1/tenants/{tenant_id}/roles/owner/password")

    def me(self) -> dict[str, Any]:
        """GET /v1/me: the key that asks."""
        return self._call("GET", "/v1/me")

    def organisations(self) -> list[dict[str, Any]]:
        """All organisations."""
        return self._pages("/v1/organisations", "organisations")

    def find_organisation(self, name: str) -> dict[str, Any]:
        """The organisation of this name, or of this id."""
        query = urlencode({"name": name})
        page = self._call("GET", f"/v1/organisations?{query}")["organisations"]
        if page:
            named: dict[str, Any] = page[0]
            return named
        if name.isdecimal():
            return self._call("GET", f"/v1/organisations/{name}")
        raise CommandError(f"there is no organisation {name!r}", hint="see `dormouse org list`")

    def create_organisation(self, name: str, time_zone: str) -> dict[str, Any]:
        """POST /v1/organisations."""
        return self._call("POST", "/v1/organisations", {"name": name, "time_zone": time_zone})

    def change_organisation(self, number: int, change: dict[str, Any]) -> dict[str, Any]:
        """PATCH /v1/organisations/{id}."""
        return self._call("PATCH", f"/v1/organisations/{number}", change)

    def delete_organisation(self, number: int) -> None:
        """DELETE /v1/organisations/{id}."""
        self._call("DELETE", f"/v1/organisations/{number}")

    def keys(self) -> list[dict[str, Any]]:
        """All keys within reach."""
        return self._pages("/v1/keys", "keys")

    def create_key(self, body: dict[str, Any]) -> dict[str, Any]:
        """POST /v1/keys; its text is in the answer."""
        return self._call("POST", "/v1/keys", body)

    def revoke_key(self, number: int) -> None:
        """DELETE /v1/keys/{id}."""
        self._call("DELETE", f"/v1/keys/{number}")

    def operations(self, tenant_id: int) -> list[dict[str, Any]]:
        """All operations of a tenant."""
        return self._pages(f"/v1/tenants/{tenant_id}/operations", "operations")

    def operation(self, number: int) -> dict[str, Any]:
        """GET /v1/operations/{id}."""
        return self._call("GET", f"/v1/operations/{number}")

    def authority(self) -> dict[str, Any]:
        """GET /v1/authority."""
        return self._call("GET", "/v1/authority")

    def rotate_authority(self, clients_after_seconds: int) -> dict[str, Any]:
        """POST /v1/authority/rotate; the operation."""
        body = {"clients_after_seconds": clients_after_seconds}
        return self._call("POST", "/v1/authority/rotate", body)

    def rotate_secrets(self) -> dict[str, Any]:
        """POST /v1/authority/rotate-secrets."""
        return self._call("POST", "/v1/authority/rotate-secrets")

    def pods(self, tenant_id: int) -> dict[str, Any]:
        """GET /v1/tenants/{id}/pods."""
        return self._call("GET", f"/v1/tenants/{tenant_id}/pods")

    def revoke_pod(self, tenant_id: int, pod: str) -> dict[str, Any]:
        """POST /v1/tenants/{id}/pods/{pod}/revoke."""
        return self._call("POST", f"/v1/tenants/{tenant_id}/pods/{quote(pod, safe='')}/revoke")

    def suspend(self, tenant_id: int) -> dict[str, Any]:
        """POST /v1/tenants/{id}/suspend."""
        return self._call("POST", f"/v1/tenants/{tenant_id}/suspend")

    def change_settings(self, tenant_id: int, change: dict[str, Any]) -> dict[str, Any]:
        """PATCH /v1/tenants/{id}/settings; all settings as they are then."""
        return self._call("PATCH", f"/v1/tenants/{tenant_id}/settings", change)

    def explain(self, tenant_id: int) -> dict[str, Any]:
        """GET /v1/tenants/{id}/explain."""
        return self._call("GET", f"/v1/tenants/{tenant_id}/explain")

    def live(self, *, sort: str) -> dict[str, Any]:
        """GET /v1/live: as many of the tenants that are awake as it gives at a time."""
        return self._call("GET", f"/v1/live?sort={sort}&limit={_PAGE}")

    def statements(self, tenant_id: int, parameters: dict[str, str]) -> dict[str, Any]:
        """GET /v1/tenants/{id}/statements."""
        query = urlencode(parameters)
        return self._call("GET", f"/v1/tenants/{tenant_id}/statements?{query}")

    def usage(self, tenant_id: int | None, parameters: dict[str, str]) -> dict[str, Any]:
        """GET /v1/tenants/{id}/usage, or /v1/usage without an id; all pages of tenants in one."""
        if tenant_id is not None:
            return self._call("GET", f"/v1/tenants/{tenant_id}/usage?{urlencode(parameters)}")
        whole = self._call("GET", f"/v1/usage?{urlencode(parameters)}")
        following = whole["next"]
        while following is not None:
            query = urlencode({**parameters, "after": following})
            page = self._call("GET", f"/v1/usage?{query}")
            whole["tenants"] += page["tenants"]
            following = page["next"]
        return {**whole, "next": None}

    def spend_limit(self, path: str) -> tuple[dict[str, Any], str | None]:
        """The spend limit at a path with how its month stands, and its ETag."""
        document, headers = self._exchange("GET", path)
        return document, headers["ETag"]

    def set_spend_limit(
        self, path: str, limit: dict[str, Any], *, if_match: str | None = None
    ) -> dict[str, Any]:
        """Put a spend limit in the place of the one there is, or of this version of it."""
        return self._exchange("PUT", path, limit, if_match=if_match)[0]

    def events(self, query: dict[str, Any]) -> dict[str, Any]:
        """GET /v1/events: one page."""
        return self._call("GET", f"/v1/events?{urlencode(query, doseq=True)}")

    def webhooks(self) -> list[dict[str, Any]]:
        """All webhooks within reach."""
        return self._pages("/v1/webhooks", "webhooks")

    def webhook(self, number: int) -> dict[str, Any]:
        """GET /v1/webhooks/{id}."""
        return self._call("GET", f"/v1/webhooks/{number}")

    def create_webhook(self, body: dict[str, Any]) -> dict[str, Any]:
        """POST /v1/webhooks; its secret is in the answer."""
        return self._call("POST", "/v1/webhooks", body)

    def change_webhook(self, number: int, change: dict[str, Any]) -> dict[str, Any]:
        """PATCH /v1/webhooks/{id}."""
        return self._call("PATCH", f"/v1/webhooks/{number}", change)

    def delete_webhook(self, number: int) -> None:
        """DELETE /v1/webhooks/{id}."""
        self._call("DELETE", f"/v1/webhooks/{number}")

    def rotate_webhook_secret(self, number: int) -> dict[str, Any]:
        """POST /v1/webhooks/{id}/secret; the new secret is in the answer."""
        return self._call("POST", f"/v1/webhooks/{number}/secret")

    def test_webhook(self, number: int) -> dict[str, Any]:
        """POST /v1/webhooks/{id}/test; the delivery."""
        return self._call("POST", f"/v1/webhooks/{number}/test")

    def deliveries(self, number: int, query: dict[str, Any]) -> list[dict[str, Any]]:
        """GET /v1/webhooks/{id}/deliveries: the newest ones."""
        path = f"/v1/webhooks/{number}/deliveries?{urlencode(query)}"
        found: list[dict[str, Any]] = self._call("GET", path)["deliveries"]
        return found

    def redeliver(self, number: int, delivery: int) -> dict[str, Any]:
        """POST /v1/webhooks/{id}/deliveries/{delivery}/redeliver."""
        return self._call("POST", f"/v1/webhooks/{number}/deliveries/{delivery}/redeliver")

    def invoices(self, organisation: int) -> list[dict[str, Any]]:
        """All invoices of an organisation: drafts, then closed ones, the newest first."""
        path = f"/v1/organisations/{organisation}/invoices"
        found: list[dict[str, Any]] = []
        query = urlencode({"limit": _PAGE})
        while True:
            page = self._call("GET", f"{path}?{query}")
            found += page["invoices"]
            if page["next"] is None:
                return found
            query = urlencode({"limit": _PAGE, "before": page["next"]})

    def invoice_draft(self, organisation: int) -> dict[str, Any]:
        """GET /v1/organisations/{id}/invoices/draft."""
        return self._call("GET", f"/v1/organisations/{organisation}/invoices/draft")

    def invoice(self, number: int) -> dict[str, Any]:
        """GET /v1/invoices/{id}."""
        return self._call("GET", f"/v1/invoices/{number}")

    def invoice_file(self, number: int, form: str) -> bytes:
        """GET /v1/invoices/{id}/pdf or /csv."""
        return self._send("GET", f"/v1/invoices/{number}/{form}")[0]

    def backup(self, tenant_id: int) -> AbstractContextManager[Callable[[int], bytes]]:
        """GET /v1/tenants/{id}/backup: reads so many bytes of the file, fewer at its end."""
        return self._reading(f"/v1/tenants/{tenant_id}/backup")

    def begin_restore(self, body: dict[str, Any]) -> int:
        """POST /v1/restores: the id of the restore, and of the tenant to be."""
        return int(self._call("POST", "/v1/restores", body)["id"])

    def put_piece(self, restore: int, number: int, frame: bytes) -> None:
        """PUT /v1/restores/{id}/pieces/{piece}; while nobody answers it is asked again."""
        path = f"/v1/restores/{restore}/pieces/{number}"
        self._again(lambda: self._send("PUT", path, frame))

    def finish_restore(self, restore: int) -> dict[str, Any]:
        """POST /v1/restores/{id}/finish: the tenant with its password, when its rows are counted.
        The gateway removes a restore that takes a day, so there is an end to it."""
        path = f"/v1/restores/{restore}/finish"
        while True:
            answer = self._again(partial(self._exchange, "POST", path, once=secrets.token_hex(16)))
            if answer[0].get("status") != "counting":
                return answer[0]

    def give_up_restore(self, restore: int) -> None:
        """DELETE /v1/restores/{id}."""
        self._call("DELETE", f"/v1/restores/{restore}")

    def status(self) -> dict[str, Any]:
        """GET /v1/status."""
        return self._call("GET", "/v1/status")

    def _pages(
        self, path: str, field: str, *, limit: int | None = None, **query: str | Sequence[str]
    ) -> list[dict[str, Any]]:
        """Everything that is listed there, page by page, `limit` at most."""
        found: list[dict[str, Any]] = []
        after: int | None = 0
        while after is not None and (limit is None or len(found) < limit):
            wanted = _PAGE if limit is None else min(_PAGE, limit - len(found))
            asked = urlencode({**query, "limit": wanted, "after": after}, doseq=True)
            page = self._call("GET", f"{path}?{asked}")
            found += page[field]
            after = page["next"]
        return found

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._exchange(method, path, body)[0]

    def _exchange(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        if_match: str | None = None,
        once: str | None = None,
    ) -> tuple[dict[str, Any], Message]:
        """The document and the headers of the answer; asked again with the same `once`, it is the
        same."""
        text, headers = self._send(method, path, body, if_match=if_match, once=once)
        try:
            document: dict[str, Any] = json.loads(text) if text else {}
        except ValueError as error:
            api = self._target.api
            raise CommandError(f"the API at {api} does not answer: {error}") from None
        return document, headers

    def _send(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | bytes | None = None,
        *,
        if_match: str | None = None,
        once: str | None = None,
    ) -> tuple[bytes, Message]:
        """The answer as it came, and its headers."""
        request = self._request(method, path, body, if_match=if_match, once=once)
        with self._answering(), self._opener.open(request, timeout=self._timeout_seconds) as answer:
            return answer.read(), answer.headers

    def _again(self, ask: Callable[[], T]) -> T:
        """Ask until there is an answer, for about a minute."""
        for number in range(_TRIES):
            try:
                return ask()
            except NoAnswer:
                time.sleep(min(_PAUSE_SECONDS * 2**number, _PAUSE_SECONDS_MAX))
        return ask()

    @contextmanager
    def _reading(self, path: str) -> Iterator[Callable[[int], bytes]]:
        """The answer as a file to be read; what its reader raises is none of the API's."""
        with self._answering():
            request = self._request("GET", path, None)
            answer = self._opener.open(request, timeout=self._timeout_seconds)

        def read(size: int) -> bytes:
            with self._answering():
                found: bytes = answer.read(size)
                return found

        with answer:
            yield read

    def _request(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | bytes | None,
        *,
        if_match: str | None = None,
        once: str | None = None,
    ) -> urllib.request.Request:
        is_file = isinstance(body, bytes)
        return urllib.request.Request(
            f"{self._target.api}{path}",
            method=method,
            data=body if isinstance(body, bytes | None) else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self._target.key}",
                "Content-Type": f"application/{'octet-stream' if is_file else 'json'}",
                **({"If-Match": if_match} if if_match is not None else {}),
                **({"Idempotency-Key": once} if once is not None else {}),
            },
        )

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Whatever goes wrong inside is a CommandError."""
        try:
            yield
        except urllib.error.HTTPError as error:
            kind = NoAnswer if error.code in _LATER else CommandError
            raise kind(_detail(error)) from None
        except (OSError, ValueError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise CommandError(
                    f"the certificate of {self._target.api} does not prove what it says: "
                    f"{reason.verify_message}",
                    hint="give the gateway's ca.crt with --ca or $DORMOUSE_API_CA",
                ) from None
            raise NoAnswer(f"the API at {self._target.api} does not answer: {reason}") from None


def _detail(error: urllib.error.HTTPError) -> str:
    """The API's own sentence about a refusal."""
    with error:
        try:
            return str(json.loads(error.read())["detail"])
        except (OSError, ValueError, KeyError, TypeError):
            return f"HTTP status {error.code}"
