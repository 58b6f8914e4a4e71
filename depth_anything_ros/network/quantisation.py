# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""An exported network in 8 bits, calibrated on its user's images and held to what that costs.

ONNX Runtime's static quantisation, in the standard's QuantizeLinear and DequantizeLinear. Matrix
products between activations stay float32, since softmax over a thousand patches lies below one step
of 8 bits, and so does the convolution that writes the prediction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
import statistics
import tempfile
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

from depth_anything_ros.errors import BackendError, reason
from depth_anything_ros.network.backends import OnnxPredictor
from depth_anything_ros.network.onnx_file import OnnxFile, write
from depth_anything_ros.network.self_check import abs_rel_from, LOSSES
from depth_anything_ros.network.threads import thread_count

FEWEST_IMAGES, MOST_IMAGES = 32, 64
MOST_ABS_REL = LOSSES[torch.int8]
_HELD_OUT = 4  # every fourth image judges what the others calibrated


@dataclass(frozen=True)
class Cost:
    """What 8 bits cost and save on the images that were held out.

    Attributes:
        abs_rel: of the 8 bit prediction from the float32 one, see abs_rel_from(); mean.
        time: median time of one image over float32's, both in ONNX Runtime on this machine.
        images: how many were held out.
    """

    abs_rel: float
    time: float
    images: int


def quantise(file: OnnxFile, inputs: Sequence[Tensor], path: Path) -> Cost:
    """Write an exported network in 8 bits; the file appears whole and accepted, or not at all.

    Args:
        file: written by export().
        inputs: FEWEST_IMAGES or more network inputs, 1x3xhxw float32, as the camera will give them.
        path: the .onnx file to write.

    Raises:
        BackendError: there are too few images, the library cannot quantise the network, or it
            loses more than MOST_ABS_REL on the images that were held out.
        OSError: a file cannot be written.
    """
    import onnx

    if len(inputs) < FEWEST_IMAGES:
        raise BackendError(
            f'8 bits are calibrated and judged on {FEWEST_IMAGES} images or more, and here are '
            f'{len(inputs)}: give more, of all the places where the camera will be'
        )
    held_out = inputs[::_HELD_OUT]
    shown = [image for i, image in enumerate(inputs) if i % _HELD_OUT]
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, suffix='.part') as folder:
        part = Path(folder, 'int8.onnx')
        _calibrate(file.path, shown, part)
        exact, rounded = (
            OnnxPredictor(each, 'onnxruntime', torch.device('cpu'), torch.float32, thread_count(0))
            for each in (file, replace(file, path=part, int8=True))
        )
        cost = _cost(exact, rounded, held_out)
        if not cost.abs_rel <= MOST_ABS_REL:
            raise BackendError(
                f'{file.spec.name} in 8 bits differs from float32 by AbsRel {cost.abs_rel:.3f} on '
                f'{cost.images} held-out images (allowed: {MOST_ABS_REL:g}): stay with float32, or '
                'give more images of the places where the camera will be'
            )
        reference = file.reference
        assert reference is not None  # export() writes one
        values = reference.said(rounded, torch.device('cpu'))
        write(onnx.load(part), replace(file, reference=replace(reference, values=values),
                                       int8=True, path=path))
    return cost


def _calibrate(source: Path, inputs: Sequence[Tensor], path: Path) -> None:
    """Let ONNX Runtime choose the ranges of all activations and write the graph."""
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]  # has no types
        def __init__(self) -> None:
            self._inputs = iter(inputs)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            image = next(self._inputs, None)
            return None if image is None else {'image': image.contiguous().numpy()}

    prepared = path.with_name('prepared.onnx')
    try:
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantization.quantize_static(
            prepared,
            path,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            nodes_to_quantize=_with_weights(onnx.load(prepared).graph),
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            reduce_range=True,  # 7 bits of a weight: sums do not overflow on CPUs without VNNI
            extra_options={'OpTypesToExcludeOutputQuantization': ['MatMul', 'Gemm']},
        )
    except OSError:
        raise
    except Exception as error:  # its exceptions have no base of their own
        raise BackendError(
            f'ONNX Runtime cannot quantise {source} ({reason(error)}): stay with float32'
        ) from error


def _with_weights(graph: Any) -> list[str]:
    """Name the layers to quantise: those that have weights.

    Left out are the convolution to one channel, which writes the prediction, and the resampling of
    position embeddings, which are a weight by themselves.
    """
    weights = {tensor.name: tensor.dims for tensor in graph.initializer}
    layers = [node for node in graph.node if len(node.input) > 1 and node.input[1] in weights]
    products = [
        node.name for node in layers
        if node.op_type in ('MatMul', 'Gemm') and '/embeddings/' not in node.name
    ]
    convolutions = [
        node.name for node in layers
        if node.op_type == 'Conv' and weights[node.input[1]][0] > 1
    ]
    return products + convolutions


def _cost(exact: OnnxPredictor, rounded: OnnxPredictor, images: Sequence[Tensor]) -> Cost:
    errors, times = [], []
    for image in images:
        start = time.perf_counter()
        wanted = exact(image).numpy()
        between = time.perf_counter()
        given = rounded(image).numpy()
        times.append((time.perf_counter() - between) / (between - start))
        errors.append(abs_rel_from(given, wanted, metric=exact.spec.metric))
    return Cost(statistics.fmean(errors), statistics.median(times), len(images))
