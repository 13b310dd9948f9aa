"""What people expect of every command line: help, version, completion, options, JSON, consent."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from revalue.console.cli.main import GLOBAL_OPTIONS, app, named_command
from revalue.engine.postgres import schema
from revalue.engine.postgres.database import Database
from tests.conftest import new_database
from tests.integration.test_cli import code, run, valued
from tests.support import DAYS, fetch, prices

__all__ = ["valued"]  # a fixture

WIDE = {"COLUMNS": "200", "TERMINAL_WIDTH": "200"}

HEAD = schema.head()


def commands(group: Any, *names: str) -> Iterator[tuple[str, ...]]:
    """The names of every command and group below a group."""
    for name, command in group.commands.items():
        yield (*names, name)
        if hasattr(command, "commands"):
            yield from commands(command, *names, name)


EVERY_COMMAND = [(), *commands(typer.main.get_command(app))]


def revalue(
    *arguments: str, stdin: int | None = subprocess.DEVNULL, **environment: str
) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "revalue", *arguments],
        env={**os.environ, **WIDE, **environment},
        stdin=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_version_is_printed() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout == "revalue 0.1.0\n"


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=" ".join)
def test_every_command_has_the_same_help_under_both_names(command: tuple[str, ...]) -> None:
    short, long = (
        CliRunner().invoke(app, [*command, name], env=WIDE, prog_name="revalue")
        for name in ("-h", "--help")
    )
    assert (short.exit_code, short.stdout) == (0, long.stdout)
    assert f"Usage: {' '.join(('revalue', *command))} [OPTIONS]" in short.stdout
    assert all(f" {option} " in short.stdout for option in GLOBAL_OPTIONS)


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=" ".join)
def test_help_explains_every_argument_and_option(command: tuple[str, ...]) -> None:
    found: Any = typer.main.get_command(app)
    for name in command:
        found = found.commands[name]
    assert found.help
    for parameter in found.params:
        assert getattr(parameter, "help", None), parameter.name


@pytest.mark.parametrize("group", [(), ("correct",), ("jobs",), ("tokens",)])
def test_without_a_command_the_help_is_printed(group: tuple[str, ...]) -> None:
    called = CliRunner().invoke(app, [*group])
    asked = CliRunner().invoke(app, [*group, "-h"])
    assert (called.exit_code, called.stdout.strip()) == (2, asked.stdout.strip())


def test_an_unknown_command_is_answered_with_a_similar_one() -> None:
    called = CliRunner().invoke(app, ["stauts"])
    assert called.exit_code == 2
    assert "No such command 'stauts'. Did you mean 'status'?" in called.output


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("revalue sta", {"status"}),
        ("revalue jobs re", {"retry"}),
        ("revalue load p", {"portfolios", "prices", "positions"}),
        ("revalue status --data", {"--database-url", "--data-dir"}),
    ],
)
def test_the_shell_completes_commands_arguments_and_options(words: str, expected: set[str]) -> None:
    last = str(len(words.split()) - 1)
    given = {"_REVALUE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": last}
    command = Path(sys.executable).parent / "revalue"
    done = subprocess.run(
        [command], env={**os.environ, **given}, capture_output=True, text=True, check=False
    )
    assert (set(done.stdout.split()), done.stderr) == (expected, "")


@pytest.mark.slow
def test_completion_is_shown_and_installed(tmp_path: Path) -> None:
    command = Path(sys.executable).parent / "revalue"

    def shell(option: str) -> str:
        done = subprocess.run(
            ["bash", "-c", f"{command} {option}; exit $?"],
            env={**os.environ, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    assert "complete -o default -F _revalue_completion revalue" in shell("--show-completion")
    assert "bash completion installed in" in shell("--install-completion")
    assert (tmp_path / ".bash_completions" / "revalue.sh").is_file()


def test_global_options_are_accepted_before_and_after_the_command(
    valued: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database of the environment is empty; the one of the option has four positions."""
    monkeypatch.setenv("REVALUE_DATABASE_URL", url)

    def positions(*arguments: str) -> int:
        called = CliRunner().invoke(app, [*arguments])
        assert called.exit_code == 0, called.output
        return sum(json.loads(called.stdout)["positions"].values())

    assert positions("status", "--json") == 0
    assert positions("--database-url", valued, "status", "--json") == 4
    assert positions("status", "--database-url", valued, "--json") == 4
    assert positions("status", "--json", f"--database-url={valued}") == 4
    assert positions("--database-url", valued, "status", "--json", "--database-url", url) == 0, (
        "the last one counts"
    )
    for arguments in (
        ("jobs", "--database-url", valued, "list", "--json"),
        ("jobs", "list", "--json", "--log-level", "error", "--database-url", valued),
    ):
        assert len(json.loads(CliRunner().invoke(app, arguments).stdout)) > 0


def test_a_value_or_an_argument_that_looks_like_a_global_option_is_none(
    valued: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REVALUE_DATABASE_URL", valued)
    called = CliRunner().invoke(app, ["jobs", "list", "--json", "--portfolio", "--data-dir"])
    assert "there is no portfolio '--data-dir'" in str(called.exception)
    got = CliRunner().invoke(app, ["explain", "--", "P1", "--data-dir", DAYS[9].isoformat()])
    assert "portfolio 'P1' has never held security '--data-dir'" in str(got.exception)


def test_a_global_option_without_a_possible_value_is_told() -> None:
    for arguments, message in (
        (["--data-dir"], "Option '--data-dir' requires an argument."),
        (["--log-level", "loud"], "'loud' is not one of 'debug', 'info', 'warning', 'error'."),
    ):
        called = CliRunner().invoke(app, ["status", *arguments], env=WIDE)
        assert (called.exit_code, message in called.output) == (2, True)


async def test_json_stands_alone_on_standard_output(
    valued: str, database: Database, tmp_path: Path
) -> None:
    day = DAYS[3].isoformat()
    frame, file = prices("A", {DAYS[3]: "55.5"}), tmp_path / "prices.csv"
    frame.write_csv(file)

    def told(*arguments: str) -> Any:
        called = run(valued, *arguments, "--json")
        assert called.exit_code == 0, (arguments, called.output)
        return json.loads(called.stdout)

    assert told("migrate") == {"revision": HEAD}
    assert told("open", DAYS[-1].isoformat())[0]["business_days"] == 0
    assert told("verify", "--all")["disagreements"] == 0
    assert told("load", "prices", str(file))["changed"] == 1
    assert told("correct", "price", "A", day, "56")["new"] == "56"
    assert told("correct", "rate", "EUR", "USD", day, "1.5")["positions"] == 2
    assert told("correct", "position", "P1", "B", day, "-4", "-8", "-8")["positions"] == 1
    assert told("correct", "file", str(file))["rows"] == 1
    assert told("correct", "file", str(file), "--dry-run")["correction"]["rows"] == 1
    newest = told("loads", "--limit", "1")[0]["load_id"]
    assert told("loads", "revert", str(newest), "--yes")["reverts"] == newest
    assert told("correct", "split", "A", day, "2:1", "--yes")["ratio"] == "2:1"
    assert told("policy")["pivot"] == "EUR"
    assert told("policy", "set", "--fx-max-age", "9")["new"]["fx_max_age"] == 9
    assert told("currencies", "add", "USX", "--unit-of", "USD")["is_new"]
    assert {"USD", "USX"} <= {each["currency"] for each in told("currencies")}
    assert told("explain", "P1", "A", DAYS[9].isoformat())["steps"]
    job = told("jobs", "list")[0]["job_id"]
    assert told("jobs", "show", str(job))["job_id"] == job
    assert told("jobs", "retry", str(job)) == {"requeued": [], "not_requeued": [job]}
    assert told("dead-letters") == []
    assert told("pause")["paused_at"] is not None
    assert told("resume")["paused_since"] is not None
    assert told("resume") == {"paused_since": None}
    drained = told("drain")
    assert (drained["leader"]["holder"], drained["status"]["is_current"]) == (None, False)
    assert told("tokens", "create", "desk", "--scope", "read")["token"].startswith("revalue_")
    assert [token["name"] for token in told("tokens", "list")] == ["desk"]
    assert told("tokens", "revoke", "desk")["revoked_at"] is not None
    assert len(told("sample", str(tmp_path / "book"))["files"]) == 6
    assert len(told("monitoring", str(tmp_path))["files"]) == 3


def test_json_of_a_server_that_does_not_run(tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["down", "--json", "--data-dir", str(tmp_path)])
    assert json.loads(told.stdout) == {"stopped": False}


def test_every_command_that_prints_data_has_json() -> None:
    without = {"correct", "jobs", "read", "tokens", "serve", "serve-metrics", "lake", "adopt"}
    without |= {"confirm", "unconfirm"}
    root: Any = typer.main.get_command(app)
    for names in commands(root):
        command = root
        for name in names:
            command = command.commands[name]
        has = any("--json" in parameter.opts for parameter in command.params)
        assert has == (names[-1] not in without), names


@pytest.mark.parametrize(
    ("arguments", "loss"),
    [
        (("migrate", "base"), "this deletes every table of revalue with its data: portfolios, "),
        (
            ("migrate", "0006"),
            f"this takes the schema from revision {HEAD} back to 0006 and deletes",
        ),
    ],
)
async def test_what_deletes_data_needs_consent(
    url: str, database: Database, arguments: tuple[str, ...], loss: str
) -> None:
    got, message = code(url, *arguments)
    assert (got, message.startswith(loss), "; pass --yes to confirm" in message) == (2, True, True)
    assert await fetch(database, "SELECT version_num FROM alembic_version") == [(HEAD,)]


async def test_with_consent_the_schema_goes_back(server_url: str, template: str) -> None:
    async with new_database(server_url, template) as address:
        assert run(address, "migrate", "0006", "--yes").stdout == (
            "the schema is at revision 0006\n"
        )
        assert run(address, "migrate").stdout == f"the schema is at revision {HEAD}\n", "not asked"
        assert run(address, "migrate", "base", "--yes").stdout == (
            "the schema is at revision base\n"
        )
        assert run(address, "migrate", "base").stdout == "the schema is at revision base\n", (
            "there is nothing to lose"
        )


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "exit_code", "revision"), [("n", 1, HEAD), ("y", 0, "0006")])
async def test_on_a_terminal_one_is_asked(
    server_url: str, template: str, answer: str, exit_code: int, revision: str
) -> None:
    async with new_database(server_url, template) as address:
        ours, theirs = pty.openpty()
        os.write(ours, f"{answer}\n".encode())
        done = revalue("migrate", "0006", stdin=theirs, REVALUE_DATABASE_URL=address)
        os.close(ours)
        os.close(theirs)
        assert done.returncode == exit_code, done.stderr
        assert f"this takes the schema from revision {HEAD} back to 0006" in done.stderr
        assert "Go on? [y/N]" in done.stderr
        async with await Database.open(address) as opened:
            assert await fetch(opened, "SELECT version_num FROM alembic_version") == [(revision,)]


OPTIONAL = ("fastapi", "uvicorn", "matplotlib", "obstore", "deltalake", "pyiceberg")


def without(packages: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command where these packages are not installed."""
    start = (
        f"import sys; sys.modules.update(dict.fromkeys({packages}))\n"
        "from revalue.console.cli.main import main\n"
        f"sys.argv = {['revalue', *arguments]}\nmain()"
    )
    return subprocess.run(
        [sys.executable, "-c", start],
        env={**os.environ, **WIDE},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "package", "extra"),
    [
        (("serve",), "uvicorn", "serve"),
        (("serve",), "fastapi", "serve"),
        (("demo",), "matplotlib", "chart"),
    ],
)
def test_a_command_without_its_extra_names_it(
    url: str, tmp_path: Path, arguments: tuple[str, ...], package: str, extra: str
) -> None:
    where = ("--folder", str(tmp_path)) if "demo" in arguments else ()
    done = without((package,), *arguments, *where, "--database-url", url)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: this command needs the package '{package}', which is not installed: "
        f"install revalue with its extra '{extra}', as `revalue[{extra}]` (UsageError)\n"
    )


@pytest.mark.slow
def test_the_other_commands_need_no_extra(valued: str) -> None:
    assert without(OPTIONAL, "status", "--json", "--database-url", valued).returncode == 0
    assert without(OPTIONAL, "verify", "--all", "--database-url", valued).returncode == 0


def test_starting_imports_neither_extras_nor_ray_nor_alembic() -> None:
    heavy = (*OPTIONAL, "ray", "alembic", "sqlalchemy")
    look = (
        "import sys, revalue\nfrom revalue.console.cli.main import app\n"
        f"print(*(name for name in {heavy} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("status --json", "status"),
        ("--book load status", "status"),
        ("--book=load --log-level ERROR correct price", "correct"),
        ("status --help", "status"),
        ("--help status", None),
        ("--version", None),
        ("stauts load", None),
        ("-- status", None),
        ("--book", None),
        ("", None),
    ],
)
def test_the_command_that_is_called_is_known_before_it_is_imported(
    line: str, name: str | None
) -> None:
    assert named_command(line.split()) == name


def test_the_global_options_that_take_a_value_are_known() -> None:
    root: Any = typer.main.get_command(app)
    own = [each for each in root.params if getattr(each, "rich_help_panel", None)]
    taking = {name for each in own if not each.is_flag for name in each.opts}
    assert set(GLOBAL_OPTIONS) == taking


def test_a_command_does_not_import_what_others_need() -> None:
    """Arrow, and the driver that reads into it, take longer to import than most commands work."""
    look = (
        "import sys\nfrom revalue.console.cli.main import command_line\n"
        "for names in (['books', 'open', 'migrate', 'prune'], ['status', 'pause', 'verify']):\n"
        "    command_line(*names)\n"
        "    print(*(n for n in ('pyarrow', 'adbc_driver_postgresql') if n in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout == "\npyarrow\n"
