"""The files of migrations/objects are the definitions that a migrated database has."""

import re
from collections.abc import AsyncIterator
from decimal import ROUND_HALF_EVEN, Context, Decimal
from pathlib import Path

import asyncpg
import pytest

from revalue.engine.postgres import schema
from revalue.migrations import objects
from tests.conftest import new_database

DEFINITIONS = """
    SELECT 'function ' || proname AS object, pg_get_functiondef(oid) AS definition,
           proacl::text AS grants
    FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'view ' || relname, pg_get_viewdef(oid), relacl::text
    FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'v'
    UNION ALL
    SELECT 'trigger ' || t.tgname, pg_get_triggerdef(t.oid), t.tgenabled::text
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE c.relnamespace = 'public'::regnamespace AND NOT t.tgisinternal
"""
"""Every view, function and database trigger of the schema, with its definition and its grants."""

CREATED = re.compile(r"^CREATE (?:OR REPLACE )?(?:CONSTRAINT )?(FUNCTION|VIEW|TRIGGER) (\w+)", re.M)


async def definitions(url: str) -> dict[str, tuple[str, str | None]]:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(DEFINITIONS)
    finally:
        await connection.close()
    found = {row["object"]: (row["definition"], row["grants"]) for row in rows}
    assert len(found) == len(rows) > 40
    return found


@pytest.fixture
async def older(server_url: str) -> AsyncIterator[str]:
    """A database that was never at a later revision than 0007."""
    async with new_database(server_url, None) as url:
        await schema.migrate(url, "0007")
        yield url


async def test_every_object_has_one_file_and_every_file_is_in_the_database(url: str) -> None:
    created: list[str] = []
    for name in objects.names():
        kind, _, stem = name.partition("/")
        text = (objects.FOLDER / f"{name}.sql").read_text()
        here = [f"{what.lower()} {which}" for what, which in CREATED.findall(text)]
        if kind == "triggers":
            assert set(re.findall(r" ON (\w+)", text)) == {stem}
            assert all(each.startswith("trigger ") for each in here)
        else:
            assert here == [f"{kind.removesuffix('s')} {stem}"]
        created += here
    assert sorted(created) == sorted(await definitions(url))
    present = {
        path for path in objects.FOLDER.rglob("*.sql") if not path.parts[-3].startswith("until_")
    }
    assert present == {objects.FOLDER / f"{name}.sql" for name in objects.names()}


def test_every_file_opens_with_a_comment_and_has_short_lines() -> None:
    for path in objects.FOLDER.rglob("*.sql"):
        lines = path.read_text().splitlines()
        assert lines[0].startswith("-- "), path
        assert max(map(len, lines)) <= 100, path


async def test_to_apply_every_file_again_changes_nothing(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await definitions(url)
    applied: list[str] = []

    class Operations:
        """Stands in for Alembic's `op`: collects the statements, which run below."""

        def get_bind(self) -> "Operations":
            return self

        def exec_driver_sql(self, statement: str) -> None:
            applied.append(statement)

    monkeypatch.setattr(objects, "op", Operations())
    objects.apply(schema.head(), *objects.names())
    connection = await asyncpg.connect(url)
    for statement in applied:
        await connection.execute(statement)
    await connection.close()
    assert len(applied) == len(objects.names())
    assert await definitions(url) == before


async def test_downgrade_gives_the_objects_of_the_older_revision(url: str, older: str) -> None:
    expected = await definitions(older)
    assert await schema.migrate(url, "0007") == "0007"
    assert await definitions(url) == expected


READS = {
    "publications_at",
    "positions_at",
    "snapshots_at",
    "business_dates_at",
    "reprocessing_since",
}
"""The functions that 0008 has in place of keys_at."""


async def test_0008_changes_only_layout_and_messages_and_names(older: str) -> None:
    """Compare the grants and the tokens of every definition, without comments and messages."""
    renamed = {"queued_keys": "queued_positions", "keys": "positions"}

    def tokens(definition: str) -> list[str]:
        code = re.sub(r"--[^\n]*", "", definition).replace("''", "")
        code = re.sub(r"(EXCEPTION|HINT =)(\s*'[^']*')+", r"\1", code)
        return [renamed.get(token, token) for token in re.findall(r"\w+|'[^']*'|[^\w\s]", code)]

    async def present() -> dict[str, tuple[list[str], str | None]]:
        return {
            " ".join(renamed.get(word, word) for word in name.split()): (tokens(code), grants)
            for name, (code, grants) in (await definitions(older)).items()
        }

    before = await present()
    await schema.migrate(older, "0008")
    after = await present()
    # One list of readable tables for both roles: the next test compares what it grants.
    list_of_tables = before.pop("function grant_revalue_roles")
    assert after.pop("function grant_revalue_roles")[1] == list_of_tables[1]
    # What readers see now and saw in the past is one set of functions.
    before.pop("function keys_at")
    assert {after.pop(f"function {name}")[1] for name in READS} == {None}
    for changed in ("view position_status", "view dated_snapshots"):
        assert before.pop(changed)[1] == after.pop(changed)[1]
    assert after == before


async def test_0008_grants_what_0007_grants(older: str) -> None:
    """Take every grant away, give them anew, and compare: of tables, views and sequences."""

    async def granted_anew() -> dict[str, str | None]:
        connection = await asyncpg.connect(older)
        await connection.execute(
            """REVOKE ALL ON ALL TABLES IN SCHEMA public FROM revalue_reader, revalue_engine;
               REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM revalue_reader, revalue_engine;
               SELECT grant_revalue_roles()"""
        )
        rows = await connection.fetch(
            """SELECT replace(relname, 'queued_keys', 'queued_positions') AS name, relacl::text
               FROM pg_class
               WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'S')
                 AND relname <> 'portfolios_portfolio_no_seq'"""
        )
        await connection.close()
        return dict(sorted(map(tuple, rows)))

    before = await granted_anew()
    assert "revalue_engine=" in str(before["position_state"])
    await schema.migrate(older, "0008")
    assert await granted_anew() == before


def test_a_migration_gets_the_definitions_of_its_own_revision(tmp_path: Path) -> None:
    """A view changed by 0010 and 0012, and a function that 0012 removed."""
    for file, text in {
        "views/v.sql": "present",
        "until_0009/views/v.sql": "as of 0009",
        "until_0011/views/v.sql": "as of 0011",
        "until_0011/functions/removed.sql": "function",
    }.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    given = {
        revision: objects.definition("views/v", revision, tmp_path)
        for revision in ("0008", "0009", "0010", "0012")
    }
    assert given == {
        "0008": "as of 0009",
        "0009": "as of 0009",
        "0010": "as of 0011",
        "0012": "present",
    }
    assert objects.definition("functions/removed", "0008", tmp_path) == "function"
    with pytest.raises(FileNotFoundError):
        objects.definition("functions/removed", "0012", tmp_path)


async def test_rounding_is_half_even_and_the_planner_inlines_it(
    connection: asyncpg.Connection,
) -> None:
    numbers = [
        Decimal(tens).scaleb(-at) for tens in range(-41, 42) for at in (0, 1, 2, 10, 11, 12, 28)
    ]
    # A market value of 18 digits at a rate of 18 places, a tie and its two neighbours.
    numbers += [Decimal(f"123456789012345678.1234567890{rest}") for rest in ("49", "5", "51")]
    numbers += [Decimal(f"123456789012345678.1234567891{rest}") for rest in ("49", "5", "51")]
    rounded = await connection.fetch(
        "SELECT round_half_even(x, 10) FROM unnest($1::numeric[]) x", numbers
    )
    exact = Context(prec=100, rounding=ROUND_HALF_EVEN)
    assert [row[0] for row in rounded] == [
        number.quantize(Decimal("1e-10"), context=exact) for number in numbers
    ]
    assert {row[0].as_tuple().exponent for row in rounded} == {-10}
    assert await connection.fetchval("SELECT round_half_even(NULL, 10)") is None
    plan = await connection.fetch("EXPLAIN VERBOSE SELECT price_effect FROM position_valuations")
    assert "round_half_even" not in "\n".join(row[0] for row in plan)
