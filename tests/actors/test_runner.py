"""What a command says of its scheduler's trouble while nothing is drawn (`--quiet`)."""

import pytest

from revalue.actors import runner
from revalue.actors.local import LocalHost
from revalue.actors.runner import Runner
from revalue.engine.settings import Settings


def test_trouble_that_begins_again_soon_is_told_if_it_stays(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = 1_000.0
    monkeypatch.setattr(runner.time, "monotonic", lambda: seconds)
    told = Runner(LocalHost(Settings()), "postgresql://", Settings())
    with caplog.at_level("WARNING", logger="revalue"):
        for trouble, later in [("short", 10), (None, 10), ("long", 50), ("long", 50), ("long", 50)]:
            told._warn_of(trouble)
            seconds += later
    messages = [str(record.__dict__) for record in caplog.records]
    assert len(messages) == 2
    assert "'short'" in messages[0]
    assert "'long'" in messages[1]
