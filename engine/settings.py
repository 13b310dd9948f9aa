"""All settings, in one place.

They are read once, by the command line or the caller, and passed on as a value.
"""

import os
import re
from pathlib import Path
from typing import Any, Literal, TypedDict

import platformdirs
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from revalue.engine.errors import UsageError

FIRST_BOOK = "postgres"
"""The book without a name: the database that each server has from its beginning."""

_BOOK = re.compile(r"[a-z][a-z0-9_-]{0,50}")
_NOT_BOOKS = ("template0", "template1")  # what PostgreSQL makes new databases of

BOOK_NAMES = (
    "a book's name begins with a letter from a to z, has only these, digits, _ and -, 51 "
    "characters at most, and is neither template0 nor template1"
)


def is_book_name(text: str) -> bool:
    """Return whether a book may have this name (BOOK_NAMES)."""
    return _BOOK.fullmatch(text) is not None and text not in _NOT_BOOKS


class Settings(BaseSettings):
    """Each field can be set by an environment variable REVALUE_<FIELD>."""

    model_config = SettingsConfigDict(env_prefix="REVALUE_", frozen=True, extra="forbid")

    database_url: str | None = Field(
        None, description="postgresql:// address; without it the embedded server is used"
    )
    data_dir: Path = Field(
        Path(platformdirs.user_data_dir("revalue")), description="folder of the embedded server"
    )
    book: str | None = Field(
        None,
        description="name of a book: a database of the embedded server, which `revalue migrate` "
        f"creates; without it the server's first one, `{FIRST_BOOK}`",
    )
    lake: str | None = Field(
        None,
        description="folder, or s3://bucket/prefix, in which large results are written as Parquet "
        "files; without it all results go into PostgreSQL",
    )
    lake_task_rows: int = Field(
        10_000,
        ge=1,
        description="with a lake: results of so many position-days, or more, of one task are a "
        "file; fewer go into PostgreSQL",
    )
    lake_maintenance_seconds: float = Field(
        600,
        ge=0,
        description="with a lake: a scheduler that had nothing to do for so long after it has "
        "worked does what `revalue lake maintain` does; 0: never",
    )
    ray_address: str | None = Field(
        None, description="address of a Ray cluster; without it a local Ray is started"
    )
    runtime: Literal["auto", "ray", "local"] = Field(
        "auto",
        description="what runs a valuation: `ray`, `local` (in the process itself, without Ray), "
        "or `auto`: local if less than about 200,000 position-days are due",
    )
    actors: int | None = Field(
        None,
        ge=1,
        description="number of valuation actors; without it one per CPU of the cluster. Without "
        "Ray 2 at most",
    )
    task_rows: int = Field(50_000, ge=1, description="target position-days per task")
    tasks_per_actor: int = Field(
        2, ge=1, description="tasks in flight per actor: one computing, the next one queued"
    )
    task_starts_per_second: float = Field(
        50, gt=0, description="largest number of tasks started per second (staggered starts)"
    )
    task_deadline_seconds: float = Field(
        600, gt=0, description="after this time the actor of a task is considered lost"
    )
    live_business_days: int = Field(
        5,
        ge=1,
        description="a position at most this many business days behind goes into the live lane",
    )
    max_attempts: int = Field(
        3, ge=1, description="attempts before a job that fails unexpectedly becomes a dead letter"
    )
    retry_seconds: float = Field(
        2, gt=0, description="mean wait before the second attempt; doubled for each further attempt"
    )
    poll_seconds: float = Field(
        5,
        gt=0,
        description="how often the scheduler looks for work without a notification; twelve times "
        "as seldom, but every 60 s, while it listens for notifications and is idle",
    )
    lease_seconds: float = Field(
        10, gt=0, description="a scheduler without a heartbeat for longer is considered dead"
    )
    outage_seconds: float = Field(
        3600,
        gt=0,
        description="a scheduler ends (exit code 75) when for so long it, or every attempt of its "
        "actors, could not work with the database",
    )
    step_seconds: float = Field(
        1800,
        gt=0,
        description="after this time without its end a step of the scheduler considers its "
        "connection to the database lost",
    )
    lock_seconds: float = Field(
        10,
        gt=0,
        description="longest time that a step of the scheduler waits for rows that another "
        "session has locked",
    )
    preview_seconds: float = Field(
        30, gt=0, description="longest time that a preview may lock what it corrects"
    )
    keep_days: int | None = Field(
        None,
        ge=0,
        description="how many days of what readers were shown `revalue prune` keeps; without it "
        "that has to be given to it, and nothing is deleted by itself",
    )
    http_connections: int = Field(
        1000, ge=1, description="largest number of open connections of `revalue serve`"
    )
    http_idle_seconds: float = Field(
        10,
        gt=0,
        description="after this time without a whole request head, without a part of a body or "
        "without reading, a client of `revalue serve` is disconnected",
    )
    http_queue_seconds: float = Field(
        10, gt=0, description="longest time that a request to `revalue serve` waits for its turn"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "WARNING", description="lowest level that is logged (JSON)"
    )
    metrics_port: int | None = Field(
        None, ge=0, le=65535, description="port of the scheduler's Prometheus metrics"
    )
    metrics_host: str = Field(
        "127.0.0.1",
        description="address on which the scheduler serves them; `0.0.0.0` lets every machine that "
        "reaches the port read them",
    )

    @field_validator("book")
    @classmethod
    def _is_a_name(cls, book: str | None) -> str | None:
        if book is not None and not is_book_name(book):
            raise ValueError(BOOK_NAMES)
        return book


class GivenSettings(TypedDict, total=False):
    """The fields of Settings as arguments, for editors and type checkers: all may be left out.

    `database_url` and `book` are arguments of their own where these are taken.
    """

    data_dir: Path
    lake: str | None
    lake_task_rows: int
    lake_maintenance_seconds: float
    ray_address: str | None
    runtime: Literal["auto", "ray", "local"]
    actors: int | None
    task_rows: int
    tasks_per_actor: int
    task_starts_per_second: float
    task_deadline_seconds: float
    live_business_days: int
    max_attempts: int
    retry_seconds: float
    poll_seconds: float
    lease_seconds: float
    outage_seconds: float
    step_seconds: float
    lock_seconds: float
    preview_seconds: float
    keep_days: int | None
    http_connections: int
    http_idle_seconds: float
    http_queue_seconds: float
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"]
    metrics_port: int | None
    metrics_host: str


def settings_of(**given: Any) -> Settings:
    """Return the settings: what is given, and the REVALUE_ variables.

    Raises:
        UsageError: a setting has an impossible value, or does not exist; or both a book and the
            address of a database are set.
    """
    try:
        settings = Settings(**given)
    except ValidationError as error:
        wrong = (
            f"REVALUE_{str(each['loc'][0]).upper()}={each['input']}: "
            f"{each['msg'].removeprefix('Value error, ')}"
            for each in error.errors()
        )
        raise UsageError("; ".join(wrong)) from None
    if settings.book is not None and settings.database_url is not None:
        raise UsageError(
            f"a book ({settings.book}) and the address of a database are set, and a book is a "
            "database of the embedded server: leave out --book (REVALUE_BOOK), as the address "
            "names its database itself; or leave out --database-url (REVALUE_DATABASE_URL)"
        )
    return settings


def ray_cluster(settings: Settings) -> str | None:
    """Return the address of the Ray cluster; None: a local Ray is started.

    RAY_ADDRESS is Ray's own variable, which a job on a cluster has without doing anything for it.
    """
    return settings.ray_address or os.environ.get("RAY_ADDRESS")
