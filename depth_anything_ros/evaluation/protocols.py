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

from depth_anything_ros.config import DepthConfig
from depth_anything_ros.errors import DatasetError
from depth_anything_ros.evaluation import metrics
from depth_anything_ros.evaluation.moge import moge_scores
from depth_anything_ros.metric_depth.anchors import MOST_ANCHORS
from depth_anything_ros.metric_depth.fitting import fit_line

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

ALIGNMENTS = {
    'affine': "least squares scale and shift per image, as the papers' numbers are taken",
    'node': 'what the node would publish by half of the known pixels, scored on the other half',
    'none': 'the prediction is in metres, or 1/m',
}
_CELLS = 8  # of the board that divides the known pixels, along the shorter side of an image
_NODE = DepthConfig()


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

        For 'node' these are the black and the white squares of a board. Neighbours, which are
        alike, lie in one square; and a laser scanner's only row is divided as rings are.
        """
        valid = self.valid(depth_m)
        if align != 'node':
            return valid, valid
        row, column = np.indices(valid.shape) // max(round(min(valid.shape) / _CELLS), 1)
        black = (row + column) % 2 == 0
        return valid & black, valid & ~black

    def enough(self, depth_m: NDArray[np.floating[Any]], align: str) -> bool:
        """Tell whether an image is scored: each half needs half as many pixels."""
        fitted, scored = self.divided(depth_m, align)
        least = self.min_pixels if align != 'node' else math.ceil(self.min_pixels / 2)
        return bool(min(fitted.sum(), scored.sum()) >= least)


@dataclass(frozen=True)
class ImageScore:
    """Scores of one image.

    Attributes:
        name: the image.
        pixels: how many pixels are scored.
        scale: of the alignment, NaN where there is none.
        shift: of the alignment, likewise.
        clipped: share of the pixels whose aligned prediction left the protocol's depth range.
        coverage: share of the pixels of which the node would publish a depth; 1 for other
            alignments.
        failure: why the node's fit gives no metres, empty where it does.
        depth_space: METRICS of depth; rmse and mae in metres.
        disparity_space: METRICS of inverse depth; rmse and mae in 1/m.
        moge: abs_rel and delta1 by the rule of moge.py, NaN for other alignments than 'affine'.
    """

    name: str
    pixels: int
    scale: float
    shift: float
    clipped: float
    coverage: float
    failure: str
    depth_space: dict[str, float]
    disparity_space: dict[str, float]
    moge: dict[str, float]


def aligned_depth(
    prediction: Array, space: str, scale: float, shift: float, protocol: Protocol, align: str
) -> Array:
    """Turn a prediction into metres.

    Args:
        prediction: any shape.
        space: 'inverse_depth' (1/z = scale * p + shift) or 'depth' (z = scale * p + shift).
        scale: of the alignment.
        shift: of the alignment.
        protocol: gives the range.
        align: key of ALIGNMENTS. For 'node' there is no depth beyond depth.min and depth.max, as
            it publishes none; for others the prediction is set to the end of the protocol's
            range, as the KITTI and NYU evaluators do, and an inverse depth that is not positive
            becomes max_depth_m.

    Returns:
        Depth in metres, float64, of the prediction's shape; NaN where there is none.
    """
    fitted = scale * prediction + shift
    if align == 'node':
        with np.errstate(divide='ignore'):
            depth_m = fitted if space == 'depth' else 1 / fitted
        published = (depth_m >= _NODE.min) & (depth_m <= _NODE.max)
        return np.where(published, depth_m, np.nan)
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
    """Align one prediction, and score it.

    A pixel of which the node would publish no depth counts as a depth of 0 (and an inverse depth of
    0): an AbsRel of 1 and a miss; SILog, which has no logarithm of it, leaves it out.

    Args:
        name: of the image, for the report.
        prediction: HxW, already cropped as the protocol wants.
        depth_m: HxW true depth in metres, NaN invalid, cropped alike.
        protocol: which pixels count.
        space: what the prediction is, 'inverse_depth' or 'depth'.
        align: key of ALIGNMENTS: 'affine' is fitted in that space to all pixels that count, and
            'node' to those of Protocol.divided, by the node's own robust fit of one image.

    Returns:
        The scores; all NaN where no pixel counts.

    Raises:
        DatasetError: the prediction has another shape, or is not finite where it is scored.
    """
    if prediction.shape != depth_m.shape:
        raise DatasetError(
            f'{name}: the prediction is {prediction.shape}, the truth {depth_m.shape}'
        )
    valid = protocol.valid(depth_m)
    if wrong := int(np.sum(~np.isfinite(prediction[valid]))):
        raise DatasetError(f'{name}: the prediction is not finite at {wrong} scored pixels; every '
                           'pixel needs a prediction')
    fitted, scored = protocol.divided(depth_m, align)
    scale, shift, failure = _line(
        prediction[fitted].astype(np.float64), depth_m[fitted].astype(np.float64), space, align
    )
    p, z = prediction[scored].astype(np.float64), depth_m[scored].astype(np.float64)
    z_predicted = aligned_depth(p, space, scale, shift, protocol, align)
    there = np.isfinite(z_predicted)
    inside = (z_predicted > protocol.min_depth_m) & (z_predicted < protocol.max_depth_m)
    clipped = 0.0 if align == 'node' or not len(p) else 1 - float(inside.mean())
    return ImageScore(
        name,
        len(p),
        scale,
        shift,
        clipped,
        float(there.mean()) if len(p) else 1.0,
        failure,
        _all_metrics(z_predicted, z),
        _all_metrics(1 / z_predicted, 1 / z),
        moge_scores(prediction, depth_m if align == 'affine' else depth_m * np.nan, space),
    )


def _line(p: Array, z: Array, space: str, align: str) -> tuple[float, float, str]:
    """Return scale and shift, and why the node would refuse them."""
    if align == 'none':
        return 1.0, 0.0, ''
    if align == 'affine':
        fit = metrics.align_affine if space == 'depth' else metrics.align_inverse_depth
        return *fit(p, z), ''
    some = slice(None, None, max(math.ceil(len(p) / MOST_ANCHORS), 1))
    line = fit_line(p[some], z[some] if space == 'depth' else 1 / z[some])
    return (math.nan, math.nan, line.failure) if line.failure else (line.scale, line.shift, '')


def _all_metrics(predicted: Array, true: Array) -> dict[str, float]:
    """Return all METRICS; what is NaN counts as 0, and is left out where that has no meaning."""
    filled = np.nan_to_num(predicted)
    return {key: metric(predicted if key == 'silog' else filled, true)
            for key, metric in METRICS.items()}


def mean_scores(scores: Sequence[ImageScore]) -> dict[str, dict[str, float]]:
    """Average over images: 'depth_space', 'disparity_space' and 'moge' -> metric -> mean.

    Images of which a score is NaN, as where MoGe's rule has no answer, are left out of its mean.
    """
    spaces = {'depth_space': METRICS, 'disparity_space': METRICS, 'moge': ('abs_rel', 'delta1')}
    return {space: {key: _mean([getattr(score, space)[key] for score in scores]) for key in keys}
            for space, keys in spaces.items()}


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan
