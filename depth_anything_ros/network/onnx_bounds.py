# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""An ONNX graph of somebody else's, held within bounds before a runtime opens it."""

from __future__ import annotations

from collections.abc import Iterator
import math
from pathlib import Path
from typing import Any

from depth_anything_ros.errors import CheckpointError, reason
from depth_anything_ros.network.untrusted import file_size, SENSELESS
from depth_anything_ros.network.weights import MOST_BYTES

MOST_FILE_BYTES = 1 << 31  # protobuf holds no more
_MOST_ELEMENTS = 1 << 29  # of one tensor: 2 GiB of float32
_SHAPE_BYTES = 4096  # an initializer beyond that is a weight and no shape
_ENDLESS = {'Loop', 'Scan'}  # no depth network that is traced has any


def check(model: Any, path: Path, size: int) -> None:
    """Refuse a graph that would not end, or allocate what no depth network needs.

    Args:
        model: the decoded file; its weights are dropped.
        path: where it lies.
        size: of the file in bytes.

    Raises:
        CheckpointError: it does one of these, or reads files from elsewhere.
    """
    import onnx

    if loops := sorted(_ENDLESS & {node.op_type for node in _nodes(model)}):
        raise CheckpointError(f'{path} holds a {loops[0]}: export the network by tracing it')
    if model.graph.sparse_initializer:
        raise CheckpointError(f'{path} holds sparse weights: export the network with dense ones')
    claimed = size
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            claimed += _external_size(tensor, path)
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) > 8 * claimed or any(side < 0 for side in tensor.dims):
            raise CheckpointError(
                f'{path}: {tensor.name[:80]} claims more than is there: export the network again'
            )
        if len(tensor.raw_data) > _SHAPE_BYTES:
            tensor.ClearField('raw_data')
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except (*SENSELESS, onnx.shape_inference.InferenceError) as error:
        raise CheckpointError(
            f'{path} is no valid ONNX graph ({reason(error)}): export the network again'
        ) from error
    for value in inferred.graph.value_info:
        sides = [d.dim_value for d in value.type.tensor_type.shape.dim if d.dim_value > 0]
        if math.prod(sides) > _MOST_ELEMENTS:
            raise CheckpointError(
                f'{path}: {value.name[:80]} would have {math.prod(sides):,} elements, more than '
                f'the {_MOST_ELEMENTS:,} that a depth network can need: export the network again'
            )


def _nodes(model: Any) -> Iterator[Any]:
    graphs = [model.graph, *model.functions]
    while graphs:
        for node in graphs.pop().node:
            yield node
            for attribute in node.attribute:
                graphs += [attribute.g, *attribute.graphs] if attribute.HasField('g') else (
                    attribute.graphs
                )


def _external_size(tensor: Any, path: Path) -> int:
    """Return the size in bytes of the file beside the graph that holds a weight."""
    told = {entry.key: entry.value for entry in tensor.external_data}
    name = told.get('location', '')
    if Path(name).name != name:
        raise CheckpointError(
            f'{path} reads weights from {name[:80]!r}: they must lie beside it, export it again'
        )
    return file_size(path.parent / name, MOST_BYTES)
