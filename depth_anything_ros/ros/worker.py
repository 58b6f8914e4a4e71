# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Threads between which frames pass, such that lag never builds up."""

from __future__ import annotations

from collections.abc import Callable, Hashable
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

    def _waits(self) -> bool:
        """Return whether an item is there to be taken; called under the lock."""
        raise NotImplementedError

    def _next(self) -> Item:
        """Take an item; called under the lock, where one is there."""
        raise NotImplementedError

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
            self._changed.wait_for(lambda: self._stopping or self._waits())
            item = self._next() if self._waits() else None
            if item is not None:
                self._busy_since_s = time.monotonic()
            return item


class NewestItemsWorker(Worker[list[Item]]):
    """Takes the newest item of each source; what is overtaken while it waits is dropped.

    Where not all can be taken, the source that was served longest ago comes first, so that none
    starves: neither behind one that is faster, nor behind one that is never any good.
    """

    name = 'depth_worker'

    def __init__(
        self,
        handle: Callable[[list[Item]], None],
        superseded: Callable[[Item], None],
        most: int = 1,
    ) -> None:
        """Start the thread.

        Args:
            handle: called on the thread with the items taken, of a source each.
            superseded: called on the submitting thread with each item dropped.
            most: how many are taken at once.
        """
        self._superseded, self._most = superseded, most
        self._newest: dict[Hashable, Item] = {}  # by source
        self._served: dict[Hashable, int] = {}  # source -> number of its last item taken
        self._taken = 0
        super().__init__(handle)

    def submit(self, item: Item, source: Hashable = None) -> None:
        """Offer an item of a source; returns at once."""
        with self._changed:
            dropped, self._newest[source] = self._newest.get(source), item
            self._changed.notify_all()
        if dropped is not None:
            self._superseded(dropped)

    def waits(self, source: Hashable = None) -> bool:
        """Return whether an item of a source waits."""
        with self._changed:
            return source in self._newest

    def stop(self) -> None:
        """Drop the waiting items, let those in hand finish, and join the thread."""
        with self._changed:
            self._newest.clear()
        super().stop()

    def _waits(self) -> bool:
        return bool(self._newest)

    def _next(self) -> list[Item]:
        longest_ago = sorted(self._newest, key=lambda source: self._served.get(source, 0))
        sources = longest_ago[: self._most]
        for source in sources:
            self._taken += 1
            self._served[source] = self._taken
        return [self._newest.pop(source) for source in sources]


class OneAhead(Worker[Item]):
    """Handles all items in order, one while the next is being made."""

    name = 'depth_publisher'

    def __init__(self, handle: Callable[[Item], None]) -> None:
        """Start the thread; handle is called on it with each item taken."""
        self._waiting: Item | None = None
        super().__init__(handle)

    def _waits(self) -> bool:
        return self._waiting is not None

    def _next(self) -> Item:
        item, self._waiting = self._waiting, None
        assert item is not None
        return item

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
