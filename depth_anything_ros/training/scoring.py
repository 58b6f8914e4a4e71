# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The score of a network on held-out pictures: a relative one after a fit, a metric one as it is.

The fit is unweighted affine least squares per image in inverse depth; sky is excluded, 0.3 to 80 m,
scores in depth space, per image and then the mean over images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
import torch
import torch.nn.functional as F
from transformers import DepthAnythingForDepthEstimation

from depth_anything_ros.config import LimitsConfig
from depth_anything_ros.errors import DatasetError
from depth_anything_ros.evaluation.metrics import abs_rel, align_inverse_depth, delta
from depth_anything_ros.training.augment import to_network
from depth_anything_ros.training.network import inverse_depth_of
from depth_anything_ros.training.sample import FAR_M, NEAR_M, Sample, Samples

_LEAST_PIXELS = 100
Predict = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def score_image(
    prediction: NDArray[np.floating], depth_m: NDArray[np.floating], metric: bool = False
) -> tuple[float, float]:
    """Score one prediction, after its affine fit unless it is metric.

    Args:
        prediction: HxW relative inverse depth, or inverse depth in 1/m.
        depth_m: HxW true Z depth in metres; inf for sky, NaN where unknown.
        metric: whether the prediction is in 1/m.

    Returns:
        AbsRel and delta1 in depth space over 0.3 to 80 m; aligned depth beyond the ends of that
        range, or of an inverse that is not positive, is set to the end.
    """
    used = (depth_m >= NEAR_M) & (depth_m <= FAR_M)
    depth, p = depth_m[used].astype(np.float64), prediction[used].astype(np.float64)
    scale, shift = (1.0, 0.0) if metric else align_inverse_depth(p, depth)
    aligned = 1 / np.clip(scale * p + shift, 1 / FAR_M, 1 / NEAR_M)
    return abs_rel(aligned, depth), delta(aligned, depth)


@torch.no_grad()
def predict_image(
    network: DepthAnythingForDepthEstimation, image_rgb: NDArray[np.uint8], short_side: int
) -> NDArray[np.float32]:
    """Predict inverse depth of one HxWx3 uint8 picture at a shorter side, resized back to HxW.

    Raises:
        DatasetError: it is of so long a shape that the node would refuse it too.
    """
    height, width, _ = image_rgb.shape
    scale = short_side / min(height, width)
    size = [max(14, round(side * scale / 14) * 14) for side in (height, width)]
    if size[0] * size[1] > LimitsConfig().network_pixels:
        raise DatasetError(f'a held-out picture is {width}x{height} pixels, which at a shorter '
                           f'side of {short_side} is more than a network input may have: leave it '
                           'out')
    image = torch.from_numpy(np.array(image_rgb)).permute(2, 0, 1)[None].float() / 255
    image = F.interpolate(image, size, mode='bicubic', align_corners=False, antialias=True)
    device = next(network.parameters()).device
    out = network(to_network(image.clamp(0, 1)).to(device)).predicted_depth[:, None].float()
    out = inverse_depth_of(network, out)
    out = F.interpolate(out, (height, width), mode='bilinear', align_corners=False)
    result: NDArray[np.float32] = out[0, 0].cpu().numpy()
    return result


def score_each(predict: Predict, data: Samples, count: int, metric: bool = False
               ) -> Iterator[tuple[float, float] | None]:
    """Score the first pictures of a folder one by one.

    Args:
        predict: from HxWx3 uint8 RGB to HxW relative inverse depth.
        data: pictures with known depth.
        count: how many of them.
        metric: whether predictions are in 1/m, and scored without a fit.

    Yields:
        AbsRel and delta1, or None where fewer than 100 pixels are in range.
    """
    for i in range(min(count, len(data))):
        sample = data[i]
        depth_m = _depth_m(sample)
        yield (score_image(predict(sample.image_rgb), depth_m, metric) if _is_scored(depth_m)
               else None)


def require_scorable(data: Samples, count: int) -> None:
    """Read the first held-out pictures before a run costs anything.

    Raises:
        DatasetError: one cannot be read, or none has enough known depth to be scored.
    """
    if not any([_is_scored(_depth_m(data[i]))  # noqa: C419, all are read
                for i in range(min(count, len(data)))]):
        raise DatasetError(f'no held-out picture has depth between {NEAR_M} and {FAR_M:g} m at '
                           f'{_LEAST_PIXELS} pixels or more: hold out others')


def _depth_m(sample: Sample) -> NDArray[np.float32]:
    with np.errstate(divide='ignore'):
        return np.asarray(1 / sample.inverse_depth.astype(np.float32), np.float32)


def _is_scored(depth_m: NDArray[np.float32]) -> bool:
    return bool(((depth_m >= NEAR_M) & (depth_m <= FAR_M)).sum() >= _LEAST_PIXELS)


def score_world(predict: Predict, data: Samples, count: int, metric: bool = False
                ) -> dict[str, float]:
    """Score predictions on the first pictures of a folder, a constant prediction beside it.

    Args:
        predict: from HxWx3 uint8 RGB to HxW relative inverse depth.
        data: held-out pictures, one of which at least can be scored.
        count: how many of them.
        metric: whether predictions are in 1/m; the constant one is fitted all the same.

    Returns:
        abs_rel, delta1, constant_abs_rel, constant_delta1.
    """
    def constant(image_rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.zeros(image_rgb.shape[:2], np.float32)

    both = zip(score_each(predict, data, count, metric), score_each(constant, data, count))
    mean = np.mean([ours + its for ours, its in both if ours and its], axis=0)
    names = ('abs_rel', 'delta1', 'constant_abs_rel', 'constant_delta1')
    return {name: round(float(value), 4) for name, value in zip(names, mean)}
