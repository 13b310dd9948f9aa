"""Chart of a book: market value and unrealized gain over time, one panel per base currency."""

from pathlib import Path

import matplotlib as mpl
import polars as pl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import YearLocator, num2date
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

_VALUE, _GAIN, _INK = "#1f5fa8", "#d1700a", "#333333"
_SCALES = ((1e12, "tn"), (1e9, "bn"), (1e6, "m"), (1e3, "k"))


def draw_totals(totals: pl.DataFrame, path: Path, *, title: str) -> None:
    """Draw the totals as PNG or SVG, depending on the suffix of `path`.

    Args:
        totals: base_currency, date, market_value, unrealized_gain; the amounts in base currency.
    """
    mpl.rcParams["svg.hashsalt"] = "revalue"
    currencies = sorted(totals["base_currency"].unique())
    figure = Figure(figsize=(11, 1.9 * len(currencies) + 1.1), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(currencies), 1, sharex=True, squeeze=False)[:, 0]
    for panel, currency in zip(panels, currencies, strict=True):
        _draw(panel, totals.filter(pl.col("base_currency") == currency).sort("date"), currency)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold", color=_INK)
    figure.legend(handles, labels, loc="outside lower left", ncols=2, frameon=False, fontsize=9)
    figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else None)


def _draw(panel: Axes, rows: pl.DataFrame, currency: str) -> None:
    dates = rows["date"].to_numpy()
    value, gain = (
        rows[name].cast(pl.Float64).to_numpy() for name in ("market_value", "unrealized_gain")
    )
    scale, unit = _scale(float(max(abs(value).max(), abs(gain).max())) if len(rows) else 0)
    panel.fill_between(dates, value / scale, color=_VALUE, alpha=0.15, linewidth=0)
    panel.plot(dates, value / scale, color=_VALUE, linewidth=1.3, label="market value")
    panel.plot(dates, gain / scale, color=_GAIN, linewidth=1.1, label="unrealized gain")
    panel.axhline(0, color=_INK, linewidth=0.6)
    panel.set_ylabel(f"{currency} {unit}".strip(), fontsize=9, color=_INK)
    panel.yaxis.set_major_formatter(
        FuncFormatter(lambda y, _: f"{y:,.0f}" if abs(y) >= 10 or y == 0 else f"{y:,.1f}")
    )
    panel.xaxis.set_major_locator(YearLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{num2date(x):%Y}"))
    panel.tick_params(labelsize=8, colors=_INK)
    panel.grid(axis="y", color="#dddddd", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.margins(x=0)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)


def _scale(largest: float) -> tuple[float, str]:
    return next(((scale, unit) for scale, unit in _SCALES if largest >= scale), (1.0, ""))
