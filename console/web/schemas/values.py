"""The numbers of a position on a business day."""

from pydantic import Field

from revalue.console.web.schemas.fields import Amount, Day, Model, Rate


class Values(Model):
    """The numbers of a value."""

    quantity: Amount = Field(description="Quantity held.")
    cost_basis_local: Amount = Field(description="Cost basis in local currency.")
    cost_basis: Amount = Field(description="Cost basis in base currency.")
    price: Rate | None = Field(description="Price per unit in local currency.")
    price_date: Day | None = Field(description="Date of the price.")
    fx_rate: Rate | None = Field(description="Base currency per unit of local currency.")
    fx_date: Day | None = Field(description="Date of the FX rate.")
    market_value_local: Amount = Field(description="Market value in local currency.")
    market_value: Amount = Field(description="Market value in base currency.")
    unrealized_gain_local: Amount = Field(description="Unrealized gain in local currency.")
    unrealized_gain: Amount = Field(description="Unrealized gain in base currency.")


class ValuesOrNull(Model):
    """The numbers of a position that may have no value: then they are null."""

    quantity: Amount | None = Field(description="Quantity held.")
    cost_basis_local: Amount | None = Field(description="Cost basis in local currency.")
    cost_basis: Amount | None = Field(description="Cost basis in base currency.")
    price: Rate | None = Field(description="Price per unit in local currency.")
    price_date: Day | None = Field(description="Date of the price.")
    fx_rate: Rate | None = Field(description="Base currency per unit of local currency.")
    fx_date: Day | None = Field(description="Date of the FX rate.")
    market_value_local: Amount | None = Field(description="Market value in local currency.")
    market_value: Amount | None = Field(description="Market value in base currency.")
    unrealized_gain_local: Amount | None = Field(description="Unrealized gain in local currency.")
    unrealized_gain: Amount | None = Field(description="Unrealized gain in base currency.")
