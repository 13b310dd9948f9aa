"""The embedded server: where it is refused, and the disk that its log has taken."""

from pathlib import Path

import pytest

from revalue.engine.errors import UsageError
from revalue.engine.postgres import embedded
from revalue.engine.postgres.database import Database
from revalue.engine.settings import Settings
from tests.support import fetch

LIMIT = (
    "SELECT setting::int, sourcefile LIKE '%auto.conf' FROM pg_settings WHERE name = 'max_wal_size'"
)
LOG = "SELECT sum(size)::bigint >> 20 FROM pg_ls_waldir()"


async def test_a_long_log_is_released_and_its_limit_is_what_it_was(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = 128
    monkeypatch.setattr(embedded, "_KEPT_LOG_MEGABYTES", kept)
    await fetch(
        database,
        """SELECT pg_logical_emit_message(false, 'test', repeat('x', 1000000))
           FROM generate_series(1, 300)""",
    )
    [(before,)] = await fetch(database, LOG)
    assert before > 200
    limit = await fetch(database, LIMIT)
    await embedded.release_log(database)
    [(after,)] = await fetch(database, LOG)
    assert after <= kept + 16  # the file that is being written is not counted
    assert await fetch(database, LIMIT) == limit
    await embedded.release_log(database)
    assert await fetch(database, LOG) == [(after,)]


@pytest.mark.parametrize("door", ["setting", "variable of a job"])
def test_a_cluster_never_works_on_the_embedded_server_of_a_node(
    door: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job on a cluster valued the head's own database, and succeeded."""
    settings = {"data_dir": tmp_path, "database_url": None}
    if door == "setting":
        settings["ray_address"] = "head:6379"
    else:
        monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    with pytest.raises(UsageError, match=r"head:6379.*REVALUE_DATABASE_URL.*--runtime-env-json"):
        embedded.address(Settings.model_validate(settings))
    assert not list(tmp_path.iterdir())
    url = "postgresql://somewhere/book"
    assert embedded.address(Settings.model_validate({**settings, "database_url": url})) == url
