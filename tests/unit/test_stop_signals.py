"""Signals as a process meets them: missed by a handler, lost in a destructor, sent twice."""

import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.support import has_ended

BEGIN = """
import os, signal, subprocess, sys, time
from revalue.console.cli.stop_signals import StopRequestedError, StopSignals
stop = StopSignals(first_words="stopping", last_words=lambda: "left")
stop.watch()
"""
MISSED = {
    "another handler": """
signal.signal(signal.SIGTERM, lambda *_: None)
os.kill(os.getpid(), signal.SIGTERM)
try:
    while True:
        time.sleep(0.01)
        stop.handle()
except StopRequestedError:
    sys.exit(stop.number)
""",
    "a destructor": """
class Dies:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
Dies()
try:
    stop.check()
except StopRequestedError:
    sys.exit(stop.number)
""",
}
HANGS = """
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
told = False
while True:
    try:
        if not told:
            told = True
            print(child.pid, flush=True)
        time.sleep(60)
    except StopRequestedError:
        pass
"""


@pytest.mark.parametrize("missed", MISSED)
def test_a_signal_that_the_handler_misses_is_not_lost(missed: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", BEGIN + MISSED[missed]],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == signal.SIGTERM, ended.stderr


def test_a_second_signal_ends_the_process_and_those_that_it_has_started() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BEGIN + HANGS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        child = psutil.Process(int(running.stdout.readline()))
        running.send_signal(signal.SIGINT)
        assert running.stderr.readline() == "stopping\n"
        begun = time.monotonic()
        running.send_signal(signal.SIGTERM)
        assert (running.wait(30), running.stderr.read()) == (128 + signal.SIGTERM, "left\n")
        assert time.monotonic() - begun < 5
    while not has_ended(child):
        assert time.monotonic() - begun < 30
        time.sleep(0.01)
