# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How long after an image TF says where the camera was at its time, frame by frame."""

from __future__ import annotations

from collections import deque
import math
from statistics import median
from typing import Any

from depth_anything_ros.doctor.facts import Chain
from depth_anything_ros.doctor.sensor_checks import LATE_S
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.ros.frame_links import Frames
from depth_anything_ros.ros.transform_tree import TransformTree

_WAITING = 10  # images
_ENOUGH = 3


class LateTransforms:
    """What has come on /tf and /tf_static, and how late.

    Attributes:
        tree: poses.
        links: which frames are connected.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self.tree, self.links = TransformTree(), Frames()
        self._camera = ''
        self._targets: dict[str, str] = {}  # frame -> whose it is
        self._late_s: dict[str, list[float]] = {}
        self._why: dict[str, str] = {}
        self._waiting: deque[tuple[int, float, set[str]]] = deque(maxlen=_WAITING)

    def want(self, camera: str, targets: dict[str, str]) -> None:
        """Ask where frames are from the camera: frame -> whose it is."""
        self._camera, self._targets = camera, targets

    def add(self, transforms: list[Any], static: bool, now_s: float) -> None:
        """Take in geometry_msgs/TransformStamped messages."""
        self.links.add(transforms, static)
        try:
            self.tree.add(transforms, static)
        except BadFrameError:
            pass  # the node counts it
        self._look(now_s)

    def image(self, stamp_ns: int, now_s: float) -> None:
        """Take in that an image has come."""
        self._waiting.append((stamp_ns, now_s, set()))
        self._look(now_s)

    @property
    def is_known(self) -> bool:
        """Whether every frame was found for some images."""
        return all(len(self._late_s.get(frame, ())) >= _ENOUGH for frame in self._targets)

    def chains(self, now_s: float) -> tuple[Chain, ...]:
        """Return what was found out."""
        self._look(now_s)
        found = []
        for frame, whose in self._targets.items():
            late_s = list(self._late_s.get(frame, ()))
            if late_s:  # and those that wait longer than any had to
                ages_s = [now_s - came for _, came, done in self._waiting if frame not in done]
                late_s += [age_s for age_s in ages_s if age_s > max(LATE_S, *late_s)]
            found.append(
                Chain(
                    f'{frame} ({whose})',
                    self.links.chain(self._camera, frame),
                    median(late_s) if late_s else math.inf,
                    self._why.get(frame, ''),
                )
            )
        return tuple(found)

    def _look(self, now_s: float) -> None:
        for stamp_ns, came_s, done in self._waiting:
            for frame in self._targets.keys() - done:
                try:
                    self.tree.between(self._camera, frame, stamp_ns)
                except BadFrameError as error:
                    self._why[frame] = str(error)
                    continue
                done.add(frame)
                self._late_s.setdefault(frame, []).append(now_s - came_s)
