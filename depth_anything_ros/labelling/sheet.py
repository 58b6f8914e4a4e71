# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A few pictures of a shard with their labels, to be looked at."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.labelling.teacher import Label

_TILE, _COLUMNS, _ROWS = (96, 72), 8, 3  # width and height in pixels
COUNT = _COLUMNS * _ROWS


class Sheet:
    """Rows of picture, label (nearer is brighter) and confidence (white is sure)."""

    def __init__(self) -> None:
        """Begin with none."""
        self._tiles: list[NDArray[np.uint8]] = []

    def add(self, image_rgb: NDArray[np.uint8], label: Label) -> None:
        """Take a picture and its label."""
        far, near = np.percentile(label.inverse_depth, (1, 99))
        share = np.clip((label.inverse_depth - far) / max(near - far, 1e-12), 0, 1)
        gray = (255 * share ** 0.6).astype(np.uint8)
        sure = (255 * label.confidence).astype(np.uint8)
        parts = (image_rgb[..., ::-1], cv2.applyColorMap(gray, cv2.COLORMAP_INFERNO),
                 cv2.cvtColor(sure, cv2.COLOR_GRAY2BGR))
        self._tiles.append(np.vstack([
            np.asarray(cv2.resize(np.ascontiguousarray(part), _TILE,
                                  interpolation=cv2.INTER_AREA), np.uint8) for part in parts]))

    def jpeg(self) -> bytes:
        """Return it as a file; black where there are none."""
        blank = np.zeros((3 * _TILE[1], _TILE[0], 3), np.uint8)
        tiles = self._tiles or [blank]
        tiles = tiles + [blank] * (-len(tiles) % _COLUMNS)
        rows = [np.hstack(tiles[i:i + _COLUMNS]) for i in range(0, len(tiles), _COLUMNS)]
        return cv2.imencode('.jpg', np.vstack(rows))[1].tobytes()
