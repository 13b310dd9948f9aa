"""Models of loads, and of loads that are taken back."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from revalue.console.web.schemas.fields import Model


class RevertCounts(Model):
    """A load that is taken back, with its rows by what becomes of them."""

    reverts: int = Field(description="The load.")
    kind: Literal["prices", "fx_rates", "positions"] = Field(description="What it had loaded.")
    source: str = Field(description="Where from.")
    rows: int = Field(description="Rows that it had added, replaced or removed.")
    deleted: int = Field(description="Those that it had added: they are deleted.")
    restored: int = Field(
        description="Those that it had replaced or removed: they are as they were before it."
    )
    kept: int = Field(description="Those that were changed since, and stay as they are.")
    positions: int = Field(description="Positions that are affected, at most.")


class Load(Model):
    """A load that was committed, and what became of its rows."""

    load_id: int = Field(description="Load id; a later load has a higher one.")
    loaded_at: datetime = Field(description="When it was written, by the clock of the database.")
    database_user: str = Field(description="User of the database.")
    client: str = Field(
        description="User and machine, as the process said; over HTTP the name of the token."
    )
    kind: str = Field(description="What was loaded.")
    source: str = Field(description="Name of the file as it was given, or what the data were.")
    rows: int = Field(description="Rows of the input.")
    inserted: int = Field(description="Rows that were added.")
    changed: int = Field(description="Rows that were replaced.")
    unchanged: int = Field(description="Rows that were stored as they are given.")
    removed: int = Field(description="Rows that were deleted.")
    closed: int = Field(description="Positions that were closed because a snapshot lacks them.")
    trigger_ids: list[int] = Field(description="Triggers that record what it has corrected.")
    reverts: int | None = Field(description="The load that it has taken back. Null: none.")
    is_revertible: bool = Field(description="Whether it can be taken back.")


class Loads(Model):
    """Loads."""

    items: list[Load] = Field(description="Loads, newest first.")
    next: int | None = Field(description="`before` of the next page; null: this is the last.")
