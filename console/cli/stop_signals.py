"""Ctrl-C and SIGTERM: the first asks for a stop, the second ends the process at once."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

import psutil

from revalue.console.cli.output import err

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequestedError(KeyboardInterrupt):
    """A signal has asked for a stop."""


@contextmanager
def told_when_stopped(what: Callable[[], str]) -> Iterator[None]:
    """End the block at Ctrl-C or SIGTERM, say what was and was not done, and exit.

    SIGTERM is taken as Ctrl-C is: transactions are rolled back, and files that are not complete are
    removed.

    Args:
        what: returns what to say; it is called when the block has ended.

    Raises:
        SystemExit: with 128 and the number of the signal.
    """
    number = int(signal.SIGINT)

    def as_ctrl_c(received: int, _: FrameType | None) -> None:
        nonlocal number
        number = received
        signal.raise_signal(signal.SIGINT)

    is_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, as_ctrl_c) if is_main else None
    try:
        yield
    except KeyboardInterrupt:
        err.print(f"interrupted: {what()}")
        sys.exit(128 + number)
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


class StopSignals:
    """What the signals have asked for.

    A handler in Python can miss a signal: it runs when the main thread gets to it, which can be
    inside of a library for a long time; what it raises is lost inside of a destructor; and Ray
    installs a handler of its own while it starts. So a thread is told of each signal too, by the
    file descriptor to which Python writes its number.

    Attributes:
        number: the first signal; None: there was none.
    """

    def __init__(self, *, first_words: str, last_words: Callable[[], str]) -> None:
        """Create it; `watch` begins.

        Args:
            first_words: written to standard error at the first signal.
            last_words: returns what is written at the second one; it is called in a thread.
        """
        self.number: int | None = None
        self._first_words = first_words
        self._last_words = last_words
        self._is_raised = False

    def watch(self) -> None:
        """Watch for signals from now on. In another thread than the main one there are none."""
        if threading.current_thread() is not threading.main_thread():
            return
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        threading.Thread(target=self._wait, args=(reading,), name="signals", daemon=True).start()
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        self.handle()

    def handle(self) -> None:
        """Take the handlers, which a library may have taken meanwhile; raise what was missed."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _SIGNALS:
            signal.signal(number, self._interrupt)
        self.check()

    def check(self) -> None:
        """Raise StopRequestedError if a signal has asked for a stop."""
        if self.number is not None:
            raise StopRequestedError

    def _interrupt(self, number: int, _: FrameType | None) -> None:
        self.number = self.number or number
        if not self._is_raised:
            self._is_raised = True
            raise StopRequestedError

    def _wait(self, reading: int) -> None:
        self.number = self._next(reading)
        os.write(2, f"{self._first_words}\n".encode())
        self._end(self._next(reading))

    def _next(self, reading: int) -> int:
        while (number := os.read(reading, 1)[0]) not in _SIGNALS:
            pass
        return number

    def _end(self, number: int) -> NoReturn:
        """End this process, and those that it has started: some of a local Ray would live on."""
        try:
            os.write(2, f"{self._last_words()}\n".encode())
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        finally:
            os._exit(128 + number)
