"""The options that the page about the client names exist; `test_docs` runs its commands."""

import re
import subprocess
import sys

from conftest import ROOT
from wire import DEADLINE_SECONDS

PAGE = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")


def test_options_of_the_page_exist() -> None:
    text = subprocess.run(
        [sys.executable, "-m", "fastwsh.client", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_SECONDS,
    ).stdout
    named = re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", PAGE)
    assert len(set(named)) > 8
    assert [option for option in named if option not in text] == []
