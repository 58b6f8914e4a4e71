# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A few images of one camera of a recording, and what each has beside it to make metres of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.annotation.coverage import Coverage, coverage, draw_anchors
from depth_anything_ros.annotation.recording import RecordedImage
from depth_anything_ros.annotation.topics import CameraTopics
from depth_anything_ros.camera import Camera
from depth_anything_ros.config import Config
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.metric_depth.anchors import Anchors, joined
from depth_anything_ros.metric_depth.fitting import MIN_ANCHORS
from depth_anything_ros.metric_depth.sources import Source, Sweep, takes
from depth_anything_ros.ros.messages import decode_image, deserialize, NANOSECONDS
from depth_anything_ros.ros.surroundings import Surroundings

_PICTURES = 3


@dataclass
class SourceWatch:
    """What one source had for the images that were looked at.

    Attributes:
        anchors: how many, of each image that it had some for.
        covered: how much of the image they cover, of the same.
        offsets_s: stamp of the sweep minus that of the image, of the same.
        reasons: why it had nothing -> for how many images.
    """

    anchors: list[int] = field(default_factory=list)
    covered: list[Coverage] = field(default_factory=list)
    offsets_s: list[float] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)


class CameraWatch:
    """Looks at some of a camera's images.

    Attributes:
        topics: of the camera.
        count: images that the bag has of it.
        looked_at: images that were taken apart.
        anchored: of these, such as have enough anchors for a fit.
        refused: why an image, or its calibration, cannot be used -> how many.
        calibrated: images with a calibration that describes them.
        camera: the model of the last of these, None without.
        size: width and height of the last image.
        form: its encoding or format.
        frame_id: of the last image.
        sources: by name, those that had something or should have had.
        on_ground: images for which the ground is known.
        way_m: how far the camera has moved in scale.fixed_frame from one image that was looked at
            to the next, together.
        pictures: JPEGs of the first, the middle and the last, with their anchors.
    """

    def __init__(
        self, topics: CameraTopics, around: Surroundings, config: Config, count: int, most: int
    ) -> None:
        """Choose most of the images, evenly."""
        self.topics, self.count = topics, count
        self.looked_at = self.anchored = self.calibrated = self.on_ground = 0
        self.refused: Counter[str] = Counter()
        self.camera: Camera | None = None
        self.size, self.form, self.frame_id = (0, 0), '', ''
        self.sources: dict[str, SourceWatch] = {}
        self.way_m = 0.0
        self.pictures: list[bytes] = []
        self._around, self._config = around, config
        chosen = np.linspace(0, max(0, count - 1), min(most, max(1, count))).round().astype(int)
        self._chosen = set(chosen.tolist())
        self._drawn = {int(chosen[round(i * (len(chosen) - 1) / 2)]) for i in range(_PICTURES)}
        self._number = -1
        self._place_m: NDArray[np.float64] | None = None

    def add(self, recorded: RecordedImage) -> None:
        """Look at an image if it is one of those chosen; all must come by."""
        self._number += 1
        if self._number not in self._chosen:
            return
        self.looked_at += 1
        try:
            message = deserialize(recorded.data, self._around.image_kind)
            image = decode_image(message, self._config.limits)
        except BadFrameError as error:
            self.refused[str(error)] += 1
            return
        self.size, self.frame_id = image.shape[1::-1], str(message.header.frame_id)
        self.form = str(getattr(message, 'encoding', '') or message.format)
        try:
            camera: Camera | None = self._around.cameras.for_image(image, recorded.stamp_ns)
            self.camera, self.calibrated = camera, self.calibrated + 1
        except BadFrameError as error:
            camera = None
            self.refused[str(error)] += 1
        anchors = self._anchors(image, camera, message.header, recorded.stamp_ns)
        self.anchored += len(anchors) >= MIN_ANCHORS
        self._look_about(camera, recorded.stamp_ns)
        if self._number in self._drawn:
            shown = camera or Camera.uncalibrated(*self.size)
            self.pictures.append(draw_anchors(image, shown, anchors))

    def _anchors(
        self, image: NDArray[np.uint8], camera: Camera | None, header: Any, stamp_ns: int
    ) -> Anchors:
        """Ask all sources that have anchors; return those of all together."""
        around, config = self._around, self._config.scale
        at = header.frame_id, stamp_ns, config.max_time_offset
        asks: dict[str, Callable[[], Source | None]] = {
            'lidar': partial(around.sweep, *at), 'depth': partial(around.depth_image, *at)
        }
        if around.second is not None and camera is not None:
            asks['stereo'] = partial(around.second.match, image, camera, header, config)
        found: dict[str, Anchors] = {}
        for name, ask in asks.items():
            try:
                source = ask()
            except BadFrameError as error:
                self.sources.setdefault(name, SourceWatch()).reasons[str(error)] += 1
                continue
            if source is None:
                continue
            watch = self.sources.setdefault(name, SourceWatch())
            if isinstance(source, Sweep):
                watch.offsets_s.append((source.points.stamp_ns - stamp_ns) / NANOSECONDS)
            if camera is None:
                watch.reasons['the camera is not calibrated'] += 1
                continue
            anchors = source.anchors(camera.rectified(), config)
            watch.anchors.append(len(anchors))
            watch.covered.append(coverage(anchors, camera))
            if len(anchors):
                found[name] = anchors
            else:
                watch.reasons['none of its points is in the image'] += 1
        none = np.zeros(0, np.float32)
        return joined(found) or Anchors(none, none, none, np.zeros(0, np.int64))

    def _look_about(self, camera: Camera | None, stamp_ns: int) -> None:
        """Ask where the ground is, and where the camera."""
        transforms, config = self._around.transforms, self._config.scale
        if camera is None:
            return
        try:
            known = transforms.ground(camera, self.frame_id, stamp_ns) is not None
            known |= config.camera_height > 0
            self.on_ground += known and takes(config.method, 'camera_height')
        except BadFrameError as error:
            self.sources.setdefault('camera_height', SourceWatch()).reasons[str(error)] += 1
        try:
            T_fixed_camera = transforms.camera(self.frame_id, stamp_ns)
        except BadFrameError as error:
            self.sources.setdefault('motion', SourceWatch()).reasons[str(error)] += 1
            return
        if T_fixed_camera is not None:
            self.sources.setdefault('motion', SourceWatch())
            place_m = T_fixed_camera[:3, 3]
            if self._place_m is not None:
                self.way_m += float(np.linalg.norm(place_m - self._place_m))
            self._place_m = place_m
