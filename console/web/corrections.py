"""Endpoints that preview corrections: what they would do. Nothing is written."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date
from decimal import Decimal
from io import BytesIO
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from revalue.console.web.auth import OperateCaller
from revalue.console.web.parameters import require_text
from revalue.console.web.problems import responses
from revalue.console.web.responses import CSV, PARQUET, json_response
from revalue.console.web.schemas import Preview, PreviewFile
from revalue.engine.correct import corrections
from revalue.engine.correct.parsing import Source, from_csv, from_parquet
from revalue.engine.postgres.database import Connections, Database
from revalue.engine.preview.preview import preview

router = APIRouter(tags=["corrections"])

PortfolioId = Annotated[str, Field(min_length=1, max_length=200, description="Portfolio id.")]
SecurityId = Annotated[str, Field(min_length=1, max_length=200, description="Security id.")]
Currency = Annotated[str, Field(pattern="^[A-Z]{3}$", description="ISO 4217 currency code.")]
DecimalText = Annotated[
    str,
    Field(
        pattern=r"^-?[0-9]{1,18}(\.[0-9]{1,18})?$",
        description="Decimal number as text, at most 18 digits before and after the point.",
    ),
]
Day = Annotated[date, Field(description="Date of the corrected record.")]
MAX_CORRECTIONS = 100


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PriceCorrection(_Body):
    """Replace the stored price of a security on a date."""

    kind: Literal["price"] = Field(description="Kind of the correction.")
    security_id: SecurityId
    date: Day
    price: DecimalText

    async def apply(self, database: Connections) -> corrections.Correction:
        """Make the correction."""
        return await corrections.price(
            database, require_text(self.security_id), self.date, Decimal(self.price)
        )


class RateCorrection(_Body):
    """Replace the stored FX rate of a date: units of quote currency per unit of base currency."""

    kind: Literal["rate"] = Field(description="Kind of the correction.")
    base_currency: Currency
    quote_currency: Currency
    date: Day
    rate: DecimalText

    async def apply(self, database: Connections) -> corrections.Correction:
        """Make the correction."""
        return await corrections.rate(
            database, self.base_currency, self.quote_currency, self.date, Decimal(self.rate)
        )


class PositionCorrection(_Body):
    """Replace or add the position record of a date; later records stay."""

    kind: Literal["position"] = Field(description="Kind of the correction.")
    portfolio_id: PortfolioId
    security_id: SecurityId
    date: Day
    quantity: DecimalText
    cost_basis_local: DecimalText
    cost_basis: DecimalText

    async def apply(self, database: Connections) -> corrections.Correction:
        """Make the correction."""
        names = (require_text(self.portfolio_id), require_text(self.security_id))
        amounts = (
            Decimal(each) for each in (self.quantity, self.cost_basis_local, self.cost_basis)
        )
        return await corrections.position(database, *names, self.date, *amounts)


AnyCorrection = Annotated[
    PriceCorrection | RateCorrection | PositionCorrection, Field(discriminator="kind")
]
Corrections = Annotated[list[AnyCorrection], Field(min_length=1, max_length=MAX_CORRECTIONS)]


class Previews:
    """The database connections of previews, and a lock that lets one preview run at a time.

    A preview holds the rows of its positions while it plans, so several would block each other.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.running = asyncio.Lock()


def _previews(request: Request) -> Previews:
    previews: Previews = request.app.state.previews
    return previews


UsePreviews = Annotated[Previews, Depends(_previews)]


@router.post(
    "/corrections:preview",
    response_model=Preview,
    responses=responses(400, 403, 404, 409, 413, 422, 429, 503),
    summary="Preview corrections",
)
async def preview_corrections(
    request: Request,
    body: AnyCorrection | Corrections,
    caller: OperateCaller,
    previews: UsePreviews,
) -> Response:
    """What one correction, or up to 100 corrections together, would do.

    The plan is the real one, made in a transaction that is rolled back: nothing is written. One
    preview runs at a time (else 429). It gives way to the engine and to other writers (503).
    Refused for tokens that are limited to portfolios.
    """
    caller.require_unlimited()
    wanted = body if isinstance(body, list) else [body]

    async def correct(database: Connections) -> list[dict[str, str]]:
        made = [await each.apply(database) for each in wanted]
        return [{"what": each.what, "old": each.old, "new": each.new} for each in made]

    return await _run_preview(request, previews, correct)


@router.post(
    "/corrections:preview-file",
    response_model=PreviewFile,
    responses=responses(403, 409, 413, 415, 422, 429, 503),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {k: {"schema": {"type": "string"}} for k in (CSV, PARQUET)},
        }
    },
    summary="Preview a file of corrections",
)
async def preview_file(request: Request, caller: OperateCaller, previews: UsePreviews) -> Response:
    """What a file of prices, fx_rates or positions would do, as `revalue correct file` takes it.

    The file is CSV or Parquet, by Content-Type. If a row is invalid, the response is 422 and names
    it. Otherwise as `/corrections:preview`.
    """
    caller.require_unlimited()
    given = await asyncio.to_thread(
        _read, request.headers.get("content-type", ""), await request.body()
    )

    async def correct(database: Connections) -> dict[str, Any]:
        made = vars(await corrections.file(database, given))
        # The triggers are rolled back, so their ids mean nothing to the client.
        return {name: value for name, value in made.items() if name != "trigger_ids"}

    return await _run_preview(request, previews, correct)


def _read(content_type: str, content: bytes) -> Source:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == CSV:
        return from_csv(content, "the body")
    if media_type == PARQUET:
        return from_parquet(BytesIO(content), "the body")
    raise HTTPException(
        415,
        f"a file of {CSV} or {PARQUET} is required, "
        f"not {media_type or 'a body without a Content-Type'}",
    )


async def _run_preview(
    request: Request, previews: Previews, correct: Callable[[Connections], Awaitable[Any]]
) -> Response:
    if previews.running.locked():
        raise HTTPException(429, "a preview is already running", {"Retry-After": "1"})
    async with previews.running:
        found = await preview(previews.database, correct, request.app.state.settings)
    return json_response(found.as_dict())
