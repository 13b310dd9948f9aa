"""Value a task from its inputs alone: rows, holes and the outcomes of its spans."""

from collections.abc import Iterator
from dataclasses import replace

import polars as pl

from revalue.engine.core.lifecycle import FailureReason, JobStatus
from revalue.engine.core.market import decode_pair
from revalue.engine.core.valuation import SNAPSHOT_COLUMNS, Valued, value
from revalue.engine.value.commit import HOLE_COLUMNS
from revalue.engine.value.failures import after_failure, reraise_unless_failure
from revalue.engine.value.inputs import TaskInputs

NO_HOLES = pl.DataFrame(
    schema=dict(
        zip(
            ("span_no", *HOLE_COLUMNS),
            (pl.Int64, pl.Int64, pl.Int32, pl.Int64, pl.Date, pl.Date, pl.String, pl.String),
            strict=True,
        )
    )
)
_OVERFLOW_RULE = (
    "A market value, gain or unit price does not fit NUMERIC(28,10): "
    "see docs/valuation.md, section 4."
)


def compute(inputs: TaskInputs, *, max_attempts: int) -> Valued:
    """Value a task from its inputs alone.

    A span whose data makes the computation fail gets a failed outcome; nothing is raised.

    Returns:
        The valuation; its outcomes also have failure_reason and traceback, its holes span_no and
        HOLE_COLUMNS.
    """
    valued = _concatenate(list(_value_or_halve(inputs, max_attempts)))
    return replace(
        valued,
        holes=_with_subjects(valued.holes, inputs).select("span_no", *HOLE_COLUMNS)
        if len(valued.holes)
        else NO_HOLES,
        outcomes=_with_failure_reasons(valued.outcomes, inputs),
    )


def _value_or_halve(inputs: TaskInputs, max_attempts: int) -> Iterator[Valued]:
    """Value all spans; when that fails, value each half, so that only the failing span fails."""
    try:
        yield _with_tracebacks(value(inputs.spans, inputs.history, inputs.market))
    except BaseException as error:
        reraise_unless_failure(error)
        if len(inputs.spans) == 1:
            yield _failed_span(inputs.spans, error, max_attempts)
            return
        middle = len(inputs.spans) // 2
        for half in (inputs.spans[:middle], inputs.spans[middle:]):
            yield from _value_or_halve(replace(inputs, spans=half), max_attempts)


def _with_tracebacks(valued: Valued) -> Valued:
    """Add `traceback`: of a span that fails by a rule (OVERFLOW), the rule itself."""
    rule = pl.when(pl.col("status") == JobStatus.FAILED.value).then(pl.lit(_OVERFLOW_RULE))
    return replace(valued, outcomes=valued.outcomes.with_columns(traceback=rule.cast(pl.String)))


def _failed_span(span: pl.DataFrame, error: BaseException, max_attempts: int) -> Valued:
    status, trace = after_failure(span["attempt_count"][0], error, max_attempts)
    outcome = span.select(
        "span_no",
        rows_written=pl.lit(0, dtype=pl.Int32),
        reason=pl.lit(FailureReason.UNEXPECTED_ERROR.value),
        instrument_no="instrument_no",
        problem_date="first_date",
        problem_pair=pl.lit(None, dtype=pl.Int64),
        status=pl.lit(status),
        valued_through=pl.lit(None, dtype=pl.Date),
        traceback=pl.lit(trace, dtype=pl.String),
    )
    return Valued(pl.DataFrame(), pl.DataFrame(), outcome)


def _concatenate(parts: list[Valued]) -> Valued:
    """Return the parts of a task, in order, as one."""
    rows = [part.rows for part in parts if len(part.rows)]
    holes = [part.holes for part in parts if len(part.holes)]
    return Valued(
        pl.concat(rows)
        if rows
        else pl.DataFrame(schema=dict.fromkeys(("span_no", *SNAPSHOT_COLUMNS), pl.Null)),
        pl.concat(holes) if holes else NO_HOLES,
        pl.concat([part.outcomes for part in parts]),
    )


def _with_failure_reasons(outcomes: pl.DataFrame, inputs: TaskInputs) -> pl.DataFrame:
    """Add failure_reason as docs/valuation.md words it: reason, security or currency pair, date."""
    if outcomes["reason"].null_count() == len(outcomes):
        return outcomes.with_columns(failure_reason=pl.lit(None, dtype=pl.String))
    return _with_subjects(outcomes, inputs).with_columns(
        failure_reason=pl.format("{} {} {}", "reason", "subject", "problem_date")
    )


def _with_subjects(problems: pl.DataFrame, inputs: TaskInputs) -> pl.DataFrame:
    """Add `subject`: what is missing, a security or a currency pair.

    Args:
        problems: reason, instrument_no and problem_pair, and any other columns.
    """
    names = inputs.currencies.with_columns(pl.col("currency_no").cast(pl.Int64))
    base_no, quote_no = decode_pair("problem_pair")
    named = (
        problems.with_columns(first=base_no, second=quote_no)
        .join(inputs.securities, on="instrument_no", how="left", maintain_order="left")
        .join(
            names.rename({"currency_no": "first", "currency": "from"}),
            on="first",
            how="left",
            maintain_order="left",
        )
        .join(
            names.rename({"currency_no": "second", "currency": "to"}),
            on="second",
            how="left",
            maintain_order="left",
        )
    )
    of_pair = pl.col("reason") == FailureReason.FX_MISSING.value
    subject = pl.when(of_pair).then(pl.format("{}/{}", "from", "to")).otherwise("security_id")
    return named.with_columns(subject=subject)
