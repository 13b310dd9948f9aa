"""Alert rules, dashboard and runbook, checked against the engine and by promtool."""

import asyncio
import json
import math
import re
import shlex
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.core import TyperGroup

from revalue.console import monitoring
from revalue.console.cli.main import app
from revalue.engine import metrics
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import load
from revalue.engine.fan_out import fan_out
from revalue.engine.leadership.term import Term
from revalue.engine.operate import database_metrics, kept_counts
from revalue.engine.operate.database_metrics import DatabaseCollector
from revalue.engine.operate.position_counts import PositionCounts
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.statement import Statement
from tests.debian import unpacked
from tests.support import DAYS, engine, execute, load_small_book, prices

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
RUNBOOK = (ROOT / "docs/runbook.md").read_text()
METRIC = re.compile(r"\brevalue_\w+")


@pytest.fixture(scope="session")
def promtool(tmp_path_factory: pytest.TempPathFactory) -> str:
    """promtool of this machine, or of Debian's package."""
    if found := shutil.which("promtool"):
        return found
    folder = unpacked(tmp_path_factory.mktemp("prometheus"), "prometheus")
    return str(folder / "usr/bin/promtool")


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    monitoring.export(tmp_path)
    return tmp_path


def rules() -> list[dict[str, Any]]:
    text = (Path(monitoring.__file__).parent / "alerts.yml").read_text()
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(
        (Path(monitoring.__file__).parent / "dashboard.json").read_text()
    )["panels"]
    return listed


def expressions() -> list[str]:
    return [rule["expr"] for rule in rules()] + [
        target["expr"] for panel in panels() for target in panel["targets"]
    ]


def checked(command: list[str], folder: Path) -> None:
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_rules_are_rules_and_fire_when_they_should(promtool: str, exported: Path) -> None:
    checked([promtool, "check", "config", "prometheus.yml"], exported)
    checked([promtool, "check", "rules", "alerts.yml"], exported)
    shutil.copy(HERE / "alerts_test.yml", exported)
    checked([promtool, "test", "rules", "alerts_test.yml"], exported)
    fired = {
        case["alertname"]
        for test in yaml.safe_load((HERE / "alerts_test.yml").read_text())["tests"]
        for case in test["alert_rule_test"]
        if case.get("exp_alerts")
    }
    assert fired == {rule["alert"] for rule in rules()}, "an alert that no test has seen firing"


def test_the_dashboard_asks_what_prometheus_understands(promtool: str, exported: Path) -> None:
    asked = [
        text.replace("$__rate_interval", "5m")
        for panel in panels()
        for text in (t["expr"] for t in panel["targets"])
    ]
    recorded = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(asked)]
    (exported / "panels.yml").write_text(
        yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]})
    )
    checked([promtool, "check", "rules", "panels.yml"], exported)


async def test_every_metric_that_is_asked_for_exists(url: str, database: Database) -> None:
    await load_small_book(database, portfolios=1)
    collector = DatabaseCollector(url)
    found = await collector.read()
    exist: set[str] = set()
    for family in [*metrics.REGISTRY.collect(), *collector.families(found)]:
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(
            family.type, ("",)
        )
        exist |= {family.name + suffix for suffix in suffixes}
    asked = {name for text in expressions() for name in METRIC.findall(text)}
    assert asked - exist == set()
    assert len(asked) > 15
    named = set(METRIC.findall(RUNBOOK))
    assert named - exist == set(), "the runbook names a metric that does not exist"


def values(collector: DatabaseCollector) -> dict[str, float]:
    return {family.name: family.samples[0].value for family in collector.collect()}


async def test_without_a_right_answer_the_database_is_down(
    url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await execute(database, "CREATE ROLE test_scraper LOGIN")
    try:
        refused = DatabaseCollector(url.replace("//postgres:", "//test_scraper:"))
        assert await asyncio.to_thread(values, refused) == {"revalue_database_up": 0}
    finally:
        await execute(database, "DROP ROLE test_scraper")
    monkeypatch.setattr(database_metrics, "_ANSWER_SECONDS", 0.5)
    async with database.transaction() as connection:
        await connection.execute("LOCK TABLE position_state")
        hangs = await asyncio.to_thread(values, DatabaseCollector(url))
    assert hangs == {"revalue_database_up": 0}


async def test_the_age_of_the_horizon_is_told_of_each_calendar(
    url: str, database: Database
) -> None:
    await load_small_book(database, portfolios=1)
    found = (await DatabaseCollector(url).read()).horizon_ages
    assert found == {"CAL": (datetime.now(UTC).date() - DAYS[-1]).days}


async def test_the_last_load_is_told_of_each_kind(url: str, database: Database) -> None:
    """Also of one that changes nothing: the feed came."""
    collector = DatabaseCollector(url)
    assert (await collector.read()).last_loads == {}
    await load_small_book(database, portfolios=1)
    between = datetime.now(UTC).timestamp()
    for _ in range(2):
        await load(database, Kind.PRICES, prices("A", {DAYS[0]: "1"}))
    [family] = [
        family
        for family in collector.families(await collector.read())
        if family.name == "revalue_last_load_timestamp_seconds"
    ]
    times = {sample.labels["kind"]: sample.value for sample in family.samples}
    assert {"prices", "fx_rates", "positions"} <= set(times)
    assert [kind for kind, time in times.items() if time > between] == ["prices"]


async def test_the_age_of_the_oldest_work_is_that_of_its_correction_or_its_job(
    url: str, database: Database
) -> None:
    await load_small_book(database, portfolios=1)

    async def oldest() -> tuple[bool, bool]:
        """Whether it is over a day, of what is reprocessed and of what waits."""
        found = (await DatabaseCollector(url).read()).oldest
        return found["reprocessing"] > 86_400, found["waiting"] > 86_400

    async with engine(url) as running:
        await running.settle()
        assert await oldest() == (False, False)
        await execute(
            database,
            "UPDATE market_prices SET price = 7 WHERE security_id = 'A' AND price_date = $1",
            DAYS[3],
        )
        await execute(
            database, "UPDATE reprocessing_triggers SET created_at = created_at - interval '2 days'"
        )
        assert await oldest() == (True, False), "queued"
        await fan_out.fan_out(running.term)
        assert await oldest() == (True, False), "invalidated, and not valued yet"
        await running.settle()
        assert await oldest() == (False, False)
        await execute(
            database,
            "DELETE FROM market_prices WHERE security_id = 'A' AND price_date > $1",
            DAYS[3],
        )
        await running.settle()
        assert await oldest() == (False, False)
        await execute(
            database,
            "UPDATE portfolio_valuation_jobs SET created_at = created_at - interval '2 days'",
        )
        assert await oldest() == (False, True)


async def test_an_engine_that_never_had_a_leader_is_one_without_a_leader(
    url: str, database: Database
) -> None:
    collected = {
        family.name: family
        for family in DatabaseCollector(url).families(await DatabaseCollector(url).read())
    }
    assert collected["revalue_scheduler_heartbeat_age_seconds"].samples[0].value == math.inf
    await Term.acquire(database, "test", lease_seconds=10)
    collected = {
        family.name: family
        for family in DatabaseCollector(url).families(await DatabaseCollector(url).read())
    }
    assert collected["revalue_scheduler_heartbeat_age_seconds"].samples[0].value < 60


def test_every_alert_has_its_page_and_every_page_its_alert() -> None:
    sections = re.findall(r"^## (\w+)$", RUNBOOK, flags=re.MULTILINE)
    assert sections == [rule["alert"] for rule in rules()]
    for rule in rules():
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"
        section = RUNBOOK.split(f"## {rule['alert']}\n")[1].split("\n## ")[0]
        for part in ("**Means.**", "**Look at.**", "**Do.**"):
            assert part in section, (rule["alert"], part)


def test_the_commands_of_the_runbook_exist() -> None:
    commands = [
        line
        for block in re.findall(r"```sh\n(.*?)```", RUNBOOK, flags=re.DOTALL)
        for line in block.splitlines()
    ]
    commands += re.findall(r"`(revalue [^`]+)`", RUNBOOK)
    assert len(commands) > 20
    for command in commands:
        name, *arguments = shlex.split(command.replace("FOLDER", "folder").replace(" N", " 4"))
        assert name == "revalue"
        parsed(typer.main.get_command(app), arguments, command)


def parsed(command: Any, arguments: list[str], text: str) -> None:
    """Reads the arguments as the command line does, without running anything."""
    context = command.make_context("revalue", list(arguments), resilient_parsing=False)
    if isinstance(command, TyperGroup):
        rest = [*context._protected_args, *context.args]
        if not rest and command.invoke_without_command:
            return  # `exceptions` is a command, and has some of its own
        _, sub, rest = command.resolve_command(context, rest)
        assert sub is not None, text
        parsed(sub, rest, text)


async def test_a_scrape_counts_all_positions_once_and_many_of_them_seldom(
    url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await load_small_book(database, portfolios=1)
    ran: list[str] = []
    real = Statement.fetch

    async def fetched(self: Statement, *given: Any, **values: Any) -> Any:
        ran.append(self.name)
        return await real(self, *given, **values)

    monkeypatch.setattr(Statement, "fetch", fetched)
    collector = DatabaseCollector(url)
    first = await collector.read()
    whole = [name for name in ran if "position" in name]
    assert [name.rpartition("/")[2] for name in whole] == ["position_counts.sql"]
    monkeypatch.setattr(kept_counts, "FEW_POSITIONS", 0)
    again = [await DatabaseCollector(url).read() for _ in range(3)]
    assert ran.count(whole[0]) == 2
    assert len({each.status.counted_at for each in again}) == 1
    assert first.status.counted_at < again[0].status.counted_at < again[0].status.read_at
    [told] = [
        family.samples[0].value
        for family in collector.families(again[-1])
        if family.name == "revalue_positions_counted_timestamp_seconds"
    ]
    assert told == pytest.approx(again[0].status.counted_at.timestamp())


async def test_a_count_that_takes_longer_than_a_scrape_is_that_of_a_later_one(
    url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await load_small_book(database, portfolios=1)
    go_on = asyncio.Event()
    real = kept_counts.count_positions

    async def slow(*given: Any) -> PositionCounts:
        while not go_on.is_set():
            await asyncio.sleep(0.01)
        return await real(*given)

    monkeypatch.setattr(kept_counts, "count_positions", slow)
    monkeypatch.setattr(database_metrics, "_ANSWER_SECONDS", 0.5)
    collector = DatabaseCollector(url)
    assert await asyncio.to_thread(values, collector) == {"revalue_database_up": 0}
    go_on.set()
    first = await collector.read()
    go_on.clear()
    assert (await collector.read()).status.counted_at == first.status.counted_at
    go_on.set()
