"""`revalue explain`: how one number is computed, step by step."""

from dataclasses import asdict
from typing import Any

import typer

from revalue.console.cli.arguments import Day, Json, Portfolio, Security
from revalue.console.cli.context import CliContext
from revalue.console.cli.output import format_time, out, print_json
from revalue.engine.core.date_ranges import DateRange
from revalue.engine.errors import RevalueError
from revalue.engine.postgres.database import Database
from revalue.engine.read.explain import Explanation, formatted
from revalue.engine.read.explain import explain as explain_value


def explain(
    ctx: typer.Context, portfolio: Portfolio, security: Security, day: Day, as_json: Json = False
) -> None:
    """Recompute one number from its inputs, show each step, and compare with the stored number.

    Exit code 1: the stored number disagrees.
    """

    async def run(database: Database) -> Explanation:
        return await explain_value(database, portfolio, security, day)

    found = CliContext.of(ctx).run(run)
    if as_json:
        print_json({**asdict(found), "verdict": found.verdict})
    else:
        _print(found)
    if found.verdict == "DISAGREES":
        raise RevalueError(f"the stored row disagrees with the data: {_disagreement(found)}")


def _print(found: Explanation) -> None:
    position, stored = found.position, found.stored
    out.print(f"{found.portfolio_id} / {found.security_id} / {found.date}", style="bold")
    for number, step in enumerate(found.steps, 1):
        out.print(f" {number:2}. {step}")
    if stored:
        currency = position["base_currency"]
        out.print(
            f"Stored: market value {formatted(stored['market_value'])} {currency}, "
            f"unrealized gain {formatted(stored['unrealized_gain'])} {currency}, "
            f"{stored['valuation_status']}, epoch {stored['epoch']} "
            f"(position: epoch {position['epoch']}, published {position['published_epoch']}, "
            f"{position['state']})"
        )
        finished = stored["finished_at"]
        if stored["job_status"] is None:
            out.print(f"Job {stored['job_id']} (pruned)")
        else:
            out.print(
                f"Job {stored['job_id']} ({stored['job_status']}, "
                f"attempt {stored['attempt_count']}, "
                f"{DateRange(stored['first_date'], stored['last_date'])}), "
                f"{f'finished {format_time(finished)}' if finished else 'not finished'}"
            )
        if stored["trigger_kind"] is not None:
            out.print(
                f"Trigger {stored['trigger_id']} ({stored['trigger_kind']}) of "
                f"{format_time(stored['trigger_created_at'])}{_by(stored)}"
            )
    else:
        out.print(
            f"Stored: no row (position: {position['state']}, "
            f"watermark {position['watermark_date'] or 'none'})"
        )
    out.print("Verdict: ", end="")
    out.print(found.verdict, style="bold")
    for name, (was, becomes) in found.differences.items():
        out.print(f"  {_difference(name, was, becomes)}")


def _by(stored: dict[str, Any]) -> str:
    """Say who has made the correction and why, as far as it is known."""
    by = f" by {stored['corrected_by']}" if stored["corrected_by"] else ""
    return by + (f": {stored['why']}" if stored["why"] else "")


def _disagreement(found: Explanation) -> str:
    if found.differences:
        return "; ".join(_difference(name, *pair) for name, pair in found.differences.items())
    return found.missing or "no row is due on this date"


def _difference(name: str, stored: Any, recomputed: Any) -> str:
    return f"{name}: stored {_value(stored)}, recomputed {_value(recomputed)}"


def _value(value: Any) -> str:
    return (
        "none" if value is None else formatted(value) if hasattr(value, "quantize") else str(value)
    )
