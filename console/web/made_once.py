"""Make corrections once for each key of a request, and record who made them and why."""

import hashlib
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi import HTTPException, Request, Response

from revalue.console.web.auth import Caller
from revalue.console.web.inputs import Body, Why
from revalue.console.web.parameters import require_text
from revalue.console.web.responses import json_response, json_text
from revalue.engine.correct import authors
from revalue.engine.correct.authors import Author
from revalue.engine.correct.requests import RequestKey, once
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.open_transaction import OpenTransaction

Made = TypeVar("Made")
"""What has been made, as the engine returns it."""


class Reasoned(Body):
    """A body of what is to be made, with the reason."""

    why: Why


_KEY = "Idempotency-Key"
_KEY_CHARACTERS = 255
_KEY_PATTERN = f"[!-~]{{1,{_KEY_CHARACTERS}}}"
KEY_PARAMETER = {
    "name": _KEY,
    "in": "header",
    "required": True,
    "description": "A text of your own, such as a UUID, that names the request: if it is sent "
    "again, nothing is done again and the response is the same. Kept for 7 days.",
    "schema": {"type": "string", "pattern": f"^{_KEY_PATTERN}$"},
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
    if re.fullmatch(_KEY_PATTERN, given) is None:
        raise HTTPException(
            400,
            f"the header {_KEY} has at most {_KEY_CHARACTERS} printable ASCII characters, and no "
            "space between them",
        )
    return given


async def make_once(
    request: Request,
    database: Database,
    caller: Caller,
    asked: dict[str, Any],
    work: Callable[[OpenTransaction], Awaitable[Made]],
    body: Callable[[Made], dict[str, Any]],
    log: Callable[[Made, Author], None],
) -> Response:
    """Make corrections in one transaction, unless the request has made them already.

    Args:
        request: for its Idempotency-Key.
        database: the database.
        caller: who asks; it may not be limited to portfolios, as corrections concern all.
        asked: all that the request asks for, and `why`. Another request has other values.
        work: makes the corrections.
        body: returns the response to them.
        log: called when they are committed.

    Returns:
        When, by whom and why they were made, and the response to them.

    Raises:
        HTTPException: 400 without a key, 403 for a limited caller.
        RevalueError: as `once`, and what `work` raises.
    """
    caller.require_unlimited()
    key = _key(request)
    author = Author(caller.name, require_text(asked["why"]))
    made: list[Made] = []  # empty: the request has made them before

    async def signed(inside: OpenTransaction) -> str:
        async with inside.connection() as connection:
            at = await authors.sign(connection, author)
        made.append(await work(inside))
        signature = {"corrected_at": at, "corrected_by": author.who, "why": author.why}
        return json_text({**signature, **body(made[0])})

    text = json.dumps(asked, default=str, sort_keys=True).encode()
    named = RequestKey(key, hashlib.sha256(text).digest())
    answer, is_new = await once(database, caller.identity, named, signed)
    if is_new:
        log(made[0], author)
    return json_response(answer)
