# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Threads between which frames pass, such that lag never builds up."""

from __future__ import annotations

from collections.abc import Callable
import threading
import time
from typing import Generic, TypeVar

Item = TypeVar('Item')


class Worker(Generic[Item]):
    """Handles items one at a time on a thread of its own; how they come to it is a subclass's.

    Attributes:
        crash: the exception that ended the thread, a bug; None while all is well.
    """

    name = 'depth_thread'

    def __init__(self, handle: Callable[[Item], None]) -> None:
        """Start the thread; handle is called on it with each item taken."""
        self._handle = handle
        self._changed = threading.Condition()
        self._waiting: Item | None = None
        self._busy_since_s: float | None = None
        self._stopping = False
        self.crash: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    @property
    def busy_s(self) -> float:
        """How long the item in hand has been there, in seconds; 0 without one."""
        since_s = self._busy_since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    def stop(self) -> None:
        """Let the items in hand finish, and join the thread; look at crash afterwards."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        try:
            while (item := self._take()) is not None:
                self._handle(item)
        except BaseException as error:  # handed to the main thread, which raises it
            with self._changed:
                self.crash = error
                self._changed.notify_all()

    def _take(self) -> Item | None:
        with self._changed:
            self._busy_since_s = None
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._stopping or self._waiting is not None)
            item, self._waiting = self._waiting, None
            if item is not None:
                self._busy_since_s = time.monotonic()
            return item


class NewestItemWorker(Worker[Item]):
    """Drops an item that is overtaken while it waits."""

    name = 'depth_worker'

    def __init__(self, handle: Callable[[Item], None], superseded: Callable[[Item], None]) -> None:
        """Start the thread.

        Args:
            handle: called on the thread with each item taken.
            superseded: called on the submitting thread with each item dropped.
        """
        self._superseded = superseded
        super().__init__(handle)

    def submit(self, item: Item) -> None:
        """Offer an item; returns at once."""
        with self._changed:
            dropped, self._waiting = self._waiting, item
            self._changed.notify_all()
        if dropped is not None:
            self._superseded(dropped)

    def stop(self) -> None:
        """Drop the waiting item, let the one in hand finish, and join the thread."""
        with self._changed:
            self._waiting = None
        super().stop()


class OneAhead(Worker[Item]):
    """Handles all items in order, one while the next is being made."""

    name = 'depth_publisher'

    def submit(self, item: Item) -> None:
        """Hand over an item when the one before is done; raises what that one raised, a bug."""
        with self._changed:
            self._changed.wait_for(
                lambda: self.crash or (self._waiting is None and self._busy_since_s is None)
            )
            if self.crash is not None:
                raise self.crash
            self._waiting = item
            self._changed.notify_all()
