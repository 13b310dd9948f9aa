"""Logs: one JSON object a line, with the ids of what it is about. Quiet by default, and gaps are summed into ranges.

At WARNING: lost actors, a database that went away, dead letters. At INFO also: corrections, fan-out, what waits for data.
Ids have the same names in every line: portfolio, security, epoch, job, task, trigger, term; correlation_id is that of the
call (command, request) in whose doing the line was written, and a correction's line ties it to its trigger.
"""

import logging
import sys
import uuid
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Any, TextIO, TypeVar

import structlog
from structlog.typing import FilteringBoundLogger, Processor

_SHOWN = 5  # names of a long list that a line shows; the rest is counted

P = TypeVar("P", int, date)

_COMMON: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


def configure(level: str = "WARNING", *, stream: TextIO | None = None) -> None:
    """Sends the lines of this process to a stream (standard error). Loggers other than `revalue` are left as they are."""
    handler = logging.StreamHandler(stream) if stream else _ToStandardError()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_COMMON, structlog.stdlib.PositionalArgumentsFormatter()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(default=str),
            ],
        )
    )
    logger = logging.getLogger("revalue")
    logger.handlers = [handler]
    logger.setLevel(level)
    logger.propagate = False


class _ToStandardError(logging.StreamHandler[TextIO]):
    """To whatever standard error is when a line is written."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def logger(name: str) -> FilteringBoundLogger:
    """The logger `revalue.<name>`: `log.info("what happened", portfolio=..., job=...)`. It writes by the standard library's
    logger of that name, and knows nothing of how the host program has configured structlog."""
    found: FilteringBoundLogger = structlog.wrap_logger(
        logging.getLogger(f"revalue.{name}"),
        processors=[
            structlog.stdlib.filter_by_level,
            *_COMMON,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    return found


def correlate(correlation_id: str | None = None) -> str:
    """Gives every line that is written from here on in this context an id, a new one unless it is given."""
    correlation_id = correlation_id or uuid.uuid4().hex
    structlog.contextvars.bind_contextvars(correlation_id=correlation_id)
    return correlation_id


def ranges(spans: Iterable[tuple[P, P]]) -> list[str]:
    """Spans of days or numbers, both ends included, as few ranges in order: those that touch or overlap are one."""
    merged: list[tuple[P, P]] = []
    for first, last in sorted(spans):
        if merged and first <= _next(merged[-1][1]):
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return [str(first) if first == last else f"{first}..{last}" for first, last in merged]


def _next(end: Any) -> Any:
    return end + (timedelta(days=1) if isinstance(end, date) else 1)


def abbreviated(names: Sequence[str]) -> list[str]:
    """The first few of many names, and how many more there are."""
    return (
        [*names[:_SHOWN], f"and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else list(names)
    )
