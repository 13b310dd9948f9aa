"""The pictures of docs/performance.md."""

from pathlib import Path

from revalue.benchmarks.report.form import Record, largest, median


def draw(records: Record, folder: Path) -> None:
    """Draw baselines.png, growth.png and pool.png."""
    import matplotlib

    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    _draw_baselines(records["backfill"], folder / "baselines.png")
    _draw_growth(records["growth"], folder / "growth.png")
    _draw_pool(records["pool"], records["machine"]["cores"], folder / "pool.png")


def _draw_baselines(backfill: Record, path: Path) -> None:
    from matplotlib import pyplot

    rates = {
        f"engine, {backfill['actors']} actors": backfill["rows_per_second"],
        **backfill["baselines"],
    }
    figure, axes = pyplot.subplots(figsize=(8.5, 3.4), constrained_layout=True)
    bars = axes.barh(
        list(rates),
        list(rates.values()),
        color=["#34608f", *["#b8c4d0"] * len(backfill["baselines"])],
    )
    axes.bar_label(bars, labels=[f" {rate:,}" for rate in rates.values()], fontsize=8)
    axes.set(
        title=f"Backfill of {backfill['rows']:,} position-days, rows/s (logarithmic)", xscale="log"
    )
    axes.set_xlim(right=max(rates.values()) * 4)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def _draw_growth(growth: list[Record], path: Path) -> None:
    from matplotlib import pyplot

    by_positions = [g for g in growth if g["dates"] == 2]
    by_dates = [g for g in growth if g["positions"] == 1_000 and g["dates"] != 2]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), constrained_layout=True)
    for points, label in (
        (by_positions, "positions x 2 dates"),
        (by_dates, "1,000 positions x dates"),
    ):
        rows = [point["rows"] for point in points]
        left.loglog(rows, [median(point) for point in points], marker="o", label=label)
        mib = [largest(point) or float("nan") for point in points]
        right.semilogx(rows, mib, marker="o", label=label)
    for axes, title, unit in (
        (left, "Backfill: time", "seconds"),
        (right, "Largest process", "MiB"),
    ):
        axes.set(title=title, xlabel="position-days", ylabel=unit)
        axes.grid(visible=True, alpha=0.3)
        axes.legend(frameon=False)
    right.set_ylim(bottom=0)
    figure.savefig(path, dpi=110)


def _draw_pool(pool: list[Record], cores: int, path: Path) -> None:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(5.5, 3.6), constrained_layout=True)
    axes.bar(
        [str(p["actors"]) for p in pool], [p["rows_per_second"] for p in pool], color="#34608f"
    )
    axes.set(
        title=f"Backfill by size of the pool ({cores} cores)",
        xlabel="valuation actors",
        ylabel="rows/s",
    )
    axes.yaxis.set_major_formatter(lambda value, _: f"{value / 1000:,.0f} k")
    figure.savefig(path, dpi=110)
