"""Carries the log lines of the processes of a local Ray to the command that started it.

Ray writes their standard error to files of its own. A Unix socket delivers each line at once, as it
was written, and also the last ones of a process that is killed.
"""

import logging
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from revalue.engine import logs

_VARIABLE = "REVALUE_LOG_SOCKET"  # inherited by every process of the local Ray
_LONGEST_LINE = 1024 * 1024  # longer than the longest message that Linux sends
_END_SECONDS = 5.0  # standard error may be a pipe that nobody reads
_SEND_SECONDS = 0.1  # the scheduler does nothing else meanwhile


@contextmanager
def receiving() -> Iterator[None]:
    """Write the lines that arrive to this process's standard error while the block runs."""
    with tempfile.TemporaryDirectory(prefix="revalue-log-") as folder:
        path = str(Path(folder) / "socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
            receiver.bind(path)
            os.environ[_VARIABLE] = path
            writing = threading.Thread(target=_write_lines, args=(receiver,), daemon=True)
            writing.start()
            try:
                yield
            finally:
                del os.environ[_VARIABLE]
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                    sender.settimeout(_END_SECONDS)
                    with suppress(OSError):
                        sender.sendto(b"", path)
                writing.join(_END_SECONDS)


def _write_lines(receiver: socket.socket) -> None:
    """Write each message as a line, until an empty one says that no more will come."""
    while line := receiver.recv(_LONGEST_LINE):
        # If nobody reads standard error any more, the lines are taken all the same: else each
        # sender would wait.
        with suppress(OSError, ValueError):
            sys.stderr.write(f"{line.decode(errors='replace')}\n")
            sys.stderr.flush()


def configure(level: str) -> None:
    """Send the log lines of this process to the command, if there is one that receives them.

    Otherwise they go to standard error, which Ray stores in its log folder and, on a cluster, sends
    to the driver.
    """
    path = os.environ.get(_VARIABLE)
    logs.configure(level, handler=_ToCommand(path) if path else None)


class _ToCommand(logging.Handler):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(_SEND_SECONDS)

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        try:
            self._socket.sendto(line.encode(), self._path)
        except OSError:  # the command is gone or does not read, or the line is too long to send
            sys.stderr.write(f"{line}\n")
