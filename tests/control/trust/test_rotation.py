"""A rotation of the authority: its phases, its files, and that nobody is ever not trusted."""

import itertools
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from control.authority import Authority
from control.trust.generations import AuthorityError, Generations
from control.trust.rotation import Phase, Rights, Rotation, following, is_over, rights
from dormouse.base.clock import Clock, ManualClock, SystemClock
from dormouse.base.ids import PodId, TenantId
from dormouse.base.tls import Credentials, Identity, Role, pod_of

_STATES = [None, *Phase, None]
TENANT = TenantId(17)


def _rotation(phase: Phase) -> Rotation:
    return Rotation(old="ca", new="ca-2", phase=phase, phase_ns=0, clients_ns=100, operation=1)


def _all_rights(place: int) -> Rights:
    phase = _STATES[place]
    if phase is None:
        return rights("ca" if place == 0 else "ca-2", None)
    return rights("ca", _rotation(phase))


def _rights(place: int) -> tuple[str, tuple[str, ...]]:
    current = _all_rights(place)
    return current.issues, current.trusted


@pytest.mark.parametrize("before", range(len(_STATES) - 1))
def test_what_one_phase_shows_the_next_one_trusts_and_the_other_way_round(before: int) -> None:
    """Around a change of phase some have the files of before and some those of after."""
    (issues, trusted), (issues_next, trusted_next) = _rights(before), _rights(before + 1)
    assert {issues, issues_next} <= set(trusted)
    assert {issues, issues_next} <= set(trusted_next)


@pytest.mark.parametrize("before", range(len(_STATES) - 1))
def test_clients_with_the_file_of_before_or_after_trust_what_they_are_shown(before: int) -> None:
    now, then = _all_rights(before), _all_rights(before + 1)
    shown = {now.issues_for_clients, then.issues_for_clients}
    assert shown <= set(now.trusted_by_clients)
    assert shown <= set(then.trusted_by_clients)


def test_clients_with_the_oldest_copy_are_shown_what_they_trust_until_their_time() -> None:
    for phase in Phase:
        shown = rights("ca", _rotation(phase)).issues_for_clients
        assert shown == ("ca-2" if phase is Phase.SHOWN else "ca")


def test_a_phase_is_left_when_all_have_heard() -> None:
    for phase, know in itertools.product(Phase, (False, True)):
        rotation = _rotation(phase)
        assert not is_over(rotation, now_ns=9, settle_ns=10, pods_know=know)
        late = is_over(rotation, now_ns=10, settle_ns=10, pods_know=know)
        assert late is (know and phase is not Phase.RETIRED)
        assert is_over(rotation, now_ns=100, settle_ns=10, pods_know=know) is know
    assert following(Phase.SHOWN) is None


def test_every_state_survives_a_restart(tmp_path: Path) -> None:
    clock = ManualClock()
    states = [repr(Generations(tmp_path, clock))]
    Generations(tmp_path, clock).introduce(clients_ns=5, operation=7)
    while True:
        generations = Generations(tmp_path, clock)
        states.append(repr(generations))
        if generations.rotation is None:
            break
        generations.advance()
    assert len(set(states)) == len(Phase) + 2
    assert generations.current == "ca-2"
    assert generations.finished == 7
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "ca-2.crt",
        "ca-2.key",
        "state.json",
    ]
    again = generations.introduce(clients_ns=5, operation=8)
    assert (again.old, again.new) == ("ca-2", "ca-3")


def test_files_that_a_crash_left_behind_are_made_anew(tmp_path: Path) -> None:
    generations = Generations(tmp_path, ManualClock())
    (tmp_path / "ca-2.key").write_text("half a k")
    (tmp_path / "ca-2.crt").write_text("")
    assert Generations(tmp_path, ManualClock()).rotation is None
    generations.introduce(clients_ns=5, operation=7)
    assert Generations(tmp_path, ManualClock()).rights.trusted == ("ca", "ca-2")


@pytest.mark.parametrize("lost", ["ca-2.key", "state.json"])
def test_what_is_lost_after_a_rotation_is_not_made_up(tmp_path: Path, lost: str) -> None:
    generations = Generations(tmp_path, ManualClock())
    generations.introduce(clients_ns=5, operation=7)
    while generations.advance():
        pass
    (tmp_path / lost).unlink()
    with pytest.raises(AuthorityError, match="missing"):
        Generations(tmp_path, ManualClock())


def test_a_state_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    Generations(tmp_path, ManualClock())
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(AuthorityError, match="cannot be read"):
        Generations(tmp_path, ManualClock())


def test_one_rotation_at_a_time_and_clients_time_only_becomes_shorter(tmp_path: Path) -> None:
    generations = Generations(tmp_path, ManualClock())
    with pytest.raises(AuthorityError):
        generations.advance()
    generations.introduce(clients_ns=500, operation=7)
    with pytest.raises(AuthorityError):
        generations.introduce(clients_ns=500, operation=8)
    assert generations.hasten(900).clients_ns == 500
    assert generations.hasten(100).clients_ns == 100


# The whole of it, with handshakes


class _Installation:
    """A folder of certificates, and a pod's; what is read is kept until it is read again."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder = folder
        self.authority = Authority.open(folder / "authority", clock)
        for role in (Role.STORAGE, Role.PROXY):
            self.authority.ensure_role(folder / "certs", role)
        self.authority.ensure_sql(folder / "certs", ["localhost"], ["127.0.0.1"])
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.read()

    def read(self) -> None:
        self.storage = Credentials.read(self.folder / "certs", "storage")
        self.proxy = Credentials.read(self.folder / "certs", "proxy")
        self.pod = self.pod_now()

    def pod_now(self) -> Credentials:
        encoding = serialization.Encoding
        key = self.key.private_bytes(
            encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        public = self.key.public_key().public_bytes(
            encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        certificate = self.authority.issue_pod(TENANT, public, days=7, pod=PodId(5))
        return Credentials(key, certificate, self.authority.certificate_pem)

    def speak(self) -> None:
        """Everybody who speaks to somebody does."""
        pod = Identity(tenant=TENANT)
        storage = Identity(role=Role.STORAGE)
        _shake(self.pod, self.storage, storage)
        _shake(self.proxy, self.pod, pod)


def _shake(client: Credentials, server: Credentials, name: Identity) -> None:
    """A mutual handshake in memory. Raises ssl.SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = client.for_tls_client()
    one = context.wrap_bio(to_client, to_server, server_hostname=name.server_name)
    other = server.for_tls_server(mutual=True).wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (one, other):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue


def test_in_every_mixture_of_old_and_new_files_everybody_trusts_everybody(tmp_path: Path) -> None:
    clock = SystemClock()
    world = _Installation(tmp_path, clock)
    before = Credentials.read(tmp_path / "certs", "proxy")
    bystander = world.pod
    generations = world.authority.generations
    generations.introduce(clients_ns=0, operation=1)
    shown = False
    while True:
        renewed = world.authority.renew(tmp_path / "certs")
        for readers in itertools.product((False, True), repeat=3):  # who has read the new files
            old = (world.storage, world.proxy, world.pod)
            new = (
                Credentials.read(tmp_path / "certs", "storage"),
                Credentials.read(tmp_path / "certs", "proxy"),
                world.pod_now(),
            )
            picked = [new[n] if reads else old[n] for n, reads in enumerate(readers)]
            world.storage, world.proxy, world.pod = picked
            world.speak()
            world.storage, world.proxy, world.pod = old
        world.read()
        shown |= "sql" in renewed
        if generations.rotation is None:
            break
        generations.advance()
    assert shown
    with pytest.raises(ssl.SSLError):
        _shake(world.proxy, bystander, Identity(tenant=TENANT))
    with pytest.raises(ssl.SSLError):
        _shake(before, world.storage, Identity(role=Role.STORAGE))


def test_a_renewal_keeps_the_key_and_the_names(tmp_path: Path) -> None:
    clock = ManualClock(wall_ns=1_800_000_000_000_000_000)
    authority = Authority.open(tmp_path / "authority", clock)
    authority.ensure_sql(tmp_path, ["localhost", "*.example.org"], ["127.0.0.1", "::1"])
    authority.ensure_role(tmp_path, Role.PROXY)
    key = (tmp_path / "sql.key").read_bytes()
    first = x509.load_pem_x509_certificate((tmp_path / "sql.crt").read_bytes())
    assert authority.renew(tmp_path) == []
    clock.advance(306 * 86_400)
    assert authority.renew(tmp_path) == ["proxy", "sql"]
    second = x509.load_pem_x509_certificate((tmp_path / "sql.crt").read_bytes())
    assert (tmp_path / "sql.key").read_bytes() == key
    assert second.public_key() == first.public_key()
    assert second.subject == first.subject
    assert second.serial_number != first.serial_number
    for kind in (x509.SubjectAlternativeName, x509.ExtendedKeyUsage):
        assert second.extensions.get_extension_for_class(kind) == (
            first.extensions.get_extension_for_class(kind)
        )
    # A start finds nothing to do.
    authority.ensure_sql(tmp_path, ["localhost", "*.example.org"], ["127.0.0.1", "::1"])
    assert (tmp_path / "sql.key").read_bytes() == key


def test_a_pods_certificate_names_the_pod(tmp_path: Path) -> None:
    world = _Installation(tmp_path, SystemClock())
    certificate = x509.load_pem_x509_certificate(world.pod.certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert pod_of(names.get_values_for_type(x509.DNSName)) == PodId(5)
    assert pod_of(["17.dormouse.internal", "x.pod.dormouse.internal"]) is None
