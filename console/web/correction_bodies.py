"""Corrections in the body of a request, one or up to 100, and how each is made."""

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field

from revalue.console.web.inputs import Body, Currency, DecimalText, PortfolioId, SecurityId
from revalue.console.web.parameters import IsoDate, require_text
from revalue.engine.correct.corrections import corrections
from revalue.engine.postgres.database import Connections

Day = Annotated[IsoDate, Field(description="Date of the corrected record.")]
MAX_CORRECTIONS = 100


class PriceCorrection(Body):
    """Replace the stored price of a security on a date."""

    kind: Literal["price"] = Field(description="Kind of the correction.")
    security_id: SecurityId
    date: Day
    price: DecimalText

    @property
    def row(self) -> tuple[str, ...]:
        """The kind and the key of what is corrected."""
        return "price", self.security_id, str(self.date)

    async def apply(self, database: Connections) -> corrections.Correction:
        """Make the correction."""
        return await corrections.price(
            database, require_text(self.security_id), self.date, Decimal(self.price)
        )


class RateCorrection(Body):
    """Replace the stored FX rate of a date: units of quote currency per unit of base currency."""

    kind: Literal["rate"] = Field(description="Kind of the correction.")
    base_currency: Currency
    quote_currency: Currency
    date: Day
    rate: DecimalText

    @property
    def row(self) -> tuple[str, ...]:
        """The kind and the key of what is corrected."""
        return "rate", self.base_currency, self.quote_currency, str(self.date)

    async def apply(self, database: Connections) -> corrections.Correction:
        """Make the correction."""
        return await corrections.rate(
            database, self.base_currency, self.quote_currency, self.date, Decimal(self.rate)
        )


class PriceDeletion(Body):
    """Delete the stored price of a security on a date."""

    kind: Literal["delete_price"] = Field(description="Kind of the correction.")
    security_id: SecurityId
    date: Day

    @property
    def row(self) -> tuple[str, ...]:
        """The kind and the key of what is corrected."""
        return "price", self.security_id, str(self.date)

    async def apply(self, database: Connections) -> corrections.Correction:
        """Make the correction."""
        return await corrections.delete_price(database, require_text(self.security_id), self.date)


class RateDeletion(Body):
    """Delete the stored FX rate of a date."""

    kind: Literal["delete_rate"] = Field(description="Kind of the correction.")
    base_currency: Currency
    quote_currency: Currency
    date: Day

    @property
    def row(self) -> tuple[str, ...]:
        """The kind and the key of what is corrected."""
        return "rate", self.base_currency, self.quote_currency, str(self.date)

    async def apply(self, database: Connections) -> corrections.Correction:
        """Make the correction."""
        return await corrections.delete_rate(
            database, self.base_currency, self.quote_currency, self.date
        )


class PositionCorrection(Body):
    """Replace or add the position record of a date; later records stay."""

    kind: Literal["position"] = Field(description="Kind of the correction.")
    portfolio_id: PortfolioId
    security_id: SecurityId
    date: Day
    quantity: DecimalText
    cost_basis_local: DecimalText
    cost_basis: DecimalText

    @property
    def row(self) -> tuple[str, ...]:
        """The kind and the key of what is corrected: all records of a position are one row."""
        return "records", self.portfolio_id, self.security_id

    async def apply(self, database: Connections) -> corrections.Correction:
        """Make the correction."""
        names = (require_text(self.portfolio_id), require_text(self.security_id))
        amounts = (
            Decimal(each) for each in (self.quantity, self.cost_basis_local, self.cost_basis)
        )
        return await corrections.position(database, *names, self.date, *amounts)


AnyCorrection = Annotated[
    PriceCorrection | RateCorrection | PriceDeletion | RateDeletion | PositionCorrection,
    Field(discriminator="kind"),
]
Corrections = Annotated[list[AnyCorrection], Field(min_length=1, max_length=MAX_CORRECTIONS)]


def correction_body(made: corrections.Correction) -> dict[str, Any]:
    """Return the response to a correction, made or rolled back."""
    return {"what": made.what, "old": made.old, "new": made.new, "warnings": made.warnings}
