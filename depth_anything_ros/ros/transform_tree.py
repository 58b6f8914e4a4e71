# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""TF of a recording, where no tf2 is needed: links between frames, interpolated as tf2 does it.

Along each link translation is linear and rotation slerp, between the two transforms around a time;
nothing is extrapolated, and static links hold at all times (tf2's buffer_core.cpp, time_cache.cpp).
"""

from __future__ import annotations

from bisect import bisect_left
import math
from typing import Any, NamedTuple

import numpy as np

from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.poses import interpolate, Matrix
from depth_anything_ros.ros.messages import NANOSECONDS, stamp_to_ns, transform_to_matrix
from depth_anything_ros.ros.transforms import TransformUnavailable

CACHE_NS = 10 * NANOSECONDS  # as in tf2


class _Pose(NamedTuple):
    """Where a frame is in its parent; kept as it came, since few are asked for."""

    parent: str
    transform: Any


class TransformTree:
    """What a bag says of frames, as transforms.FrameTree."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._static: dict[str, _Pose] = {}  # by child
        self._stamps_ns: dict[str, list[int]] = {}  # by child, ascending
        self._poses: dict[str, list[_Pose]] = {}  # by child, one for each stamp

    def add(self, transforms: list[Any], static: bool) -> None:
        """Keep geometry_msgs/TransformStamped messages, moving ones for 10 s.

        Raises:
            BadFrameError: one of them is no transform or has no time; the others are kept.
        """
        error: BadFrameError | None = None
        for each in transforms:
            try:
                self._add(each, static)
            except BadFrameError as bad:
                error = error or bad
        if error is not None:
            raise error

    def has_static(self, child: str) -> bool:
        """Tell whether a frame stands still in another."""
        return child.lstrip('/') in self._static

    def clear(self) -> None:
        """Forget all but the static transforms: time has jumped."""
        self._stamps_ns.clear()
        self._poses.clear()

    def between(self, target: str, source: str, stamp_ns: int) -> Matrix:
        """Return the source frame as seen from the target frame, 4x4, at a time.

        Raises:
            TransformUnavailable: the recording does not say.
        """
        if target and target == source:
            return np.eye(4)
        what = f'TF from {source} to {target}'
        for frame in (target, source):
            if not self._is_known(frame):
                raise TransformUnavailable(f'{what}: "{frame}" is in no transform of the recording')
        up, why_up = self._climb(source, stamp_ns)
        down, why_down = self._climb(target, stamp_ns)
        for frame, T_frame_source in up.items():
            if frame in down:
                return _inverse(down[frame]) @ T_frame_source
        why = why_up or why_down or 'nothing in the recording connects the two'
        raise TransformUnavailable(f'{what}: {why}')

    def through(self, frame: str, fixed: str, stamp_ns: int, then_ns: int) -> Matrix:
        """Return where a moving frame was then, as seen from where it is at an image's time, 4x4.

        Raises:
            TransformUnavailable: the recording does not say.
        """
        try:
            now, then = (self.between(fixed, frame, t) for t in (stamp_ns, then_ns))
        except TransformUnavailable as error:
            raise TransformUnavailable(f'{error} (scale.fixed_frame)') from error
        return _inverse(now) @ then

    def _add(self, message: Any, static: bool) -> None:
        parent, child = (n.lstrip('/') for n in (message.header.frame_id, message.child_frame_id))
        t, q = message.transform.translation, message.transform.rotation
        turn = math.hypot(q.x, q.y, q.z, q.w)
        if not (parent and child and parent != child and 0.9 < turn < 1.1) or not all(
            map(math.isfinite, (t.x, t.y, t.z))
        ):
            raise BadFrameError(
                'bad_transform',
                f'transform from "{child}" to "{parent}" is none: its publisher must send two '
                'frames, finite numbers and a unit quaternion',
            )
        stamp_ns, pose = stamp_to_ns(message.header.stamp), _Pose(parent, message.transform)
        if static:
            self._static[child] = pose
            return
        stamps_ns = self._stamps_ns.setdefault(child, [])
        poses = self._poses.setdefault(child, [])
        if stamps_ns and stamp_ns < stamps_ns[-1] - CACHE_NS:
            return  # tf2 leaves these out too
        at = bisect_left(stamps_ns, stamp_ns)
        if at < len(stamps_ns) and stamps_ns[at] == stamp_ns:
            return  # the first one counts, as in tf2
        stamps_ns.insert(at, stamp_ns)
        poses.insert(at, pose)
        if stamps_ns[0] < stamps_ns[-1] - 2 * CACHE_NS:  # now and then, not each time
            old = bisect_left(stamps_ns, stamps_ns[-1] - CACHE_NS)
            del stamps_ns[:old], poses[:old]

    def _is_known(self, frame: str) -> bool:
        return (
            frame in self._static
            or frame in self._poses
            or any(pose.parent == frame for pose in self._static.values())
            or any(pose.parent == frame for poses in self._poses.values() for pose in poses)
        )

    def _climb(self, frame: str, stamp_ns: int) -> tuple[dict[str, Matrix], str]:
        """Return the pose of a frame in each ancestor that is known at a time, and why no more."""
        reached, T = {frame: np.eye(4)}, np.eye(4)
        while frame in self._static or self._poses.get(frame):
            try:
                parent, T_parent_frame = self._at(frame, stamp_ns)
            except TransformUnavailable as error:
                return reached, str(error)
            frame, T = parent, T_parent_frame @ T
            if frame in reached:
                return reached, f'"{frame}" is its own ancestor'
            reached[frame] = T
        return reached, ''

    def _at(self, child: str, stamp_ns: int) -> tuple[str, Matrix]:
        if child in self._static:
            pose = self._static[child]
            return pose.parent, transform_to_matrix(pose.transform)
        stamps_ns, poses = self._stamps_ns[child], self._poses[child]
        if not stamps_ns[0] <= stamp_ns <= stamps_ns[-1]:
            early, late = ((t - stamp_ns) / NANOSECONDS for t in (stamps_ns[0], stamps_ns[-1]))
            raise TransformUnavailable(
                f'"{child}" is known from {early:+.3f} s to {late:+.3f} s of the time that is '
                'asked for, and nothing is extrapolated'
            )
        after = bisect_left(stamps_ns, stamp_ns)
        end = poses[after]
        if stamps_ns[after] == stamp_ns:
            return end.parent, transform_to_matrix(end.transform)
        start = poses[after - 1]
        T_start = transform_to_matrix(start.transform)
        if start.parent != end.parent:  # it was handed on: tf2 takes the former
            return start.parent, T_start
        span_ns = stamps_ns[after] - stamps_ns[after - 1]
        fraction = np.array([(stamp_ns - stamps_ns[after - 1]) / span_ns])
        return start.parent, interpolate(T_start, transform_to_matrix(end.transform), fraction)[0]


def _inverse(T: Matrix) -> Matrix:
    inverse = np.eye(4)
    inverse[:3, :3], inverse[:3, 3] = T[:3, :3].T, -T[:3, :3].T @ T[:3, 3]
    return inverse
