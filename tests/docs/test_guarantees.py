"""Each promise names a test that there is."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guarantees.md").read_text()


def test_every_named_file_and_test_exists() -> None:
    files = set(re.findall(r"`((?:faults|property|integration|actors)/\w+\.py)`", PAGE))
    assert len(files) > 8
    for name in files:
        assert (ROOT / "tests" / name).is_file(), name
    tests = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(tests) > 8
    code = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for name in tests:
        assert f"def {name}(" in code, name


def test_every_promise_names_its_test() -> None:
    promises = re.split(r"\n\d+\. ", PAGE.partition("## What is not promised")[0])[1:]
    assert len(promises) == 15
    for promise in promises:
        assert re.search(r"`(faults|property|integration|actors)/\w+\.py`", promise), promise
