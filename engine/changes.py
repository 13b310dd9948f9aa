"""The corrections that a book can make, as values. `Book.preview` and `Book.correct` take them.

The types of dates and numbers are checked when a value is made: an error of the database would not
name the argument, and a float is not exact.
"""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TypeAlias

import polars as pl
import pyarrow as pa

from revalue.engine.argument_types import require_day, require_decimal
from revalue.engine.correct.corrections import corrections
from revalue.engine.correct.corrections.corrections import Correction
from revalue.engine.correct.corrections.files import FileCorrection, correct_file
from revalue.engine.correct.splits import splits
from revalue.engine.correct.splits.splits import SplitCorrection
from revalue.engine.postgres.database import Connections


@dataclass(frozen=True)
class Price:
    """A correction: the price of a security on a date should be another.

    Attributes:
        security: the security.
        date: the date of a price that is stored.
        price: the price as quoted; its currency and quote basis stay. Positive, at most 18 digits
            before and 10 after the point.
    """

    security: str
    date: date
    price: Decimal

    def __post_init__(self) -> None:
        require_day("date", self.date)
        require_decimal("price", self.price)

    async def apply(self, database: Connections) -> Correction:
        """Make the correction."""
        return await corrections.price(database, self.security, self.date, self.price)


@dataclass(frozen=True)
class Rate:
    """A correction: the FX rate of a pair on a date should be another.

    Attributes:
        base: the base currency.
        quote: the quote currency.
        date: the date of a rate that is stored.
        rate: what 1 unit of `base` is worth in `quote`. Positive, at most 10 digits before and 18
            after the point.
    """

    base: str
    quote: str
    date: date
    rate: Decimal

    def __post_init__(self) -> None:
        require_day("date", self.date)
        require_decimal("rate", self.rate)

    async def apply(self, database: Connections) -> Correction:
        """Make the correction."""
        return await corrections.rate(database, self.base, self.quote, self.date, self.rate)


@dataclass(frozen=True)
class DeletePrice:
    """A correction: a security should have no price on a date.

    The dates that used it use the price before it, or have none.

    Attributes:
        security: the security.
        date: the date of a price that is stored.
    """

    security: str
    date: date

    def __post_init__(self) -> None:
        require_day("date", self.date)

    async def apply(self, database: Connections) -> Correction:
        """Make the correction."""
        return await corrections.delete_price(database, self.security, self.date)


@dataclass(frozen=True)
class DeleteRate:
    """A correction: a pair should have no FX rate on a date.

    The dates that used it use the rate before it, or have none.

    Attributes:
        base: the base currency.
        quote: the quote currency.
        date: the date of a rate that is stored.
    """

    base: str
    quote: str
    date: date

    def __post_init__(self) -> None:
        require_day("date", self.date)

    async def apply(self, database: Connections) -> Correction:
        """Make the correction."""
        return await corrections.delete_rate(database, self.base, self.quote, self.date)


@dataclass(frozen=True)
class Position:
    """A correction: the position record of one date should be this one; later records stay.

    Attributes:
        portfolio: the portfolio.
        security: the security.
        date: from when on the record holds, until the next record.
        quantity: the absolute quantity, not a trade; negative: short; 0 closes the position.
        cost_basis_local: the cost basis in the currency of the instrument; 0 if the quantity is 0.
        cost_basis: the cost basis in the base currency of the portfolio; 0 if the quantity is 0.
    """

    portfolio: str
    security: str
    date: date
    quantity: Decimal
    cost_basis_local: Decimal
    cost_basis: Decimal

    def __post_init__(self) -> None:
        require_day("date", self.date)
        for name in ("quantity", "cost_basis_local", "cost_basis"):
            require_decimal(name, getattr(self, name))

    async def apply(self, database: Connections) -> Correction:
        """Make the correction."""
        return await corrections.position(
            database,
            self.portfolio,
            self.security,
            self.date,
            self.quantity,
            self.cost_basis_local,
            self.cost_basis,
        )


@dataclass(frozen=True)
class Split:
    """A correction: from a date on, every holder of a security has another quantity at its cost.

    All position records from that date on are multiplied; prices are not touched.

    Attributes:
        security: the security.
        date: the first date on which the new quantities are held.
        ratio: new for old: `4:1`; `1:10` is a reverse split.
        again: make it though one of this security was made already, for a date within 30 days.
        all_records: make it though records seem to have the new quantities already: they are those
            before them times the ratio.
    """

    security: str
    date: date
    ratio: str
    again: bool = False
    all_records: bool = False

    def __post_init__(self) -> None:
        require_day("date", self.date)

    async def apply(self, database: Connections) -> SplitCorrection:
        """Make the correction."""
        return await splits.split(
            database,
            self.security,
            self.date,
            self.ratio,
            again=self.again,
            all_records=self.all_records,
        )


@dataclass(frozen=True, eq=False)
class FileOf:
    """Corrections: every row of a file, frame or table, or none of them.

    Attributes:
        source: the name of a .parquet or .csv file, a polars frame or an Arrow table, with the
            columns of one that loads prices, fx_rates or positions. A price or rate that is not
            stored cannot be corrected.
    """

    source: Path | str | pl.DataFrame | pa.Table

    async def apply(self, database: Connections) -> FileCorrection:
        """Make the corrections."""
        return await correct_file(database, self.source)


Change: TypeAlias = Price | Rate | DeletePrice | DeleteRate | Position | Split | FileOf
