# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a reader must know of scores before believing or comparing them, line by line."""

from __future__ import annotations

from collections.abc import Sequence
import math
from typing import Any

import numpy as np

from depth_anything_ros.evaluation.datasets import Dataset
from depth_anything_ros.evaluation.image_scores import ImageScore
from depth_anything_ros.evaluation.paired import Difference
from depth_anything_ros.evaluation.predictions import Source


def notes(
    scored: Sequence[ImageScore],
    found: int,
    dataset: Dataset,
    align: str,
    source: Source,
) -> list[str]:
    """Say everything that a reader must know before comparing the numbers with others.

    Args:
        scored: one or more images.
        found: how many there were before those with too few pixels were left out.
        dataset: what they are of.
        align: key of ALIGNMENTS.
        source: what predicted.
    """
    protocol = dataset.protocol
    lines = [
        f'{len(scored)} images, {align} alignment in {source.space.replace("_", " ")}, region '
        f'"{protocol.region}", depth {protocol.min_depth_m:g} to {protocol.max_depth_m:g} m, '
        f'{source.arithmetic}',
        *withheld(scored),
    ]
    if clipped := float(np.mean([score.clipped for score in scored])):
        lines.append(f'{clipped:.2%} of the predictions lie outside that depth and are set to its '
                     'ends')
    if align != 'affine':
        lines.append("MoGe's harness is about aligned predictions: no score by its rule")
    elif unanswered := sum(math.isnan(score.moge['abs_rel']) for score in scored):
        lines.append(f"{unanswered} images have no score by MoGe's rule: a predicted depth is not "
                     'positive, or a prediction not finite')
    if dataset.images and len(scored) != dataset.images:
        lines.append(f'the protocol has {dataset.images} images: compare with care')
    if found > len(scored):
        lines.append(f'{found - len(scored)} images have too few such pixels and are left out')
    if negative := sum(score.scale < 0 for score in scored):
        other = 'depth' if source.space == 'inverse_depth' else 'inverse_depth'
        lines.append(f'the fitted scale is negative in {negative} images: is this {source.space}? '
                     f'(--prediction {other})')
    return lines


def withheld(scored: Sequence[ImageScore]) -> list[str]:
    """Say what the node would publish no depth of."""
    lines, found = [], published(scored)
    if found['coverage'] < 1:
        lines.append(f'{1 - found["coverage"]:.1%} of the pixels get no depth, and count as an '
                     'AbsRel of 1')
    if refused := found['images_refused']:
        first = next(score for score in scored if score.failure)
        lines.append(f"{refused} images get none at all: the node's fit refuses them, first "
                     f'{first.name} ({first.failure})')
    return lines


def published(scored: Sequence[ImageScore]) -> dict[str, Any]:
    """Return what of the scored pixels gets a depth, and of how many images none does, for JSON."""
    return {'coverage': float(np.mean([score.coverage for score in scored])),
            'images_refused': sum(bool(score.failure) for score in scored)}


def verdict(one: str, other: str, abs_rel: float, difference: Difference) -> str:
    """Say in one line whether the other network is better than the one."""
    word = 'no certain difference'
    if difference.high < 0 or difference.low > 0:
        word = 'better' if difference.high < 0 else 'worse'
    return (f'{other} is {word}: AbsRel {abs_rel:.4f} of {one} changes by {difference.mean:+.4f}, '
            f'95 % interval {difference.low:+.4f} to {difference.high:+.4f}')
