"""Books by name: databases of the embedded server, here of the one that the tests share."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import revalue
from revalue.console.cli.main import app
from revalue.engine.errors import NotFoundError, UsageError
from revalue.engine.lake.ownership import make_lake
from revalue.engine.postgres import books
from revalue.engine.postgres.database import Database
from tests.conftest import named
from tests.support import DAYS, dates


@pytest.fixture
async def name(server_url: str) -> AsyncIterator[str]:
    """A name that no book has; a book of that name is gone after the test."""
    name = f"book-{secrets.token_hex(6)}"
    yield name
    if name in [each.name for each in await books.stored(server_url)]:
        await books.delete(server_url, name)


def run(data_dir: Path, *arguments: str, **environment: str) -> Result:
    with ThreadPoolExecutor(1) as thread:
        call = ["--data-dir", str(data_dir), *arguments]
        return thread.submit(CliRunner().invoke, app, call, env=environment).result()


def told(data_dir: Path, *arguments: str) -> Any:
    called = run(data_dir, *arguments, "--json")
    assert called.exit_code == 0, (arguments, called.output, called.exception)
    return json.loads(called.stdout)


def failed(called: Result) -> tuple[int, str]:
    return getattr(called.exception, "exit_code", called.exit_code), str(called.exception)


async def test_migrate_creates_a_book_and_its_name_chooses_it(
    data_dir: Path, server_url: str, name: str, tmp_path: Path
) -> None:
    file = tmp_path / "dates.csv"
    dates(DAYS).write_csv(file)
    called = run(data_dir, "migrate", REVALUE_BOOK=name)
    assert called.exit_code == 0, called.output
    assert told(data_dir, "--book", name, "load", "business_dates", str(file))["inserted"] == 20
    assert told(data_dir, "load", "business_dates", str(file), "--book", name)["unchanged"] == 20
    assert told(data_dir, "database", "--book", name)["address"] == named(server_url, name)
    assert failed(run(data_dir, "status"))[0] == 78, "the first book has no schema: not this one"
    [listed] = [each for each in told(data_dir, "books") if each["name"] == name]
    assert listed["bytes"] > 2**20
    assert listed["sessions"] == 0
    assert name in run(data_dir, "books").stdout


def test_a_book_that_does_not_exist_is_told_with_those_that_do(
    data_dir: Path, server_url: str, name: str, tmp_path: Path
) -> None:
    file = tmp_path / "dates.csv"
    dates(DAYS).write_csv(file)
    for call in (("status",), ("load", "business_dates", str(file)), ("migrate", "base")):
        code, message = failed(run(data_dir, *call, "--book", name))
        assert (code, message.startswith(f"there is no book {name!r}: there are ")) == (4, True)
        assert "postgres" in message
        assert f"`revalue migrate --book {name}` creates it" in message
    assert name not in [each["name"] for each in told(data_dir, "books")]


@pytest.mark.parametrize(
    "wrong", ["Growth", "1st", "", "a" * 52, "a b", "a;b", "a\n", "template1", "größe"]
)
def test_a_name_that_is_none_is_refused(wrong: str, tmp_path: Path) -> None:
    code, message = failed(run(tmp_path, "migrate", "--book", wrong))
    assert code == 2
    assert message.startswith(
        f"REVALUE_BOOK={wrong}: a book's name begins with a letter from a to z"
    )
    assert list(tmp_path.iterdir()) == [], "no server was started"


@pytest.mark.parametrize("door", ["options", "variables", "python"])
def test_a_book_and_an_address_are_refused_together(
    door: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "postgresql://somewhere/book"
    if door == "python":
        monkeypatch.setenv("REVALUE_BOOK", "trial")
        with pytest.raises(UsageError, match="leave out --book"):
            revalue.connect(url)
        return
    called = (
        run(tmp_path, "status", "--book", "trial", "--database-url", url)
        if door == "options"
        else run(tmp_path, "status", REVALUE_BOOK="trial", REVALUE_DATABASE_URL=url)
    )
    code, message = failed(called)
    assert code == 2
    assert "a book (trial) and the address of a database are set" in message
    assert "leave out --database-url (REVALUE_DATABASE_URL)" in message


@pytest.mark.parametrize("call", [("status", "--book", "trial"), ("books",)])
def test_on_a_cluster_no_book_of_a_node_is_used(call: tuple[str, ...], tmp_path: Path) -> None:
    code, message = failed(run(tmp_path, *call, RAY_ADDRESS="head:6379"))
    assert (code, "Set REVALUE_DATABASE_URL" in message) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_books_are_those_of_the_embedded_server_only(tmp_path: Path) -> None:
    url = "postgresql://somewhere/book"
    for call in (("books",), ("books", "delete", "trial", "--yes")):
        code, message = failed(run(tmp_path, *call, "--database-url", url))
        assert (code, message.startswith("a database address is set")) == (2, True)


async def test_a_book_is_deleted_when_nothing_is_connected_to_it(
    data_dir: Path, server_url: str, name: str
) -> None:
    await books.create(server_url, name)
    delete = ("books", "delete", name)
    code, message = failed(run(data_dir, *delete))
    assert (code, f"this deletes the book {name}" in message, "--yes" in message) == (2, True, True)
    scheduler = "revalue scheduler 1"
    async with await Database.open(named(server_url, name), application=scheduler):
        code, message = failed(await asyncio.to_thread(run, data_dir, *delete, "--yes"))
    assert (code, f"the book {name!r} is in use, and stays" in message) == (75, True)
    assert f"{scheduler} (pid " in message
    assert name in [each.name for each in await books.stored(server_url)]
    assert told(data_dir, *delete, "--yes") == {"deleted": name, "lake_left": None}
    assert name not in [each.name for each in await books.stored(server_url)]
    assert failed(run(data_dir, *delete, "--yes"))[0] == 4
    assert failed(run(data_dir, "books", "delete", "postgres", "--yes"))[0] == 2
    for none in ("template0", "template1", "Growth"):
        code, message = failed(run(data_dir, "books", "delete", none, "--yes"))
        assert (code, message.startswith(f"{none!r} is no book: a book's name begins")) == (2, True)


async def test_the_files_of_a_deleted_book_are_told(
    data_dir: Path, server_url: str, name: str, tmp_path: Path
) -> None:
    lake = str(tmp_path / "lake")
    assert run(data_dir, "migrate", "--book", name).exit_code == 0
    async with await Database.open(named(server_url, name)) as database:
        await make_lake(database, lake)
    called = run(data_dir, "books", "delete", name, "--yes")
    assert f"the files of its lake any more, {lake}: delete them yourself" in called.stdout
    assert list((tmp_path / "lake").iterdir()), "they stay"


async def test_python_opens_a_book_by_its_name(data_dir: Path, server_url: str, name: str) -> None:
    """Where an event loop runs, as in a notebook."""
    with pytest.raises(NotFoundError, match=f"there is no book '{name}'"):
        revalue.connect(book=name, data_dir=data_dir)
    with revalue.connect(book=name, data_dir=data_dir, migrate=True) as book:
        assert book.url == named(server_url, name)
        assert book.load("business_dates", dates(DAYS)).inserted == 20
    with revalue.connect(book=name, data_dir=data_dir) as book:
        assert book.load("business_dates", dates(DAYS)).unchanged == 20


async def test_several_commands_can_create_the_same_book(server_url: str, name: str) -> None:
    await asyncio.gather(*(books.create(server_url, name) for _ in range(4)))
    assert [each.name for each in await books.stored(server_url)].count(name) == 1
