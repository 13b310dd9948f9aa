"""The exceptions of a date, and the confirmation of prices and rates that are right."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal

import polars as pl

from revalue.engine.argument_types import require_day, require_decimal
from revalue.engine.book.open_database import Part
from revalue.engine.book.reads import wanted_report
from revalue.engine.correct.authors import local_author
from revalue.engine.correct.confirmations import confirmations
from revalue.engine.correct.confirmations.confirmations import Confirmable
from revalue.engine.correct.corrections.large_moves import MOVE_PERCENT
from revalue.engine.read.exceptions import MOVERS, Limits, exceptions
from revalue.engine.read.moves import shown_move


class Exceptions(Part):
    """The calls of a book that list exceptions and confirm prices and rates."""

    def exceptions(
        self,
        last_date: date | None = None,
        *,
        portfolios: Sequence[str] | None = None,
        securities: Sequence[str] | None = None,
        known_at: datetime | None = None,
        move_percent: float = MOVE_PERCENT,
        movers: int = MOVERS,
        confirmed: bool = False,
    ) -> pl.DataFrame:
        """Return the exceptions of a date: what has no value, is old, or has moved far.

        Args:
            last_date, portfolios, securities, known_at: as for `positions`.
            move_percent: list prices and rates that moved by more than this percentage. An
                instrument with a move_limit_percent has its own.
            movers: how many of the positions whose value moved most to list, per base currency.
            confirmed: also list the prices and rates that are confirmed (see `confirm_price`).

        Returns:
            One row per thing to look at and base currency, by kind and then by the market value
            that is concerned: kind (FAILED, NO_VALUE, NOT_VALUED, REPROCESSING, OLD_PRICE,
            OLD_RATE, PRICE_MOVE, RATE_MOVE, VALUE_MOVE), subject (a security, a pair of currencies,
            or a portfolio and a security), date, detail (text), move_percent (Float64), positions
            (how many are concerned), base_currency, market_value and change since the business date
            before (Decimal(38, 10)), value and value_before (of a price or rate that moved,
            Decimal(38, 18)), confirmed_by and why (text): see revalue.engine.read.exceptions.

        Raises:
            RevalueError: as for `positions`.
        """
        wanted = wanted_report(last_date, None, portfolios, securities, known_at)
        limits = Limits(move_percent, movers, confirmed)
        return self._wait(exceptions(self._database, wanted, limits))

    def confirm_price(
        self,
        security: str,
        day: date,
        value: Decimal | None = None,
        *,
        value_before: Decimal | None = None,
        why: str | None = None,
    ) -> Decimal:
        """Confirm a price that moved far, so that `exceptions` no longer lists it.

        It is listed again when another price is shown on that date, or before it.

        Args:
            security: the security.
            day: the business date on which it is shown.
            value: the price per unit, as in the column `value` of `exceptions`. None: the one that
                is shown now.
            value_before: the price from which it moved, as in the column of that name: if it is
                another one now, nothing is confirmed. None: all from which it moved, as shown now.
            why: a reason.

        Returns:
            The value that is confirmed.

        Raises:
            NotFoundError: there is no such security, or no position shows a price of it.
            UsageError: positions show different prices, because a correction is in progress.
            CorrectionRefusedError: `value` is not shown, and no correction is in progress; or it
                has not moved from `value_before`.
            InvalidInputError: the value cannot be a price.
        """
        return self._wait(self._confirm(Confirmable.PRICE, security, day, value, value_before, why))

    def confirm_rate(
        self,
        local: str,
        base: str,
        day: date,
        value: Decimal | None = None,
        *,
        value_before: Decimal | None = None,
        why: str | None = None,
    ) -> Decimal:
        """Confirm a rate that moved far, as `confirm_price`.

        Args:
            local: the currency of securities.
            base: the base currency of portfolios.
            day, value, value_before, why: as for `confirm_price`. Values are base currency per
                local currency.
        """
        subject = f"{local}/{base}"
        return self._wait(self._confirm(Confirmable.RATE, subject, day, value, value_before, why))

    def unconfirm_price(self, security: str, day: date) -> Decimal:
        """Withdraw the confirmation of a price: `exceptions` lists it again.

        Args:
            security, day: as for `confirm_price`.

        Returns:
            The value that was confirmed.

        Raises:
            NotFoundError: it is not confirmed.
        """
        require_day("day", day)
        return self._wait(
            confirmations.unconfirm(
                self._database, Confirmable.PRICE, security, day, local_author()
            )
        )

    def unconfirm_rate(self, local: str, base: str, day: date) -> Decimal:
        """Withdraw the confirmation of a rate, as `unconfirm_price`.

        Args:
            local, base, day: as for `confirm_rate`.
        """
        require_day("day", day)
        return self._wait(
            confirmations.unconfirm(
                self._database, Confirmable.RATE, f"{local}/{base}", day, local_author()
            )
        )

    async def _confirm(
        self,
        kind: Confirmable,
        subject: str,
        day: date,
        value: Decimal | None,
        value_before: Decimal | None,
        why: str | None,
    ) -> Decimal:
        require_day("day", day)
        for name, given in (("value", value), ("value_before", value_before)):
            if given is not None:
                require_decimal(name, given)
        shown = await shown_move(self._database, kind, subject, day)
        chosen = shown.value if value is None else value
        against = shown.against(chosen, value_before)
        author = local_author(why)
        await confirmations.confirm(self._database, kind, subject, day, chosen, against, author)
        return chosen
