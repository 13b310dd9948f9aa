"""The console in a real browser, over a database under correction: it moves without being loaded again, and is usable."""

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
from playwright.async_api import Browser, Page, expect

from console.web.app import create_app
from engine import corrections
from engine.store.database import Database
from tests.support import DAYS, Engine
from tests.web.browser import browser, page, serving


@pytest.fixture(scope="module")
async def chrome() -> AsyncIterator[Browser]:
    async with browser() as opened:
        yield opened


@pytest.fixture
async def console(url: str, valued: Engine, chrome: Browser) -> AsyncIterator[Page]:
    with serving(create_app(url, feed={"seconds": 0.1})) as base:
        async with page(chrome, base) as shown:
            yield shown


async def test_a_correction_is_seen_from_its_beginning_to_its_end(console: Page, database: Database, valued: Engine) -> None:
    await console.goto("")
    await expect(console.locator("#keys-CURRENT")).to_have_text("4")
    await expect(console.locator("#status")).to_have_text("Every key is current.")
    await console.evaluate("window.notReloaded = true")
    await corrections.price(database, "A", DAYS[7], Decimal("31.5"))
    await expect(console.locator("#part-corrections")).to_contain_text("queued")
    await valued.loop._fan_out()
    await expect(console.locator("#part-corrections")).to_contain_text("2 keys left of 2")
    await expect(console.locator("#keys-REPROCESSING")).to_have_text("2")
    await expect(console.locator("#status")).to_have_text("1 correction under way.")
    await expect(console.locator("#tile-left")).to_have_text("2")
    await valued.settle()
    await expect(console.locator("#keys-CURRENT")).to_have_text("4")
    await expect(console.locator("#tile-left")).to_have_text("0")
    await expect(console.locator("#part-corrections")).to_contain_text("No correction is under way")
    assert await console.evaluate("window.notReloaded")
