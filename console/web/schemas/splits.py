"""Models of splits."""

from pydantic import Field

from revalue.console.web.schemas.fields import Amount, Day, Model, PortfolioId, SecurityId, Warnings


class SplitQuantity(Model):
    """The quantity of a position record before and after a split."""

    portfolio_id: PortfolioId
    position_date: Day = Field(description="Date of the record.")
    quantity: Amount = Field(description="Quantity before the split.")
    new_quantity: Amount = Field(description="Quantity after it.")


class SplitCounts(Model):
    """A split: how many positions and records have other quantities."""

    security_id: SecurityId
    date: Day = Field(description="First date on which the new quantities are held.")
    ratio: str = Field(description="New for old.")
    holders: int = Field(description="Positions whose quantity is another on that date or later.")
    begin_later: int = Field(description="Those of them that begin after that date.")
    records: int = Field(description="Position records that are changed or added.")
    quantities: list[SplitQuantity] = Field(
        description="The first 20 of these, by portfolio and date."
    )
    positions: int = Field(description="Positions that are corrected: those that are scheduled.")
    price_warning: str | None = Field(
        description="What is strange about the prices around that date. Null: nothing is."
    )
    warnings: Warnings
