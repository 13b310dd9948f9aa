"""What readers tell, made comparable, and compared."""

import re
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import polars as pl

from tests.agreement.page import AMOUNTS, EFFECTS, Key, decimal


def numbers(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in AMOUNTS)


def number(text: str) -> Decimal:
    return Decimal(text.replace(",", ""))


NUMBER = r"-?[\d,]+(?:\.\d+)?"


def arithmetic(step: str) -> tuple[Decimal, Decimal] | None:
    """Compute what a sentence says is computed: its own result, and the one it prints."""
    if m := re.search(rf"({NUMBER}) x ({NUMBER}) / (\d+) = ({NUMBER})", step):
        a, b, c, result = map(number, m.groups())
        return decimal(Fraction(a) * Fraction(b) / Fraction(c), 18), result
    if m := re.search(rf"({NUMBER}) x ({NUMBER}) = ({NUMBER})", step):
        a, b, result = map(number, m.groups())
        places = 10 if step.startswith("Market value") else 18
        return decimal(Fraction(a) * Fraction(b), places), result
    if m := re.search(rf"({NUMBER}) - ({NUMBER}) = ({NUMBER})", step):
        a, b, result = map(number, m.groups())
        return a - b, result
    if m := re.search(rf"inverse, \S+ ({NUMBER}) of \S+ .* = ({NUMBER})", step):
        a, result = map(number, m.groups())
        return decimal(1 / Fraction(a), 18), result
    return None


def typed(row: dict[str, Any]) -> dict[str, Any]:
    def of(name: str, value: Any) -> Any:
        if isinstance(value, str) and (name == "date" or name.endswith("_date")):
            return date.fromisoformat(value)
        if isinstance(value, str) and re.fullmatch(r"-?\d+\.\d+", value):
            return Decimal(value)
        return value

    return {name: of(name, value) for name, value in row.items()}


def comparable(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows without what is not recorded for earlier times."""
    rows = []
    for row in frame.to_dicts():
        row.pop("failure_reason", None)
        row.pop("reprocessing_status", None)
        if row.get("valuation_status") in ("WAITING_FOR_DATA", "FAILED"):
            row["valuation_status"] = "NOT_VALUED"
        if "lines_waiting" in row:
            row["lines_missing"] += row.pop("lines_waiting") or 0
        rows.append(row)
    return rows


def as_text(value: Any) -> str | None:
    return (
        None
        if value is None
        else f"{float(value)}"
        if isinstance(value, (int, float, Decimal))
        else str(value)
    )


def by_key(rows: list[dict[str, Any]]) -> dict[Key, dict[str, Any]]:
    found = {(r["portfolio_id"], r["security_id"], r["date"]): r for r in rows}
    assert len(found) == len(rows), "a row is told twice"
    return found


def expect(got: Any, wanted: Any, who: str, *, effects: bool | None = True) -> None:
    same(set(got), set(wanted), who)
    for key, want in wanted.items():
        for name in AMOUNTS + (EFFECTS if effects is not False else ()):
            if effects is None and name not in got[key]:
                continue
            assert got[key][name] == want[name], (who, key, name, got[key][name], want[name])


def same(got: Any, wanted: Any, who: str) -> None:
    if got != wanted:
        if isinstance(got, dict):
            got = {k: (v, wanted.get(k)) for k, v in got.items() if wanted.get(k) != v} | {
                k: (None, v) for k, v in wanted.items() if k not in got
            }
            raise AssertionError(f"{who}: (told, expected) {dict(list(got.items())[:6])}")
        raise AssertionError(
            f"{who}: too much {sorted(got - wanted)[:5]}, lacks {sorted(wanted - got)[:5]}"
        )


def same_list(got: Any, wanted: Any, who: str) -> None:
    if got != wanted:
        if isinstance(got, list):
            for one, other in zip(got, wanted, strict=False):
                assert one == other, (who, {
                    k: (one.get(k), other.get(k)) for k in one.keys() | other.keys()
                    if one.get(k) != other.get(k)}, one)  # fmt: skip
            raise AssertionError((who, "rows", len(got), len(wanted)))
        raise AssertionError((who, got, wanted))
