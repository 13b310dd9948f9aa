"""Models of business days that are opened."""

from pydantic import Field

from revalue.console.web.parameters import IsoDate
from revalue.console.web.schemas.fields import Day, Model
from revalue.engine.correct.inputs.parsing import MAX_ID_CHARACTERS


class OpenDays(Model):
    """Business days to open."""

    date: IsoDate = Field(description="Day to open through.")
    calendar_id: str | None = Field(
        default=None,
        max_length=MAX_ID_CHARACTERS,
        description="Calendar, of which the day is a business day; null: all calendars, each "
        "through its last business day at or before the day.",
    )
    back: bool = Field(
        default=False,
        description="Also move calendars back that are opened through a later day. The values of "
        "the days after it are withdrawn.",
    )


class OpenedCalendar(Model):
    """What opening has done to a calendar."""

    calendar_id: str = Field(description="Calendar.")
    opened_before: Day | None = Field(description="Through which day it was opened before.")
    opened_through: Day | None = Field(description="Through which day it is opened now.")
    business_days: int = Field(
        description="Number of business days that were opened; negative: that were closed again."
    )


class OpenedCalendars(Model):
    """What opening has done."""

    items: list[OpenedCalendar] = Field(description="One entry per calendar, by calendar_id.")
