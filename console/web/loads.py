"""Endpoints of the record of loads: list them, and take one back."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field

from revalue.console.web.auth import OperateCaller, ReadCaller, TokenFirst
from revalue.console.web.inputs import Body
from revalue.console.web.made_once import KEY_PARAMETER, Reasoned, make_once
from revalue.console.web.parameters import Limit, Queries
from revalue.console.web.previews import ACCEPTED, UsePreviews, preview_of
from revalue.console.web.problems import responses
from revalue.console.web.responses import rows_response
from revalue.console.web.schemas.corrections import RevertMade
from revalue.console.web.schemas.loads import Loads
from revalue.console.web.schemas.previews import PreviewRevert
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads import recorded
from revalue.engine.correct.reverts.reverts import Revert, log_revert, revert
from revalue.engine.operate.job_filter import MAX_ID
from revalue.engine.postgres.database import Connections
from revalue.engine.postgres.open_transaction import OpenTransaction

router = APIRouter(route_class=TokenFirst, tags=["corrections"])

LoadId = Annotated[int, Path(ge=0, le=MAX_ID, description="Load id.")]


class RevertLoad(Body):
    """How a load is taken back."""

    keep_later: bool = Field(
        False,
        strict=True,
        description="Leave rows that were changed after the load as they are. Without it they are "
        "an error.",
    )


class RevertBody(RevertLoad, Reasoned):
    """How a load is taken back, and the reason."""


@router.get(
    "/loads",
    response_model=Loads,
    responses=responses(403, 406, 422, 503, rows=True),
    summary="List loads",
)
async def list_loads(
    request: Request,
    answers: Queries,
    caller: ReadCaller,
    kind: Annotated[Kind | None, Query(description="Only loads of this kind.")] = None,
    before: Annotated[
        int, Query(ge=0, le=MAX_ID, description="Cursor: the last id of the page before.")
    ] = MAX_ID,
    limit: Limit = 200,
) -> Response:
    """Who has loaded what when, and what became of its rows, newest first.

    Splits, and loads that were taken back, are loads too. `revalue prune` deletes the records of
    old ones. Refused for tokens that are limited to portfolios.
    """
    caller.require_unlimited()
    found = await recorded.list_loads(answers.database, kind=kind, most=limit, before=before)
    after = found[-1].load_id if len(found) == limit else None
    return await rows_response(request, Loads, {}, [asdict(each) for each in found], after)


@router.post(
    "/loads/{load_id}:preview-revert",
    response_model=PreviewRevert,
    responses=ACCEPTED | responses(400, 403, 404, 409, 413, 422, 429, 503),
    summary="Preview to take a load back",
)
async def preview_revert(
    request: Request,
    load_id: LoadId,
    body: RevertLoad,
    caller: OperateCaller,
    previews: UsePreviews,
) -> Response:
    """What it would do to take a load back: how many rows, and the changes of value.

    Otherwise as `/corrections:preview`.
    """
    caller.require_unlimited()

    async def correct(database: Connections) -> dict[str, Any]:
        return _body(await revert(database, load_id, keep_later=body.keep_later))

    return await preview_of(request, previews, correct)


@router.post(
    "/loads/{load_id}:revert",
    response_model=RevertMade,
    responses=responses(400, 403, 404, 409, 413, 422, 503),
    openapi_extra={"parameters": [KEY_PARAMETER]},
    summary="Take a load back",
)
async def revert_load(
    request: Request, load_id: LoadId, body: RevertBody, answers: Queries, caller: OperateCaller
) -> Response:
    """Restore what a load has replaced, and delete what it has added: all of it, or nothing.

    Loads of prices, fx_rates and positions can be taken back, and so can splits. It is a
    correction, and a load of its own, which can be taken back, too. 409 if rows were changed since.
    Done once for each `Idempotency-Key`, and signed, as `/corrections`. Refused for tokens that are
    limited to portfolios.
    """

    async def work(inside: OpenTransaction) -> Revert:
        return await revert(inside, load_id, keep_later=body.keep_later)

    return await make_once(
        request,
        answers.database,
        caller,
        {"load": load_id, **body.model_dump()},
        work,
        lambda made: {**_body(made), "trigger_ids": made.trigger_ids, "load_id": made.load_id},
        log_revert,
    )


def _body(made: Revert) -> dict[str, Any]:
    """Return the response to a revert, made or rolled back."""
    return {
        "reverts": made.reverts,
        "kind": made.kind,
        "source": made.source,
        "rows": made.rows,
        "deleted": made.deleted,
        "restored": made.restored,
        "kept": made.kept,
        "positions": made.positions,
    }
