# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""SIGINT and SIGTERM: an orderly end if it comes in time, else a hard one that says what hung.

Imports nothing that takes time, so that a program can answer signals before its other imports.
"""

from __future__ import annotations

from contextlib import suppress
import ctypes
import os
from pathlib import Path
import signal
import sys
import threading
import time
from typing import NoReturn

GRACE_S = 4.0  # for an orderly end
DEADLINE_S = 5  # of the kernel's alarm, should not even the thread here get to run

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """A request to end, by a signal or by the program; from then on the end is certain.

    The interpreter writes each signal into a pipe that a thread reads. So it does not matter what
    the main thread is in the middle of, and no handler runs inside of anything.

    Attributes:
        requested: whether the end has been asked for.
    """

    def __init__(self) -> None:
        """Take the signals over; until orderly() is called they end the process with code 0."""
        self.requested = False
        self._orderly = False
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        signal.set_wakeup_fd(self._write)
        for number in _SIGNALS:
            signal.signal(number, lambda *_: None)
        threading.Thread(target=self._watch, name='stop', daemon=True).start()

    def orderly(self) -> None:
        """From here on leave the end to the program, as long as it comes within GRACE_S."""
        self._orderly = True

    def request(self) -> None:
        """Ask for the end as a signal does."""
        os.write(self._write, bytes([signal.SIGTERM]))

    def end(self, code: int) -> NoReturn:
        """End the process here and now.

        Nothing is left that the interpreter's own end would have to do, and with the libraries
        loaded here that takes most of a second, several on a busy machine, in which no deadline
        could be told any more. It would also wait for a network that loads.
        """
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # nobody reads it any more
                stream.flush()
        ctypes.CDLL(None).fflush(None)  # what the middleware has written
        os._exit(code)

    def _watch(self) -> None:
        while os.read(self._read, 1)[0] not in _SIGNALS:
            pass
        self.requested = True
        if not self._orderly:
            os._exit(0)
        signal.alarm(DEADLINE_S)
        time.sleep(GRACE_S)
        print(
            f'ended the hard way, {GRACE_S:g} s after the request to stop: {what_runs()}',
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)


def what_runs(prefix: str = 'depth_') -> str:
    """Return where the threads of a name stand, idle ones apart, or else where the main one does.

    Args:
        prefix: what the names of the threads begin with.

    Returns:
        One line, such as `depth_worker at predictor.py:120 in __call__`.
    """
    frames = sys._current_frames()
    threads = [t for t in threading.enumerate() if t.name.startswith(prefix)]
    lines = []
    for thread in [*threads, threading.main_thread()]:
        frame = frames.get(thread.ident or 0)
        while frame is not None and frame.f_code.co_filename == threading.__file__:
            frame = frame.f_back
        if frame is not None and frame.f_code.co_name != '_take':  # which waits for work
            name, line = Path(frame.f_code.co_filename).name, frame.f_lineno
            lines.append(f'{thread.name} at {name}:{line} in {frame.f_code.co_name}')
    return '; '.join(lines[:-1] or lines)
