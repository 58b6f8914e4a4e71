# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the cameras of a robot tell each other: the points that each has measured last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.metric_depth.neighbours import is_known, measured_points, Neighbour
from depth_anything_ros.metric_depth.scale import State
from depth_anything_ros.pipeline import DepthFrame
from depth_anything_ros.ros.messages import stamp_to_ns
from depth_anything_ros.ros.transforms import Transforms


@dataclass(frozen=True, eq=False)
class _Told:
    xyz_m: NDArray[np.float32]
    sigma: float
    frame_id: str
    stamp_ns: int
    transforms: Transforms


class Rig:
    """The cameras that are fixed to each other; used on one thread."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._told: dict[str, _Told] = {}  # by camera, the newest last

    def tell(self, camera: str, frame: DepthFrame, header: Any, transforms: Transforms) -> None:
        """Keep what a camera has measured, where that is from its own anchors, and known well.

        Args:
            camera: its name.
            frame: what was made of its newest image.
            header: of that.
            transforms: of that camera.
        """
        self._told.pop(camera, None)
        fit = frame.fit
        if (
            frame.depth is None
            or fit.state is not State.FITTED
            or 'neighbour' in fit.method
            or not is_known(frame.sigma)
        ):
            return
        points = measured_points(frame.depth, frame.depth_camera)
        stamp_ns = stamp_to_ns(header.stamp)
        self._told[camera] = _Told(points, frame.sigma, header.frame_id, stamp_ns, transforms)

    def ask(
        self,
        camera: str,
        camera_frame: str,
        stamp_ns: int,
        max_offset_s: float,
        transforms: Transforms,
    ) -> Neighbour | None:
        """Return what the others measured at about the time of an image, as one source.

        Args:
            camera: who asks.
            camera_frame: frame of its image.
            stamp_ns: time of its image in nanoseconds.
            max_offset_s: how far from that theirs may be.
            transforms: of this camera.

        Returns:
            None where none of them knows anything.

        Raises:
            TransformUnavailable: where they stand to each other is not known.
        """
        parts, sigma = [np.zeros((0, 3), np.float32)], 0.0
        for name, told in self._told.items():
            if name != camera and abs(told.stamp_ns - stamp_ns) <= max_offset_s * 1e9:
                T = transforms.other_camera(told.transforms, told.frame_id, camera_frame, stamp_ns)
                parts.append((told.xyz_m @ T[:3, :3].T + T[:3, 3]).astype(np.float32))
                sigma = max(sigma, told.sigma)
        if len(parts) == 1:
            return None
        return Neighbour(np.concatenate(parts), sigma, np.eye(4))
