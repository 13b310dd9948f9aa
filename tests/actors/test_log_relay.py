"""Log lines of other processes arrive whole at the command that started them."""

import json
import subprocess
import sys

import pytest

from revalue.actors import log_relay

WARN = """
import sys
from revalue.actors import log_relay
from revalue.engine import logs
log_relay.configure("WARNING")
for number in range(int(sys.argv[1])):
    logs.logger("test").warning("told", number=number, padding="x" * int(sys.argv[2]))
"""


def warn(count: int, characters: int) -> str:
    """Write log lines in a process of its own; return what it wrote to its standard error."""
    done = subprocess.run(
        [sys.executable, "-c", WARN, str(count), str(characters)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stderr


def test_lines_arrive_whole(capsys: pytest.CaptureFixture[str]) -> None:
    with log_relay.receiving():
        assert warn(20, 50_000) == ""
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["number"], len(line["padding"])) for line in lines] == [
        (number, 50_000) for number in range(20)
    ]


def test_a_line_that_is_too_long_to_send_stays_where_it_was_written(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with log_relay.receiving():
        assert len(json.loads(warn(1, 2_000_000))["padding"]) == 2_000_000
    assert capsys.readouterr().err == ""


def test_without_a_reader_of_standard_error_nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        def write(self, text: str) -> None:
            raise BrokenPipeError

    with log_relay.receiving():
        monkeypatch.setattr(sys, "stderr", Closed())
        assert warn(3000, 1000) == "", "a line was not taken"
