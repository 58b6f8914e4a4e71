# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which pixels of an image count, how a prediction is aligned to them, and its scores.

The authors published no zero-shot evaluator; they say that the paper's numbers are taken in
disparity space (Depth-Anything issue 174). Everything is therefore scored in both spaces.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.errors import DatasetError
from depth_anything_ros.evaluation import metrics
from depth_anything_ros.evaluation.moge import moge_scores

Array = NDArray[np.float64]

METRICS: dict[str, Callable[[Array, Array], float]] = {
    'abs_rel': metrics.abs_rel,
    'delta1': metrics.delta,
    'delta2': partial(metrics.delta, threshold=1.25**2),
    'delta3': partial(metrics.delta, threshold=1.25**3),
    'rmse': metrics.rmse,
    'mae': metrics.mae,
    'silog': metrics.silog,
}

# Name -> top, bottom, left, right of the pixels that count; whole numbers are pixels, others are
# shares of the image's height and width, cut down to whole pixels as the published loaders do.
REGIONS: dict[str, tuple[float, float, float, float]] = {
    'all': (0.0, 1.0, 0.0, 1.0),
    'garg': (0.40810811, 0.99189189, 0.03594771, 0.96405229),  # Garg et al. 2016, KITTI
    'eigen': (0.3324324, 0.91351351, 0.03594771, 0.96405229),  # Eigen et al. 2014, KITTI
    'nyu': (45, 471, 41, 601),  # Eigen et al. 2014, NYU Depth v2 at 480x640
}


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


@dataclass(frozen=True)
class ImageScore:
    """Scores of one image.

    Attributes:
        name: the image.
        pixels: how many pixels counted.
        scale: of the alignment.
        shift: of the alignment.
        clipped: share of the pixels whose aligned prediction left the protocol's depth range.
        depth_space: METRICS of depth; rmse and mae in metres.
        disparity_space: METRICS of inverse depth; rmse and mae in 1/m.
        moge: abs_rel and delta1 by the rule of moge.py, NaN without alignment.
    """

    name: str
    pixels: int
    scale: float
    shift: float
    clipped: float
    depth_space: dict[str, float]
    disparity_space: dict[str, float]
    moge: dict[str, float]


def aligned_depth(
    prediction: Array, space: str, scale: float, shift: float, protocol: Protocol
) -> Array:
    """Turn a prediction into metres inside the protocol's range.

    Args:
        prediction: any shape.
        space: 'inverse_depth' (1/z = scale * p + shift) or 'depth' (z = scale * p + shift).
        scale: of the alignment.
        shift: of the alignment.
        protocol: gives the range; beyond it the prediction is set to its end, as the KITTI and
            NYU evaluators do. An inverse depth that is not positive becomes max_depth_m.

    Returns:
        Depth in metres, float64, of the prediction's shape.
    """
    fitted = scale * prediction + shift
    low, high = protocol.min_depth_m, protocol.max_depth_m
    if space == 'depth':
        return np.clip(fitted, low, high)
    return 1 / np.clip(fitted, 1 / high, 1 / low)


def score_image(
    name: str,
    prediction: NDArray[np.floating[Any]],
    depth_m: NDArray[np.floating[Any]],
    protocol: Protocol,
    space: str = 'inverse_depth',
    align: str = 'affine',
) -> ImageScore:
    """Align one prediction over all pixels that count, and score it.

    Args:
        name: of the image, for the report.
        prediction: HxW, already cropped as the protocol wants.
        depth_m: HxW true depth in metres, NaN invalid, cropped alike.
        protocol: which pixels count.
        space: what the prediction is, 'inverse_depth' or 'depth'.
        align: 'affine' (least squares scale and shift in that space) or 'none' (the prediction is
            in metres, or 1/m).

    Returns:
        The scores; all NaN where no pixel counts.

    Raises:
        DatasetError: the prediction has another shape, or is not finite where it is scored.
    """
    if prediction.shape != depth_m.shape:
        raise DatasetError(
            f'{name}: the prediction is {prediction.shape}, the truth {depth_m.shape}'
        )
    mask = protocol.valid(depth_m)
    p, z = prediction[mask].astype(np.float64), depth_m[mask].astype(np.float64)
    if not np.isfinite(p).all():
        raise DatasetError(f'{name}: the prediction is not finite at {np.sum(~np.isfinite(p))} '
                           'scored pixels; every pixel needs a prediction')
    scale, shift = 1.0, 0.0
    if align == 'affine':
        fit = metrics.align_affine if space == 'depth' else metrics.align_inverse_depth
        scale, shift = fit(p, z)
    z_predicted = aligned_depth(p, space, scale, shift, protocol)
    unclipped = (z_predicted > protocol.min_depth_m) & (z_predicted < protocol.max_depth_m)
    return ImageScore(
        name,
        int(mask.sum()),
        scale,
        shift,
        1 - float(unclipped.mean()) if len(p) else 0.0,
        {key: metric(z_predicted, z) for key, metric in METRICS.items()},
        {key: metric(1 / z_predicted, 1 / z) for key, metric in METRICS.items()},
        moge_scores(prediction, depth_m if align == 'affine' else depth_m * np.nan, space),
    )


def mean_scores(scores: Sequence[ImageScore]) -> dict[str, dict[str, float]]:
    """Average over images: 'depth_space', 'disparity_space' and 'moge' -> metric -> mean.

    Images for which MoGe's rule has no answer are left out of its mean.
    """
    means = {
        space: {key: _mean([getattr(s, space)[key] for s in scores]) for key in METRICS}
        for space in ('depth_space', 'disparity_space')
    }
    answered = [s.moge for s in scores if not math.isnan(s.moge['abs_rel'])]
    means['moge'] = {key: _mean([one[key] for one in answered]) for key in ('abs_rel', 'delta1')}
    return means


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
