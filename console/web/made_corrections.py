"""Endpoint that makes corrections, once for each request."""

import hashlib
import json

from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import Field

from revalue.console.web.auth import OperateCaller, TokenFirst
from revalue.console.web.correction_bodies import Corrections
from revalue.console.web.inputs import Body, Why
from revalue.console.web.parameters import Queries, require_text
from revalue.console.web.problems import responses
from revalue.console.web.responses import json_response, json_text
from revalue.console.web.schemas.corrections import CorrectionsMade
from revalue.engine.correct import authors, corrections
from revalue.engine.correct.authors import Author
from revalue.engine.correct.corrections import Change
from revalue.engine.correct.requests import RequestKey, once
from revalue.engine.postgres.database import OpenTransaction

router = APIRouter(route_class=TokenFirst, tags=["corrections"])


class CorrectionsBody(Body):
    """Corrections that are made together, and the reason."""

    corrections: Corrections = Field(description="Up to 100 corrections.")
    why: Why


_KEY = "Idempotency-Key"
_KEY_CHARACTERS = 255
_KEY_PARAMETER = {
    "name": _KEY,
    "in": "header",
    "required": True,
    "description": "A text of your own, such as a UUID, that names the request: if it is sent "
    "again, nothing is done again and the response is the same. Kept for 7 days.",
    "schema": {"type": "string", "pattern": f"^[!-~]{{1,{_KEY_CHARACTERS}}}$"},
}


def _key(request: Request) -> str:
    """Return the key of a request.

    Raises:
        HTTPException: 400 without one, or with one that is no key.
    """
    given = request.headers.get(_KEY, "").strip()
    if not given:
        raise HTTPException(
            400, f"the header {_KEY} is required: a text of your own, such as a UUID"
        )
    if len(given) > _KEY_CHARACTERS or not (given.isascii() and given.isprintable()):
        raise HTTPException(
            400, f"the header {_KEY} has at most {_KEY_CHARACTERS} printable ASCII characters"
        )
    return given


@router.post(
    "/corrections",
    response_model=CorrectionsMade,
    responses=responses(400, 403, 404, 409, 413, 422, 503),
    openapi_extra={"parameters": [_KEY_PARAMETER]},
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
    caller.require_unlimited()
    key = _key(request)
    author = Author(caller.name, require_text(body.why))
    done: list[corrections.Together] = []

    async def work(inside: OpenTransaction) -> str:
        async with inside.connection() as connection:
            at = await authors.sign(connection, author)
        made = await corrections.together(
            inside, [Change(each.row, each.apply) for each in body.corrections]
        )
        done.append(made)
        return json_text(
            {
                "corrected_at": at,
                "corrected_by": author.who,
                "why": author.why,
                "corrections": [
                    {"what": each.what, "old": each.old, "new": each.new} for each in made.made
                ],
                "trigger_ids": made.trigger_ids,
                "positions": made.positions,
            }
        )

    asked = json.dumps(body.model_dump(), default=str, sort_keys=True).encode()
    named = RequestKey(key, hashlib.sha256(asked).digest())
    answer, is_new = await once(answers.database, caller.identity, named, work)
    if is_new:
        corrections.log_together(done[0], author)
    return json_response(answer)
