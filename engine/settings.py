"""What can be configured, in one place: read once at the edge (command line, driver) and handed on as a value."""

from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Every field can be set by an environment variable REVALUE_<FIELD>."""

    model_config = SettingsConfigDict(env_prefix="REVALUE_", frozen=True, extra="forbid")

    database_url: str | None = Field(
        None, description="postgresql:// address; without it the embedded server is used"
    )
    data_dir: Path = Field(
        Path(platformdirs.user_data_dir("revalue")), description="where the embedded server lives"
    )
    ray_address: str | None = Field(
        None, description="address of a Ray cluster; without it a local Ray is started"
    )
    actors: int | None = Field(
        None, ge=1, description="valuation actors; without it one a CPU of the cluster"
    )
    task_rows: int = Field(50_000, ge=1, description="position-days a task aims at")
    tasks_per_actor: int = Field(
        2, ge=1, description="tasks in flight an actor: one computing, the next one queued"
    )
    task_starts_per_second: float = Field(
        50, gt=0, description="tasks started a second at most (staggered starts)"
    )
    task_deadline_seconds: float = Field(
        600, gt=0, description="after this a task's actor is held to be lost"
    )
    live_business_days: int = Field(
        5,
        ge=1,
        description="a position at most this many business days behind goes in the live lane",
    )
    max_attempts: int = Field(
        3, ge=1, description="attempts before a job that fails unexpectedly is a dead letter"
    )
    retry_seconds: float = Field(
        2, gt=0, description="mean wait before the second attempt; doubled each time after"
    )
    recheck_seconds: float = Field(
        900, gt=0, description="mean wait before a job waiting for data is looked at again"
    )
    poll_seconds: float = Field(
        5, gt=0, description="how often the scheduler looks without having been woken"
    )
    lease_seconds: float = Field(
        10, gt=0, description="a scheduler silent for longer is held to be gone"
    )
    preview_seconds: float = Field(
        30, gt=0, description="how long a preview may hold the positions it plans for"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "WARNING", description="least level that is logged (JSON)"
    )
    metrics_port: int | None = Field(
        None, ge=0, le=65535, description="port of the scheduler's Prometheus metrics"
    )
