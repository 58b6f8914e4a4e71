# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which frames TF connects, live or in a bag, and what is missing where it does not."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any


class Frames:
    """Which frames /tf and /tf_static connect; where they are to each other is not asked here."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._links: dict[str, dict[str, bool]] = {}  # frame -> neighbour -> whether static

    def add(self, transforms: Iterable[Any], static: bool) -> None:
        """Take in geometry_msgs/TransformStamped messages, whatever poses are in them."""
        for each in transforms:
            parent, child = each.header.frame_id.lstrip('/'), each.child_frame_id.lstrip('/')
            for a, b in ((parent, child), (child, parent)):
                self._links.setdefault(a, {}).setdefault(b, static)

    def __contains__(self, frame: str) -> bool:
        return frame in self._links

    def chain(self, start: str, end: str) -> str:
        """Return the way from one frame to another; where there is none, what is missing."""
        if start == end:
            return f'{start} itself'
        unknown = [frame for frame in (start, end) if frame not in self]
        if unknown:
            return f'missing: {" and ".join(unknown)} in no transform'
        before, front = {start: ''}, deque([start])
        while front:
            frame = front.popleft()
            for other in self._links[frame]:
                if other not in before:
                    before[other] = frame
                    front.append(other)
        if end not in before:
            own, others = sorted(before), sorted(self.around(end))
            return f'missing: a link from {_some(own)} to {_some(others)}'
        told, frame = end, end
        while before[frame]:
            how = 'static' if self._links[frame][before[frame]] else 'moving'
            frame = before[frame]
            told = f'{frame} -{how}- {told}'
        return told

    def around(self, frame: str) -> set[str]:
        """Return all frames that are connected with one."""
        found, front = {frame}, [frame]
        while front:
            new = self._links.get(front.pop(), {}).keys() - found
            found |= new
            front += new
        return found


def _some(frames: list[str]) -> str:
    return ', '.join(frames[:4]) + (' ...' if len(frames) > 4 else '')
