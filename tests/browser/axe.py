"""The rules of axe-core, which judges a page by WCAG: an npm package, `npm install -g axe-core`.

It is a library and no program, and Debian does not have it. So a test that needs it is skipped where it is
not found, also where a missing program is a failure. AXE_CORE may name the folder of the package.
"""

import os
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.browser.kit import Tab
from tests.programs import missing

RUN = """
const done = arguments[0]
axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => done(violations.flatMap(
  (rule) => rule.nodes.map((node) => `${rule.id}: ${node.target} ${node.failureSummary}`))))
"""


@cache
def script() -> str | None:
    """The text of axe-core, if it is installed."""
    for folder in _folders():
        if (file := folder / "axe.min.js").is_file():
            return file.read_text()
    return None


def _folders() -> list[Path]:
    named = os.environ.get("AXE_CORE")
    folders = [Path(named)] if named else []
    if not missing(["npm"]):
        root = subprocess.run(["npm", "root", "-g"], capture_output=True, text=True, check=False).stdout
        folders.append(Path(root.strip()) / "axe-core")
    return folders


def violations(tab: Tab) -> list[str]:
    """What breaks a rule on the page as it is shown; the test is skipped without axe-core."""
    axe = script()
    if axe is None:
        pytest.skip("axe-core is not installed: npm install -g axe-core")
    tab.driver.execute_script(axe)
    found: list[str] = tab.driver.execute_async_script(RUN)
    return found
