"""A portfolio, security or calendar that does not exist is told, and is never an empty answer."""

from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest

import revalue
from revalue.console.web.app import create_app
from revalue.engine.errors import NotFoundError
from tests.integration.test_cli import code, valued
from tests.support import DAYS

__all__ = ["valued"]  # a fixture

DAY = str(DAYS[3])
OF_PORTFOLIO, OF_SECURITY = ("--portfolio", "NOPE"), ("--security", "NOPE")
COMMANDS = [
    *(
        (*command, *named)
        for command in (
            ("jobs", "list"),
            ("read", "positions"),
            ("read", "totals"),
            ("exceptions",),
        )
        for named in (OF_PORTFOLIO, OF_SECURITY)
    ),
    *(
        (*command, *position, DAY)
        for command in (("read", "changes"), ("explain",))
        for position in (("NOPE", "A"), ("P1", "NOPE"))
    ),
    ("exceptions", "confirm", "price", "NOPE", DAY),
    ("exceptions", "unconfirm", "price", "NOPE", DAY),
    ("correct", "price", "NOPE", DAY, "1"),
    ("correct", "split", "NOPE", DAY, "2:1", "--yes"),
    ("correct", "split", "NOPE", DAY, "2:1"),
    ("open", DAY, "--calendar", "NOPE"),
    ("tokens", "create", "desk", "--scope", "read", *OF_PORTFOLIO),
]
ROUTES = [
    f"/portfolios/NOPE/positions?as_of={DAY}",
    f"/portfolios/NOPE/valuation?from={DAY}&to={DAY}",
    *(
        f"/positions/{position}/{what}"
        for position in ("NOPE/A", "P1/NOPE")
        for what in ("history", f"changes?date={DAY}", f"explain?date={DAY}")
    ),
    *(
        f"/reports/{what}?{which}=NOPE"
        for what in ("positions", "totals")
        for which in ("portfolio", "security")
    ),
    "/exceptions?portfolio=NOPE",
]
SENT: list[tuple[str, dict[str, Any]]] = [
    ("/calendars:open", {"calendar_id": "NOPE", "date": DAY}),
    (
        "/corrections:preview",
        {"kind": "price", "security_id": "NOPE", "date": DAY, "price": "1"},
    ),
    ("/splits:preview", {"security_id": "NOPE", "date": DAY, "ratio": "2:1"}),
    (
        "/exceptions:confirm",
        {"kind": "price", "security_id": "NOPE", "date": DAY, "value": "1"},
    ),
]
METHODS: dict[str, Callable[[revalue.Book], object]] = {
    "jobs of a portfolio": lambda book: book.jobs.list(portfolio="NOPE"),
    "jobs of a security": lambda book: book.jobs.list(security="NOPE"),
    "dead letters": lambda book: book.jobs.dead_letters(portfolio="NOPE"),
    "valuations of a portfolio": lambda book: book.valuations(portfolio="NOPE"),
    "valuations of a security": lambda book: book.valuations(security="NOPE"),
    "positions of a portfolio": lambda book: book.positions(portfolios=["NOPE"]),
    "positions of a security": lambda book: book.positions(securities=["NOPE"]),
    "totals": lambda book: book.totals(portfolios=["NOPE"]),
    "exceptions": lambda book: book.exceptions(portfolios=["NOPE"]),
    "history": lambda book: book.history("NOPE", "A"),
    "changes": lambda book: book.changes("P1", "NOPE", DAYS[3]),
    "explain": lambda book: book.explain("P1", "NOPE", DAYS[3]),
    "open": lambda book: book.open(DAYS[3], "NOPE"),
    "confirm": lambda book: book.confirm_price("NOPE", DAYS[3]),
    "correct": lambda book: book.correct(revalue.Price("NOPE", DAYS[3], Decimal(1))),
}


@pytest.fixture
async def web(valued: str) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(valued)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as opened,
    ):
        yield opened


def test_the_command_line_tells_it(valued: str) -> None:
    told = {command: code(valued, *command) for command in COMMANDS}
    assert {command for command, (exit_code, _) in told.items() if exit_code != 4} == set()
    assert [command for command, (_, words) in told.items() if "NOPE" not in words] == []


async def test_the_api_tells_it(web: httpx.AsyncClient) -> None:
    answers = {path: await web.get(path) for path in ROUTES}
    answers |= {path: await web.post(path, json=body) for path, body in SENT}
    assert {path for path, answer in answers.items() if answer.status_code != 404} == set()
    assert [path for path, answer in answers.items() if "NOPE" not in answer.text] == []


@pytest.mark.parametrize("name", METHODS)
def test_a_book_tells_it(valued: str, name: str) -> None:
    with revalue.connect(valued) as book, pytest.raises(NotFoundError, match="NOPE"):
        METHODS[name](book)
