"""How the console's files are served; no browser, and no gateway."""

import asyncio
import gzip
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx

from control.console.files import STATIC, Console
from tests.control.support import FakePeers, rig_at

_OWN = [path for path in STATIC.rglob("*") if path.is_file() and "vendor" not in path.parts]


def _run(folder: Path, body: Callable[[httpx.AsyncClient], Awaitable[None]]) -> None:
    async def run() -> None:
        async with rig_at(folder, FakePeers()) as rig, rig.client(None) as client:
            await body(client)

    asyncio.run(run())


def test_the_page_is_served_under_a_strict_policy(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        page = await client.get("/")
        assert page.status_code == 200
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        policy = page.headers["content-security-policy"]
        rules = dict(each.strip().split(" ", 1) for each in policy.split(";"))
        assert rules["default-src"] == "'none'"
        assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
        assert rules["frame-ancestors"] == rules["trusted-types"] == "'none'"
        assert rules["require-trusted-types-for"] == "'script'"
        assert "unsafe" not in policy
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers.get_list("cache-control") == ["no-cache"]
        # The API's answers are still kept nowhere.
        assert (await client.get("/healthz")).headers.get_list("cache-control") == ["no-store"]

    _run(tmp_path, body)


def test_every_file_that_the_page_names_is_there(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        page = (await client.get("/")).text
        names = re.findall(r'(?:src|href)="(/console/[^"]+)"', page)
        assert len(names) > 30
        assert "{{" not in page
        for name in names:
            answer = await client.get(name)
            assert answer.status_code == 200, name
            assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
            assert answer.headers["x-content-type-options"] == "nosniff"

    _run(tmp_path, body)


def test_what_a_browser_has_is_not_sent_again(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        first = await client.get("/")
        headers = {"If-None-Match": f'"other", {first.headers["etag"]}'}
        again = await client.get("/", headers=headers)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
        assert (await client.get("/", headers={"If-None-Match": '"x"'})).status_code == 200
        head = await client.head("/")
        assert (head.status_code, head.content) == (200, b"")

    _run(tmp_path, body)


def test_files_are_zipped_for_those_who_take_it(tmp_path: Path) -> None:
    console = Console()
    name = f"/console/{console.version}/app.js"

    async def body(client: httpx.AsyncClient) -> None:
        plain = await client.get(name, headers={"Accept-Encoding": "identity, gzip;q=0"})
        assert "content-encoding" not in plain.headers
        assert plain.content == (STATIC / "app.js").read_bytes()
        zipped = await client.get(name, headers={"Accept-Encoding": "br, gzip;q=0.5"})
        assert zipped.headers["content-encoding"] == "gzip"
        assert zipped.content == plain.content
        assert int(zipped.headers["content-length"]) == len(gzip.compress(plain.content, mtime=0))
        assert zipped.headers["vary"] == "Accept-Encoding"

    _run(tmp_path, body)


def test_another_version_and_other_files_are_not_there(tmp_path: Path) -> None:
    version = Console().version

    async def body(client: httpx.AsyncClient) -> None:
        for path in (
            "/console/0123456789abcdef/app.js",
            f"/console/{version}/index.html",
            f"/console/{version}/../files.py",
            f"/console/{version}/%2e%2e/files.py",
            f"/console/{version}/vendor/uplot/LICENSE",
            f"/console/{version}/",
        ):
            assert (await client.get(path)).status_code == 404, path

    _run(tmp_path, body)


def test_a_version_is_the_hash_of_all_files(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text('<script src="{{files}}/a.js"></script>{{modules}}')
    (tmp_path / "a.js").write_text("1")
    one = Console(tmp_path)
    (tmp_path / "a.js").write_text("2")
    other = Console(tmp_path)
    assert one.version != other.version
    assert one.index.etag != other.index.etag
    assert f"/console/{one.version}/a.js" in one.index.body.decode()


def test_no_text_becomes_html_and_no_host_is_foreign() -> None:
    for path in _OWN:
        text = path.read_text(encoding="utf-8")
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text
        )
        hosts = set(re.findall(r"https?://[^\s\"'`<>)]+", text)) - {"http://www.w3.org/2000/svg"}
        assert hosts == set(), path
    index = (STATIC / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", index)


def test_what_is_from_elsewhere_says_so() -> None:
    vendored = {path.name for path in (STATIC / "vendor" / "uplot").iterdir()}
    assert vendored == {"LICENSE", "README.md", "uPlot.esm.js", "uPlot.min.css"}
    assert "MIT" in (STATIC / "vendor" / "uplot" / "LICENSE").read_text(encoding="utf-8")
