# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One picture to learn from, at its own size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

UNKNOWN_CLASS = 255
NEAR_M, FAR_M = 0.3, 80.0  # depth that is learnt from in metres, and scored


@dataclass(frozen=True, eq=False)
class Sample:
    """A picture and what is known of it.

    Attributes:
        image_rgb: HxWx3 uint8.
        inverse_depth: HxW floating, one over Z depth in metres; 0 for sky, NaN where unknown.
        semantic: HxW uint8, UNKNOWN_CLASS where unknown.
        sparse: whether what is known are single pixels, as a lidar's are.
    """

    image_rgb: NDArray[np.uint8]
    inverse_depth: NDArray[np.floating[Any]]
    semantic: NDArray[np.uint8]
    sparse: bool = False


class Samples(Protocol):
    """Pictures, each read when it is asked for; one that is corrupt is then a DatasetError."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


def own_sample(image_rgb: NDArray[np.uint8], depth_m: NDArray[np.float32] | None,
               sparse: bool = False) -> Sample:
    """Make a sample of a camera's picture.

    Args:
        image_rgb: HxWx3 uint8.
        depth_m: HxW Z depth; infinite is sky, what is not above 0 is unknown; None is unknown.
        sparse: see Sample.
    """
    unknown = np.float32(np.nan)
    if depth_m is None:
        inverse = np.full(image_rgb.shape[:2], unknown, np.float32)
    else:
        with np.errstate(divide='ignore', invalid='ignore'):
            inverse = np.where(depth_m > 0, 1 / depth_m, unknown)
    return Sample(image_rgb, inverse, np.full(inverse.shape, UNKNOWN_CLASS, np.uint8), sparse)
