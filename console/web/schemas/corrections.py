"""Models of corrections that were made."""

from datetime import datetime

from pydantic import Field

from revalue.console.web.schemas.fields import Model


class MadeCorrection(Model):
    """A correction that was made."""

    what: str = Field(description="What was corrected.")
    old: str | None = Field(
        description="The value before; of a position the record in force. Null: there was none."
    )
    new: str | None = Field(description="The value now. Null: it is deleted.")


class CorrectionsMade(Model):
    """Corrections that were made together."""

    corrected_at: datetime = Field(description="When, by the clock of the database.")
    corrected_by: str = Field(description="Name of the token.")
    why: str = Field(description="The reason.")
    corrections: list[MadeCorrection] = Field(description="In the order of the request.")
    trigger_ids: list[int] = Field(
        description="Triggers that record them; empty: no value can have changed."
    )
    positions: int = Field(description="Positions that they affect, at most; each counts once.")
