"""What corrections would do, asked over HTTP. Nothing is written."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date
from decimal import Decimal
from io import BytesIO
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from revalue.console.web.auth import Operating
from revalue.console.web.parameters import require_text
from revalue.console.web.problems import responses
from revalue.console.web.responses import CSV, PARQUET, bare
from revalue.console.web.schemas import Previewed, PreviewedFile
from revalue.engine.correct import corrections
from revalue.engine.correct.parsing import Source, from_csv, from_parquet
from revalue.engine.postgres.database import Connections, Database
from revalue.engine.preview.preview import preview

router = APIRouter(tags=["corrections"])

Text = Annotated[str, Field(min_length=1, max_length=200)]
Currency = Annotated[str, Field(pattern="^[A-Z]{3}$")]
Number = Annotated[
    str, Field(pattern=r"^-?[0-9]{1,18}(\.[0-9]{1,18})?$", description="a decimal number, as text")
]
MOST = 100


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PriceCorrection(_Body):
    """The price that the security has on the date should be this one."""

    kind: Literal["price"]
    security_id: Text
    date: date
    price: Number

    async def apply(self, database: Connections) -> corrections.Correction:
        """Makes it."""
        return await corrections.price(
            database, require_text(self.security_id), self.date, Decimal(self.price)
        )


class RateCorrection(_Body):
    """1 of the base currency should be this much of the quote currency on the date."""

    kind: Literal["rate"]
    base_currency: Currency
    quote_currency: Currency
    date: date
    rate: Number

    async def apply(self, database: Connections) -> corrections.Correction:
        """Makes it."""
        return await corrections.rate(
            database, self.base_currency, self.quote_currency, self.date, Decimal(self.rate)
        )


class PositionCorrection(_Body):
    """The fact of the date should be this one; later facts stay."""

    kind: Literal["position"]
    portfolio_id: Text
    security_id: Text
    date: date
    quantity: Number
    cost_basis_local: Number
    cost_basis: Number

    async def apply(self, database: Connections) -> corrections.Correction:
        """Makes it."""
        names = (require_text(self.portfolio_id), require_text(self.security_id))
        amounts = (
            Decimal(each) for each in (self.quantity, self.cost_basis_local, self.cost_basis)
        )
        return await corrections.position(database, *names, self.date, *amounts)


One = Annotated[PriceCorrection | RateCorrection | PositionCorrection, Field(discriminator="kind")]
Several = Annotated[list[One], Field(min_length=1, max_length=MOST)]


class Previews:
    """One preview at a time: it holds the rows of the positions while it plans."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.running = asyncio.Lock()


def _previews(request: Request) -> Previews:
    previews: Previews = request.app.state.previews
    return previews


Asked = Annotated[Previews, Depends(_previews)]


@router.post(
    "/corrections:preview",
    response_model=Previewed,
    responses=responses(400, 403, 404, 409, 413, 422, 429, 503),
)
async def preview_corrections(
    request: Request, body: One | Several, caller: Operating, previews: Asked
) -> Response:
    """What the corrections would do, together: the real plan, computed and not written. One at a time (else 429), and it
    gives way to the engine and to writers (503). Not for tokens that are limited to portfolios."""
    caller.whole()
    wanted = body if isinstance(body, list) else [body]

    async def correct(database: Connections) -> list[dict[str, str]]:
        made = [await each.apply(database) for each in wanted]
        return [{"what": each.what, "old": each.old, "new": each.new} for each in made]

    return await _told(request, previews, correct)


@router.post(
    "/corrections:preview-file",
    response_model=PreviewedFile,
    responses=responses(403, 409, 413, 415, 422, 429, 503),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {k: {"schema": {"type": "string"}} for k in (CSV, PARQUET)},
        }
    },
)
async def preview_file(request: Request, caller: Operating, previews: Asked) -> Response:
    """The same of a whole file of prices, fx_rates or positions, as `revalue correct file` takes it: CSV or Parquet, by
    Content-Type. All of its rows or none: 422 names the rows at fault."""
    caller.whole()
    given = await asyncio.to_thread(
        _read, request.headers.get("content-type", ""), await request.body()
    )

    async def correct(database: Connections) -> dict[str, Any]:
        made = vars(await corrections.file(database, given))
        return {
            name: value for name, value in made.items() if name != "trigger_ids"
        }  # they are rolled back

    return await _told(request, previews, correct)


def _read(content_type: str, content: bytes) -> Source:
    kind = content_type.partition(";")[0].strip().lower()
    if kind == CSV:
        return from_csv(content, "the body")
    if kind == PARQUET:
        return from_parquet(BytesIO(content), "the body")
    raise HTTPException(
        415, f"a file is {CSV} or {PARQUET}, not {kind or 'without a Content-Type'}"
    )


async def _told(
    request: Request, previews: Previews, correct: Callable[[Connections], Awaitable[Any]]
) -> Response:
    if previews.running.locked():
        raise HTTPException(429, "another preview is being computed", {"Retry-After": "1"})
    async with previews.running:
        told = await preview(previews.database, correct, request.app.state.settings)
    return bare(told.as_dict())
