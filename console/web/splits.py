"""Endpoints that preview and make a split: every holder has other quantities from its date on."""

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from revalue.console.web.auth import OperateCaller, TokenFirst
from revalue.console.web.inputs import Body, SecurityId
from revalue.console.web.made_once import KEY_PARAMETER, Reasoned, make_once
from revalue.console.web.parameters import IsoDate, Queries, require_text
from revalue.console.web.previews import ACCEPTED, UsePreviews, preview_of
from revalue.console.web.problems import responses
from revalue.console.web.schemas.corrections import SplitMade
from revalue.console.web.schemas.previews import PreviewSplit
from revalue.engine.correct.corrections.log import log_correction
from revalue.engine.correct.splits.splits import RATIO_PATTERN, SplitCorrection, split
from revalue.engine.postgres.database import Connections

router = APIRouter(route_class=TokenFirst, tags=["corrections"])


class Split(Body):
    """A split of a security."""

    security_id: SecurityId
    date: Annotated[IsoDate, Field(description="First date on which the new quantities are held.")]
    ratio: Annotated[
        str,
        Field(
            pattern=f"^{RATIO_PATTERN}$",
            description="New for old, as 4:1; of a reverse split for example 1:10.",
        ),
    ]
    again: bool = Field(
        False,
        strict=True,
        description="Make it though a split of the security was made already, for a date within "
        "30 days.",
    )
    all_records: bool = Field(
        False,
        strict=True,
        description="Make it though records seem to have the new quantities already: they are "
        "those before them times the ratio.",
    )

    async def apply(self, database: Connections) -> SplitCorrection:
        """Make the split."""
        return await split(
            database,
            require_text(self.security_id),
            self.date,
            self.ratio,
            again=self.again,
            all_records=self.all_records,
        )


class SplitBody(Split, Reasoned):
    """A split that is to be made, and the reason."""


@router.post(
    "/splits:preview",
    response_model=PreviewSplit,
    responses=ACCEPTED | responses(400, 403, 404, 409, 413, 422, 429, 503),
    summary="Preview a split",
)
async def preview_split(
    request: Request, body: Split, caller: OperateCaller, previews: UsePreviews
) -> Response:
    """What a split would do: the first quantities, and the changes of value.

    `price_warning` says what is strange about the prices around the date. Otherwise as
    `/corrections:preview`.
    """
    caller.require_unlimited()

    async def correct(database: Connections) -> dict[str, Any]:
        return _body(await body.apply(database))

    return await preview_of(request, previews, correct)


@router.post(
    "/splits",
    response_model=SplitMade,
    responses=responses(400, 403, 404, 409, 413, 422, 503),
    openapi_extra={"parameters": [KEY_PARAMETER]},
    summary="Make a split",
)
async def make_split(
    request: Request, body: SplitBody, answers: Queries, caller: OperateCaller
) -> Response:
    """Multiply the quantities that are held of a security from a date on; their cost stays.

    All position records from that date on are corrected, and a record on the date is added where
    one began before. Prices are not touched. It is recorded as a load: `/loads/{load_id}:revert`
    takes it back. 409 if a split of the security was made already for a date within 30 days, or if
    records seem to have the new quantities already. Done once for each `Idempotency-Key`, and
    signed, as `/corrections`. Refused for tokens that are limited to portfolios.
    """
    return await make_once(
        request,
        answers.database,
        caller,
        {"split": body.model_dump(), "why": body.why},
        body.apply,
        lambda made: {**_body(made), "trigger_ids": made.trigger_ids, "load_id": made.load_id},
        log_correction,
    )


def _body(made: SplitCorrection) -> dict[str, Any]:
    """Return the response to a split, made or rolled back."""
    return {
        "security_id": made.security,
        "date": made.date,
        "ratio": made.ratio,
        "holders": made.holders,
        "begin_later": made.begin_later,
        "records": made.records,
        "quantities": made.quantities,
        "positions": made.positions,
        "price_warning": made.price_warning,
        "warnings": made.warnings,
    }
