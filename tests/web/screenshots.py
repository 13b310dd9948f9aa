"""`make screenshots`: docs/console-*.png, the console with the sample book under correction.

The real engine values the last years of the book. Then prices are corrected, prices are deleted,
two quantities overflow, and the engine stops half way, so that every part of the console shows
something.
"""

import asyncio
import shutil
import tempfile
from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl
from PIL import Image
from playwright.async_api import Browser, Page, expect

from revalue.console import sample
from revalue.console.web.app import create_app
from revalue.engine.correct.calendars.openings import open_calendars
from revalue.engine.correct.corrections import corrections
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import load
from revalue.engine.operate.status import list_corrections
from revalue.engine.postgres import embedded, schema
from revalue.engine.postgres.database import Database
from revalue.engine.settings import Settings
from tests.support import Engine, engine, execute
from tests.web.browser import browser, page, serving

DOCS = Path(__file__).parents[2] / "docs"
SETTINGS = Settings(
    task_starts_per_second=1_000,
    poll_seconds=0.2,
    retry_seconds=0.05,
    task_rows=6_000,
    lease_seconds=600,
)
SINCE, LAST = date(2021, 1, 1), date(2022, 12, 23)
DATES = {
    "business_dates": "business_date",
    "fx_rates": "rate_date",
    "prices": "price_date",
    "positions": "position_date",
}


async def main() -> None:
    """Create a database, value the book, and take the pictures."""
    folder = Path(tempfile.mkdtemp(prefix="revalue-"))
    try:
        url = await asyncio.to_thread(embedded.start, folder)
        await schema.migrate(url)
        async with await Database.open(url) as database:
            await book(database)
            async with engine(url, settings=SETTINGS) as running, browser() as opened:
                with serving(create_app(url, settings=SETTINGS, feed={"seconds": 0.1})) as base:
                    await take_pictures(running, opened, base)
    finally:
        await asyncio.to_thread(embedded.stop, folder)
        shutil.rmtree(folder, ignore_errors=True)


async def book(database: Database) -> None:
    """Load the last years of the sample book, and open its days."""
    for kind, frame in sample.frames().items():
        recent = (
            frame.filter(pl.col(DATES[kind]).is_between(SINCE, LAST)) if kind in DATES else frame
        )
        await load(database, Kind(kind), recent)
    await open_calendars(database, LAST)


async def take_pictures(running: Engine, opened: Browser, base: str) -> None:
    """Take the overview, a portfolio and an explanation; light and dark, desktop and phone."""
    database = running.database
    desk = {
        "viewport": {"width": 1280, "height": 800},
        "device_scale_factor": 1.5,
        "locale": "en-GB",
    }
    async with page(opened, base, **desk) as shown:
        await shown.goto("")
        await running.settle()
        await expect(shown.locator("#part-positions")).to_contain_text("Current")
        await break_data(running)
        for security, day, price in (
            ("AAPL", date(2021, 6, 15), "131.25"),
            ("MSFT", date(2021, 3, 4), "229.5"),
        ):
            await corrections.price(database, security, day, Decimal(price))
        await corrections.rate(database, "EUR", "USD", date(2021, 6, 15), Decimal("1.2138"))
        await running.settle()
        await execute(
            database,
            "UPDATE instruments SET max_price_age_sessions = 6 "
            "WHERE security_id IN ('JNJ', 'PG', 'KO')",
        )
        await until_half_way(running)
        await execute(database, "UPDATE scheduler_term SET heartbeat_at = clock_timestamp()")
        await expect(shown.locator("#tile-left")).not_to_have_text("0")
        await expect(shown.locator("#part-corrections progress").first).to_be_visible()
        await write_picture(shown, "console-overview", full_page=True)
        await shown.goto("#/portfolio/EUR-GROWTH")
        await shown.locator("button.figure").first.wait_for()
        await write_picture(shown, "console-portfolio", full_page=True)
        await shown.goto("#/exceptions")
        await shown.locator("#exceptions section").first.wait_for()
        await write_picture(shown, "console-exceptions")
        await shown.goto("#/portfolio/EUR-GROWTH?date=2021-06-15")
        await expect(shown.locator("#as-of")).to_have_value("2021-06-15")
        await shown.locator("button.figure").nth(1).click()
        await expect(shown.get_by_role("dialog")).to_contain_text(
            "correction of the FX rate, shown from"
        )
        await write_picture(shown, "console-explanation")
    async with page(opened, base, **desk, color_scheme="dark") as shown:
        await shown.goto("")
        await expect(shown.locator("#part-corrections")).to_contain_text("Instrument JNJ")
        await write_picture(shown, "console-dark", full_page=True)
    phone = {"viewport": {"width": 375, "height": 812}, "device_scale_factor": 2, "locale": "en-GB"}
    async with page(opened, base, **phone) as shown:
        await shown.goto("#/portfolio/EUR-GROWTH")
        await shown.locator("button.figure").first.wait_for()
        await expect(shown.locator("#link")).to_have_text("live")
        await write_picture(shown, "console-phone")


async def write_picture(shown: Page, name: str, *, full_page: bool = False) -> None:
    """Write a picture with 256 colours: a third of the size, with no visible difference."""
    path = DOCS / f"{name}.png"
    await shown.screenshot(path=path, full_page=full_page)
    with Image.open(path) as picture:
        fewer = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    fewer.save(path, optimize=True)


async def break_data(running: Engine) -> None:
    """Make two quantities overflow, and leave a stock without a price for too long."""
    database = running.database
    await execute(
        database,
        "DELETE FROM market_prices WHERE security_id = 'XOM' AND price_date > '2022-12-12'",
    )
    for portfolio in ("USD-GROWTH", "EUR-GROWTH"):
        amounts = (Decimal(99999999999999999), Decimal(1), Decimal(1))
        await corrections.position(database, portfolio, "AMD", date(2022, 12, 5), *amounts)
    await running.settle()


async def until_half_way(running: Engine) -> None:
    """Run the loop until half of the positions of the last corrections are published."""
    while True:
        await running.loop.run_once()
        last = [
            each
            for each in await list_corrections(running.database)
            if each["kind"] == "INSTRUMENT"
        ]
        fanned_out = bool(last) and all(each["fanned_out_at"] for each in last)
        if fanned_out and sum(each["positions_left"] for each in last) < 0.6 * sum(
            each["positions_invalidated"] for each in last
        ):
            return
        await asyncio.sleep(0)


if __name__ == "__main__":
    asyncio.run(main())
