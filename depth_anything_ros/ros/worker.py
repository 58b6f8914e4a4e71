# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Threads between which frames pass, such that lag never builds up."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
import threading
from typing import Generic, TypeVar

Item = TypeVar('Item')


class NewestItemWorker(Generic[Item]):
    """Handles items one at a time; an item that is overtaken while it waits is dropped.

    Attributes:
        crash: the exception that ended the thread, a bug; None while all is well.
    """

    def __init__(self, handle: Callable[[Item], None], superseded: Callable[[], None]) -> None:
        """Start the thread.

        Args:
            handle: called on the worker's thread with each item taken.
            superseded: called on the submitting thread for each item dropped.
        """
        self._handle = handle
        self._superseded = superseded
        self._changed = threading.Condition()
        self._waiting: Item | None = None
        self._stopping = False
        self.crash: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name='depth_worker', daemon=True)
        self._thread.start()

    def submit(self, item: Item) -> None:
        """Offer an item; returns at once."""
        with self._changed:
            dropped, self._waiting = self._waiting, item
            self._changed.notify()
        if dropped is not None:
            self._superseded()

    def stop(self) -> None:
        """Drop the waiting item, let the one in hand finish, and join the thread."""
        with self._changed:
            self._stopping, self._waiting = True, None
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        try:
            while (item := self._take()) is not None:
                self._handle(item)
        except BaseException as error:  # handed to the main thread, which raises it
            self.crash = error

    def _take(self) -> Item | None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._waiting is not None)
            item, self._waiting = self._waiting, None
            return item


class OneAhead(Generic[Item]):
    """Handles all items in order on a thread of its own, one while the next is being made."""

    def __init__(self, handle: Callable[[Item], None]) -> None:
        """Take what is called with each item."""
        self._handle = handle
        self._thread = ThreadPoolExecutor(1, 'depth_publisher')
        self._last: Future[None] | None = None

    def submit(self, item: Item) -> None:
        """Hand over an item when the one before is done; raises what that one raised, a bug."""
        if self._last is not None:
            self._last.result()
        self._last = self._thread.submit(self._handle, item)

    def stop(self) -> None:
        """Let the item in hand finish, and join the thread."""
        self._thread.shutdown()
