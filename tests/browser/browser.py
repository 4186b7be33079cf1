"""A browser that tells what a page asked for and complained of."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage",
    "--no-first-run", "--hide-scrollbars", "about:blank",
)  # fmt: skip


@dataclass
class Browser:
    """A running chromium; pages are opened one after another in its one window."""

    driver: Chrome

    @classmethod
    @contextmanager
    def started(cls, chromium: Path, driver: Path, profile: Path) -> Iterator["Browser"]:
        """Start a browser with a profile of its own, and end it."""
        options = ChromeOptions()
        options.binary_location = str(chromium)
        for flag in (f"--user-data-dir={profile}", *FLAGS):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        chrome = Chrome(options=options, service=Service(str(driver)))
        try:
            yield cls(chrome)
        finally:
            chrome.quit()

    def open(self, path: Path, *, width: int = 1100, dark: bool = False) -> None:
        """Open a file in a window of a width in CSS pixels; what was recorded before is forgotten."""
        self._tell(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=900, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._tell("Emulation.setEmulatedMedia", media="", features=[scheme])
        for log in ("browser", "performance"):
            self.driver.get_log(log)
        self.driver.get(path.resolve().as_uri())

    def requests(self) -> list[str]:
        """Return the addresses asked for since the page was opened, this one first."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]

    def complaints(self) -> list[str]:
        """Return what stands in the console since the page was opened."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def ask(self, script: str, *arguments: object) -> Any:
        """Return the value of a script in the page."""
        return self.driver.execute_script(f"return {script}", *arguments)

    def click(self, selector: str) -> None:
        """Click the first element of a CSS selector."""
        self.driver.find_element("css selector", selector).click()

    def pdf(self) -> bytes:
        """Return the page as it is printed."""
        return base64.b64decode(self._tell("Page.printToPDF", printBackground=True)["data"])

    def print_styles(self) -> None:
        """Lay the page out as for paper, in the same window."""
        self._tell("Emulation.setEmulatedMedia", media="print")

    def screenshot(self) -> bytes:
        """Return a PNG of the whole page, also of what does not fit the window."""
        return base64.b64decode(self._tell("Page.captureScreenshot", captureBeyondViewport=True)["data"])

    def _tell(self, command: str, **parameters: object) -> Any:
        return self.driver.execute_cdp_cmd(command, parameters)
