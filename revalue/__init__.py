"""Value positions exactly, and restate the values when prices, FX rates or positions are corrected.

`connect` opens a book; everything else is a method of it. See docs/python.md.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from revalue.engine.book import Book, connect
    from revalue.engine.changes import (
        DeletePrice,
        DeleteRate,
        FileOf,
        Position,
        Price,
        Rate,
        Split,
    )
    from revalue.engine.correct.calendars.openings import Opening
    from revalue.engine.correct.corrections.corrections import Correction
    from revalue.engine.correct.corrections.files import FileCorrection
    from revalue.engine.correct.inputs.kinds import Kind
    from revalue.engine.correct.loads.load import LoadResult
    from revalue.engine.correct.reverts.reverts import Revert
    from revalue.engine.correct.splits.splits import SplitCorrection
    from revalue.engine.errors import RevalueError
    from revalue.engine.runtime import Run

__all__ = [
    "Book",
    "Correction",
    "DeletePrice",
    "DeleteRate",
    "FileCorrection",
    "FileOf",
    "Kind",
    "LoadResult",
    "Opening",
    "Position",
    "Price",
    "Rate",
    "RevalueError",
    "Revert",
    "Run",
    "Split",
    "SplitCorrection",
    "connect",
]

_HOMES = {
    **dict.fromkeys(("Book", "connect"), "revalue.engine.book"),
    **dict.fromkeys(
        ("DeletePrice", "DeleteRate", "FileOf", "Position", "Price", "Rate", "Split"),
        "revalue.engine.changes",
    ),
    "Correction": "revalue.engine.correct.corrections.corrections",
    "FileCorrection": "revalue.engine.correct.corrections.files",
    "Kind": "revalue.engine.correct.inputs.kinds",
    "LoadResult": "revalue.engine.correct.loads.load",
    "Opening": "revalue.engine.correct.calendars.openings",
    "Revert": "revalue.engine.correct.reverts.reverts",
    "SplitCorrection": "revalue.engine.correct.splits.splits",
    "RevalueError": "revalue.engine.errors",
    "Run": "revalue.engine.runtime",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is used first.

    A valuation actor imports this package and needs neither the embedded server nor migrations.
    """
    if name not in _HOMES:
        raise AttributeError(f"module 'revalue' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
