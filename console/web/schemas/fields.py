"""The base of all models, and types of fields that several topics have."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Day = date


@dataclass(frozen=True)
class DecimalPlaces:
    """The decimal places of a number that is text in JSON and a decimal in Arrow and Parquet."""

    places: int


_EXACT = Field(
    pattern=r"^-?[0-9]+(\.[0-9]+)?$", description="Exact decimal, with its decimal places."
)
Amount = Annotated[str, _EXACT, DecimalPlaces(10)]
Rate = Annotated[str, _EXACT, DecimalPlaces(18)]
ReprocessingStatus = Annotated[
    Literal["CURRENT", "IN_PROGRESS"],
    Field(
        description="IN_PROGRESS while a correction is in progress; the previous version is shown."
    ),
]
State = Literal["CURRENT", "BEHIND", "REPROCESSING", "WAITING_FOR_DATA", "FAILED"]
LineStatus = Annotated[
    Literal["VALUED_CURRENT", "VALUED_STALE", "WAITING_FOR_DATA", "FAILED", "NOT_VALUED"],
    Field(
        description="VALUED_STALE: with an older price or rate. The last three statuses: no value."
    ),
]
Cause = Literal["PRICE", "FX", "INSTRUMENT", "CALENDAR", "POLICY", "POSITION"]
PortfolioId = Annotated[str, Field(description="Portfolio id.")]
SecurityId = Annotated[str, Field(description="Security id.")]
BaseCurrency = Annotated[str, Field(description="Currency in which the portfolio reports.")]
Epoch = Annotated[int, Field(description="Version number of the position's history.")]
PublishedEpoch = Annotated[int, Field(description="The epoch that readers see.")]
Watermark = Annotated[
    Day | None,
    Field(description="Date up to which nothing of the position is due; null: nothing is valued."),
]
Horizon = Annotated[
    Day | None,
    Field(
        description="Last business day that is opened, so that it is valued; null: there is none."
    ),
]
FailureReason = Annotated[str | None, Field(description="Why it waits or failed.")]
FirstHole = Annotated[
    Day | None,
    Field(
        description="First date without a value for want of data; null: there is none, or with "
        "`known_at`."
    ),
]
LastHole = Annotated[
    Day | None,
    Field(description="Last date without a value for want of data; later dates are valued."),
]
ReprocessingSince = Annotated[
    datetime | None,
    Field(description="When the first correction that is not shown yet was committed."),
]
CorrectedBy = Annotated[
    str | None,
    Field(
        description="Who has made the correction: the name of a token, a user and a machine, or a "
        "user of the database; null: not known."
    ),
]
CorrectedWhy = Annotated[
    str | None, Field(description="The reason of the correction; null: none was given.")
]

Warnings = Annotated[
    list[str],
    Field(
        description="What is strange and was accepted: a date in the future, or a price or rate "
        "far from the one before it."
    ),
]


class Model(BaseModel):
    """The base of all models: a field that it does not have is an error."""

    model_config = ConfigDict(extra="forbid")
