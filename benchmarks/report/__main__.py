"""python -m revalue.benchmarks.report: make docs/performance.md and its pictures."""

import argparse
from pathlib import Path

from revalue.benchmarks.report.charts import draw
from revalue.benchmarks.report.page import page, read

BENCHMARKS = Path(__file__).resolve().parents[1]  # `revalue/benchmarks` is a link


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=Path, default=BENCHMARKS / "records")
    parser.add_argument("--to", type=Path, default=BENCHMARKS.parent / "docs" / "performance.md")
    given = parser.parse_args()
    records = read(given.records)
    given.to.write_text(page(records))
    draw(records, given.to.parent / "performance")


if __name__ == "__main__":
    main()
