"""axe-core, which looks for what keeps people from using a page, in the browser's current page."""

from typing import Any

from selenium.webdriver import Chrome

from conftest import ROOT
from node_support import install

_AXE = "axe-core@4.11.0"

_RUN = """
const done = arguments[arguments.length - 1];
axe.run(document, {resultTypes: ["violations"]}).then(
  ({violations}) => done(violations.map((one) => [one.id, one.nodes.map((node) => node.html)])),
  (error) => done([["axe failed", [String(error)]]]));
"""


def load(driver: Chrome) -> None:
    """Load it into the page."""
    axe = install(ROOT / ".cache", _AXE) / "node_modules" / "axe-core" / "axe.min.js"
    driver.execute_cdp_cmd("Runtime.evaluate", {"expression": axe.read_text()})


def violations(driver: Chrome) -> list[Any]:
    """The rules that the page breaks, each with the elements that do."""
    found: list[Any] = driver.execute_async_script(_RUN)
    return found
