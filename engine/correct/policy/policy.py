"""The valuation policy: the pivot currency, and how old an FX rate may be."""

from dataclasses import dataclass
from typing import Any

from revalue.engine.correct.policy import currencies
from revalue.engine.correct.reach import reach
from revalue.engine.errors import DatabaseSetupError, InvalidInputError, UsageError
from revalue.engine.postgres.database import Connections
from revalue.engine.postgres.statement import statements

sql = statements(__package__)

_OLDEST_AGE = 100_000


@dataclass(frozen=True)
class Policy:
    """The settings that hold for all numbers.

    Attributes:
        pivot: the currency through which a rate is computed when a pair has none of its own.
        fx_max_age: how many business days old a rate may be before it is not used any more.
    """

    pivot: str
    fx_max_age: int


@dataclass(frozen=True)
class PolicyCorrection:
    """A change of the policy.

    Attributes:
        old: the policy before.
        new: the policy now.
        trigger_ids: the trigger that records the correction; none: nothing has changed.
        positions: how many positions it affects at most.
    """

    old: Policy
    new: Policy
    trigger_ids: tuple[int, ...]
    positions: int


async def read_policy(database: Connections) -> Policy:
    """Return the valuation policy.

    Raises:
        DatabaseSetupError: there is none.
    """
    async with database.connection() as connection:
        found = await sql("read_policy").row(connection)
    return _policy(found)


async def change_policy(
    database: Connections, *, pivot: str | None = None, fx_max_age: int | None = None
) -> PolicyCorrection:
    """Change the valuation policy: a correction of all numbers that depend on it.

    Args:
        database: the database.
        pivot: another pivot currency; None: it stays.
        fx_max_age: another age limit of rates, in business days; None: it stays.

    Raises:
        UsageError: nothing is to be changed.
        InvalidInputError: there is no such currency, or it is a quotation unit; or the age is not
            between 0 and 100,000.
        AccessDeniedError: only the owner of the tables may change the policy.
    """
    if pivot is None and fx_max_age is None:
        raise UsageError("say what is to be changed: the pivot or the age limit of rates")
    if fx_max_age is not None and not 0 <= fx_max_age <= _OLDEST_AGE:
        raise InvalidInputError(
            f"the age limit of rates is between 0 and {_OLDEST_AGE:,} business days, not "
            f"{fx_max_age}"
        )
    async with database.transaction() as connection:
        old = _policy(await sql("lock_policy").row(connection))
        if pivot is not None:
            await currencies.require_major(connection, pivot, "the pivot")
        new = Policy(
            old.pivot if pivot is None else pivot,
            old.fx_max_age if fx_max_age is None else fx_max_age,
        )
        await sql("change_policy").execute(connection, pivot=new.pivot, max_age=new.fx_max_age)
        reached = await reach(connection)
    return PolicyCorrection(old, new, reached.trigger_ids, reached.positions)


def _policy(found: Any) -> Policy:
    if found is None:
        raise DatabaseSetupError(
            "the table valuation_policy has no row: insert the pivot currency and the age limit of "
            "rates"
        )
    return Policy(*found)
