"""A second Ctrl-C or SIGTERM ends the process at once, whatever its threads are doing."""

import os
import signal
from collections.abc import Callable, Collection
from contextlib import suppress
from threading import Thread

import psutil


def end_at(signals: Collection[int], last_words: Callable[[], str]) -> None:
    """End this process at the next of these signals, after its last words on standard error.

    The processes that it has started end with it: left alone, some of a local Ray would live for
    another minute.

    A handler in Python runs when the main thread gets to it, which can be inside of a library for
    a long time. So a thread of its own waits for the number of the signal.

    Args:
        last_words: returns them; it is called in that thread.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def wait() -> None:
        while (number := os.read(reading, 1)[0]) not in signals:
            pass
        try:
            os.write(2, f"{last_words()}\n".encode())
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        finally:
            os._exit(128 + number)

    Thread(target=wait, name="second signal", daemon=True).start()
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in signals:
        signal.signal(number, lambda *_: None)  # only a handler in Python writes the number
