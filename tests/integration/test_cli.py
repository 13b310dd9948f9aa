"""The command line as a person meets it: right calls, wrong calls, exit codes."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner, Result

import revalue
from revalue.console.cli.main import app, main
from revalue.engine.errors import NotFoundError
from revalue.engine.postgres.database import Database
from tests.conftest import small_book
from tests.support import DAYS, execute, fetch, prices


@pytest.fixture
async def valued(server_url: str, template: str) -> AsyncIterator[str]:
    async with small_book(server_url, template, 2) as address:
        yield address


@pytest.fixture
async def database(valued: str) -> AsyncIterator[Database]:
    async with await Database.open(valued) as opened:
        yield opened


def run(url: str, *arguments: str) -> Result:
    """In this process, on a thread of its own: the commands have an event loop of their own."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(CliRunner().invoke, app, ["--database-url", url, *arguments]).result()


def code(url: str, *arguments: str) -> tuple[int, str]:
    """The exit code and the message of a call that ends in one of the engine's errors."""
    result = run(url, *arguments)
    error = result.exception
    return getattr(error, "exit_code", result.exit_code), f"{result.output}{error or ''}"


async def test_status_jobs_and_explain_for_programs(valued: str, database: Database) -> None:
    status = json.loads(run(valued, "status", "--json").stdout)
    assert (status["positions"], status["is_current"], status["horizon"]) == (
        {"CURRENT": 4},
        True,
        DAYS[-1].isoformat(),
    )
    jobs = json.loads(run(valued, "jobs", "list", "--json", "--portfolio", "P1").stdout)
    assert {job["status"] for job in jobs} == {"COMPLETE"}
    shown = json.loads(run(valued, "jobs", "show", str(jobs[0]["job_id"]), "--json").stdout)
    assert (shown["rows_written"], shown["span_count"]) == (4 * len(DAYS), 4)
    assert {(span["portfolio_id"], span["security_id"]) for span in shown["spans"]} == {
        (portfolio, security) for portfolio in ("P1", "P2") for security in ("A", "B")
    }
    cut = json.loads(
        run(valued, "jobs", "show", str(jobs[0]["job_id"]), "--json", "--limit", "3").stdout
    )
    assert cut["spans"] == shown["spans"][:3]
    explained = json.loads(run(valued, "explain", "P2", "A", DAYS[9].isoformat(), "--json").stdout)
    assert explained["verdict"] == "AGREES"
    stored = await database_value(database, "P2", "A", DAYS[9])
    assert explained["stored"]["market_value"] == stored


async def database_value(database: Database, portfolio: str, security: str, day: date) -> str:
    async with database.connection() as connection:
        return await connection.fetchval(
            "SELECT market_value::text FROM position_valuations "
            "WHERE portfolio_id = $1 AND security_id = $2 AND date = $3",
            portfolio,
            security,
            day,
        )


async def test_explain_says_step_by_step_and_does_not_hide_a_wrong_number(
    valued: str, database: Database
) -> None:
    output = run(valued, "explain", "P2", "A", DAYS[9].isoformat()).output
    for part in (
        "quantity 7",
        "109.25 USD PER_UNIT",
        "EUR/USD 1.1063",
        "inverse",
        "Verdict: AGREES",
        "epoch 0",
    ):
        assert part in output, part
    await execute(
        database,
        "UPDATE daily_position_snapshots SET market_value = market_value + 1 WHERE date = $1",
        DAYS[9],
    )
    wrong, message = code(valued, "explain", "P2", "A", DAYS[9].isoformat())
    assert wrong == 1
    assert "Verdict: DISAGREES" in message
    assert "the stored row disagrees with the data: market_value: stored " in message
    verified, message = code(valued, "verify", "--all")
    assert verified == 1
    assert "disagree" in message


async def test_a_correction_says_what_it_reaches(valued: str) -> None:
    output = run(valued, "correct", "price", "A", DAYS[3].isoformat(), "55.5").output
    assert "103.25 -> 55.5" in output
    assert f": up to 2 positions affected on {DAYS[3]}; run `revalue value`" in output
    assert re.search(r"REPROCESSING\s*│\s*2", run(valued, "status").output)
    output = run(
        valued, "correct", "position", "P1", "B", DAYS[3].isoformat(), "-4", "-8", "-8"
    ).output
    assert (
        f"position P1 / B from {DAYS[3]}: "
        f"quantity 10.5, cost_basis_local 1000, cost_basis 1000 (since {DAYS[0]}) -> "
        "quantity -4, cost_basis_local -8, cost_basis -8\n"
    ) in output
    assert "up to 1 position affected" in output
    assert "; run `revalue value`" in output


async def test_a_position_correction_shows_what_was_held(valued: str) -> None:
    def corrected(day: date, *numbers: str) -> str:
        names = ("P1", "B", day.isoformat())
        return run(valued, "correct", "position", *names, *numbers).output.splitlines()[0]

    def text(*numbers: str) -> str:
        return "quantity {}, cost_basis_local {}, cost_basis {}".format(*numbers)

    first, held = DAYS[0] - timedelta(days=3), text("10.5", "1000", "1000")
    assert corrected(first, "-10", "-.5", "-1e2") == (
        f"position P1 / B from {first}: none -> {text('-10', '-0.5', '-100')}"
    )
    assert corrected(DAYS[0], "3", "3", "3").endswith(f": {held} -> {text('3', '3', '3')}")
    told = json.loads(
        run(valued, "correct", "position", "P1", "B", str(DAYS[2]), *"444", "--json").stdout
    )
    assert (told["old"], told["new"]) == (
        f"{text(*['3.0000000000'] * 3)} (since {DAYS[0]})",
        text("4", "4", "4"),
    )


async def test_a_wrong_price_and_a_wrong_rate_are_deleted(valued: str, database: Database) -> None:
    stored = "SELECT (SELECT count(*) FROM market_prices), (SELECT count(*) FROM fx_rates)"
    price = ("correct", "price", "A", DAYS[3].isoformat(), "--delete")
    rate = ("correct", "rate", "EUR", "USD", DAYS[5].isoformat(), "--delete")
    [before] = await fetch(database, stored)
    output = run(valued, *price, "--dry-run").output
    assert "103.25 -> deleted (not written)\nwould restate 2 positions, 2 position-days" in output
    assert await fetch(database, stored) == [before]
    assert (
        f"price of A on {DAYS[3]} (USD PER_UNIT): 103.25 -> deleted\n" in run(valued, *price).output
    )
    with revalue.connect(valued) as book:
        told = book.preview(revalue.DeleteRate("EUR", "USD", DAYS[5]))
        assert (told.correction.new, told.position_days) == (None, 2)
        with pytest.raises(NotFoundError, match="nothing to delete"):
            book.correct(revalue.DeletePrice("A", DAYS[3]))
        made = book.correct(revalue.DeletePrice("B", DAYS[3]))
        assert (made.old, made.new, made.positions) == ("53.2500000000", None, 2)
    assert json.loads(run(valued, *rate, "--json").stdout)["new"] is None
    assert await fetch(database, stored) == [(before[0] - 2, before[1] - 1)]
    for call in (price, rate):
        got, message = code(valued, *call)
        assert (got, "nothing to delete" in message) == (4, True)
    kinds = await fetch(database, "SELECT kind FROM reprocessing_triggers ORDER BY trigger_id")
    assert [kind for [kind] in kinds][-3:] == ["PRICE", "PRICE", "FX"]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (("correct", "price", "A", "2024-01-01"), 2, "give either PRICE or --delete"),
        (("correct", "price", "A", "2024-01-01", "5", "--delete"), 2, "give either PRICE or"),
        (("correct", "rate", "EUR", "USD", "2024-01-01"), 2, "give either RATE or --delete"),
        (
            ("correct", "price", "A", "2024-13-01", "5"),
            2,
            "'2024-13-01' is not a date: write YYYY-MM-DD",
        ),
        (("correct", "price", "A", "2024-01-01", "five"), 2, "'five' is not a decimal number"),
        (("correct", "price", "A", "2024-01-01", "-5"), 2, ""),
        (("correct", "price", "A", "2024-01-06", "5"), 4, "no price dated 2024-01-06"),
        (("explain", "P1", "Z", "2024-01-01"), 4, "never held"),
        (("jobs", "show", "99999"), 4, "no valuation job 99999"),
        (("jobs", "list", "--status", "LOST"), 2, "no job status 'LOST'"),
        (("load", "prices", "nowhere.csv"), 65, "no file nowhere.csv"),
        (("load", "cheese", "nowhere.csv"), 2, "cheese"),
        (("down",), 2, "`down` stops only the embedded server, not yours"),
        (("frobnicate",), 2, "No such command"),
        (
            ("migrate", "nonsense"),
            2,
            "there is no revision 'nonsense': choose `head`, `base` or one of 0001, 0002",
        ),
        (("jobs", "show", "9" * 20), 2, f"'{'9' * 20}' is not the id of a job"),
        (("jobs", "retry", "1", "99998", "99999"), 4, "no valuation job 99998, 99999; nothing"),
        (("jobs", "retry", "9" * 20), 2, f"'{'9' * 20}' is not the id of a job"),
        (("jobs", "retry"), 2, "name the jobs to retry, or pass --failed"),
        (("jobs", "retry", "5", "--failed"), 2, "name the jobs to retry, or pass --failed"),
        (("load", "prices", "docs"), 65, "docs is a folder"),
        (("sample", "/proc/nope"), 2, "folder /proc/nope cannot be created"),
        (("monitoring", "/proc/nope"), 2, "folder /proc/nope cannot be created"),
        (("demo", "--folder", "/proc/nope"), 2, "folder /proc/nope cannot be created"),
    ],
)
async def test_a_wrong_call_is_told_what_is_wrong(
    valued: str, arguments: tuple[str, ...], exit_code: int, message: str
) -> None:
    got, output = code(valued, *arguments)
    assert got == exit_code, output
    assert message in output


@pytest.mark.parametrize(
    ("variable", "value"),
    [("REVALUE_ACTORS", "abc"), ("REVALUE_TASK_ROWS", "0"), ("REVALUE_LOG_LEVEL", "loud")],
)
def test_a_wrong_setting_is_named(
    url: str, variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    got, output = code(url, "status")
    assert (got, f"{variable}={value}: " in output) == (2, True), output


def test_an_address_that_postgresql_refuses_is_told_and_its_password_is_not_printed(
    server_url: str,
) -> None:
    for address, exit_code, message in (
        (server_url.replace("/postgres?", "/nowhere?"), 77, 'database "nowhere" does not exist'),
        (server_url.replace("postgres:", "stranger:SECRET"), 77, 'role "stranger" does not exist'),
        ("postgresql://u:SECRET@[::1", 2, "address cannot be used"),
        ("postgresql://u@h:p/d", 2, "its port is not a number"),
        ("postgresql:///d?host=h&port=p", 2, "its port is not a number"),
        ("postgresql://u:SECRET/@h/d", 2, "its port is not a number"),
        ("postgresql://u@127.0.0.1:1,127.0.0.1:2/d", 75, "PostgreSQL cannot be reached"),
        ("mysql://u:SECRET@h/d", 2, "address (mysql) is not a PostgreSQL address"),
    ):
        got, output = code(address, "status")
        assert got == exit_code, output
        assert message in output
        assert "SECRET" not in output


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ("foo=bar", "unknown parameter, foo"),
        ("options=-cfoo%3Dbar", 'unrecognized configuration parameter "foo"'),
        ("options=rubbish", "invalid command-line argument for server process: rubbish"),
        ("options=-cstatement_timeout%3D5x", 'invalid value for parameter "statement_timeout"'),
        ("client_encoding=rubbish", 'invalid value for parameter "client_encoding"'),
        ("dbname=other", "says dbname before the question mark and after it"),
    ],
)
def test_a_parameter_of_an_address_that_is_refused_is_no_matter_of_the_schema(
    url: str, parameter: str, message: str
) -> None:
    got, output = code(f"{url}&{parameter}", "status")
    assert got == 2, output
    assert output.startswith("the database's address ")
    assert message in output


def test_a_port_that_cannot_be_is_refused(url: str) -> None:
    for port in ("-1", "65536"):
        got, output = code(url, "value", "--metrics-port", port)
        assert (got, "0<=x<=65535" in output or "--metrics-port" in output) == (2, True), output


def test_an_address_without_a_ray_is_refused_at_once(url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    got, output = code(url, "--ray-address", address, "value", "--quiet")
    assert got == 2
    assert f"Ray cannot be reached at {address}" in output


def test_a_taken_port_is_told_before_anything_is_started(url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for command, option in (
            ("serve", "--port"),
            ("serve-metrics", "--port"),
            ("value", "--metrics-port"),
        ):
            got, output = code(url, command, option, port)
            assert got == 2
            assert all(part in output for part in (port, "in use", option)), output


def test_nothing_to_verify_is_said(url: str) -> None:
    got, output = code(url, "verify")
    assert (got, "no positions are loaded" in output) == (4, True)


async def test_every_command_has_help(valued: str) -> None:
    commands = [c.name or c.callback.__name__ for c in app.registered_commands if c.callback]
    assert {
        "migrate",
        "load",
        "value",
        "explain",
        "sample",
        "serve-metrics",
        "down",
        "verify",
        "demo",
        "dead-letters",
        "pause",
        "resume",
        "drain",
        "status",
    } <= {c.replace("_", "-") for c in commands}
    for command in [*commands, "correct", "jobs"]:
        result = run(valued, command.replace("_", "-"), "--help")
        assert result.exit_code == 0, command
        assert "Usage" in result.output


async def test_a_file_is_loaded_and_a_bad_one_is_refused_whole(valued: str, tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    frame = {
        "security_id": ["A"],
        "price_date": ["2024-02-05"],
        "price": ["5"],
        "currency": ["USD"],
        "quote_basis": ["PER_UNIT"],
    }
    pl.DataFrame(frame).write_csv(path)
    assert json.loads(run(valued, "load", "prices", str(path), "--json").stdout)["inserted"] == 1
    pl.DataFrame({**frame, "price": ["x"]}).write_csv(path)
    got, output = code(valued, "load", "prices", str(path))
    assert got == 65
    assert "price: not a number such as 1070.5: 1 row (line 2: x)" in output
    pl.DataFrame(frame).clear().write_csv(path)
    got, output = code(valued, "load", "prices", str(path))
    assert (got, "has no rows" in output) == (65, True)
    got, output = code(valued, "correct", "file", str(path))
    assert (got, "has no rows" in output, "--allow-empty" in output) == (65, True, False)
    told = json.loads(run(valued, "load", "prices", str(path), "--allow-empty", "--json").stdout)
    assert told["rows"] == 0


async def test_the_sample_book_is_written_out(valued: str, tmp_path: Path) -> None:
    output = run(valued, "sample", str(tmp_path / "book")).output
    assert len(list((tmp_path / "book").glob("*.parquet"))) == 6
    assert "positions.parquet" in output.replace("\n", "")


def test_errors_become_a_message_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["revalue", "--database-url", "mysql://x", "status"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    said = capsys.readouterr().err.replace("\n", " ")
    assert said.startswith("error: the database's address ")
    assert "write postgresql://user@host/database" in said
    assert said.endswith("(UsageError) ")
    monkeypatch.setattr(
        "sys.argv", ["revalue", "--database-url", "postgresql://nobody@127.0.0.1:1/none", "status"]
    )
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 75


def test_an_error_is_json_where_the_result_is(valued: str) -> None:
    done = in_process_of_its_own(valued, "jobs", "show", "999999", "--json")
    assert (done.returncode, done.stdout) == (4, "")
    assert json.loads(done.stderr) == {
        "error": "NotFoundError",
        "message": "there is no valuation job 999999",
        "exit_code": 4,
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("jobs", "list", "--json", "--nope"), "No such option: --nope"),
        (("explain", "--json"), "Missing argument 'PORTFOLIO'."),
        (("jobs", "--json", "nothing"), "No such option: --json"),
    ],
)
def test_wrong_arguments_are_json_where_the_result_is(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.setattr("sys.argv", ["revalue", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    output, error = capsys.readouterr()
    assert output == ""
    assert json.loads(error) == {"error": "UsageError", "message": message, "exit_code": 2}


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_output_that_nobody_reads_any_more_is_no_error(valued: str, more: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = in_process_of_its_own(valued, "status", *more, stdout=writing)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def in_process_of_its_own(
    url: str, *arguments: str, stdout: int = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "revalue", *arguments],
        env={**os.environ, "REVALUE_DATABASE_URL": url},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
    )


async def test_a_quiet_valuation_prints_nothing_while_all_is_well(
    valued: str, database: Database
) -> None:
    last = DAYS[-1].isoformat()
    well = in_process_of_its_own(valued, "value", "--quiet", "--through", last)
    assert (well.returncode, well.stdout, well.stderr) == (0, "", "")
    told = in_process_of_its_own(valued, "value", "--quiet", "--json")
    assert (json.loads(told.stdout)["rows_written"], told.stderr) == (0, "")
    await execute(
        database, "DELETE FROM market_prices WHERE security_id = 'A' AND price_date > $1", DAYS[4]
    )
    lacking = in_process_of_its_own(valued, "value", "--quiet")
    assert (lacking.returncode, lacking.stdout) == (5, "")
    assert "2 positions waiting for data; 2 positions: PRICE_TOO_OLD A" in lacking.stderr
    assert lacking.stderr.count("\n") == 1


async def test_a_dry_run_says_what_a_correction_would_do_and_does_not_do_it(
    valued: str, database: Database, tmp_path: Path
) -> None:
    told = json.loads(
        run(
            valued, "correct", "price", "A", DAYS[3].isoformat(), "55.5", "--dry-run", "--json"
        ).stdout
    )
    assert (told["positions"], told["position_days"]) == (2, 2)
    assert {(line["portfolio_id"], line["date"]) for line in told["portfolios"]} == {
        (p, DAYS[3].isoformat()) for p in ("P1", "P2")
    }
    assert told["portfolios"][0]["market_value_before"] == await database_value(
        database, "P1", "A", DAYS[3]
    )
    assert told["correction"]["new"] == "55.5"
    output = run(
        valued, "correct", "fx", "EUR", "USD", DAYS[3].isoformat(), "1.5", "--dry-run"
    ).output
    assert f"would restate 2 positions, 2 position-days on {DAYS[3]}" in output
    assert "not written" in output
    assert "By portfolio" not in output
    price = ("correct", "price", "A", DAYS[3].isoformat(), "55.5")
    assert "By portfolio" in run(valued, *price, "--dry-run", "--all").output
    got, message = code(valued, *price, "--all")
    assert (got, "--all is about what --dry-run shows" in message) == (2, True)
    said = run(valued, "status").output
    assert "CURRENT" in said
    assert "the last opened business day is" in said  # in 2024
    path = tmp_path / "prices.csv"
    prices("A", {DAYS[3]: "55.5", DAYS[5]: "60"}).write_csv(path)
    assert (
        f"would restate 2 positions, 4 position-days from {DAYS[3]} to {DAYS[5]}"
        in run(valued, "correct", "file", str(path), "--dry-run").output
    )
    assert json.loads(run(valued, "status", "--json").stdout)["is_current"]
    assert (
        "2 rows of prices: 2 changed, 0 unchanged\n"
        in run(valued, "correct", "file", str(path)).output
    )
    assert re.search(r"REPROCESSING\s*│\s*2", run(valued, "status").output)
