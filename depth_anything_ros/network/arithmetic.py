# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which arithmetic a graph runs in on a CPU: bfloat16 where it is faster and costs next to nothing.

What is chosen depends on the processor, the file and its self-check alone, never on a clock: every
program on a machine chooses the same.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from depth_anything_ros.errors import reason
from depth_anything_ros.network.backends import OnnxPredictor
from depth_anything_ros.network.onnx_file import OnnxFile
from depth_anything_ros.network.self_check import (
    abs_rel_from,
    check,
    LIMITS,
    LOSSES,
    UnusableError,
)

# Smaller networks (the bundled one has 2 million, ViT-S 25) would save milliseconds, and say the
# same on every processor instead.
_LARGE = 10_000_000  # weights


def start(
    file: OnnxFile, begin: Callable[[torch.dtype], OnnxPredictor], against: str
) -> OnnxPredictor:
    """Start a graph in bfloat16 if nothing speaks against it, else in float32, and check it.

    Args:
        file: what is to be run; in 8 bits, this is about what it left in float32.
        begin: starts it in an arithmetic.
        against: what already speaks against bfloat16 on this machine; empty for nothing.

    Returns:
        It, with what was chosen and why in `backend`.

    Raises:
        BackendError: it cannot run, or deviates by more than LIMITS in float32 too.
    """
    against = against or _against_trying(file)
    if not against:
        try:
            predictor = begin(torch.bfloat16)
            loss, against = _judged(file, predictor)
            if not against:
                predictor.backend += f', bfloat16 by choice: {loss}'
                return predictor
            del predictor  # a large network does not lie in memory twice
        except UnusableError as error:
            against = reason(error)
    predictor = begin(torch.float32)
    held_to_reference(file, predictor, torch.float32)
    predictor.backend += f', not bfloat16: {against}'
    return predictor


def _against_trying(file: OnnxFile) -> str:
    if file.reference is None:
        return 'the file holds nothing to check it by'
    if file.path.stat().st_size < _LARGE * (1 if file.int8 else 4):
        return 'the network is small'
    return ''


def _judged(file: OnnxFile, predictor: OnnxPredictor) -> tuple[str, str]:
    """Return what bfloat16 costs, in words, and why that is too much; empty where it is not."""
    reference, kind = file.reference, torch.int8 if file.int8 else torch.bfloat16
    assert reference is not None
    said = reference.said(predictor, predictor.device)
    deviation = reference.deviation(said)
    lost = abs_rel_from(said, reference.values, metric=file.spec.metric)
    origin = 'its accepted result' if file.int8 else 'float32'
    loss = f'AbsRel {lost:.4f} from {origin}'
    if not lost <= LOSSES[kind]:
        return loss, f'{loss} (allowed: {LOSSES[kind]:g})'
    if not deviation <= LIMITS[kind]:
        return loss, f'{deviation:.3g} of the largest prediction off (allowed: {LIMITS[kind]:g})'
    return loss, ''


def held_to_reference(file: OnnxFile, predictor: OnnxPredictor, dtype: torch.dtype) -> None:
    """Check a predictor where its file holds a reference; see self_check.check()."""
    if file.reference is not None:
        kind = torch.int8 if file.int8 else dtype
        check(predictor, file.reference, predictor.backend, predictor.device, kind)
