"""The pages of the documentation that open Chromium."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from selenium.webdriver import Chrome

import docs_markdown as markdown
from conftest import StartServer
from docs_support import Story


@pytest.fixture
def story(
    tmp_path: Path, start_server: StartServer, request: pytest.FixtureRequest
) -> Iterator[Story]:
    """A reader with the browser, which is asked for when a page is to be opened."""
    opened: list[Chrome] = []

    def open_browser() -> Chrome:
        if not opened:
            opened.append(cast("Chrome", request.getfixturevalue("browser")))
        return opened[0]

    story = Story(tmp_path, start_server, open_browser)
    yield story
    story.close()
    if opened:
        opened[0].execute_cdp_cmd("Security.setIgnoreCertificateErrors", {"ignore": False})


@pytest.mark.parametrize("page", [p for p in markdown.PAGES if markdown.needs_browser(p)])
def test_page_does_what_it_says(page: str, story: Story) -> None:
    story.play(page)
