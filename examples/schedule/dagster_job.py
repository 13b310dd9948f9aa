"""A job of Dagster: the steps of an evening, one op each.

`revalue` has to be on the PATH, and REVALUE_DATABASE_URL in the environment. The day is the
configuration of the op `day`.
"""

from collections.abc import Iterable, Iterator

import steps
from dagster import (
    Config,
    Failure,
    In,
    Nothing,
    OpDefinition,
    OpExecutionContext,
    Out,
    Output,
    RetryRequested,
    job,
    op,
)

FOLDER = "/srv/revalue/feed"


class Day(Config):
    """The business day, as YYYY-MM-DD."""

    day: str


@op(out=Out(str))
def day(config: Day) -> str:
    """Return the day of the run."""
    return config.day


def op_of(step: str, behind: Iterable[str]) -> OpDefinition:
    """Return the op of a step, with an input of its own for each output that it waits for.

    One input for all of them would not do: it is skipped only if all of them are.
    """

    @op(
        name=step,
        ins={"day": In(str), **{name: In(Nothing) for name in behind}},
        out={"done": Out(Nothing), "complete": Out(Nothing, is_required=False)},
    )
    def run(context: OpExecutionContext, day: str) -> Iterator[Output[None]]:
        try:
            steps.run(step, day, FOLDER)
        except steps.TryAgainError as error:
            raise RetryRequested(max_retries=3, seconds_to_wait=300) from error
        except steps.IncompleteError as error:
            context.log.warning(str(error))
        except steps.FailedError as error:
            raise Failure(str(error), allow_retries=False) from error
        else:
            yield Output(None, "complete")  # what needs it is skipped without it
        yield Output(None, "done")

    return run


@job
def revalue_nightly() -> None:
    """Load, value and report a day."""
    of = day()
    made = {}
    for step in steps.STEPS:
        behind = {"after": list(made.values())[-1].done} if made else {}
        if step in steps.NEEDS_COMPLETE:
            behind["complete"] = made["value"].complete
        made[step] = op_of(step, behind)(day=of, **behind)
