"""Which tenant is meant, by every form, alone and together; any text is routed or refused."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse.base.errors import DormouseError
from dormouse.base.ids import TenantAddress, TenantId
from pgwire.errors import ProtocolViolation
from pgwire.link import PRIVATE_OPTIONS
from pgwire.startup import StartupMessage, parse_options
from proxy.errors import Reason, Rejected
from proxy.routing import Form, route

DEMO = TenantAddress("demo", TenantId(17))


def startup(**parameters: str) -> StartupMessage:
    return StartupMessage({"user": "ann", **parameters})


@pytest.mark.parametrize(
    ("parameters", "sni", "form", "forwarded"),
    [
        ({}, "demo-17.db.example.com", Form.SNI, {"user": "ann"}),
        ({}, "DEMO-17.localhost", Form.SNI, {"user": "ann"}),
        ({}, "demo-17", Form.SNI, {"user": "ann"}),
        ({"options": "--tenant=demo-17"}, None, Form.OPTIONS, {"user": "ann"}),
        ({"options": "-c tenant=demo-17"}, None, Form.OPTIONS, {"user": "ann"}),
        ({"options": "-ctenant=demo-17"}, None, Form.OPTIONS, {"user": "ann"}),
        (
            {"options": "-c search_path=a --tenant=demo-17 -c x=1"},
            None,
            Form.OPTIONS,
            {"user": "ann", "options": "-c search_path=a -c x=1"},
        ),
        ({"user": "ann.demo-17"}, None, Form.USER, {"user": "ann"}),
        ({"user": "a.b.demo-17"}, None, Form.USER, {"user": "a.b"}),
        # What libpq sends where no database is named.
        (
            {"user": "ann.demo-17", "database": "ann.demo-17"},
            None,
            Form.USER,
            {"user": "ann"},
        ),
        # The user's name looks like a tenant; the database that libpq makes of it is none.
        ({"user": "x-1.demo-17", "database": "x-1.demo-17"}, None, Form.USER, {"user": "x-1"}),
        (
            {"database": "demo-17.shop"},
            None,
            Form.DATABASE,
            {"user": "ann", "database": "shop"},
        ),
        ({"user": "ann.demo-17"}, "other-3.example.com", Form.USER, {"user": "ann"}),
        (
            {"user": "ann.demo-17", "options": "--tenant=demo-17", "database": "demo-17.shop"},
            None,
            Form.OPTIONS,
            {"user": "ann", "database": "shop"},
        ),
    ],
)
def test_forms(
    parameters: dict[str, str], sni: str | None, form: Form, forwarded: dict[str, str]
) -> None:
    found = route(startup(**parameters), sni)
    assert (found.tenant, found.form) == (DEMO, form)
    assert found.startup.parameters == forwarded


def named(form: Form, tenant: str) -> dict[str, str]:
    """What a startup message says where the form names the tenant."""
    return {
        Form.SNI: {"sni": f"{tenant}.example.com"},
        Form.OPTIONS: {"options": f"--tenant={tenant}"},
        Form.USER: {"user": f"ann.{tenant}"},
        Form.DATABASE: {"database": f"{tenant}.shop"},
    }[form]


EXPLICIT = [Form.OPTIONS, Form.USER, Form.DATABASE]


@pytest.mark.parametrize(("one", "other"), [*itertools.permutations(EXPLICIT, 2)])
@pytest.mark.parametrize("different", ["demo-18", "other-17"])
@pytest.mark.parametrize("sni", [None, "demo-17.example.com", "demo-18.example.com"])
def test_two_tenants_are_an_error(one: Form, other: Form, different: str, sni: str | None) -> None:
    with pytest.raises(Rejected, match="two different tenants") as caught:
        route(startup(**named(one, "demo-17"), **named(other, different)), sni)
    assert caught.value.sqlstate == "08004"
    assert caught.value.reason is Reason.TWO_TENANTS
    assert "--tenant=<name>-<id>" in (caught.value.hint or "")


@pytest.mark.parametrize(("one", "other"), [*itertools.combinations(EXPLICIT, 2)])
def test_two_forms_that_agree_are_as_good_as_one(one: Form, other: Form) -> None:
    found = route(startup(**named(one, "demo-17"), **named(other, "demo-17")), None)
    assert (found.tenant, found.form) == (DEMO, one)


@pytest.mark.parametrize("form", EXPLICIT)
@pytest.mark.parametrize("sni", ["demo-17.example.com", "demo-18.example.com", "localhost"])
def test_an_explicit_form_wins_over_the_host_name(form: Form, sni: str) -> None:
    found = route(startup(**named(form, "demo-17")), sni)
    assert (found.tenant, found.form) == (DEMO, form)


@pytest.mark.parametrize("option", sorted(PRIVATE_OPTIONS))
def test_private_options_are_refused(option: str) -> None:
    message = StartupMessage({"user": "ann.demo-17"}, 0, {"_pq_.a": "1", option: "1"})
    with pytest.raises(ProtocolViolation):
        route(message, None)


@pytest.mark.parametrize(
    ("parameters", "sni"),
    [
        ({}, None),
        ({}, "localhost"),
        ({}, "17.example.com"),
        ({"user": "ann.17"}, None),
        ({"user": ".demo-17"}, None),
        ({"database": "demo-17"}, None),
        ({"database": "demo-17."}, None),
        ({"options": "--tenant=17"}, "demo-17.example.com"),
        ({"options": "--tenant="}, "demo-17.example.com"),
    ],
)
def test_no_tenant_is_an_error(parameters: dict[str, str], sni: str | None) -> None:
    with pytest.raises(Rejected, match="no tenant") as caught:
        route(startup(**parameters), sni)
    assert "--tenant=<name>-<id>" in (caught.value.hint or "")


def test_other_options_keep_their_meaning() -> None:
    options = r"-c search_path=a\ b\\c --tenant=demo-17 --work-mem=4MB"
    forwarded = route(startup(options=options), None).startup.parameters["options"]
    assert parse_options(forwarded) == {"search_path": "a b\\c", "work_mem": "4MB"}


def test_what_is_not_ours_is_forwarded_as_it_is() -> None:
    message = StartupMessage(
        {"user": "ann", "options": "-c  geqo=off", "application_name": "x"}, 2, {"_pq_.a": "1"}
    )
    assert route(message, "demo-17.x").startup == message


_TEXT = st.text(st.characters(exclude_characters="\0"), max_size=40) | st.from_regex(
    r"(--tenant=|-c tenant=)?[a-z.]{0,6}demo-1[78](\.[a-z]*)?", fullmatch=True
)


@given(
    user=_TEXT.filter(bool),
    others=st.dictionaries(st.sampled_from(["options", "database", "application_name"]), _TEXT),
    sni=st.none() | _TEXT,
)
def test_any_text_is_routed_or_refused(user: str, others: dict[str, str], sni: str | None) -> None:
    message = startup(user=user, **others)
    try:
        found = route(message, sni)
    except DormouseError:
        return
    assert found.startup.parameters["user"]
    assert found.startup.parameters.get("application_name") == others.get("application_name")
    assert str(found.tenant) in f"{user} {others} {sni}".lower()
    if found.form is Form.SNI:
        assert found.startup == message
