# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What of a broken bag could not be read."""

from __future__ import annotations

from dataclasses import dataclass

from rosbags.interfaces import Connection

from depth_anything_ros.errors import one_line

Found = tuple[Connection, int, bytes]  # with the time of logging in nanoseconds

_MOST_REASONS = 3


@dataclass(frozen=True)
class FileLoss:
    """What one file of a bag lacks.

    Attributes:
        file: its name.
        size: in bytes.
        unread: bytes of it that hold nothing that could be read.
        messages: that could be read.
        declared: messages that it says to hold itself, None where it does not say.
        reasons: what is wrong with it, in the order of the file; empty for a whole one.
    """

    file: str
    size: int
    unread: int
    messages: int
    declared: int | None
    reasons: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.reasons) or self.unread > 0 or self.missing > 0

    @property
    def missing(self) -> int:
        """Messages that it says to hold and that could not be read."""
        return max(0, (self.declared or 0) - self.messages)

    def __str__(self) -> str:
        more = len(self.reasons) - _MOST_REASONS
        told = [*self.reasons[:_MOST_REASONS], *([f'and {more} more such places'] * (more > 0))]
        if self.unread:
            told.append(f'{self.unread} of its {self.size} bytes could not be read')
        if self.missing:
            told.append(f'{self.missing} of the {self.declared} messages that it should hold')
        return one_line(f'{self.file}: {"; ".join(told)}')


@dataclass(frozen=True)
class Loss:
    """What a bag lacks that was opened in spite of it; false where it lacks nothing.

    Attributes:
        files: that are not whole.
        notes: what is wrong with the folder: metadata.yaml, files that are not there.
        messages: that could be read.
        declared: messages that metadata.yaml counts, None where it does not say.
        last_ns: time of logging of the last one in nanoseconds, None where there is none.
    """

    files: tuple[FileLoss, ...] = ()
    notes: tuple[str, ...] = ()
    messages: int = 0
    declared: int | None = None
    last_ns: int | None = None

    def __bool__(self) -> bool:
        return bool(self.files or self.notes)

    def __str__(self) -> str:
        if not self:
            return 'nothing is missing'
        until = '' if self.last_ns is None else f', the last logged at {self.last_ns / 1e9:.3f} s'
        of = '' if self.declared is None else f' of {self.declared}'
        told = '. '.join(map(str, (*self.notes, *self.files)))
        return one_line(f'{self.messages}{of} messages could be read{until}: {told}', 2000)
