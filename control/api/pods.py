"""The routes of a tenant's pods: which there are, and revoking one."""

from http import HTTPStatus
from typing import Literal

from fastapi import APIRouter

from control.access import Target
from control.api.models_access import moment
from control.api.models_trust import PodList, PodRevoked, PodView, RevokedPodView
from control.api.paths import missing, parse_tenant_id
from control.api.problems import Problem, documented
from control.peers import PodPicture
from control.tenants import NoSuchTenant, Tenants
from control.trust.revoking import RevokedPod, Revoking, TooManyRevoked
from dormouse.base.ids import PodId

_STATES: dict[str, Literal["starting", "running", "draining", "ending"]] = {
    "stamping": "starting",
    "running": "running",
    "asking": "running",
    "returning": "running",
    "draining": "draining",
    "killed": "ending",
}
_DIGITS = 16


def add_pod_routes(router: APIRouter, tenants: Tenants, revoking: Revoking) -> None:
    """Listing and revoking."""

    @router.get(
        "/tenants/{id}/pods",
        tags=["tenants"],
        responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE),
    )
    async def list_pods(id: str) -> PodList:  # noqa: A002
        """The pods of a tenant just now, and those whose certificates are refused."""
        try:
            tenant = await tenants.registered(parse_tenant_id(id))
        except NoSuchTenant:
            raise missing(Target.TENANT, id) from None
        pods, revoked = await revoking.pods(tenant.id)
        return PodList(
            pods=[_pod(each) for each in pods],
            revoked=[_revoked(each) for each in revoked],
        )

    @router.post(
        "/tenants/{id}/pods/{pod}/revoke",
        tags=["tenants"],
        responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    )
    async def revoke_pod(id: str, pod: str) -> PodRevoked:  # noqa: A002
        """Refuse a pod's certificate from now on, and end the pod.

        For a pod that may be in somebody else's hands. Its sessions that are between transactions
        go on with another pod, the others end.
        """
        number = _pod_id(pod)
        try:
            tenant = await tenants.registered(parse_tenant_id(id))
            done = await revoking.revoke(tenant, number)
        except NoSuchTenant:
            raise missing(Target.TENANT, id) from None
        except TooManyRevoked:
            detail = "the tenant has too many revoked pods; each is forgotten with its certificate"
            raise Problem(HTTPStatus.CONFLICT, "too_many_revoked", detail) from None
        entry = _revoked(done.entry)
        return PodRevoked(**entry.model_dump(), is_ended=done.is_ended)


def _pod_id(text: str) -> PodId:
    if len(text) == _DIGITS and all(each in "0123456789abcdef" for each in text) and int(text, 16):
        return PodId(int(text, 16))
    raise Problem(HTTPStatus.NOT_FOUND, "pod_not_found", "a pod is named by 16 hexadecimal digits")


def _pod(pod: PodPicture) -> PodView:
    return PodView(
        id=f"{pod.pod:016x}",
        state=_STATES.get(pod.phase, "running"),
        sessions=pod.sessions,
        cpu_percent=pod.cpu_permille / 10,
    )


def _revoked(pod: RevokedPod) -> RevokedPodView:
    return RevokedPodView(
        id=f"{pod.pod:016x}", revoked_at=moment(pod.revoked_ns), until=moment(pod.until_ns)
    )
