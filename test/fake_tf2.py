# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What of tf2_py the node uses, for machines without it: as strict, and wrong in the same places.

The tests that use this run on the real one too where it is installed.
"""

import sys

from geometry_msgs.msg import TransformStamped
import numpy as np
from rclpy.serialization import deserialize_message
from rclpy.time import Time

from depth_anything_ros.poses import interpolate, matrix_to_pose, pose_to_matrix

try:
    from tf2_msgs.msg import TFMessage
except ImportError:
    TFMessage = None

CACHE_NS = 10_000_000_000


class TransformException(Exception):
    """The base of what lookups raise."""


class LookupException(TransformException):
    """A frame is not known."""


class ConnectivityException(TransformException):
    """Nothing connects two frames."""


class ExtrapolationException(TransformException):
    """A time is not between known ones."""


class InvalidArgumentException(TransformException):
    """A frame has an impossible name."""


class BufferCore:
    """Transforms by child frame and time; only the static ones are true at all times."""

    def __init__(self):
        self._parents, self._static, self._moving = {}, {}, {}

    def set_transform(self, message, authority):
        """Keep a moving transform for ten seconds; ignore what is no transform."""
        matrix = self._accepted(message)
        if matrix is None:
            return
        poses = self._moving.setdefault(message.child_frame_id, {})
        stamp_ns = Time.from_msg(message.header.stamp).nanoseconds
        newest_ns = max([*poses, stamp_ns])
        if stamp_ns >= newest_ns - CACHE_NS:
            poses[stamp_ns] = matrix
        for old_ns in [t for t in poses if t < newest_ns - CACHE_NS]:
            del poses[old_ns]

    def set_transform_static(self, message, authority):
        """Keep a transform that holds at all times."""
        matrix = self._accepted(message)
        if matrix is not None:
            self._static[message.child_frame_id] = matrix

    def clear(self):
        """Forget the moving transforms, though not the frames."""
        for poses in self._moving.values():
            poses.clear()

    def lookup_transform_core(self, target, source, time):
        """Return source as seen from target at a time; 0 is the latest."""
        stamp_ns = time.nanoseconds
        if target and target == source:  # known or not
            return self._message(target, source, stamp_ns, np.eye(4))
        self._check(target, source)
        if stamp_ns == 0:
            stamp_ns = self.get_latest_common_time(target, source).nanoseconds
        chains = [self._climb(frame, stamp_ns) for frame in (source, target)]
        (up, failed_up), (down, failed_down) = chains
        for frame, T_frame_source in up.items():
            if frame in down:
                T = _compose(_inverse(down[frame]), T_frame_source)
                return self._message(target, source, stamp_ns, T)
        if failed_up or failed_down:
            raise ExtrapolationException(
                f'Lookup would require extrapolation: {failed_up or failed_down}, when looking up '
                f'transform from frame [{source}] to frame [{target}]'
            )
        raise ConnectivityException(
            f'Could not find a connection between \'{target}\' and \'{source}\' because they are '
            'not part of the same tree.Tf has two or more unconnected trees.'
        )

    def lookup_transform_full_core(self, target, target_time, source, source_time, fixed):
        """Return source at its time as seen from target at its time, through a fixed frame."""
        a = self.lookup_transform_core(fixed, source, source_time).transform
        b = self.lookup_transform_core(fixed, target, target_time).transform
        T = _compose(_inverse(_matrix(b)), _matrix(a))
        return self._message(target, source, target_time.nanoseconds, T)

    def get_latest_common_time(self, target, source):
        """Return the newest time at which all moving transforms between two frames are known."""
        self._check(target, source)
        ways = [self._way(frame) for frame in (source, target)]
        between = set(ways[0]) ^ set(ways[1])
        moving = [self._moving[frame] for frame in between if frame in self._moving]
        if ways[0][-1] != ways[1][-1] or not all(moving):
            raise TransformException('not part of the same tree')
        return Time(nanoseconds=min(map(max, moving), default=0))

    def _accepted(self, message):
        t, q = message.transform.translation, message.transform.rotation
        numbers = np.array([t.x, t.y, t.z, q.x, q.y, q.z, q.w])
        parent, child = message.header.frame_id, message.child_frame_id
        impossible = np.isnan(numbers).any() or not numbers[3:].any()
        if not parent or not child or parent == child or impossible:
            return None
        self._parents[child] = parent
        return pose_to_matrix(numbers)

    def _check(self, *frames):
        known = {*self._parents, *self._parents.values()}
        for frame in frames:
            if not frame or frame.startswith('/'):
                raise InvalidArgumentException(f'Invalid argument "{frame}"')
            if frame not in known:
                raise LookupException(
                    f'"{frame}" passed to lookupTransform argument target_frame does not exist. '
                )

    def _way(self, frame):
        way = [frame]
        while way[-1] in self._parents:
            way.append(self._parents[way[-1]])
        return way

    def _climb(self, frame, stamp_ns):
        """Return the ancestors that can be reached at a time, and why no more of them."""
        T, reached = np.eye(4), {frame: np.eye(4)}
        while frame in self._parents:
            if frame in self._static:
                T = _compose(self._static[frame], T)
            else:
                poses = self._moving[frame]
                before = [t for t in poses if t <= stamp_ns]
                after = [t for t in poses if t >= stamp_ns]
                if not before or not after:
                    return reached, f'{stamp_ns} is not within {min(poses, default=0)} to ' + (
                        f'{max(poses, default=0)}'
                    )
                start, end = max(before), min(after)
                fraction = np.array([(stamp_ns - start) / max(end - start, 1)])
                T = _compose(interpolate(poses[start], poses[end], fraction)[0], T)
            frame = self._parents[frame]
            reached[frame] = T
        return reached, ''

    def _message(self, target, source, stamp_ns, T):
        message = TransformStamped(child_frame_id=source)
        message.header.frame_id = target
        message.header.stamp = Time(nanoseconds=stamp_ns).to_msg()
        t, q = message.transform.translation, message.transform.rotation
        t.x, t.y, t.z, q.x, q.y, q.z, q.w = matrix_to_pose(T)
        return message


def _matrix(transform):
    t, q = transform.translation, transform.rotation
    return pose_to_matrix([t.x, t.y, t.z, q.x, q.y, q.z, q.w])


def _inverse(T):
    return _pose(T[:3, :3].T, -T[:3, :3].T @ T[:3, 3])


def _compose(A, B):
    return _pose(A[:3, :3] @ B[:3, :3], A[:3, :3] @ B[:3, 3] + A[:3, 3])


def _pose(R, t):
    """Return R and t as one; apart until here, since infinite numbers spread in products."""
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, t
    return T


# Processes --------------------------------------------------------------------------------------

# Where there is no tf2_msgs /tf carries the transforms one by one, as all else over DDS.
ON_TF = TransformStamped if TFMessage is None else TFMessage


def on_tf(transform):
    """Return what is published on /tf and /tf_static for one TransformStamped."""
    return transform if TFMessage is None else TFMessage(transforms=[transform])


def stand_in(transforms):
    """Let the node's module of transforms listen to TF where tf2 is not installed."""
    if transforms.tf2_py is not None:
        return
    transforms.tf2_py, transforms.TFMessage = sys.modules[__name__], TransformStamped

    def on_transforms(self, buffer, static, data):
        buffer.add([deserialize_message(data, TransformStamped)], static)

    transforms.TransformListener._on_transforms = on_transforms
