"""Endpoint that makes corrections, once for each request."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from revalue.console.web.auth import OperateCaller, TokenFirst
from revalue.console.web.correction_bodies import Corrections, correction_body
from revalue.console.web.made_once import KEY_PARAMETER, Reasoned, make_once
from revalue.console.web.parameters import Queries
from revalue.console.web.problems import responses
from revalue.console.web.schemas.corrections import CorrectionsMade
from revalue.engine.correct.corrections.log import log_together
from revalue.engine.correct.corrections.together import Change, Together, together
from revalue.engine.postgres.open_transaction import OpenTransaction

router = APIRouter(route_class=TokenFirst, tags=["corrections"])


class CorrectionsBody(Reasoned):
    """Corrections that are made together, and the reason."""

    corrections: Corrections = Field(description="Up to 100 corrections.")


@router.post(
    "/corrections",
    response_model=CorrectionsMade,
    responses=responses(400, 403, 404, 409, 413, 422, 503),
    openapi_extra={"parameters": [KEY_PARAMETER]},
    summary="Make corrections",
)
async def make_corrections(
    request: Request,
    body: CorrectionsBody,
    answers: Queries,
    caller: OperateCaller,
) -> Response:
    """Make up to 100 corrections in one transaction: all of them, or none.

    The name of the token and the reason are recorded, and shown with every number that the
    corrections change. A request with the same `Idempotency-Key` and body is not done again, and
    gets the response of the first: 409 while that is in progress, 422 if its body was another.
    The values are restated when the engine has run. Refused for tokens that are limited to
    portfolios.
    """

    async def work(inside: OpenTransaction) -> Together:
        return await together(inside, [Change(each.row, each.apply) for each in body.corrections])

    return await make_once(
        request, answers.database, caller, body.model_dump(), work, _body, log_together
    )


def _body(made: Together) -> dict[str, Any]:
    """Return the response to corrections that were made."""
    return {
        "corrections": [correction_body(each) for each in made.made],
        "trigger_ids": made.trigger_ids,
        "positions": made.positions,
    }
