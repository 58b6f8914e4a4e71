# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One serialised image of a camera -> its depth: the same for the node and for a recording."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from depth_anything_ros.camera import Camera
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.metric_depth.bridging import Bridged
from depth_anything_ros.metric_depth.rangefinder import RangeReading
from depth_anything_ros.metric_depth.scale import GroundPlane, PassRecord
from depth_anything_ros.metric_depth.sources import Source
from depth_anything_ros.network.spec import ModelSpec
from depth_anything_ros.pipeline import DepthFrame, DepthPipeline, Outputs
from depth_anything_ros.poses import Matrix
from depth_anything_ros.prediction import Prediction, Prepared
from depth_anything_ros.ros.messages import decode_image, deserialize, serialized_stamp_ns
from depth_anything_ros.ros.stores import OutOfTime
from depth_anything_ros.ros.surroundings import Surroundings

T = TypeVar('T')


@dataclass(frozen=True, eq=False)
class Seen:
    """An image that was taken apart.

    Attributes:
        image: HxWx3 uint8 RGB as it came.
        camera: its model.
        header: of the message.
        stamp_ns: its time in nanoseconds.
        missing: what the frame has to do without, and why.
    """

    image: NDArray[np.uint8]
    camera: Camera
    header: Any
    stamp_ns: int
    missing: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Gathered:
    """An image, and all that belongs to it.

    Attributes:
        seen: the image.
        sources: what anchors the scale.
        ranging: what a rangefinder says.
        ground: the ground plane in the rectified optical frame.
        T_fixed_camera: 4x4 pose of the optical frame in scale.fixed_frame.
        poses: frame of cloud or scan -> 4x4 pose of the optical frame in it.
        missing: what the frame has to do without, and why.
    """

    seen: Seen
    sources: tuple[Source, ...]
    ranging: RangeReading | None
    ground: GroundPlane | None
    T_fixed_camera: Matrix | None
    poses: dict[str, Matrix]
    missing: tuple[str, ...]


class FrameStep:
    """A camera's pipeline and what is known beside its images."""

    def __init__(
        self,
        pipeline: DepthPipeline,
        surroundings: Surroundings,
        refuse: Callable[[BadFrameError], Any],
    ) -> None:
        """Bring the two together.

        Args:
            pipeline: used for this camera alone; its config counts, read once per step.
            surroundings: is asked for what belongs to an image.
            refuse: told of what a frame has to do without.
        """
        self._pipeline, self._surroundings, self._refuse = pipeline, surroundings, refuse
        self._uncalibrated: Camera | None = None

    @property
    def record(self) -> PassRecord | None:
        """What smooth() needs of the image that was measured last, see DepthPipeline.record."""
        return self._pipeline.record

    @property
    def spec(self) -> ModelSpec:
        """What the network predicts."""
        return self._pipeline.predictor.spec

    def look(self, data: bytes) -> Seen:
        """Take an image apart.

        Whatever else is missing or broken, the picture and relative depth go on without metres.

        Args:
            data: serialised Image, or CompressedImage by image_transport.

        Raises:
            BadFrameError: the image cannot be used.
        """
        config, around = self._pipeline.config, self._surroundings
        missing: list[str] = []
        stamp_ns = serialized_stamp_ns(data)
        message = deserialize(data, around.image_kind)
        image = decode_image(message, config.limits)
        camera = self._camera_of(image, stamp_ns, missing)
        around.hold(stamp_ns)
        return Seen(image, camera, message.header, stamp_ns, tuple(missing))

    def predict(self, seen: Seen) -> Prediction:
        """Run the network on an image.

        Raises:
            BadFrameError: it is too large for the network, or not of the size of the mask.
        """
        return self._pipeline.predict(seen.image, seen.camera)

    def prepare(self, seen: Seen) -> Prepared:
        """Do of predict() what comes before the network, where that takes several images at once.

        Raises:
            BadFrameError: as there.
        """
        return self._pipeline.eye.prepare(seen.image, seen.camera, self._pipeline.config)

    def finish(self, prepared: Prepared, said: Tensor) -> Prediction:
        """Do of predict() what comes after the network."""
        return self._pipeline.eye.finish(prepared, said, self._pipeline.config)

    def gather(self, seen: Seen) -> Gathered:
        """Ask for what belongs to the image; some of it may have come while the network ran."""
        config, around = self._pipeline.config.scale, self._surroundings
        at, missing = (seen.header.frame_id, seen.stamp_ns), list(seen.missing)
        asks: list[Callable[[], Source | None]] = [
            partial(find, *at, config.max_time_offset)
            for find in (around.sweep, around.depth_image)
        ]
        if around.second is not None and seen.camera.is_calibrated:
            asks.append(
                partial(around.second.match, seen.image, seen.camera, seen.header, config)
            )
        found = [self._asked(ask, missing) for ask in asks]
        ranging = self._asked(partial(around.ranging, *at, config.max_time_offset), missing)
        ground = self._asked(partial(around.transforms.ground, seen.camera, *at), missing)
        T_fixed_camera = self._asked(partial(around.transforms.camera, *at), missing)
        poses: dict[str, Matrix] = {}
        for frame in {self._pipeline.config.cloud.frame, self._pipeline.config.scan.frame} - {''}:
            pose = self._asked(partial(around.transforms.camera_in, frame, *at), missing)
            poses |= {} if pose is None else {frame: pose}
        sources = tuple(source for source in found if source is not None)
        return Gathered(seen, sources, ranging, ground, T_fixed_camera, poses, tuple(missing))

    def measure(
        self,
        gathered: Gathered,
        prediction: Prediction,
        outputs: Outputs,
        bridged: Bridged | None = None,
    ) -> DepthFrame:
        """Make metres of it; may run on another thread, image by image in their order."""
        frame = self._pipeline.measure(
            prediction,
            sources=gathered.sources,
            ranging=gathered.ranging,
            stamp_ns=gathered.seen.stamp_ns,
            ground=gathered.ground,
            T_fixed_camera=gathered.T_fixed_camera,
            outputs=outputs,
            poses=gathered.poses,
            bridged=bridged,
        )
        if gathered.missing:
            reason = '; '.join([frame.fit.reason, *gathered.missing])
            frame = replace(frame, fit=replace(frame.fit, reason=reason))
        return frame

    def _camera_of(self, image: Any, stamp_ns: int, missing: list[str]) -> Camera:
        try:
            return self._surroundings.cameras.for_image(image, stamp_ns)
        except BadFrameError as error:
            self._miss(error, missing)
            height, width = image.shape[:2]
            if self._uncalibrated is None or self._uncalibrated.size != (height, width):
                self._uncalibrated = Camera.uncalibrated(width, height)
            return self._uncalibrated

    def _asked(self, ask: Callable[[], T | None], missing: list[str]) -> T | None:
        """Return what an input has for a frame; what is wrong with it is said, and others go on."""
        try:
            return ask()
        except OutOfTime as error:  # of a slow sensor this is true of most images
            missing.append(str(error))
        except BadFrameError as error:
            self._miss(error, missing)
        return None

    def _miss(self, error: BadFrameError, missing: list[str]) -> None:
        self._refuse(error)
        missing.append(str(error))
