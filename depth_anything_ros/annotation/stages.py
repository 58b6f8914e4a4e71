# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""While the network is at one image, the one before is measured and the one before that written.

Or one after the other, where there is one core for all: the same work in the same order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

P = ParamSpec('P')
T = TypeVar('T')

IMAGES_AHEAD = 2  # that may be on their way; more only take memory
WRITES_AHEAD = 64


class Stages:
    """What measures and what writes, each in the order of submission; side by side, two threads.

    So the order of what is written does not depend on how long anything took. What is raised on
    either is raised here by the next call, or at the end; then nothing more is begun.
    """

    def __init__(self, side_by_side: bool = True) -> None:
        """Start the threads, if there are to be any; else all is done where it is submitted."""
        self._measuring, self._writing = (
            ThreadPoolExecutor(1, name) if side_by_side else _Here()
            for name in ('measure', 'write')
        )
        self._images: deque[Future[Any]] = deque()
        self._writes: deque[Future[Any]] = deque()

    def __enter__(self) -> Stages:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        failed = kind is not None
        self._measuring.shutdown(cancel_futures=failed)
        self._writing.shutdown(cancel_futures=failed)
        if not failed:
            _wait(self._writes, 0)

    def write(self, write: Callable[[], object]) -> None:
        """Write something when all before it has been written."""
        self._writes.append(self._writing.submit(write))
        _wait(self._writes, WRITES_AHEAD)

    def measure(self, measure: Callable[[], T], write: Callable[[T], object]) -> None:
        """Measure an image, and write what comes of it in the place that it has now."""
        measured = self._measuring.submit(measure)
        written = self._writing.submit(lambda: write(measured.result()))
        self._writes.append(written)
        self._images.append(written)
        _wait(self._images, IMAGES_AHEAD)


class _Here(Executor):
    """Does what is submitted at once, on the thread that submits."""

    def submit(
        self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        done: Future[T] = Future()
        try:
            done.set_result(function(*args, **kwargs))
        except Exception as error:  # raised by result(), as of a thread
            done.set_exception(error)
        return done


def _wait(running: deque[Future[Any]], most: int) -> None:
    while len(running) > most:
        running.popleft().result()
