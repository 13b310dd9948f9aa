"""Endpoints of reports: the open positions of all portfolios on a date or range, and their totals.

A report is written into a temporary file before the response begins: so an error is a response of
its own, and a client that reads slowly holds no session of the database.
"""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, aclosing, contextmanager
from dataclasses import dataclass
from typing import IO, Annotated, Literal, TypeAlias

import polars as pl
from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from revalue.console.web.auth import ReadCaller
from revalue.console.web.parameters import (
    IsoDate,
    KnownAt,
    named_portfolios,
    require_order,
    require_text,
)
from revalue.console.web.problems import responses
from revalue.console.web.responses import (
    ARROW,
    CSV,
    JSON,
    PARQUET,
    is_known,
    media_type_of,
    response_headers,
)
from revalue.console.web.schemas.reports import PositionReport, TotalReport
from revalue.console.web.turns import give_turn
from revalue.engine.correct.inputs.parsing import MAX_ID_CHARACTERS
from revalue.engine.errors import UsageError
from revalue.engine.postgres.database import Database
from revalue.engine.read import report
from revalue.engine.read.files import Columns, arrow_stream_writer, csv_writer, parquet_writer
from revalue.engine.read.report import By, Wanted

router = APIRouter(
    prefix="/reports",
    tags=["reports"],
    responses=responses(403, 404, 406, 410, 422, 503, rows=True),
)

MAX_ROWS = 2_000_000
"""Of one report: about 400 MB as CSV, on the disk of the server."""

REPORT_SECONDS = 120.0
"""So long may a report use its session of the database."""

_CHUNK_BYTES = 262_144

_Id = Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARACTERS)]
_Writer: TypeAlias = Callable[
    [IO[bytes], Columns], AbstractContextManager[Callable[[pl.DataFrame], None]]
]
_Frames: TypeAlias = AsyncGenerator[pl.DataFrame, None]


def _wanted(
    caller: ReadCaller,
    day: Annotated[
        IsoDate | None,
        Query(
            alias="date",
            description="Of each portfolio the last opened business day at or before this date. "
            "Default: the last one that is opened.",
        ),
    ] = None,
    first: Annotated[
        IsoDate | None,
        Query(alias="from", description="Every opened day from this one on."),
    ] = None,
    last: Annotated[
        IsoDate | None, Query(alias="to", description="Every opened day up to this one.")
    ] = None,
    portfolio: Annotated[
        list[_Id] | None, Query(description="Only this portfolio; may be repeated.")
    ] = None,
    security: Annotated[
        list[_Id] | None, Query(description="Only this security; may be repeated.")
    ] = None,
    known_at: KnownAt = None,
) -> Wanted:
    """Return what a request asks for; of a caller that is limited, its own portfolios."""
    if day is not None and (first is not None or last is not None):
        raise UsageError("give date, or from and to: not both")
    if first is None and last is not None:
        raise UsageError("to needs from: a range has a first date")
    if first is not None and last is not None:
        require_order(first, last)
    return Wanted(
        last_date=day or last,
        first_date=first,
        portfolios=named_portfolios(caller, portfolio),
        securities=tuple(require_text(each) for each in security) if security else None,
        known_at=known_at,
        hides_unknown=caller.portfolios is not None,
    )


_Wanted = Annotated[Wanted, Depends(_wanted)]


def _database(request: Request) -> Database:
    database: Database = request.app.state.for_reports
    return database


_Reports = Annotated[Database, Depends(_database)]


@router.get(
    "/positions", response_model=PositionReport, summary="Report the open positions of a date"
)
async def report_positions(request: Request, wanted: _Wanted, database: _Reports) -> Response:
    """A row per open position of all portfolios (or those named) and business day, sorted by day,
    portfolio_id and security_id, all of one moment. A position without a value is a row, too.

    At most two million rows; there are no pages.
    """
    frames = report.positions(database, wanted)
    return await _response(request, "positions", report.REPORT_COLUMNS, frames)


@router.get("/totals", response_model=TotalReport, summary="Report the totals of a date")
async def report_totals(
    request: Request,
    wanted: _Wanted,
    database: _Reports,
    by: Annotated[
        Literal["portfolio", "currency"],
        Query(description="One total per portfolio, or per base currency of all portfolios."),
    ] = "portfolio",
) -> Response:
    """A total per portfolio (or base currency) and business day, all of one moment. Lines without a
    value are counted, and are in no sum."""
    kind: By = by
    frames = report.totals(database, wanted, by=kind)
    return await _response(request, "totals", report.total_columns(kind), frames)


@contextmanager
def _json_writer(file: IO[bytes], columns: Columns) -> Iterator[Callable[[pl.DataFrame], None]]:
    """Write a JSON object with `items` and `next`; decimals are text with all decimal places."""
    separator = b'{"items": ['

    def write(frame: pl.DataFrame) -> None:
        nonlocal separator
        if frame.is_empty():
            return
        decimals = [name for name, kind in frame.schema.items() if kind.is_decimal()]
        text = frame.with_columns(pl.col(decimals).cast(pl.String)).write_json()
        file.write(separator + text[1:-1].encode())
        separator = b", "

    yield write
    file.write((separator if separator != b", " else b"") + b'], "next": null}')


@dataclass(frozen=True)
class _Format:
    writer: _Writer
    ending: str


_FORMATS = {
    JSON: _Format(_json_writer, "json"),
    CSV: _Format(csv_writer, "csv"),
    ARROW: _Format(arrow_stream_writer, "arrows"),
    PARQUET: _Format(parquet_writer, "parquet"),
}


async def _response(request: Request, name: str, columns: Columns, frames: _Frames) -> Response:
    media_type = media_type_of(request)
    file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it is sent
    try:
        try:
            await _write(file, _FORMATS[media_type].writer, columns, frames)
        except OSError as error:
            raise HTTPException(
                503, f"the server cannot write the report: {error.strerror or error}"
            ) from error
        size, digest = await asyncio.to_thread(_measured, file)
        headers = response_headers(request, f'W/"{digest}"')
        if is_known(request, headers["ETag"]):
            file.close()
            return Response(status_code=304, headers=headers)
        headers["Content-Length"] = str(size)
        ending = _FORMATS[media_type].ending
        headers["Content-Disposition"] = f'attachment; filename="{name}.{ending}"'
        give_turn(request)  # from now on it is the client that takes time
        return StreamingResponse(_chunks(file), media_type=media_type, headers=headers)
    except BaseException:
        file.close()
        raise


async def _write(file: IO[bytes], writer: _Writer, columns: Columns, frames: _Frames) -> None:
    rows = 0
    async with aclosing(frames):
        with writer(file, columns) as write:
            async for frame in frames:
                rows += len(frame)
                if rows > MAX_ROWS:
                    raise UsageError(
                        f"the report has more than {MAX_ROWS:,} rows: ask for fewer dates, or use "
                        "`revalue read --output`, which has no limit"
                    )
                await asyncio.to_thread(write, frame)


def _measured(file: IO[bytes]) -> tuple[int, str]:
    """Return the size of what was written and a digest of it; reading begins at its start."""
    size = file.tell()
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()[:32]  # type: ignore[arg-type]
    file.seek(0)
    return size, digest


async def _chunks(file: IO[bytes]) -> AsyncIterator[bytes]:
    with file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
            yield chunk
