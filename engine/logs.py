"""Logs: one JSON object per line, with the ids of its subject.

WARNING (the default) and above: lost actors, an unavailable database, dead letters. INFO also:
corrections, fan-out, jobs that wait for data. Many dates or ids are merged into ranges.

Ids have the same names in every line: portfolio, security, epoch, job, task, trigger, term. The
correlation_id identifies the command or request that wrote the line; the line of a correction has
both its correlation_id and its trigger id.
"""

import logging
import sys
import uuid
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Any, TextIO, TypeVar

import structlog
from structlog.typing import FilteringBoundLogger, Processor

_SHOWN = 5  # the names of a long list that a line shows; the rest is counted

P = TypeVar("P", int, date)

_COMMON: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


def configure(
    level: str = "WARNING",
    *,
    stream: TextIO | None = None,
    handler: logging.Handler | None = None,
) -> None:
    """Send the log lines of this process to a stream, or to a handler.

    Other loggers than `revalue` are not changed.

    Args:
        level: the lowest level that is written.
        stream: the destination; standard error when None.
        handler: takes the place of a stream; it is given a formatter.
    """
    handler = handler or (logging.StreamHandler(stream) if stream else _ToStandardError())
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
    """Writes to the stream that is standard error at the time of writing."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def logger(name: str) -> FilteringBoundLogger:
    """Return the logger `revalue.<name>`: `log.info("what happened", portfolio=..., job=...)`.

    It writes through the standard library's logger of that name and ignores how the host program
    has configured structlog.
    """
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
    """Give all later lines of this context a correlation id (a new one by default); return it."""
    correlation_id = correlation_id or uuid.uuid4().hex
    structlog.contextvars.bind_contextvars(correlation_id=correlation_id)
    return correlation_id


def ranges(spans: Iterable[tuple[P, P]]) -> list[str]:
    """Merge spans of dates or numbers that touch or overlap, and return them as sorted text.

    Both ends of a span are included. A range reads `2016-03-15..2016-03-18`, a single date or
    number only `2016-03-15`.
    """
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
    """Return the first few names, and how many more there are."""
    return (
        [*names[:_SHOWN], f"and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else list(names)
    )
