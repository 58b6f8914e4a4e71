# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Scores of an image's prediction, in depth and in disparity, and their mean.

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
from depth_anything_ros.evaluation.alignment import align_image
from depth_anything_ros.evaluation.moge import moge_scores
from depth_anything_ros.evaluation.protocols import BY_HALF, Protocol

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
        align: key of ALIGNMENTS, see align_image().

    Returns:
        The scores; all NaN where no pixel counts.

    Raises:
        DatasetError: the prediction has another shape, or is not finite where it is scored.
    """
    if prediction.shape != depth_m.shape:
        raise DatasetError(
            f'{name}: the prediction is {prediction.shape}, the truth {depth_m.shape}'
        )
    # The node looks at all of a prediction, at sky too.
    needed = np.ones_like(depth_m, bool) if align == 'node' else protocol.valid(depth_m)
    if wrong := int(np.sum(~np.isfinite(prediction[needed]))):
        others = ', or take --align line, which needs those of known depth alone'
        raise DatasetError(f'{name}: the prediction is not finite at {wrong} pixels: give each a '
                           f'prediction{others if align == "node" else ""}')
    aligned = align_image(prediction, depth_m, protocol, space, align)
    z = depth_m[aligned.scored].astype(np.float64)
    z_predicted = aligned.depth_m[aligned.scored]
    there = np.isfinite(z_predicted)
    inside = (z_predicted > protocol.min_depth_m) & (z_predicted < protocol.max_depth_m)
    clipped = 0.0 if align in BY_HALF or not len(z) else 1 - float(inside.mean())
    return ImageScore(
        name,
        len(z),
        aligned.scale,
        aligned.shift,
        clipped,
        float(there.mean()) if len(z) else 1.0,
        aligned.failure,
        _all_metrics(z_predicted, z),
        _all_metrics(1 / z_predicted, 1 / z),
        moge_scores(prediction, depth_m if align == 'affine' else depth_m * np.nan, space),
    )


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
