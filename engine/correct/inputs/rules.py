"""The rules of each kind of input that need no stored data."""

import polars as pl

from revalue.engine.correct.inputs.kinds import KEYS, Kind
from revalue.engine.correct.inputs.problems import InputProblem, ProblemKind, find

_POSITIVE = {Kind.FX_RATES: "rate", Kind.PRICES: "price", Kind.INSTRUMENTS: "contract_multiplier"}
_QUOTE_BASES = ("PER_UNIT", "PERCENT_OF_PAR", "PER_CONTRACT")


def rule_problems(kind: Kind, given: pl.DataFrame, frame: pl.DataFrame) -> list[InputProblem]:
    """Return the rules that need no stored data, with the rows of a batch that break them.

    Args:
        given: the rows as they were read.
        frame: their typed columns.
    """

    def broken(
        rule: ProblemKind,
        hint: str,
        column: str,
        bad: pl.Series,
        values: pl.Series | None = None,
    ) -> InputProblem:
        if values is None:
            values = given[column] if column in given.columns else frame[column]
        return find(rule, hint, column, bad, values)

    # Rows of other batches count too, so the database finds these (loads/checks.py). Stated here,
    # as every rule is in its place.
    found = [InputProblem(ProblemKind.DUPLICATE_KEY, KEYS[kind][0], 0, repeated(kind))]
    if kind in _POSITIVE:
        column = _POSITIVE[kind]
        found.append(broken(ProblemKind.NOT_POSITIVE, "not positive", column, frame[column] <= 0))
    if kind is Kind.INSTRUMENTS:
        ages = frame["max_price_age_sessions"]
        found.append(
            broken(
                ProblemKind.OUT_OF_RANGE,
                "not between 0 and 100000",
                "max_price_age_sessions",
                ~ages.is_between(0, 100_000),
                ages,
            )
        )
        limits = frame["move_limit_percent"]
        found.append(
            broken(ProblemKind.OUT_OF_RANGE, "negative", "move_limit_percent", limits < 0, limits)
        )
    if kind is Kind.PRICES:
        basis = frame["quote_basis"]
        found.append(
            broken(
                ProblemKind.UNKNOWN_QUOTE_BASIS,
                f"none of {', '.join(_QUOTE_BASES)}",
                "quote_basis",
                ~basis.is_in(_QUOTE_BASES),
                basis,
            )
        )
    if kind is Kind.FX_RATES:
        same = frame["base_currency"] == frame["quote_currency"]
        found.append(
            broken(
                ProblemKind.SAME_CURRENCY,
                "a rate of a currency to itself",
                "quote_currency",
                same,
                frame["quote_currency"],
            )
        )
    if kind is Kind.POSITIONS:
        costly = (frame["quantity"] == 0) & (
            (frame["cost_basis"] != 0) | (frame["cost_basis_local"] != 0)
        )
        shown = frame.select(
            pl.concat_str(pl.col(KEYS[kind]).cast(pl.String), separator=" ", ignore_nulls=True)
        ).to_series()
        found.append(
            broken(
                ProblemKind.COST_WITHOUT_QUANTITY,
                "a cost basis without a quantity",
                "quantity",
                costly,
                shown,
            )
        )
    return found


def repeated(kind: Kind) -> str:
    """Say that a row has the key of another one."""
    return f"the same {', '.join(KEYS[kind])} as a row before"
