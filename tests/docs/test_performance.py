"""The page of performance is what its records say."""

from pathlib import Path

from revalue.benchmarks.report import page, read

ROOT = Path(__file__).parents[2]


def test_no_number_of_the_page_was_typed() -> None:
    assert (ROOT / "docs" / "performance.md").read_text() == page(
        read(ROOT / "benchmarks" / "records")
    )
