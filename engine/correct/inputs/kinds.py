"""What can be loaded, with the columns and the key of each."""

from enum import StrEnum

from revalue.engine.correct.inputs.parsing import Column
from revalue.engine.errors import UsageError


class Kind(StrEnum):
    """What can be loaded. Load in this order: each kind refers to those before it."""

    BUSINESS_DATES = "business_dates"
    PORTFOLIOS = "portfolios"
    INSTRUMENTS = "instruments"
    FX_RATES = "fx_rates"
    PRICES = "prices"
    POSITIONS = "positions"

    @classmethod
    def _missing_(cls, value: object) -> "Kind | None":
        """Accept what FX rates are called elsewhere, and dashes."""
        name = str(value).replace("-", "_")
        if name in _FX_RATES:
            return cls.FX_RATES
        return next((kind for kind in cls if kind.value == name), None)


_FX_RATES = ("rates", "rate", "fx", "fx_rate")
_CURRENCY = Column("currency", "text")
COLUMNS: dict[Kind, tuple[Column, ...]] = {
    Kind.BUSINESS_DATES: (
        Column("calendar_id", "text", is_defined=True),
        Column("business_date", "date"),
    ),
    Kind.PORTFOLIOS: (
        Column("portfolio_id", "text", is_defined=True),
        Column("base_currency", "text"),
        Column("calendar_id", "text"),
    ),
    Kind.INSTRUMENTS: (
        Column("security_id", "text", is_defined=True),
        _CURRENCY,
        Column("contract_multiplier", "decimal", digits=12, places=6, required=False),
        Column("max_price_age_sessions", "integer"),
        Column("move_limit_percent", "decimal", digits=6, places=4, required=False),
    ),
    Kind.FX_RATES: (
        Column("base_currency", "text"),
        Column("quote_currency", "text"),
        Column("rate_date", "date"),
        Column("rate", "decimal", digits=10, places=18),
    ),
    Kind.PRICES: (
        Column("security_id", "text"),
        Column("price_date", "date"),
        Column("price", "decimal"),
        _CURRENCY,
        Column("quote_basis", "text"),
    ),
    Kind.POSITIONS: (
        Column("portfolio_id", "text"),
        Column("security_id", "text"),
        Column("position_date", "date"),
        Column("quantity", "decimal"),
        Column("cost_basis_local", "decimal"),
        Column("cost_basis", "decimal"),
    ),
}
"""The columns of each kind. Decimals may be given as decimals, whole numbers, text, or floats. A
float is taken as the shortest decimal that reads back as the same float."""

KEYS: dict[Kind, tuple[str, ...]] = {
    Kind.BUSINESS_DATES: ("calendar_id", "business_date"),
    Kind.PORTFOLIOS: ("portfolio_id",),
    Kind.INSTRUMENTS: ("security_id",),
    Kind.FX_RATES: ("base_currency", "quote_currency", "rate_date"),
    Kind.PRICES: ("security_id", "price_date"),
    Kind.POSITIONS: ("portfolio_id", "security_id", "position_date"),
}
ORDER: dict[Kind, tuple[str, ...]] = {
    Kind.POSITIONS: ("security_id", "portfolio_id", "position_date"),
}
"""In which order rows are written, if it is not that of the key. The holders of a security are
neighbours, on disk and in a task."""


def known_kind(kind: Kind | str) -> Kind:
    """Return the kind of this name.

    Raises:
        UsageError: there is none.
    """
    try:
        return Kind(kind)
    except ValueError:
        raise UsageError(f"{str(kind)!r} cannot be loaded: give one of {', '.join(Kind)}") from None
