# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The second camera of a stereo pair: its last images, matched when an image asks for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import LimitsConfig, ScaleConfig
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.metric_depth.stereo import (
    pose_from_calibration,
    StereoMatcher,
    StereoPoints,
)
from depth_anything_ros.poses import Matrix
from depth_anything_ros.ros.messages import (
    decode_image,
    deserialize,
    NANOSECONDS,
    stamp_to_ns,
)
from depth_anything_ros.ros.stores import MessageStore, MOST_READINGS, nearest_entry


class SecondCamera(MessageStore):
    """Keeps serialised images, and matches the one of an image's time with it."""

    def __init__(
        self,
        kind: Any,
        camera_of: Callable[[NDArray[np.uint8], int], Camera],
        pose_of: Callable[[str, str, int], Matrix],
        limits: LimitsConfig,
        most: int = MOST_READINGS,
    ) -> None:
        """Keep nothing yet.

        Args:
            kind: message class of the images.
            camera_of: an image and its stamp -> its camera; raises BadFrameError.
            pose_of: its frame, the image's and a stamp -> 4x4 pose of the former in the latter;
                raises BadFrameError.
            limits: what images may cost, one by one and together.
            most: how many images are kept.
        """
        super().__init__(limits.sensor_memory, 'right_image', most)
        self._kind, self._camera_of, self._pose_of = kind, camera_of, pose_of
        self._limits = limits
        self._matcher: StereoMatcher | None = None
        self._pair: tuple[Camera, Camera, Matrix] | None = None

    def match(
        self, image: NDArray[np.uint8], camera: Camera, header: Any, config: ScaleConfig
    ) -> StereoPoints | None:
        """Return what an image and that of the second camera both show.

        Args:
            image: HxWx3 uint8 RGB as it came.
            camera: its camera, calibrated.
            header: its header.
            config: stereo_max_offset and min_range.

        Returns:
            None where no image of a second camera has come at all.

        Raises:
            BadFrameError: there is none of the image's time, it cannot be decoded, or the two make
                no pair.
        """
        stamp_ns = stamp_to_ns(header.stamp)
        entries = self._kept()
        if not entries:
            return None
        other_ns, data = nearest_entry(entries, stamp_ns)
        offset_s = (stamp_ns - other_ns) / NANOSECONDS
        if abs(offset_s) > config.stereo_max_offset:
            raise BadFrameError('right_image_out_of_time', _out_of_time(offset_s, config))
        try:
            message = deserialize(data, self._kind)
            other = decode_image(message, self._limits)
            other_camera = self._camera_of(other, other_ns)
        except BadFrameError as error:
            raise BadFrameError(f'right_{error.reason}', f'right camera: {error}') from error
        frames = message.header.frame_id, header.frame_id
        return self._matcher_of(camera, other_camera, frames, stamp_ns).match(image, other, config)

    def _matcher_of(
        self, first: Camera, second: Camera, frames: tuple[str, str], stamp_ns: int
    ) -> StereoMatcher:
        """Return the pair's matcher; the same one as long as nothing in the calibration changes."""
        pose = pose_from_calibration(first, second)
        if pose is None:
            try:
                pose = self._pose_of(*frames, stamp_ns)
            except BadFrameError as error:
                raise BadFrameError(
                    error.reason,
                    'where the second camera stands is neither in the fourth column of P of '
                    f'right/camera_info nor in TF: {error}',
                ) from error
        pair = self._pair
        if not (
            self._matcher is not None
            and pair is not None
            and (pair[0] is first and pair[1] is second and np.array_equal(pair[2], pose))
        ):
            self._matcher, self._pair = StereoMatcher(first, second, pose), (first, second, pose)
        return self._matcher


def _out_of_time(offset_s: float, config: ScaleConfig) -> str:
    side = 'older' if offset_s > 0 else 'newer'
    return (
        f'the nearest right/image is {1e3 * abs(offset_s):.1f} ms {side} than the image: let one '
        f'trigger release both cameras, or raise scale.stereo_max_offset '
        f'({1e3 * config.stereo_max_offset:g} ms) where the robot stands still or stamps are late'
    )
