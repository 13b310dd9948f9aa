"""Position records as results name them: as in a file of positions, so that they can be loaded."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal


@dataclass(frozen=True)
class PositionRecord:
    """A position record, named as in a file of positions."""

    portfolio_id: str
    security_id: str
    position_date: date
    quantity: Decimal
    cost_basis_local: Decimal
    cost_basis: Decimal
