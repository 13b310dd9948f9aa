"""What went wrong for others who value positions: each folder is a case, its inputs and its answer.

The inputs enter by the public doors, and what the case says of each step is compared with what
readers see: every number, every date without one and its reason. The numbers in the files were
worked out by hand from docs/valuation.md. README.md of this folder says how a case is written.
"""

import csv
import tomllib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import polars as pl
import pytest

from revalue.engine.correct.calendars.openings import open_calendars
from revalue.engine.correct.corrections import corrections
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.inputs.problems import RejectedInputError
from revalue.engine.correct.loads.load import LoadResult, load
from revalue.engine.correct.loads.recorded import list_loads
from revalue.engine.correct.policy.currencies import add_currency
from revalue.engine.correct.policy.policy import change_policy
from revalue.engine.correct.reverts.reverts import revert
from revalue.engine.correct.splits import splits
from revalue.engine.errors import RevalueError
from revalue.engine.operate.job_list import list_jobs
from revalue.engine.operate.status import list_corrections, list_dead_letters
from revalue.engine.postgres.database import Database
from revalue.engine.read.explain import explain
from revalue.engine.read.frames import valuations
from revalue.engine.read.queries import ReaderQueries
from tests.support import Engine, engine, execute, fetch

CASES = sorted(path.parent for path in Path(__file__).parent.glob("*/case.toml"))
ACTIONS = {"load", "open", "value", "correct", "revert", "policy", "currency", "sql"}
ANSWERS = {
    "rows",
    "holes",
    "says",
    "states",
    "refused",
    "counts",
    "removed",
    "closed",
    "totals",
    "failed_jobs",
}
OPTIONS = {"replace", "snapshot", "back", "calendar"}
LAST = date(2200, 12, 31)


Line = tuple[object, ...]
"""A line of a portfolio, as far as it is recorded for ever."""


@dataclass
class Case:
    """A case at work on a database of its own."""

    folder: Path
    database: Database
    running: Engine
    queries: ReaderQueries
    loaded: LoadResult | None = None
    seen: list[tuple[datetime, pl.DataFrame, list[Line]]] = field(default_factory=list)

    async def do(self, step: dict[str, Any]) -> None:
        """Do what a step says, by the door that it names."""
        [action] = step.keys() & ACTIONS
        value = step[action]
        match action:
            case "load":
                files = {kind: f"{kind}.csv" for kind in Kind} if value == "all" else value
                for kind, name in files.items():
                    if value != "all" or (self.folder / name).exists():
                        self.loaded = await load(
                            self.database,
                            kind,
                            self.folder / name,
                            replace=step.get("replace", False),
                            snapshot=step.get("snapshot", False),
                        )
            case "open":
                calendars = [step["calendar"]] if "calendar" in step else None
                back = step.get("back", False)
                await open_calendars(self.database, value, calendars, back=back)
            case "value":
                if value is not True:
                    await open_calendars(self.database, value)
                await self.running.settle()
            case "correct":
                await self._correct(*value)
            case "revert":
                [newest] = await list_loads(self.database, most=1)
                await revert(self.database, newest.load_id)
            case "policy":
                await change_policy(self.database, **value)
            case "currency":
                await add_currency(self.database, **value)
            case "sql":
                await execute(self.database, value)

    async def _correct(self, kind: str, *words: Any) -> None:
        names = [word for word in words if not isinstance(word, date)]
        [day] = [word for word in words if isinstance(word, date)]
        match kind, names:
            case "price", [security, price]:
                await corrections.price(self.database, security, day, Decimal(price))
            case "rate", [base, quote, rate]:
                await corrections.rate(self.database, base, quote, day, Decimal(rate))
            case "delete price", [security]:
                await corrections.delete_price(self.database, security, day)
            case "delete rate", [base, quote]:
                await corrections.delete_rate(self.database, base, quote, day)
            case "split", [security, ratio]:
                await splits.split(self.database, security, day, ratio)
            case "position", [portfolio, security, *amounts]:
                await corrections.position(
                    self.database, portfolio, security, day, *map(Decimal, amounts)
                )

    async def check(self, step: dict[str, Any]) -> None:
        """Compare what readers see after a step with the answer that the case gives."""
        if "counts" in step:
            assert self.loaded is not None
            given = {name: getattr(self.loaded, name) for name in step["counts"]}
            assert given == step["counts"]
        for name in step.keys() & {"removed", "closed"}:
            assert self.loaded is not None
            records = getattr(self.loaded, f"{name}_records")
            found = [
                " ".join(str(_written(value)) for value in vars(each).values()) for each in records
            ]
            assert found == step[name]
        if "failed_jobs" in step:
            jobs = await list_jobs(self.database, status="FAILED")
            letters = await list_dead_letters(self.database, still_failed=True)
            assert (len(jobs), len(letters)) == (step["failed_jobs"], step["failed_jobs"])
        frame = await valuations(self.database)
        [[now]] = await fetch(self.database, "SELECT clock_timestamp()")
        self.seen.append((now, frame, await self._lines(None)))
        if "rows" in step:
            self._check_rows(frame, step["rows"])
        if "rows" in step and "value" in step:
            await self._check_every_date(frame, step)
        for day, total in step.get("totals", {}).items():
            await self._check_totals(date.fromisoformat(day), total)
        await list_corrections(self.database)

    def _check_rows(self, frame: pl.DataFrame, name: str) -> None:
        with (self.folder / name).open() as lines:
            reader = csv.DictReader(lines)
            expected = list(reader)
        columns = list(reader.fieldnames or ())
        assert {"portfolio_id", "security_id", "date", "market_value"} <= set(columns)
        found = [
            {column: "" if cell is None else str(_written(cell)) for column, cell in row.items()}
            for row in frame.select(columns).iter_rows(named=True)
        ]
        assert found == expected, name

    async def _check_every_date(self, frame: pl.DataFrame, step: dict[str, Any]) -> None:
        """Every opened date of every position is a row, a hole with its reason, or not due.

        `explain`, the lines of a portfolio and the view of states say the same.
        """
        valued = set(frame.select("portfolio_id", "security_id", "date").iter_rows())
        holes = {
            (portfolio, security, date.fromisoformat(day)): reason
            for portfolio, security, day, reason in (
                text.split(" ", 3) for text in step.get("holes", [])
            )
        }
        says = {
            tuple(text.split(" ", 3)[:3]): text.split(" ", 3)[3] for text in step.get("says", [])
        }
        days = await fetch(
            self.database,
            """SELECT p.portfolio_id, p.security_id, b.business_date
               FROM position_state p JOIN portfolios USING (portfolio_id)
               JOIN calendars c USING (calendar_id) JOIN business_dates b USING (calendar_id)
               WHERE b.business_date <= c.opened_through""",
        )
        assert valued | holes.keys() <= set(days)
        assert not valued & holes.keys()
        lines = {
            (portfolio, line["security_id"], day): line["failure_reason"]
            for portfolio, day in {(portfolio, day) for portfolio, _, day in days}
            for line in (await self.queries.positions(portfolio, day))[1]
        }
        for portfolio, security, day in days:
            hole = holes.get((portfolio, security, day))
            explained = await explain(self.database, portfolio, security, day)
            shown = lines.get((portfolio, security, day), "no line")
            right: tuple[str, str | None, str | None]
            if (portfolio, security, day) in valued:
                right = ("AGREES", None, None)
            elif hole is not None:
                right = ("MISSING", hole, hole)
            else:
                right = ("NOT_DUE", None, "no line")
            assert (explained.verdict, explained.missing, shown) == right, (security, day)
            assert says.pop((portfolio, security, str(day)), "") in "\n".join(explained.steps)
        assert not says
        states = await fetch(
            self.database,
            """SELECT concat_ws(' ', portfolio_id, security_id, state, watermark_date,
                                frontier_date)
               FROM position_status ORDER BY portfolio_id, security_id""",
        )
        assert [text for [text] in states] == step["states"]

    async def _check_totals(self, day: date, expected: dict[str, dict[str, Any]]) -> None:
        for portfolio, answer in expected.items():
            _, [total] = await self.queries.totals(portfolio, day, day)
            found = {name: _written(total[name]) for name in answer}
            assert found == {name: value if value != "" else None for name, value in answer.items()}

    async def check_the_past(self) -> None:
        """What readers got after each step is what they get now for that time."""
        for known_at, frame, lines in self.seen:
            again = await valuations(self.database, known_at=known_at)
            assert again.equals(frame, null_equal=True), known_at
            assert await self._lines(known_at) == lines, known_at

    async def _lines(self, known_at: datetime | None) -> list[Line]:
        """Return the lines of all portfolios on their last business days."""
        columns = ("security_id", "date", "market_value", "epoch", "published_epoch")
        columns += ("reprocessing_status", "reprocessing_since")
        return [
            (portfolio, *(line[column] for column in columns))
            for [portfolio] in await fetch(
                self.database, "SELECT portfolio_id FROM portfolios ORDER BY 1"
            )
            for line in (await self.queries.positions(portfolio, LAST, known_at=known_at))[1]
        ]


def _written(cell: object) -> object:
    """Return a cell as the files of a case write it: a number without trailing zeros."""
    if isinstance(cell, Decimal):
        text = f"{cell:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return cell


@pytest.fixture
async def queries(url: str) -> AsyncIterator[ReaderQueries]:
    opened = await ReaderQueries.open(url, timeout_seconds=10, connections=1)
    yield opened
    await opened.close()


@pytest.mark.parametrize("folder", CASES, ids=[folder.name for folder in CASES])
async def test_a_case_gives_its_answer(
    url: str, database: Database, queries: ReaderQueries, folder: Path
) -> None:
    steps = tomllib.loads((folder / "case.toml").read_text())["step"]
    assert {key for step in steps for key in step} <= ACTIONS | ANSWERS | OPTIONS
    async with engine(url, workers=1) as running:
        case = Case(folder, database, running, queries)
        for step in steps:
            if "refused" in step:
                with pytest.raises((RevalueError, asyncpg.PostgresError)) as refusal:
                    await case.do(step)
                _check_refusal(refusal.value, step["refused"])
            else:
                await case.do(step)
            await case.check(step)
        await case.check_the_past()


def _check_refusal(error: BaseException, expected: dict[str, Any]) -> None:
    """A refusal names the rule, the rows and their values; or it says what it says, once."""
    assert expected["error"] in {kind.__name__ for kind in type(error).__mro__}, error
    if "rows" in expected:
        assert isinstance(error, RejectedInputError), error
        found = [
            f"{problem.kind} {problem.column} {number} {value}"
            for problem in error.problems
            for number, value in problem.rows
        ]
        assert found == expected["rows"]
    for text in expected.get("once", []):
        assert str(error).count(text) == 1, error


def test_each_case_is_tested_for_rows_or_refusals() -> None:
    assert len(CASES) > 20
    for folder in CASES:
        case = tomllib.loads((folder / "case.toml").read_text())
        assert case["title"], folder
        assert any("rows" in step for step in case["step"]), folder
        named = {name for step in case["step"] for name in _files(step)}
        inputs = {path.name for path in folder.glob("*.csv")}
        kinds = {f"{kind}.csv" for kind in Kind}
        assert inputs - kinds <= named, f"{folder}: files that no step uses"


def _files(step: dict[str, Any]) -> set[str]:
    loads = step.get("load", {})
    return ({step["rows"]} if "rows" in step else set()) | (
        set(loads.values()) if isinstance(loads, dict) else set()
    )
