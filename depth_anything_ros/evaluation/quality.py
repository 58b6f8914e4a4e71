# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What an annotated bag says of its own depth, frame by frame, and its least sure frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.errors import BadFrameError, DatasetError, reason
from depth_anything_ros.evaluation.contact_sheet import (
    colour_depth,
    colour_error,
    LARGEST_ERROR,
    Picture,
)
from depth_anything_ros.ros.bags import open_bag, read_recorded, TYPES
from depth_anything_ros.ros.depth_messages import decode_depth
from depth_anything_ros.ros.messages import decode_image

Series = NDArray[np.float64]

_NUMBERS = ('sigma', 'residual', 'extrinsic_score')
_APART_NS = 1_000_000_000  # two frames that are shown: neighbours look alike
_ENDS = 0.2  # share of the frames, at the start and at the end, that are compared
PANEL_PX = 260  # width of one of the three pictures of a frame
LARGEST_SIGMA = LARGEST_ERROR  # white


@dataclass(frozen=True, eq=False)
class Quality:
    """What depth/scale of one camera says, in the order of recording.

    Attributes:
        bag: folder.
        image_topic: of the camera.
        time_ns: N times of recording.
        states: N states of the scale.
        sigma: N float64, median relative standard deviation; NaN without metres.
        disagreement: N float64, standard deviation of log depth of the anchors about the line.
        extrinsic_score: N float64, 0 to 1, how well edges of sweeps and images agree; NaN where
            unknown.
    """

    bag: Path
    image_topic: str
    time_ns: NDArray[np.int64]
    states: list[str]
    sigma: Series
    disagreement: Series
    extrinsic_score: Series

    def share(self, state: str) -> float:
        """Return the share of frames in a state."""
        return self.states.count(state) / max(len(self.states), 1)

    def least_sure(self, count: int) -> list[int]:
        """Return the numbers of frames of the largest sigma, a second apart, the worst first.

        Those without metres come before all others.
        """
        chosen: list[int] = []
        for i in np.argsort(-np.nan_to_num(self.sigma, nan=np.inf), kind='stable'):
            if len(chosen) == count:
                break
            if all(abs(self.time_ns[i] - self.time_ns[j]) >= _APART_NS for j in chosen):
                chosen.append(int(i))
        return chosen


def from_start_to_end(series: Series) -> tuple[float, float]:
    """Return the medians over the first and the last fifth, NaN where nothing is known.

    What drifts, like an extrinsic that works loose, differs between them.
    """
    count = max(1, round(_ENDS * len(series)))
    return _median(series[:count]), _median(series[-count:])


def _median(series: Series) -> float:
    known = series[np.isfinite(series)]
    return float(np.median(known)) if len(known) else float('nan')


def read_quality(bag: Path, image_topic: str) -> Quality:
    """Read depth/scale of a camera.

    Args:
        bag: that annotate wrote.
        image_topic: of the camera's images.

    Raises:
        DatasetError: it is not there, or corrupt.
    """
    namespace = image_topic.removesuffix('/compressed').rpartition('/')[0]
    topic, states, times_ns = f'{namespace}/depth/scale', [], []
    numbers: list[tuple[float, ...]] = []
    with open_bag(bag) as reader:
        connections = [c for c in reader.connections if c.topic == topic]
        for connection, time_ns, data in read_recorded(reader, connections):
            try:
                message: Any = TYPES.deserialize_cdr(data, connection.msgtype)
                values = {pair.key: pair.value for pair in message.values}
                numbers.append(tuple(float(values[name]) for name in _NUMBERS))
                states.append(values['state'])
            except Exception as error:  # what rosbags stumbles over in broken bytes is of any kind
                raise DatasetError(
                    f'{bag}: {topic} is corrupt ({reason(error)}): annotate it again'
                ) from error
            times_ns.append(time_ns)
    if not states:
        raise DatasetError(f'{bag} has no {topic}: name what annotate wrote')
    sigma, disagreement, score = np.array(numbers).T
    sigma = np.where(np.isfinite(sigma), sigma, np.nan)
    return Quality(bag, image_topic, np.array(times_ns), states, sigma, disagreement, score)


def draw_frame(quality: Quality, number: int) -> Picture:
    """Draw the image, depth and relative standard deviation of a frame side by side.

    Returns:
        HxWx3 uint8 BGR; what the bag does not hold is gray.

    Raises:
        DatasetError: the bag is corrupt.
    """
    def depth(message: Any) -> NDArray[np.float32]:
        return decode_depth(message).depth_m

    time_ns, found = int(quality.time_ns[number]), {}
    namespace = quality.image_topic.removesuffix('/compressed').rpartition('/')[0]
    decoders: dict[str, Callable[[Any], Any]] = {
        quality.image_topic: lambda message: decode_image(message)[..., ::-1],
        f'{namespace}/depth/image': depth,
        f'{namespace}/depth/stddev': depth,
        f'{namespace}/depth/image/compressedDepth': depth,
    }
    with open_bag(quality.bag) as reader:
        connections = [c for c in reader.connections if c.topic in decoders]
        for connection, _, data in read_recorded(reader, connections, time_ns, time_ns + 1):
            message = TYPES.deserialize_cdr(data, connection.msgtype)
            try:
                found[connection.topic] = decoders[connection.topic](message)
            except BadFrameError as error:
                raise DatasetError(f'{quality.bag} is corrupt: {error}') from error
    image, depth_m, stddev_m, compressed_m = (found.get(topic) for topic in decoders)
    depth_m = compressed_m if depth_m is None else depth_m
    panels = [
        image,
        None if depth_m is None else colour_depth(depth_m),
        None if depth_m is None or stddev_m is None else colour_error(depth_m + stddev_m, depth_m),
    ]
    height, width = next((panel.shape[:2] for panel in panels if panel is not None), (3, 4))
    size = (PANEL_PX, max(1, round(PANEL_PX * height / width)))
    gray = np.full((*size[::-1], 3), 128, np.uint8)
    return np.hstack([
        gray if panel is None else _shrunk(np.ascontiguousarray(panel), size) for panel in panels
    ])


def _shrunk(picture: Picture, size: tuple[int, int]) -> Picture:
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
