"""Listings of directories without an index file."""

import re
from pathlib import Path

import pytest

from conftest import Server, StartServer
from http_support import fetch

NAMES = ["a b", "B", "c&d", "<e>", '"f"', "g'h", "%41", "#i", "j?k", "\u00e9", ".hidden"]


@pytest.fixture
def server(start_server: StartServer, tmp_path: Path, handler_root: Path) -> Server:
    root = tmp_path / "root"
    names = root / "names"
    names.mkdir(parents=True)
    for name in NAMES:
        (names / name).write_text(name)
    (names / "Zdir").mkdir()
    (names / "link").symlink_to("B")
    (names / "linkdir").symlink_to("Zdir")
    (root / "empty").mkdir()
    return start_server("-d", root, "-w", handler_root)


def entries(server: Server, target: str) -> list[tuple[str, str]]:
    reply = fetch(server, target)
    assert reply.status == 200
    assert reply.header("Content-Type") == "text/html; charset=utf-8"
    return re.findall(r'<li><a href="(.*?)">(.*?)</a></li>', reply.body.decode())


def test_names_are_in_the_order_that_ignores_case_and_marked(server: Server):
    assert entries(server, "/names/") == [
        ("%22f%22", '"f"'),
        ("%23i", "#i"),
        ("%2541", "%41"),
        ("%3Ce%3E", "&lt;e&gt;"),
        ("a%20b", "a b"),
        ("B", "B"),
        ("c%26d", "c&amp;d"),
        ("g%27h", "g'h"),
        ("j%3Fk", "j?k"),
        ("link", "link@"),
        ("linkdir/", "linkdir@"),
        ("Zdir/", "Zdir/"),
        ("%C3%A9", "\u00e9"),
    ]


def test_every_link_leads_to_its_file(server: Server):
    for link, shown in entries(server, "/names/"):
        reply = fetch(server, f"/names/{link}")
        assert reply.status == 200, shown


@pytest.mark.parametrize(
    ("target", "title"),
    [
        ("/names/", "/names/"),
        ("/names/?<b>&%3Ci%3E", "/names/?&lt;b&gt;&amp;&lt;i&gt;"),
        ("/empty/", "/empty/"),
        ("/", "/"),
    ],
)
def test_title_is_the_decoded_target(server: Server, target: str, title: str):
    page = fetch(server, target).body.decode()
    assert f"<title>Directory listing for {title}</title>" in page
    assert f"<h1>Directory listing for {title}</h1>" in page


def test_head_of_a_listing_has_its_length(server: Server):
    length = len(fetch(server, "/names/").body)
    assert fetch(server, "/names/", method="HEAD").header("Content-Length") == str(length)


def test_empty_directory(server: Server):
    assert entries(server, "/empty/") == []
