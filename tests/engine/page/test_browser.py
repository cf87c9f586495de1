"""The page in headless Chromium: nothing is fetched, no error, curves, filter, keyboard, phone and dark colours.

Needs the extra `browser` and a Chromium: `playwright install chromium`, or its path in FPI_CHROMIUM.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.engine import report
from tests.engine.page.test_page import results as results

playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra `browser`")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        try:
            browser = driver.chromium.launch(
                executable_path=os.environ.get("FPI_CHROMIUM"), args=["--no-sandbox"], env=dict(os.environ)
            )
        except playwright.Error as error:
            pytest.skip(f"no Chromium to start (FPI_CHROMIUM names one): {str(error).splitlines()[0]}")
        yield browser
        browser.close()


class Opened:
    """The page in a tab, with the errors and the requests it made."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.tab = browser.new_context(**options).new_page()
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.tab.on("pageerror", lambda error: self.errors.append(str(error)))
        self.tab.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.goto(path.as_uri())


@pytest.fixture
def path(results: Path) -> Path:
    return report.write_pages(results, "paper")


def test_curves_appear_and_follow_their_buttons(chromium: Any, path: Path) -> None:
    page = Opened(chromium, path)
    chart = page.tab.locator("[data-source=runs-tiny]")
    chart.scroll_into_view_if_needed()
    chart.locator("svg").wait_for()
    lines = chart.locator("svg path").count
    assert lines() == 8  # two rows, each with three seeds and their mean
    chart.get_by_role("button", name="seed 1").click()
    assert lines() == 6
    chart.get_by_role("button", name="Control").click()
    assert lines() == 3 and chart.get_by_role("button", name="Control").get_attribute("aria-pressed") == "false"
    chart.get_by_role("button", name="Good net").click()
    assert lines() == 0 and "Nothing to show" in chart.inner_text()
    chart.get_by_label("protocol").select_option(label="honest")
    assert lines() == 3 and chart.get_by_role("button", name="Control").count() == 0
    assert not page.errors
    assert [url for url in page.requests if not url.startswith("data:")] == [path.as_uri()]


def test_values_are_read_by_mouse_and_by_keyboard(chromium: Any, path: Path) -> None:
    page = Opened(chromium, path)
    chart = page.tab.locator("[data-source=runs-tiny]")
    chart.scroll_into_view_if_needed()
    chart.locator("svg").wait_for()
    chart.locator("[tabindex='0']").focus()
    page.tab.keyboard.press("End")
    assert "epoch 5" in chart.locator("[aria-live]").inner_text()
    assert "Good net: 45 (0: 45, 1: 45, 2: 45)" in chart.locator(".tip").inner_text()
    page.tab.keyboard.press("ArrowLeft")
    assert "epoch 4" in chart.locator(".tip").inner_text()
    page.tab.keyboard.press("Escape")
    assert chart.locator(".tip").is_hidden()
    box = chart.locator("svg").bounding_box()
    page.tab.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 50)
    assert "epoch 2" in chart.locator(".tip").inner_text()
    assert not page.errors


def test_the_filter_and_the_links_between_the_parts(chromium: Any, path: Path) -> None:
    page = Opened(chromium, path)
    rows = page.tab.locator("#overview tbody tr:visible").count
    assert rows() == 3
    page.tab.locator("[name=verdict]").select_option("falls short")
    assert rows() == 1 and page.tab.locator("#filter output").inner_text() == "1 of 3"
    page.tab.locator("[name=text]").fill("no such row")
    assert rows() == 0 and page.tab.locator("#tiny-table1").is_hidden()
    page.tab.locator("[name=text]").fill("")
    page.tab.locator("#overview tbody tr:visible td a").nth(1).click()
    block = page.tab.locator("#run-tiny-good-honest")
    block.locator("table").wait_for()  # opened by the link to it
    assert not page.errors


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_in_either_colours(chromium: Any, path: Path, scheme: str) -> None:
    page = Opened(chromium, path, viewport={"width": 360, "height": 740}, color_scheme=scheme)
    assert page.tab.evaluate("document.documentElement.scrollWidth") <= 360
    verdicts = page.tab.locator("#overview td .verdict")
    boxes = [verdicts.nth(i).bounding_box() for i in range(verdicts.count())]
    assert boxes and all(0 <= box["x"] and box["x"] + box["width"] <= 360 for box in boxes)  # no scrolling sideways
    ground = page.tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
    page.tab.locator("#theme").click()
    assert page.tab.evaluate("getComputedStyle(document.body).backgroundColor") != ground
    assert not page.errors
