"""docs/schedule.md: what starts Revalue every day, and what it does about exit codes."""

import ast
import configparser
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest
import typer

import revalue
from revalue.console.cli.main import app
from tests.docs.test_pages import environment
from tests.monitoring.test_monitoring import parsed

ROOT = Path(__file__).parents[2]
SCHEDULE = ROOT / "examples/schedule"
PAGE = (ROOT / "docs/schedule.md").read_text()
NOWHERE = "postgresql://localhost:1/nowhere"


@pytest.fixture
def feed(tmp_path: Path) -> Path:
    """The folder of a day's files."""
    for kind in ("fx_rates", "prices", "positions"):
        shutil.copy(ROOT / f"examples/data/{kind}.csv", tmp_path)
    return tmp_path


def variables(url: str) -> dict[str, str]:
    found = environment(url)
    return {**found, "PATH": f"{SCHEDULE}:{found['PATH']}"}


def ran(url: str, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=variables(url),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


@pytest.fixture
def book(bare_url: str) -> str:
    """The address of a book with what does not come every day."""
    week = [date(2024, 3, day) for day in range(4, 9)]
    with revalue.connect(bare_url, migrate=True) as opened:
        dates = pl.DataFrame({"calendar_id": "XNYS", "business_date": week})
        opened.load("business_dates", dates)
        for kind in ("portfolios", "instruments"):
            opened.load(kind, ROOT / f"examples/data/{kind}.csv")
    return bare_url


def cron_lines() -> list[str]:
    """The commands of the crontab, as cron gives them to the shell."""
    lines = (SCHEDULE / "revalue.crontab").read_text().splitlines()
    return [
        line.split(maxsplit=5)[5].replace("\\%", "%")
        for line in lines
        if line[:1].isdigit() or line.startswith("*")
    ]


def steps() -> ModuleType:
    spec = importlib.util.spec_from_file_location("steps", SCHEDULE / "steps.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_evenings_of_a_book(book: str, feed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By cron's line, by the script, and by the steps of Airflow and Dagster."""
    line = cron_lines()[0].replace('"$(date +%F)"', "2024-03-06").replace("/srv/revalue/feed", ".")
    done = ran(book, feed, "bash", "-c", line)
    assert done.returncode == 0, done.stderr
    assert "GROWTH,EUR,2024-03-06,9875.0" in (feed / "totals-2024-03-06.csv").read_text()
    assert (feed / "exceptions-2024-03-06.csv").is_file()

    done = ran(book, feed, "nightly.sh", "2024-03-08", ".")
    assert done.returncode == 5, done.stderr
    assert "INDEXFUT" in (feed / "exceptions-2024-03-08.csv").read_text()
    assert not (feed / "totals-2024-03-08.csv").exists(), "they are not complete"

    module = steps()
    for name, value in variables(book).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(module.IncompleteError, match=r"value --through 2024-03-08 .*code 5"):
        module.run("value", "2024-03-08", str(feed))
    module.run("totals", "2024-03-06", str(feed))
    (feed / "prices.csv").unlink()
    with pytest.raises(module.FailedError, match="exit code 65"):
        module.run("load_prices", "2024-03-08", str(feed))


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["dagster", "airflow"])
def test_evenings_by_a_scheduler(scheduler: str, book: str, feed: Path, tmp_path: Path) -> None:
    """The first one is complete, and the second one not."""
    programs = ROOT / "build" / scheduler / "bin"
    if not programs.is_dir():
        pytest.skip(f"{scheduler} is not installed: make build/{scheduler}")
    dags = tmp_path / "dags"
    dags.mkdir()
    for name in ("steps.py", "airflow_dag.py", "dagster_job.py"):
        text = (SCHEDULE / name).read_text()
        (dags / name).write_text(text.replace("/srv/revalue/feed", str(feed)))
    own = {
        "PATH": f"{variables(book)['PATH']}:{programs}",
        "DAGSTER_HOME": str(tmp_path),
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }

    def called(*command: str) -> None:
        done = subprocess.run(
            command,
            env={**variables(book), **own},
            cwd=dags,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def evening(day: str) -> None:
        if scheduler == "airflow":
            called("airflow", "dags", "test", "revalue_nightly", day)
            return
        given = tmp_path / "day.yaml"
        given.write_text(f"ops: {{day: {{config: {{day: '{day}'}}}}}}")
        job = ("-f", "dagster_job.py", "-j", "revalue_nightly", "-c", str(given))
        called("dagster", "job", "execute", *job)

    if scheduler == "airflow":
        called("airflow", "db", "migrate")
    evening("2024-03-06")
    assert "GROWTH,EUR,2024-03-06,9875.0" in (feed / "totals-2024-03-06.csv").read_text()
    assert (feed / "exceptions-2024-03-06.csv").is_file()
    evening("2024-03-08")
    assert "INDEXFUT" in (feed / "exceptions-2024-03-08.csv").read_text()
    assert not (feed / "totals-2024-03-08.csv").exists(), "they are not complete"
    (feed / "totals-2024-03-06.csv").unlink()
    (feed / "prices.csv").write_text("no price\n")
    with pytest.raises(AssertionError, match="exit code 65"):
        evening("2024-03-06")
    assert not (feed / "totals-2024-03-06.csv").exists(), "a step before it has failed"


@pytest.mark.slow
def test_an_evening_without_a_database_is_tried_again(
    feed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = ran(NOWHERE, feed, "nightly.sh", "2024-03-06", ".")
    assert done.returncode == 75, done.stderr
    module = steps()
    for name, value in variables(NOWHERE).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(module.TryAgainError, match="exit code 75"):
        module.run("exceptions", "2024-03-06", str(feed))


def test_cron_tries_again_while_it_may_help_and_no_longer(tmp_path: Path) -> None:
    """With a command in place of the script that has another exit code at each attempt."""
    line = cron_lines()[0].replace("sleep 300", "true")
    for codes, attempts, last in (("3 75 0", 3, 0), ("75 5", 2, 5), ("65", 1, 65), ("3 3 3", 3, 3)):
        folder = tmp_path / codes.replace(" ", "-")
        folder.mkdir()
        (folder / "codes").write_text("\n".join(codes.split()) + "\n")
        script = folder / "nightly.sh"
        script.write_text(
            "#!/usr/bin/env bash\n"
            f'echo "$@" >> {folder}/calls\n'
            f'exit "$(sed -n "$(wc -l < {folder}/calls)p" {folder}/codes)"\n'
        )
        script.chmod(0o755)
        path = f"{folder}:{os.environ['PATH']}"
        done = subprocess.run(["bash", "-c", line], env={"PATH": path}, check=False)
        calls = (folder / "calls").read_text().splitlines()
        assert (len(calls), done.returncode) == (attempts, last), codes
        assert all(call.endswith(" /srv/revalue/feed") for call in calls)


def commands() -> Iterator[list[str]]:
    """The arguments of every call of revalue in the files."""
    tree = ast.parse((SCHEDULE / "steps.py").read_text())
    found = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "STEPS"
    ]
    for arguments in found[0].values():
        yield [part.format(day="2024-03-06") for part in arguments]
    for unit in SCHEDULE.glob("*.service"):
        for line in unit.read_text().splitlines():
            if line.startswith("ExecStart=/opt/revalue/bin/revalue "):
                yield line.split()[1:]
    for line in cron_lines():
        if line.startswith("revalue "):
            yield line.split()[1:]


@pytest.mark.parametrize("arguments", list(commands()), ids=" ".join)
def test_every_command_of_the_files_is_one(arguments: list[str]) -> None:
    parsed(typer.main.get_command(app), arguments, " ".join(arguments))


@pytest.mark.parametrize("file", ["airflow_dag.py", "dagster_job.py"])
def test_the_files_for_schedulers_use_what_steps_has(file: str) -> None:
    text = (SCHEDULE / file).read_text()
    compile(text, file, "exec")
    module = steps()
    used = {
        node.attr
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "steps"
    }
    assert {"STEPS", "NEEDS_COMPLETE", "run", "IncompleteError", "FailedError"} <= used
    assert all(hasattr(module, name) for name in used)
    assert set(module.NEEDS_COMPLETE) < set(module.STEPS)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """It says nothing about them. The command and the unit that tells somebody stand in."""
    for unit in SCHEDULE.glob("revalue-*"):
        text = unit.read_text().replace("/opt/revalue/bin/revalue ", "/bin/true ")
        (tmp_path / unit.name).write_text(text)
    (tmp_path / "revalue-failed@.service").write_text("[Service]\nExecStart=/bin/true\n")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *sorted(tmp_path.iterdir())],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


KNOWN = {
    "Unit": {"Description", "Wants", "After", "StartLimitIntervalSec", "StartLimitBurst"}
    | {"OnFailure"},
    "Service": {"Type", "User", "EnvironmentFile", "ExecStart", "Restart", "RestartSec"}
    | {"RestartForceExitStatus", "RestartPreventExitStatus", "KillMode", "TimeoutStopSec"}
    | {"LoadCredential"},
    "Timer": {"OnCalendar", "Persistent"},
    "Install": {"WantedBy"},
}


@pytest.mark.parametrize("unit", sorted(path.name for path in SCHEDULE.glob("revalue-*")))
def test_the_units_say_what_systemd_knows_and_are_on_the_page(unit: str) -> None:
    assert f"../examples/schedule/{unit}" in PAGE
    read = configparser.RawConfigParser(strict=False, delimiters="=", comment_prefixes="#")
    read.optionxform = str  # type: ignore[method-assign,assignment]
    read.read(SCHEDULE / unit)
    for section in read.sections():
        assert set(read[section]) <= KNOWN[section]
    if unit.endswith(".service"):
        restarts = read["Service"].get("RestartForceExitStatus", "").split()
        never = read["Service"].get("RestartPreventExitStatus", "").split()
        assert restarts in ([], ["3", "75"])
        assert set(never) <= {"2", "3", "77", "78"}
    else:
        assert (SCHEDULE / unit.replace(".timer", ".service")).is_file()
