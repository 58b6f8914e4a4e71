# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Losses of the Depth Anything recipe, and one more that looks at far range."""

from __future__ import annotations

import torch
from torch import Tensor


def normalise(values: Tensor, valid: Tensor) -> Tensor:
    """Remove shift and scale: (d - median) / mean |d - median|, over valid pixels only.

    Args:
        values: BxHxW float32.
        valid: BxHxW bool.

    Returns:
        BxHxW float32; what stands at invalid pixels has no meaning.

    Source: MiDaS (arXiv 1907.01341) Eq. 5; Depth Anything (arXiv 2401.10891) Eq. 2.
    """
    flat = values.masked_fill(~valid, torch.nan).flatten(1)
    median = flat.nanmedian(dim=1).values.nan_to_num()[:, None, None]
    centred = values - median
    count = valid.flatten(1).sum(dim=1).clamp(min=1)
    spread = centred.abs().masked_fill(~valid, 0.0).flatten(1).sum(dim=1) / count
    return centred / spread.clamp(min=1e-6)[:, None, None]


def _mean(values: Tensor, valid: Tensor, count: Tensor | None = None) -> Tensor:
    """Average over each picture's valid pixels (or count), then over the pictures that have any.

    A batch's mean over pixels would let a picture with sparse depth count next to nothing.
    """
    pixels = valid.flatten(1).sum(dim=1) if count is None else count
    each = values.masked_fill(~valid, 0.0).flatten(1).sum(dim=1) / pixels.clamp(min=1)
    return each.sum() / (pixels > 0).sum().clamp(min=1)


def ssi_loss(prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Scale-and-shift-invariant loss: mean |d^* - d^| of both sides normalised, by picture.

    Args:
        prediction: BxHxW float32, relative inverse depth of any scale and shift.
        target: BxHxW float32, inverse depth.
        valid: BxHxW bool.

    Returns:
        Scalar.

    Source: Depth Anything (arXiv 2401.10891) Eq. 1 to 3.
    """
    return _mean((normalise(prediction, valid) - normalise(target, valid)).abs(), valid)


def gradient_loss(prediction: Tensor, target: Tensor, valid: Tensor, scales: int = 4) -> Tensor:
    """Gradient matching: sum of |dR/dx| + |dR/dy| over M, R = d^* - d^, at halved resolutions.

    M is the number of valid pixels of a picture at that resolution, as in MiDaS' published loss.

    Args:
        prediction: BxHxW float32.
        target: BxHxW float32.
        valid: BxHxW bool; a difference counts where both of its pixels are valid.
        scales: how many resolutions.

    Returns:
        Scalar.

    Source: MiDaS (arXiv 1907.01341) Eq. 11; used again by Depth Anything V2.
    """
    residual = normalise(prediction, valid) - normalise(target, valid)
    total = residual.new_zeros(())
    for _ in range(scales):
        across = (residual[:, :, 1:] - residual[:, :, :-1]).abs()
        down = (residual[:, 1:] - residual[:, :-1]).abs()
        count = valid.flatten(1).sum(dim=1)
        total = total + _mean(across, valid[:, :, 1:] & valid[:, :, :-1], count)
        total = total + _mean(down, valid[:, 1:] & valid[:, :-1], count)
        residual, valid = residual[:, ::2, ::2], valid[:, ::2, ::2]
    return total


def fit_affine(prediction: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Least-squares scale and shift of each image, target = scale * prediction + shift.

    Args:
        prediction: BxHxW float32.
        target: BxHxW float32.
        valid: BxHxW bool.

    Returns:
        scale, shift: B float32 each.
    """
    count = valid.flatten(1).sum(dim=1).clamp(min=1)

    def mean(values: Tensor) -> Tensor:
        return values.masked_fill(~valid, 0.0).flatten(1).sum(dim=1) / count

    p0, d0 = mean(prediction), mean(target)
    p, d = prediction - p0[:, None, None], target - d0[:, None, None]
    scale = mean(p * d) / mean(p * p).clamp(min=1e-12)
    return scale, d0 - scale * p0


def relative_loss(prediction: Tensor, target: Tensor, valid: Tensor, least: float = 0.1) -> Tensor:
    """Mean |log(z (s p + t))| with s, t fitted to the image: what AbsRel sees, near and far alike.

    The scale-and-shift-invariant loss is ruled by near pixels, whose inverse depth is large. The
    gradient goes through the fit, and through the normalisation before it, so that none is left
    along scale and shift, where the loss does not change: a network would follow it for ever.

    Args:
        prediction: BxHxW float32.
        target: BxHxW float32, inverse depth 1/z.
        valid: BxHxW bool; target must be positive there.
        least: where z (s p + t) falls below it, the logarithm continues as a line.

    Returns:
        Scalar.
    """
    prediction = normalise(prediction, valid)  # a relative network's output may be of any size
    scale, shift = fit_affine(prediction, target, valid)
    scale = scale.clamp(min=1e-6)
    aligned = scale[:, None, None] * prediction + shift[:, None, None]
    ratio = aligned / target.masked_fill(~valid, 1.0)
    floor = ratio.clamp(min=least)
    error = torch.where(ratio > least, floor.log().abs(),
                        (least - ratio) / least - torch.log(ratio.new_tensor(least)))
    return _mean(error.clamp(max=5.0), valid)


def below_zero(prediction: Tensor) -> Tensor:
    """Share of a prediction that lies below 0, where the network's last ReLU cuts it off.

    Args:
        prediction: BxHxW float32, of any scale, which it does not depend on.

    Returns:
        Scalar from 0 to 1: the sum of what is negative in that of all, without their signs.
    """
    return torch.relu(-prediction).mean() / prediction.abs().mean().clamp(min=1e-6)


def cutmix_error(prediction: Tensor, target_a: Tensor, target_b: Tensor, inside: Tensor) -> Tensor:
    """Error of a picture cut from two, each part of which is normalised alone.

    Args:
        prediction: BxHxW float32, the student's answer to u_a inside and u_b outside.
        target_a: BxHxW float32, the teacher's answer to the whole u_a; NaN where it is not known.
        target_b: BxHxW float32, the teacher's answer to the whole u_b; likewise.
        inside: BxHxW bool, M; all true is the loss without CutMix.

    Returns:
        BxHxW float32, |d^* - d^|, NaN where the target is not known. Its mean is the loss of both
        parts, weighted by their areas.

    Source: Depth Anything (arXiv 2401.10891) Eq. 5 to 8.
    """
    errors = []
    for target, part in ((target_a, inside), (target_b, ~inside)):
        known = target.isfinite()
        target = target.nan_to_num()  # what is not a number would come back as a gradient
        error = (normalise(prediction, part & known) - normalise(target, part & known)).abs()
        errors.append(torch.where(known, error, torch.nan))
    return torch.where(inside, errors[0], errors[1])


def without_largest(error: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Leave out the pixels of a picture where pseudo labels are most likely wrong.

    Args:
        error: BxHxW float32, of each pixel; NaN where it is not known.
        share: of each picture's known pixels that are left out.

    Returns:
        Scalar, the mean of the others; and BxHxW bool, which they are.

    Source: Depth Anything V2 (arXiv 2406.09414), which ignores the tenth of largest loss.
    """
    flat = error.detach().flatten(1).sort(dim=1).values  # with NaN at the end
    count = flat.isfinite().sum(dim=1)
    place = (count - (share * count).round().long()).clamp(min=1) - 1
    largest = flat.gather(1, place[:, None])
    kept = error.detach() <= largest[..., None]
    return _mean(error, kept), kept


def feature_alignment_loss(features: Tensor, frozen: Tensor, margin: float = 0.85) -> Tensor:
    """Mean 1 - cos(f, f') over places where the cosine does not exceed the margin.

    Args:
        features: BxNxC float32, the student's encoder.
        frozen: BxNxC float32, the frozen encoder; the same C, as there is no projector.
        margin: alpha; places more alike than this are left out.

    Returns:
        Scalar; 0 where all places are left out.

    Source: Depth Anything (arXiv 2401.10891) Eq. 9 and the tolerance margin below it.
    """
    cosine = torch.cosine_similarity(features, frozen, dim=-1)
    left = cosine <= margin
    return (1 - cosine).masked_fill(~left, 0.0).sum() / left.sum().clamp(min=1)


def silog_loss(depth_m: Tensor, target_m: Tensor, valid: Tensor, lambda_: float = 0.85) -> Tensor:
    """Scale-invariant logarithmic loss for metric depth, 10 sqrt(var g + (1 - lambda) mean(g)^2).

    g is log prediction - log truth, over all valid pixels of the batch; var is the unbiased one.
    V2's sqrt(mean(g^2) - 0.5 mean(g)^2) is a tenth of it with lambda 0.5.

    Args:
        depth_m: BxHxW float32, positive.
        target_m: BxHxW float32, positive where valid.
        valid: BxHxW bool.
        lambda_: how little the mean of g counts: 0.85 in ZoeDepth, 0.5 in Depth Anything V2.

    Returns:
        Scalar.

    Source: ZoeDepth (arXiv 2302.12288), as Depth Anything V1 fine-tunes with it; V2's
    metric_depth/util/loss.py.
    """
    g = torch.log(depth_m[valid]) - torch.log(target_m[valid])
    if g.numel() < 2:
        return depth_m.sum() * 0.0
    return 10 * torch.sqrt(g.var() + (1 - lambda_) * g.mean() ** 2 + 1e-12)
