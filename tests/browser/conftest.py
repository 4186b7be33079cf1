"""One browser for all tests of this folder: Debian's chromium, driven by its own driver, with nothing to reach."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """The browser; without one a test is skipped, or fails where `RECEXPLAIN_BROWSER=1` says that there is one."""
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        reason = "no chromium with chromedriver (Debian: apt-get install chromium chromium-driver)"
        assert not os.environ.get("RECEXPLAIN_BROWSER"), reason
        pytest.skip(reason)
    chromium, driver = (Path(str(program)) for program in programs)
    with Browser.started(chromium, driver, tmp_path_factory.mktemp("profile")) as started:
        yield started
