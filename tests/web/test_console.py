"""The console in a real browser, with a database under correction: live, usable, accessible."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from decimal import Decimal

import asyncpg
import httpx
import polars as pl
import pytest
from playwright.async_api import Browser, Page, expect

from revalue.console.web.app import create_app
from revalue.engine.correct.corrections import corrections
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import load
from revalue.engine.fan_out import fan_out
from revalue.engine.operate import tokens
from revalue.engine.postgres.database import Database
from tests.support import DAYS, Engine, execute, facts, fetch, open_days, prices, until
from tests.web.browser import browser, page, serving

FEED = {"seconds": 0.1}
COLOUR = "getComputedStyle(document.body).backgroundColor"


@pytest.fixture(scope="module")
async def chrome() -> AsyncIterator[Browser]:
    async with browser() as opened:
        yield opened


@pytest.fixture
async def console(url: str, valued: Engine, chrome: Browser) -> AsyncIterator[Page]:
    with serving(create_app(url, feed=FEED)) as base:
        async with page(chrome, base) as shown:
            yield shown


async def test_a_correction_is_shown_from_start_to_end(
    console: Page, database: Database, valued: Engine
) -> None:
    await console.goto("")
    await expect(console.locator("#positions-CURRENT")).to_have_text("4")
    await expect(console.locator("#status")).to_have_text("Every position is current.")
    await console.evaluate("window.notReloaded = true")
    await corrections.price(database, "A", DAYS[7], Decimal("31.5"))
    await expect(console.locator("#part-corrections")).to_contain_text("queued")
    await fan_out.fan_out(valued.term)
    await expect(console.locator("#part-corrections")).to_contain_text("2 positions left of 2")
    await expect(console.locator("#positions-REPROCESSING")).to_have_text("2")
    await expect(console.locator("#status")).to_have_text("1 correction in progress.")
    await expect(console.locator(".tile.tasks")).to_contain_text("2 actors connected")
    await expect(console.locator("#tile-left")).to_have_text("2")
    await expect(console.locator(".lags")).to_contain_text("6 to 21 days2")
    await execute(database, "UPDATE scheduler_term SET paused_at = now(), paused_by = 'ada'")
    await expect(console.locator("#part-banner")).to_contain_text("by ada")
    await valued.settle()
    await execute(database, "UPDATE scheduler_term SET paused_at = NULL, paused_by = NULL")
    await valued.settle()
    await expect(console.locator("#positions-CURRENT")).to_have_text("4")
    await expect(console.locator("#tile-left")).to_have_text("0")
    await expect(console.locator("#part-corrections")).to_contain_text(
        "No correction is in progress"
    )
    assert await console.evaluate("window.notReloaded")


async def test_what_is_due_without_a_scheduler_names_the_command_that_does_it(
    url: str, database: Database, chrome: Browser
) -> None:
    await corrections.price(database, "A", DAYS[7], Decimal("31.5"))
    with serving(create_app(url, feed=FEED)) as base:
        async with page(chrome, base) as shown:
            await shown.goto("")
            tile = shown.locator(".tile.leader")
            await expect(tile).to_contain_text('No scheduler is running. "revalue value" does')


async def test_a_portfolio_shows_that_it_is_reprocessed_and_then_the_new_number(
    console: Page, database: Database, valued: Engine
) -> None:
    await console.goto(f"#/portfolio/P1?date={DAYS[7]}")
    number = console.get_by_role("button", name="A: market value")
    await expect(console.locator("#flag")).to_have_text("Current")
    before = await number.text_content()
    await corrections.price(database, "A", DAYS[7], Decimal("31.5"))
    await expect(console.locator("#flag")).to_have_text("Being reprocessed: 1 of 2 positions")
    await expect(console.locator("tr[data-security=A]")).to_contain_text("being reprocessed")
    await expect(number).to_have_text(before or "")
    await valued.settle()
    await expect(number).to_have_text("220.50")
    await expect(console.locator("#chart polyline.line")).to_have_count(1)
    points = await console.locator("#chart polyline.line").get_attribute("points")
    assert points is not None
    assert len(points.split(" ")) == len(DAYS)
    await console.get_by_text("As a table").click()
    await expect(console.locator("#totals tbody tr")).to_have_count(len(DAYS))
    await console.locator("#chart svg").focus()
    await console.keyboard.press("Home")
    await console.keyboard.press("Enter")
    await expect(console.locator("#as-of")).to_have_value(DAYS[0].isoformat())
    await expect(console.locator("#flag")).to_have_text("Current")


async def test_a_line_without_a_value_is_named_and_is_no_zero(
    console: Page, database: Database, valued: Engine
) -> None:
    await execute(database, "DELETE FROM market_prices WHERE security_id = 'A'")
    await execute(
        database, "DELETE FROM market_prices WHERE security_id = 'B' AND price_date > $1", DAYS[-2]
    )
    await open_days(database, [date(2024, 1, 29)])
    await valued.settle()
    await console.goto("#/portfolio/P1?date=2024-01-29")
    line = console.locator("tr[data-security=A]")
    await expect(line).to_contain_text("waiting for data")
    assert not any(each.isdigit() for each in await line.inner_text())
    await expect(console.locator("tr[data-security=B]")).to_contain_text("stale")
    await expect(console.locator("#sum-without")).to_have_text("1")
    await expect(console.locator("#sum-market")).to_have_text(await _total(database))
    await expect(console.locator("circle.partial")).to_have_count(len(DAYS) + 1)
    await console.goto("")
    await expect(console.locator("#part-reasons")).to_contain_text("PRICE")


async def _total(database: Database) -> str:
    [[value]] = await fetch(
        database,
        "SELECT market_value FROM position_valuations "
        "WHERE portfolio_id = 'P1' AND date = '2024-01-29'",
    )
    return f"{value:,.2f}"


async def test_a_portfolio_and_a_security_may_have_any_name(
    console: Page, database: Database, valued: Engine
) -> None:
    """A slash in an id is none of the address, and a percent sign encodes nothing."""
    portfolio, security = "EU/US 50%", "BRK/B?#%2F"
    await load(
        database,
        Kind.PORTFOLIOS,
        pl.DataFrame({"portfolio_id": [portfolio], "base_currency": "USD", "calendar_id": "CAL"}),
    )
    await load(
        database,
        Kind.INSTRUMENTS,
        pl.DataFrame({"security_id": [security], "currency": "USD", "max_price_age_sessions": 50}),
    )
    await load(database, Kind.PRICES, prices(security, {DAYS[0]: "44"}))
    await load(database, Kind.POSITIONS, facts(portfolio, security, {DAYS[0]: "5"}))
    await valued.settle()
    await console.goto("#/")
    await console.locator("#portfolio").fill(portfolio)
    await console.keyboard.press("Enter")
    await expect(console.get_by_role("heading", name=portfolio)).to_be_visible()
    await console.get_by_role("button", name=f"{security}: market value").click()
    dialog = console.get_by_role("dialog")
    await expect(dialog).to_contain_text("agrees with the present data")
    await expect(dialog.locator("#explain-value")).to_contain_text("220.00")


async def test_a_number_is_explained_by_keyboard(
    console: Page, database: Database, valued: Engine
) -> None:
    await corrections.price(database, "A", DAYS[7], Decimal("31.5"))
    await valued.settle()
    await console.goto(f"#/portfolio/P1?date={DAYS[7]}")
    number = console.get_by_role("button", name="A: market value")
    await number.wait_for()
    for _ in range(40):
        await console.keyboard.press("Tab")
        if await number.evaluate("each => each === document.activeElement"):
            break
    assert await number.evaluate("each => getComputedStyle(each).outlineStyle") == "solid", (
        "the focus cannot be seen"
    )
    await console.keyboard.press("Enter")
    dialog = console.get_by_role("dialog")
    await expect(dialog).to_contain_text("agrees with the present data")
    await expect(dialog.locator("#explain-value")).to_contain_text("220.50")
    await expect(dialog).to_contain_text("After a correction of the price")
    await expect(dialog.locator(".changed")).to_have_text("price: 107.25 → 31.5")
    await console.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    assert await number.evaluate("each => each === document.activeElement"), (
        "the focus does not return"
    )


async def test_a_date_that_lacks_data_shows_no_number_and_says_why(
    console: Page, database: Database, valued: Engine
) -> None:
    """Its newest number was corrected away; a date without a gap says where the gap is."""
    await execute(
        database, "DELETE FROM market_prices WHERE security_id = 'A' AND price_date > $1", DAYS[3]
    )
    await valued.settle()
    await console.goto(f"#/portfolio/P1?date={DAYS[10]}")
    await console.get_by_role("button", name="A: waiting for data").click()
    dialog = console.get_by_role("dialog")
    await expect(dialog).to_contain_text("No number: data are missing.")
    await expect(dialog).to_contain_text(f"No number: PRICE_TOO_OLD A {DAYS[10]}")
    await expect(dialog.locator("#explain-value")).to_contain_text("no value")
    await console.keyboard.press("Escape")
    await console.goto(f"#/portfolio/P1?date={DAYS[5]}")
    line = console.locator('tr[data-security="A"]')
    await expect(line).to_contain_text("no value on ")


async def test_a_retry_requeues_the_job(console: Page, database: Database, valued: Engine) -> None:
    await corrections.position(
        database, "P1", "A", DAYS[4], Decimal(99999999999999999), Decimal(1), Decimal(1)
    )
    await valued.settle()
    [[job]] = await fetch(database, "SELECT job_id FROM dead_letters")
    await console.goto("")
    await expect(console.locator("#tile-dead-letters")).to_have_text("1")
    await expect(console.locator("#part-dead-letters")).to_contain_text("OVERFLOW")
    await console.get_by_role("button", name=f"Retry job {job}").click()
    await expect(console.locator(f"tr[data-job='{job}']")).to_have_count(0)
    assert await fetch(
        database, "SELECT status::text FROM portfolio_valuation_jobs WHERE job_id = $1", job
    ) == [("SUPERSEDED",)]
    assert await fetch(database, "SELECT count(*) FROM dead_letters WHERE requeued_at IS NULL") == [
        (0,)
    ]


async def test_on_a_phone_nothing_needs_sideways_scrolling(
    url: str, valued: Engine, database: Database, chrome: Browser
) -> None:
    """Neither the page nor a table is wider than the screen, so every number and button shows."""
    await corrections.position(
        database, "P1", "A", DAYS[4], Decimal(99999999999999999), Decimal(1), Decimal(1)
    )
    await execute(
        database, "DELETE FROM market_prices WHERE security_id = 'B' AND price_date > $1", DAYS[8]
    )
    await valued.settle()
    with serving(create_app(url, feed=FEED)) as base:
        async with page(chrome, base, viewport={"width": 375, "height": 700}) as shown:
            for where, there in (
                ("", "#part-dead-letters button"),
                ("#/exceptions", "#exceptions section"),
                ("#/portfolio/P2", "button.figure"),
            ):
                await shown.goto(where)
                await shown.locator(there).first.wait_for()
                assert await shown.evaluate("document.documentElement.scrollWidth") <= 375, where
                assert await shown.evaluate(TOO_WIDE) == [], where
                await expect(shown.get_by_role("row").first).to_be_attached()
            await shown.locator("button.figure").first.click()
            await expect(shown.locator("#explain-value")).to_be_visible()
            assert await shown.evaluate("document.documentElement.scrollWidth") <= 375


TOO_WIDE = """() => [...document.querySelectorAll('.scroll')]
  .filter((each) => each.checkVisibility() && each.scrollWidth > each.clientWidth)
  .map((each) => each.ariaLabel)"""

CONTRAST = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
  const seen = (colour, under) => {
    for (const each of [under, colour]) {
      canvas.fillStyle = each;
      canvas.fillRect(0, 0, 1, 1);
    }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => {
    const linear = (c) => (c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
    const [r, g, b] = rgb.map((c) => linear(c / 255));
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const ground = (each) => {
    const path = [];
    for (let e = each; e; e = e.parentElement) {
      path.unshift(getComputedStyle(e).backgroundColor);
    }
    return path.reduce((under, colour) => `rgb(${seen(colour, under).join()})`, 'rgb(255,255,255)');
  };
  const poor = [];
  for (const each of document.querySelectorAll('body *')) {
    const text = [...each.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!text || !each.checkVisibility() || each.closest('.hidden, .skip, svg')) continue;
    const under = ground(each);
    const lights = [light(seen(getComputedStyle(each).color, under)), light(seen(under, under))];
    const [a, b] = lights.sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05);
    if (ratio < 4.5) poor.push(`${each.textContent.trim()}: ${ratio.toFixed(2)}`);
  }
  return poor;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_both_schemes_can_be_read(
    url: str, valued: Engine, database: Database, chrome: Browser, scheme: str
) -> None:
    await execute(
        database, "DELETE FROM market_prices WHERE security_id = 'A' AND price_date > $1", DAYS[8]
    )
    await valued.settle()
    await corrections.price(database, "B", DAYS[7], Decimal("31.5"))
    with serving(create_app(url, feed=FEED)) as base:
        async with page(chrome, base, color_scheme=scheme) as shown:
            for where, there in (
                ("", "#positions-CURRENT"),
                ("#/exceptions", "#exceptions section"),
                ("#/portfolio/P2", "button.figure"),
            ):
                await shown.goto(where)
                await shown.locator(there).first.wait_for()
                assert await shown.evaluate(CONTRAST) == [], where
            channels = await shown.evaluate(f"{COLOUR}.match(/\\d+/g).map(Number)")
            assert (max(channels) < 60) is (scheme == "dark")


async def test_with_tokens_the_page_is_open_and_its_data_are_not(
    url: str, valued: Engine, database: Database, chrome: Browser
) -> None:
    _, secret = await tokens.create(database, "desk", ["read"])
    with serving(create_app(url, feed=FEED, require_token=True)) as base:
        context = await chrome.new_context(base_url=base)
        shown = await context.new_page()
        await shown.goto("")
        await expect(shown.locator("#token-dialog")).to_contain_text("a bearer token is required")
        await shown.locator("#token").fill(secret)
        await shown.locator("#token-use").click()
        await expect(shown.locator("#positions-CURRENT")).to_have_text("4")
        await shown.reload()
        await expect(shown.locator("#positions-CURRENT")).to_have_text("4")
        assert await shown.evaluate("localStorage.length + document.cookie.length") == 0
        await context.close()


@asynccontextmanager
async def http(app: object) -> AsyncIterator[httpx.AsyncClient]:
    with serving(app) as base:  # type: ignore[arg-type]
        async with httpx.AsyncClient(base_url=base, timeout=20) as client:
            yield client


async def test_the_page_has_its_headers_and_only_its_files(url: str, valued: Engine) -> None:
    async with http(create_app(url, require_token=True)) as web:
        for path, kind in (
            ("/", "text/html"),
            ("/console/console.js", "text/javascript"),
            ("/console/console.css", "text/css"),
        ):
            answer = await web.get(path)
            assert answer.headers["content-type"].startswith(kind)
            assert answer.headers["content-security-policy"].startswith("default-src 'self'")
            assert answer.headers["x-content-type-options"] == "nosniff"
            again = await web.get(path, headers={"If-None-Match": answer.headers["etag"]})
            assert again.status_code == 304
        for path in ("/console/live.py", "/console/..%2flive.py", "/console/"):
            assert (await web.get(path)).status_code == 404
        assert (await web.get("/events")).status_code == 401


async def test_a_token_for_some_portfolios_sees_theirs_and_no_overview(
    url: str, valued: Engine, database: Database, chrome: Browser
) -> None:
    _, secret = await tokens.create(database, "desk", ["read"], portfolios=["P1"])
    with serving(create_app(url, feed=FEED, require_token=True)) as base:
        context = await chrome.new_context(base_url=base)
        await context.add_init_script(f"sessionStorage.setItem('revalue-token', '{secret}')")
        shown = await context.new_page()
        await shown.goto("")
        await expect(shown.locator("#part-banner")).to_contain_text("is limited to some portfolios")
        await shown.goto("#/portfolio/P1")
        await expect(shown.locator("tr[data-security=A]")).to_be_visible()
        await shown.goto("#/portfolio/P2")
        await expect(shown.locator("main .banner")).to_contain_text(
            "has no access to portfolio 'P2'"
        )
        await context.close()


async def test_a_stream_sends_heartbeats_and_ends_in_time(url: str, valued: Engine) -> None:
    feed = {"seconds": 1_000, "heartbeat_seconds": 0.05, "stream_seconds": 0.5}
    async with http(create_app(url, feed=feed)) as web, web.stream("GET", "/events") as stream:
        lines = [line async for line in stream.aiter_lines()]
    assert [line for line in lines if line.startswith("event")] == [
        "event: history",
        "event: state",
    ]
    assert ": still here" in lines


async def test_listeners_share_one_poller_and_are_bounded(
    url: str, valued: Engine, database: Database
) -> None:
    app = create_app(url, feed={**FEED, "listeners": 2})
    async with asyncio.timeout(60), http(app) as web:
        async with web.stream("GET", "/events") as first, web.stream("GET", "/events") as second:
            held = [
                first.aiter_lines(),
                second.aiter_lines(),
            ]  # one that is dropped ends its stream
            for lines in held:
                while await anext(lines) != "event: state":
                    pass
            assert (await web.get("/events")).status_code == 503
            assert app.state.feed._listening.total() == 2
        async with asyncio.timeout(10):
            while app.state.feed._poller is not None:
                assert (await web.get("/health/live")).status_code == 200
                await asyncio.sleep(0.01)
        async with web.stream("GET", "/events") as third:
            assert third.status_code == 200


async def test_the_page_says_that_the_database_is_unavailable_and_then_continues(
    console: Page, database: Database, server_url: str, url: str
) -> None:
    name = url.partition("@/")[2].partition("?")[0]
    await console.goto("")
    await expect(console.locator("#positions-CURRENT")).to_have_text("4")
    admin = await asyncpg.connect(server_url)
    await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    terminate = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = $1 AND application_name = 'revalue serve'"
    )
    await admin.execute(terminate, name)
    await expect(console.locator("#link")).to_have_text("database unavailable")
    await expect(console.locator("#part-banner")).to_contain_text("database")
    await expect(console.locator("#positions-CURRENT")).to_have_text("4")
    await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    await expect(console.locator("#link")).to_have_text("live")
    await expect(console.locator("#part-banner")).to_be_empty()
    await admin.close()


async def test_nothing_is_called_current_while_the_database_does_not_respond(
    url: str, valued: Engine, database: Database, chrome: Browser
) -> None:
    with serving(create_app(url, feed=FEED, timeout_seconds=0.2)) as base:
        async with page(chrome, base, expected="503") as shown:
            await shown.goto("#/portfolio/P1")
            await expect(shown.locator("#flag")).to_have_text("Current")
            async with database.transaction() as blocking:
                await blocking.execute("LOCK TABLE position_state IN ACCESS EXCLUSIVE MODE")
                await expect(shown.locator("#flag")).to_contain_text("As of")
                await expect(shown.get_by_text("current", exact=True).first).to_be_hidden()
                await expect(shown.get_by_role("button", name="A: market value")).to_be_visible()
            await expect(shown.locator("#flag")).to_have_text("Current")


async def test_the_page_says_that_the_database_does_not_respond(
    url: str, valued: Engine, database: Database, chrome: Browser
) -> None:
    with serving(create_app(url, feed=FEED, timeout_seconds=0.2)) as base:
        async with page(chrome, base) as shown:
            await shown.goto("")
            await expect(shown.locator("#positions-CURRENT")).to_have_text("4")
            async with database.transaction() as blocking:
                await blocking.execute("LOCK TABLE scheduler_term IN ACCESS EXCLUSIVE MODE")
                await expect(shown.locator("#part-banner")).to_contain_text(
                    "unavailable or too busy"
                )
                await expect(shown.locator("#status")).to_contain_text("unavailable or too busy")
            await expect(shown.locator("#link")).to_have_text("live")


async def test_a_portfolio_page_asks_for_totals_only_when_something_changed(
    url: str, valued: Engine, database: Database, chrome: Browser
) -> None:
    asked: list[str] = []
    with serving(create_app(url, feed=FEED)) as base:
        async with page(chrome, base) as shown:
            await shown.clock.install()
            shown.on("response", lambda got: asked.append(got.url.split("?")[0].split("/")[-1]))
            await shown.goto("#/portfolio/P1")
            await expect(shown.locator("#flag")).to_have_text("Current")
            for polls in range(2, 5):
                async with shown.expect_response(lambda got: "/positions" in got.url):
                    await shown.clock.fast_forward(11_000)
                await until(lambda: asked.count("positions") == polls)  # noqa: B023
            assert asked.count("valuation") == 1
            await shown.evaluate(HIDE, True)
            await shown.clock.run_for(60_000)
            assert asked.count("positions") == 4, "a hidden tab asks"
            await corrections.price(database, "A", DAYS[7], Decimal("31.5"))
            await shown.evaluate(HIDE, False)
            await expect(shown.locator("#flag")).to_have_text("Being reprocessed: 1 of 2 positions")
            assert asked.count("valuation") == 2


HIDE = """hidden => {
  Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
  document.dispatchEvent(new Event('visibilitychange'));
}"""


async def test_a_portfolio_of_many_lines_is_shown_in_pages(
    console: Page, database: Database, valued: Engine
) -> None:
    await execute(
        database,
        "INSERT INTO instruments (security_id, currency, max_price_age_sessions) "
        "SELECT 'Z' || to_char(n, 'FM0000'), 'USD', 3 FROM generate_series(1, 700) n",
    )
    await execute(
        database,
        "INSERT INTO position_state (portfolio_id, security_id, calendar_no, base_currency_no, "
        "open_dates, published_open_dates) "
        "SELECT 'P1', 'Z' || to_char(n, 'FM0000'), calendar_no, base_currency_no, open_dates, "
        "open_dates FROM position_state, generate_series(1, 700) n "
        "WHERE portfolio_id = 'P1' AND security_id = 'A'",
    )
    await console.goto(f"#/portfolio/P1?date={DAYS[7]}")
    pager = console.locator("#pager")
    await expect(pager).to_contain_text("Lines 1 to 500 of 702")
    await expect(console.locator("#lines tbody tr")).to_have_count(500)
    await expect(pager.get_by_role("button", name="Previous")).to_be_disabled()
    await pager.get_by_role("button", name="Next").click()
    await expect(pager).to_contain_text("Lines 501 to 702 of 702")
    await expect(console.locator("tr[data-security=Z0700]")).to_be_visible()
    await expect(pager.get_by_role("button", name="Next")).to_be_disabled()
    await pager.get_by_role("button", name="Previous").click()
    await expect(console.locator("tr[data-security=A]")).to_be_visible()


async def many_lines(database: Database) -> None:
    """Let P1 hold twelve more securities, Z1 to Z12, of which nothing is valued yet."""
    await execute(
        database,
        "INSERT INTO instruments (security_id, currency, max_price_age_sessions) "
        "SELECT 'Z' || n, 'USD', 3 FROM generate_series(1, 12) n",
    )
    await execute(
        database,
        "INSERT INTO position_state (portfolio_id, security_id, calendar_no, base_currency_no, "
        "open_dates, published_open_dates) "
        "SELECT 'P1', 'Z' || n, calendar_no, base_currency_no, open_dates, open_dates "
        "FROM position_state, generate_series(1, 12) n "
        "WHERE portfolio_id = 'P1' AND security_id = 'A'",
    )


SECURITIES = """() => [...document.querySelectorAll('#lines tbody tr')]
  .map((each) => each.dataset.security)"""


async def test_lines_are_sorted_and_filtered_by_keyboard_and_stay_so(
    console: Page, database: Database, valued: Engine
) -> None:
    """A and B are valued, A at more; what has no value is last, whatever the order."""
    await many_lines(database)
    await console.goto(f"#/portfolio/P1?date={DAYS[7]}")
    heading = console.get_by_role("columnheader", name="Market value")
    await expect(heading).to_have_attribute("aria-sort", "none")
    served = await console.evaluate(SECURITIES)
    await heading.get_by_role("button").focus()
    for order, first in (("descending", ["A", "B"]), ("ascending", ["B", "A"])):
        await console.keyboard.press("Enter")
        await expect(heading).to_have_attribute("aria-sort", order)
        assert (await console.evaluate(SECURITIES))[:2] == first
        assert await heading.get_by_role("button").evaluate(
            "each => each === document.activeElement"
        ), "the focus is lost"
    # The page asks again each second: the order stays, and the new number stands in it.
    await corrections.price(database, "B", DAYS[7], Decimal("900"))
    await valued.settle()
    await expect(console.locator("#lines tbody tr").nth(0)).to_have_attribute("data-security", "A")
    await console.keyboard.press("Enter")
    await expect(heading).to_have_attribute("aria-sort", "none")
    assert await console.evaluate(SECURITIES) == served
    await console.get_by_role("columnheader", name="Security").get_by_role("button").click()
    assert (await console.evaluate(SECURITIES))[1:5] == ["B", "Z1", "Z2", "Z3"]

    await console.get_by_role("searchbox", name="Filter: Positions").fill("z1")
    assert await console.evaluate(SECURITIES) == ["Z1", "Z10", "Z11", "Z12"]
    await expect(console.locator("#lines [role=status]")).to_have_text("4 of 14 positions")
    await console.get_by_role("searchbox").fill("nowhere")
    await expect(console.locator("#lines")).to_contain_text("No position has “nowhere”.")


async def test_cards_of_a_phone_are_sorted_by_a_list(
    url: str, valued: Engine, database: Database, chrome: Browser
) -> None:
    await many_lines(database)
    with serving(create_app(url, feed=FEED)) as base:
        async with page(chrome, base, viewport={"width": 390, "height": 800}) as shown:
            await shown.goto(f"#/portfolio/P1?date={DAYS[7]}")
            await shown.get_by_label("Sort by").select_option("Market value, smallest first")
            assert (await shown.evaluate(SECURITIES))[:2] == ["B", "A"]
            await shown.get_by_label("Sort by").select_option("Security, Z to A")
            assert (await shown.evaluate(SECURITIES))[:2] == ["Z12", "Z11"]
            await expect(shown.locator("button.sort").first).to_be_hidden()
            assert await shown.evaluate("document.documentElement.scrollWidth") <= 390


async def test_the_rows_of_a_table_are_straight(console: Page, valued: Engine) -> None:
    await console.goto(f"#/portfolio/P1?date={DAYS[7]}")
    await console.locator("button.figure").first.wait_for()
    edges = await console.evaluate(
        """() => [...document.querySelectorAll('#lines tbody tr')].map((row) => [...row.cells]
          .flatMap((cell) => [cell.getBoundingClientRect().top, cell.getBoundingClientRect().height]
            .concat(getComputedStyle(cell).display))
          .join())"""
    )
    assert edges
    for row in edges:
        values = row.split(",")
        assert len({tuple(values[n : n + 3]) for n in range(0, len(values), 3)}) == 1, row


async def test_the_chart_says_where_its_scale_begins(
    console: Page, database: Database, valued: Engine
) -> None:
    """Prices rise by a quarter in the small book; then one of them nearly vanishes."""
    await console.goto(f"#/portfolio/P1?date={DAYS[7]}")
    chart = console.locator("#chart")
    await expect(chart).to_contain_text("The scale does not begin at 0")
    await expect(chart.locator("polygon.area")).to_have_count(0)
    dates = await chart.locator("text.date").all_text_contents()
    assert (dates[0], dates[-1]) == (str(DAYS[0]), str(DAYS[-1]))
    assert len(dates) == 6
    assert set(dates) <= {str(day) for day in DAYS}
    await execute(database, "UPDATE market_prices SET price = 0.01 WHERE price_date = $1", DAYS[7])
    await valued.settle()
    await expect(chart.locator("polygon.area")).to_have_count(1)
    await expect(chart).not_to_contain_text("The scale does not begin at 0")
    await expect(chart.locator(".grid-line.zero")).to_have_count(1)


async def test_a_wrong_address_is_an_error_and_the_page_goes_on(
    console: Page, valued: Engine
) -> None:
    for address, said in (
        ("#/portfolio/50%", "write %25 for %"),
        ("#/portfolio/P1?days=1e9", "not a number of days"),
        ("#/portfolio/P1?date=2024-02-31", "not a date"),
        ("#/nowhere", "no page “/nowhere”"),
    ):
        await console.goto(address)
        await expect(console.get_by_role("alert")).to_contain_text(said)
        await expect(console.locator("#link")).to_have_text("live")
    await console.get_by_role("link", name="To the overview").click()
    await expect(console.locator("#positions-CURRENT")).to_have_text("4")


async def test_portfolios_are_found_beyond_the_first_fifty_whatever_the_case(
    console: Page, database: Database, valued: Engine
) -> None:
    await execute(
        database,
        "INSERT INTO portfolios (portfolio_id, base_currency, calendar_id) "
        "SELECT 'Fund ' || to_char(n, 'FM000'), 'USD', 'CAL' FROM generate_series(1, 70) n "
        "UNION ALL VALUES ('Fund 50% #1?', 'USD', 'CAL')",
    )
    await console.goto("")
    field = console.get_by_label("Portfolio", exact=True)
    await field.press_sequentially("fUND 5")
    await expect(console.locator("#portfolio-names option")).to_have_count(1)
    await field.press("Enter")
    await expect(console.get_by_role("heading", level=1)).to_have_text("Fund 50% #1?")
    await expect(console.locator("#lines")).to_contain_text("No position is open on this date.")
    await console.reload()
    await expect(console.get_by_role("heading", level=1)).to_have_text("Fund 50% #1?")
    await field.fill("fund 05")
    await field.press("Enter")
    await expect(console.locator("#found tbody tr")).to_have_count(10)
    await field.fill("FUND")
    await field.press("Enter")
    await expect(console.locator("#found")).to_contain_text("1 to 50")
    await console.get_by_role("button", name="Next").click()
    await expect(console.locator("#found")).to_contain_text("51 to 71")
    await console.get_by_role("link", name="Fund 070").click()
    await expect(console.get_by_role("heading", level=1)).to_have_text("Fund 070")


async def test_nothing_of_more_than_two_seconds_ago_is_shown_as_new(
    url: str, valued: Engine, chrome: Browser
) -> None:
    app = create_app(url, feed={"seconds": 3})
    with serving(app) as base:
        async with page(chrome, base) as shown:
            await shown.goto("")
            await expect(shown.locator("#status")).to_have_text("Every position is current.")
            await expect(shown.locator("#as-of-frame")).to_contain_text("as of")
            await expect(shown.locator("#link")).to_have_text("old")
            await expect(shown.locator("#status")).to_contain_text("As of ")
            await expect(shown.locator("#title-positions .as-of")).to_have_class("as-of old")
            await expect(shown.locator("#link")).to_have_text("live")


async def test_a_count_that_is_kept_says_so_and_is_not_called_current(
    url: str, valued: Engine, database: Database, chrome: Browser
) -> None:
    """As with many positions: they are counted once, and then a correction commits."""
    many = {"few_positions": 0, "share": 1e-9}
    with serving(create_app(url, feed=FEED, counter=many)) as base:
        async with page(chrome, base) as shown:
            await shown.goto("")
            await expect(shown.locator("#status")).to_have_text("Every position is current.")
            await corrections.price(database, "A", DAYS[7], Decimal("31.5"))
            await expect(shown.locator("#status")).to_contain_text("1 correction in progress")
            await fan_out.fan_out(valued.term)
            await expect(shown.locator("#part-corrections")).to_contain_text("not counted yet")
            await expect(shown.locator("#status")).to_contain_text("data changed after")
            await expect(shown.locator("#part-positions")).to_contain_text("Data have changed")
            await expect(shown.locator("#part-positions")).to_contain_text("Was current")
            await expect(shown.locator("#part-portfolios")).to_contain_text("was current")
            await expect(shown.locator("#part-portfolios .flag[data-state=CURRENT]")).to_have_count(
                0
            )
