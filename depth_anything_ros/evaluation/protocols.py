# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which pixels of an image count, and which of them a prediction is aligned to."""

from __future__ import annotations

from dataclasses import dataclass
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Name -> top, bottom, left, right of the pixels that count; whole numbers are pixels, others are
# shares of the image's height and width, cut down to whole pixels as the published loaders do.
REGIONS: dict[str, tuple[float, float, float, float]] = {
    'all': (0.0, 1.0, 0.0, 1.0),
    'garg': (0.40810811, 0.99189189, 0.03594771, 0.96405229),  # Garg et al. 2016, KITTI
    'eigen': (0.3324324, 0.91351351, 0.03594771, 0.96405229),  # Eigen et al. 2014, KITTI
    'nyu': (45, 471, 41, 601),  # Eigen et al. 2014, NYU Depth v2 at 480x640
}

ALIGNMENTS = {
    'affine': "least squares scale and shift per image, as the papers' numbers are taken",
    'node': 'what the node would publish by half of the known pixels, scored on the other half',
    'line': "the same without the node's local correction: the network's own share",
    'none': 'the prediction is in metres, or 1/m',
}
BY_HALF = ('node', 'line')
_CELLS = 8  # of the board that divides the known pixels, along the shorter side of an image


@dataclass(frozen=True)
class Protocol:
    """What is shown to the network and which pixels of it are scored.

    Attributes:
        min_depth_m: nearest true depth that counts, exclusive, in metres.
        max_depth_m: farthest true depth that counts, exclusive, in metres.
        region: key of REGIONS, applied after image_crop.
        image_crop: (height, width) kept of image and truth, bottom and centred; None keeps all.
        min_pixels: an image with fewer pixels that count is left out.
    """

    min_depth_m: float = 1e-3
    max_depth_m: float = 80.0
    region: str = 'all'
    image_crop: tuple[int, int] | None = None
    min_pixels: int = 1

    def cropped(self, image: NDArray[Any]) -> NDArray[Any]:
        """Return the part of an image (HxW or HxWxC) that the protocol shows to the network."""
        if self.image_crop is None:
            return image
        height, width = image.shape[:2]
        top = max(height - self.image_crop[0], 0)
        left = max((width - self.image_crop[1]) // 2, 0)
        right = left + self.image_crop[1]
        return image[top:, left:right]

    def valid(self, depth_m: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
        """Return the pixels that are scored: HxW bool, for a cropped true depth in metres."""
        height, width = depth_m.shape
        edges = zip(REGIONS[self.region], (height, height, width, width), strict=True)
        top, bottom, left, right = (
            edge if isinstance(edge, int) else int(edge * size) for edge, size in edges
        )
        inside = np.zeros(depth_m.shape, dtype=bool)
        inside[top:bottom, left:right] = True
        return inside & (depth_m > self.min_depth_m) & (depth_m < self.max_depth_m)

    def divided(
        self, depth_m: NDArray[np.floating[Any]], align: str
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return the pixels that an alignment is fitted to, and those that are scored: HxW bool.

        For 'node' and 'line' these are the black and the white squares of a board. Neighbours,
        which are alike, lie in one square; and a laser scanner's only row is divided as rings are.
        """
        valid = self.valid(depth_m)
        if align not in BY_HALF:
            return valid, valid
        row, column = np.indices(valid.shape) // max(round(min(valid.shape) / _CELLS), 1)
        black = (row + column) % 2 == 0
        return valid & black, valid & ~black

    def enough(self, depth_m: NDArray[np.floating[Any]], align: str) -> bool:
        """Tell whether an image is scored: each half needs half as many pixels."""
        fitted, scored = self.divided(depth_m, align)
        least = math.ceil(self.min_pixels / 2) if align in BY_HALF else self.min_pixels
        return bool(min(fitted.sum(), scored.sum()) >= least)
