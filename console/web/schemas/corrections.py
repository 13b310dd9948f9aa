"""Models of corrections, splits and reverts that were made."""

from datetime import datetime

from pydantic import Field

from revalue.console.web.schemas.fields import Model, Warnings
from revalue.console.web.schemas.loads import RevertCounts
from revalue.console.web.schemas.splits import SplitCounts


class MadeCorrection(Model):
    """A correction that was made."""

    what: str = Field(description="What was corrected.")
    old: str | None = Field(
        description="The value before; of a position the record in force. Null: there was none."
    )
    new: str | None = Field(description="The value now. Null: it is deleted.")
    warnings: Warnings


class _Made(Model):
    corrected_at: datetime = Field(description="When, by the clock of the database.")
    corrected_by: str = Field(description="Name of the token.")
    why: str = Field(description="The reason.")


class CorrectionsMade(_Made):
    """Corrections that were made together."""

    corrections: list[MadeCorrection] = Field(description="In the order of the request.")
    trigger_ids: list[int] = Field(
        description="Triggers that record them; empty: no value can have changed."
    )
    positions: int = Field(description="Positions that they affect, at most; each counts once.")


class _Recorded(_Made):
    trigger_ids: list[int] = Field(
        description="Triggers that record it; empty: no value can have changed."
    )
    load_id: int = Field(description="The load as which it is recorded: it can be taken back.")


class SplitMade(_Recorded, SplitCounts):
    """A split that was made."""


class RevertMade(_Recorded, RevertCounts):
    """A load that was taken back."""
