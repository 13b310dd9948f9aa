"""Requests of clients that must not be done twice, such as one that makes corrections.

A client that got no answer sends its request again, with the same key. What the request does and
its answer are committed together, so the second one gets the answer of the first and does nothing.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from revalue.engine.errors import KeyReusedError, RequestInProgressError
from revalue.engine.postgres.database import Connections
from revalue.engine.postgres.open_transaction import OpenTransaction
from revalue.engine.postgres.statement import statements

sql = statements(__package__)

KEEP_SECONDS = 7 * 24 * 3600
"""How long an answer is kept. A request that is sent again later is done again."""

_DELETED_AT_ONCE = 1_000


@dataclass(frozen=True)
class RequestKey:
    """What names a request.

    Attributes:
        key: the client's own name for it. Each client has keys of its own.
        fingerprint: a hash of all that it asks for.
    """

    key: str
    fingerprint: bytes


async def once(
    database: Connections,
    client: str,
    request: RequestKey,
    work: Callable[[OpenTransaction], Awaitable[str]],
) -> tuple[str, bool]:
    """Do the work of a request in one transaction, unless it is done already.

    Args:
        database: the database.
        client: who asks; no other client, now or later, is called so.
        request: names the request.
        work: does it and returns its answer; what it raises rolls all of it back.

    Returns:
        The answer, and whether the work was done now.

    Raises:
        RequestInProgressError: the same request is at work.
        KeyReusedError: the key named another request.
    """
    named = {"who": client, "request_key": request.key}
    async with database.transaction() as connection:
        if not await sql("lock_request").value(connection, **named):
            raise RequestInProgressError(
                f"a request with the key {request.key!r} is in progress: send it again when that "
                "has ended, to get its answer"
            )
        kept = await sql("request_answer").row(connection, **named, seconds=KEEP_SECONDS)
        if kept is not None:
            if kept["fingerprint"] != request.fingerprint:
                raise KeyReusedError(
                    f"the key {request.key!r} was used for another request: give each request a "
                    "key of its own"
                )
            return kept["answer"], False
        answer = await work(OpenTransaction(connection))
        await sql("keep_answer").execute(
            connection, **named, fingerprint=request.fingerprint, answer=answer
        )
        await sql("forget_answers").execute(connection, seconds=KEEP_SECONDS, most=_DELETED_AT_ONCE)
    return answer, True
