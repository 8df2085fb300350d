"""The routes of certificates and of what secrets are sealed with; for the operator."""

from http import HTTPStatus

from fastapi import APIRouter, Depends, Response

from control.api.history import operation_view
from control.api.models_access import OperationView, moment
from control.api.models_trust import (
    AuthorityView,
    CertificateView,
    RotateRequest,
    RotationView,
    SecretsView,
)
from control.api.problems import Problem, documented
from control.api.route import takes_idempotency_key
from control.authority import Held
from control.sealing import Sealing
from control.trust.expiry import days_left, state
from control.trust.rotation import Rotation
from control.trust.steward import NotManaged, Steward
from control.vault import VaultError
from dormouse.base.clock import Clock


def add_authority_routes(
    router: APIRouter, steward: Steward, sealing: Sealing, clock: Clock
) -> None:
    """Looking at certificates, and rotating keys."""

    @router.get("/authority", tags=["installation"])
    async def read_authority() -> AuthorityView:
        """The authority, the certificates that are kept here, and how far a rotation is."""
        now_ns, rotation = clock.wall_ns(), steward.rotation
        authorities = steward.authority.authorities()
        return AuthorityView(
            authorities=[_certificate(each, now_ns, is_authority=True) for each in authorities],
            certificates=[_certificate(each, now_ns) for each in steward.held()],
            rotation=_rotation(rotation) if rotation is not None else None,
            secrets=_secrets(sealing),
        )

    @router.post(
        "/authority/rotate",
        tags=["installation"],
        status_code=HTTPStatus.ACCEPTED,
        dependencies=[Depends(takes_idempotency_key)],
        responses=documented(HTTPStatus.CONFLICT),
    )
    async def rotate_authority(
        response: Response, body: RotateRequest | None = None
    ) -> OperationView:
        """Replace the authority, without an interruption for anybody.

        The operation ends when the old authority is trusted by nobody. Asked again meanwhile, no
        other rotation is begun, but the time for clients may become shorter.
        """
        asked = body or RotateRequest()
        try:
            operation = await steward.rotate(asked.clients_after_seconds)
        except NotManaged:
            detail = "the roles' certificates are not kept by this control"
            raise Problem(HTTPStatus.CONFLICT, "certificates_not_managed", detail) from None
        response.headers["Operation-Location"] = f"/v1/operations/{operation.id}"
        return operation_view(operation)

    @router.post(
        "/authority/rotate-secrets",
        tags=["installation"],
        responses=documented(HTTPStatus.CONFLICT),
    )
    async def rotate_secrets() -> SecretsView:
        """Seal every secret of the registry under a new key.

        The old key stays in its file for a few minutes, until nothing is sealed under it.
        """
        try:
            await sealing.rotate()
        except VaultError:
            detail = "earlier keys are still in use; try again in a few minutes"
            raise Problem(HTTPStatus.CONFLICT, "rotation_under_way", detail) from None
        return _secrets(sealing)


def _certificate(held: Held, now_ns: int, *, is_authority: bool = False) -> CertificateView:
    return CertificateView(
        name=held.name,
        serial=held.serial,
        issuer=held.issuer,
        begins_at=held.begins,
        ends_at=held.ends,
        days_left=round(days_left(held, now_ns), 1),
        state=state(held, now_ns, is_authority=is_authority),
    )


def _rotation(rotation: Rotation) -> RotationView:
    return RotationView(
        phase=rotation.phase.value,
        since=moment(rotation.phase_ns),
        clients_at=moment(rotation.clients_ns),
        operation=rotation.operation,
    )


def _secrets(sealing: Sealing) -> SecretsView:
    newest, *old = sealing.key_ids
    return SecretsView(key=newest, old_keys=len(old))
