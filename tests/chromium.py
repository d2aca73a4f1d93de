"""Headless Chromium, in which a test does what a person does: looks, clicks and types.

Every look waits for what is to be seen, and says what the page shows in its place if it does not
come. Nothing is downloaded: the browser and its driver are Debian's.
"""

from __future__ import annotations

import os
import shutil
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    StaleElementReferenceException,
    TimeoutException,
)
from selenium.webdriver import ActionChains, Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

T = TypeVar("T")
WIDTH, HEIGHT = 1400, 900
PATIENCE = 60
"""Seconds that a busy machine may take to show something."""
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # root has none
    "--disable-dev-shm-usage",  # /dev/shm is small in a container
    "--disable-gpu",
    "--disable-breakpad",
    "--hide-scrollbars",
    "--force-prefers-reduced-motion",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # tests stay off the network
)
_MISSING = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
needs_chromium = pytest.mark.skipif(
    bool(_MISSING),
    reason=f"there is no {' and no '.join(_MISSING)} here; on Debian: "
    "apt-get install chromium chromium-driver",
)


@dataclass(frozen=True)
class Browser:
    """What a person sees in a window, and does with it; places are XPaths.

    Parameters
    ----------
    pictures
        Folder of the screenshots; none are taken without it.
    """

    driver: WebDriver
    pictures: Path | None

    def until(self, condition: Callable[[], T | None], what: str) -> T:
        """What the condition comes to, as soon as it is anything but None or False."""
        # An element may go, be covered or still move while it is looked at: then look again.
        passing = (
            ElementClickInterceptedException,
            ElementNotInteractableException,
            StaleElementReferenceException,
        )
        wait = WebDriverWait(self.driver, PATIENCE, 0.1, ignored_exceptions=passing)
        try:
            return wait.until(lambda _: condition() or False)
        except TimeoutException:
            shown = self.driver.find_element(By.TAG_NAME, "body").text
            raise AssertionError(
                f"waited {PATIENCE} s for {what}; {self.driver.current_url} shows:\n{shown}"
            ) from None

    def visible(self, place: str) -> list[WebElement]:
        """Those that are there now."""
        found = self.driver.find_elements(By.XPATH, place)
        return [element for element in found if element.is_displayed()]

    def see(self, place: str) -> WebElement:
        """The first of those that are, or will be, there."""
        return self.until(lambda: next(iter(self.visible(place)), None), place)

    def texts(self, place: str) -> list[str]:
        """Of all that is there, once anything is."""
        return self.until(lambda: [each.text for each in self.visible(place)] or None, place)

    def shows(self, place: str, *texts: str) -> None:
        """These are what is, or will be, there."""
        self.until(lambda: self.texts(place) == list(texts), f"{texts} at {place}")

    def gone(self, place: str) -> None:
        self.until(lambda: not self.visible(place), f"the end of {place}")

    def click(self, place: str) -> None:
        """The first of those that are, or will be, there."""

        def clicked() -> bool:
            found = self.visible(place)
            if found:
                found[0].click()
            return bool(found)

        self.until(clicked, place)

    def type(self, text: str) -> None:
        """Into what has the focus."""
        self.driver.switch_to.active_element.send_keys(text)

    def bytes_of(self, image: WebElement) -> bytes:
        """The file that an image on the page shows."""
        address: str = self.driver.execute_async_script(_READ, image)
        return b64decode(address.partition(",")[2])

    def picture(self, name: str) -> None:
        """Take a screenshot of the window if any are wanted."""
        if self.pictures is None:
            return
        body = self.driver.find_element(By.TAG_NAME, "body")
        corner = WIDTH // 2 - 2, HEIGHT // 2 - 2  # from the middle: no tooltip is wanted
        ActionChains(self.driver).move_to_element_with_offset(body, *corner).perform()
        self.gone("//*[@role='tooltip' or contains(@class, 'ag-tooltip')]")
        assert self.driver.save_screenshot(str(self.pictures / f"{name}.png"))


_READ = """
const [image, done] = arguments;
const reader = new FileReader();
reader.onload = () => done(reader.result);
fetch(image.src).then(answer => answer.blob()).then(file => reader.readAsDataURL(file));
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A window of a new profile, until the block ends."""
    options = ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in FLAGS:
        options.add_argument(flag)
    driver = Chrome(options=options, service=Service(shutil.which("chromedriver")))
    pictures = os.environ.get("SCREENSHOTS")
    size: dict[str, Any] = {
        "width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False
    }  # fmt: skip
    try:
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        yield Browser(driver, Path(pictures) if pictures else None)
    finally:
        driver.quit()
