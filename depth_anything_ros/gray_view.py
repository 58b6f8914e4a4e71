# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Gray images of a camera as a pinhole would have taken them, turned and shrunk, on the host."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.camera import Array, Camera


class GrayView:
    """Turns and shrinks the images of one camera.

    Attributes:
        seen: HxW, which pixels of the target the camera sees.
    """

    def __init__(self, camera: Camera, R: Array, target: Camera) -> None:
        """Remember where the pixels of a pinhole, turned by R from the optical frame, come from."""
        # Two source pixels to one of the target are averaged by sampling between them.
        shrunk = max(1, round(float(camera.K[0, 0] / (2 * target.K[0, 0]))))
        self._size = camera.size
        self._small = (max(1, camera.width // shrunk), max(1, camera.height // shrunk))
        where = camera.scaled(*self._small).project(target.rays() @ R)
        self.seen: NDArray[np.bool_] = np.isfinite(where[..., 0])
        where = np.where(self.seen[..., None], where, -1.0).astype(np.float32)
        self._u, self._v = (np.ascontiguousarray(where[..., i]) for i in range(2))

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return what the target sees, HxW, of an image that is RGB or gray already."""
        assert image.shape[:2] == self._size
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image
        if gray.shape[::-1] != self._small:
            gray = cv2.resize(gray, self._small, interpolation=cv2.INTER_AREA)
        view = cv2.remap(gray, self._u, self._v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(view, np.uint8)
