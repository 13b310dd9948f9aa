"""SQL stands in the .sql files of the engine's rooms; Python only names the statements."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SQL = re.compile(
    r"\s*(SELECT|WITH|INSERT\s+INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|TRUNCATE|CREATE|ALTER|DROP"
    r"|GRANT|REVOKE|COPY|VALUES|LOCK|CALL|DO|SET|RESET|SHOW|NOTIFY|LISTEN|UNLISTEN|ANALYZE|VACUUM|BEGIN"
    r"|COMMIT|ROLLBACK|SAVEPOINT)\s+[\w$(\"*']"
)
"""How a statement begins: keywords are written in capitals here, so prose is not meant."""

SESSION_CONTROL = re.compile(
    r"\s*(SET |RESET |NOTIFY |LISTEN |ANALYZE |CREATE TEMP TABLE |DROP TABLE )"
)
"""What Python of the engine may tell its own database session. It drops temporary tables only."""


def modules(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def docstrings(tree: ast.AST) -> set[int]:
    """The ids of the constants that are docstrings, of attributes too."""
    return {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def sql_texts(path: Path) -> Iterator[tuple[int, str]]:
    """Every string of a module that begins as a statement does, with its line."""
    tree = ast.parse(path.read_text())
    skipped = docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values[1:]}
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in skipped and SQL.match(text):
                yield node.lineno, text


@pytest.mark.parametrize("folder", ["actors", "console"])
def test_outside_of_the_engine_python_has_no_sql(folder: str) -> None:
    found = [(path.name, *each) for path in modules(folder) for each in sql_texts(path)]
    assert found == []


def test_inside_of_the_engine_python_has_session_control_only() -> None:
    found = [
        (str(path.relative_to(ROOT)), line, text)
        for path in modules("engine")
        for line, text in sql_texts(path)
        if not SESSION_CONTROL.match(text)
    ]
    assert found == []


def rooms() -> list[Path]:
    return sorted({path.parent for path in (ROOT / "engine").rglob("*.sql")})


def named(room: Path) -> tuple[set[str], list[re.Pattern[str]]]:
    """The statements that a room names: as text, or as a pattern where part of it is computed."""
    names: set[str] = set()
    patterns: list[re.Pattern[str]] = []
    for path in sorted(room.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Constant(value=str(text)):
                    names.add(text)
                case ast.Call(func=ast.Name(id="sql"), args=[ast.JoinedStr(values=parts)]):
                    regex = "".join(
                        re.escape(str(part.value)) if isinstance(part, ast.Constant) else r"\w+"
                        for part in parts
                    )
                    patterns.append(re.compile(regex))
    return names, patterns


def asked(path: Path) -> Iterator[str]:
    """The names that a module gives to sql(...)."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(func=ast.Name(id="sql"), args=[ast.Constant(value=str(name))]):
                yield name


@pytest.mark.parametrize("room", rooms(), ids=lambda room: room.name)
def test_every_statement_of_a_room_is_used_by_it_and_every_name_exists(room: Path) -> None:
    files = {path.stem for path in room.glob("*.sql")}
    names, patterns = named(room)
    unused = {
        file for file in files - names if not any(pattern.fullmatch(file) for pattern in patterns)
    }
    assert unused == set()
    missing = {name for path in room.glob("*.py") for name in asked(path)} - files
    assert missing == set()


def test_no_room_uses_the_statements_of_another() -> None:
    found = [
        str(path.relative_to(ROOT))
        for path in modules("engine", "actors", "console")
        if re.search(r"statements\((?!__package__\)|package)", path.read_text())
    ]
    assert found == []


def test_sql_stands_in_the_engine_and_in_migrations_only() -> None:
    """benchmarks/ compares with other SQL as text in Python: that is its subject."""
    files = [path.relative_to(ROOT) for path in ROOT.rglob("*.sql") if not path.is_symlink()]
    of_project = [file for file in files if not any(part.startswith(".") for part in file.parts)]
    made = {"build"}  # by make, and by tests: what they download has SQL of its own
    assert {file.parts[0] for file in of_project} - made <= {"engine", "migrations", "revalue"}


@pytest.mark.parametrize("room", rooms(), ids=lambda room: room.name)
def test_every_statement_opens_with_a_comment_and_has_short_lines(room: Path) -> None:
    for path in sorted(room.glob("*.sql")):
        lines = path.read_text().splitlines()
        assert lines[0].startswith("-- "), path.name
        assert max(map(len, lines)) <= 100, path.name
