# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A network as one .onnx file for images of any size, with what it predicts and a self-check.

The file carries, beside the graph, the ModelSpec and what eager float32 PyTorch said of a fixed
test image: whoever runs the file can tell whether it still computes the same network.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
import io
import json
import os
from pathlib import Path
import tempfile
from typing import Any
import warnings

import numpy as np
import torch
from torch import nn, Tensor

from depth_anything_ros.config import ModelConfig
from depth_anything_ros.errors import BackendError, CheckpointError, reason
from depth_anything_ros.network import onnx_bounds
from depth_anything_ros.network.official_weights import named_spec
from depth_anything_ros.network.self_check import (
    Reference,
    reference_of,
    small_size,
    test_image,
)
from depth_anything_ros.network.spec import decode_spec, ModelSpec
from depth_anything_ros.network.untrusted import decode, Fields, file_size

_KEY = 'depth_anything_ros'
FORMAT = 4  # raised when what is written changes: older cached files are not read any more
_OPSET = 17
_MOST_WEIGHTS_BYTES = (2 << 30) - (64 << 20)  # beside the graph, in one message of protobuf
_LONGEST_SIDE = 8192  # pixels, of a test image


@dataclass(frozen=True, eq=False)
class OnnxFile:
    """One .onnx file that was read and understood.

    Attributes:
        path: where it lies.
        spec: what it wants and predicts.
        reference: its self-check; None in files that others exported.
        int8: whether it was quantised; its reference is then what it said when it was accepted.
    """

    path: Path
    spec: ModelSpec
    reference: Reference | None
    int8: bool = False


class _OnlyDepth(nn.Module):
    """A network of transformers that answers with a tensor."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Any:
        return self.network(image).predicted_depth


def export(
    network: nn.Module, spec: ModelSpec, path: Path, size: tuple[int, int] | None = None
) -> None:
    """Write a network of transformers with its metadata; the file appears whole or not at all.

    Args:
        network: float32 weights on the CPU; predicts 1xhxw, or 1x2xhxw with sky, from a
            normalised 1x3xhxw.
        spec: what it wants and predicts.
        path: the .onnx file; its folder is made.
        size: the one (height, width) in pixels that it takes; None for any that it can.

    Raises:
        CheckpointError: the size is no multiple of the patch.
        BackendError: the package onnx is missing, or the network cannot be traced.
        OSError: the file cannot be written.
    """
    import onnx

    from depth_anything_ros.network.any_size import use_any_size

    if size and (size[0] % spec.multiple or size[1] % spec.multiple):
        raise CheckpointError(
            f'{spec.name} takes multiples of {spec.multiple} pixels, not {size[0]}x{size[1]}: give '
            'another size'
        )
    if sum(weight.nbytes for weight in network.parameters()) >= _MOST_WEIGHTS_BYTES:
        raise BackendError(
            f'{spec.name} has more weights than one .onnx file holds (2 GiB): set runtime.backend '
            'to torch'
        )
    if len(getattr(getattr(network, 'config', None), 'bin_configurations', ())) > 1:
        raise BackendError(
            f'{spec.name} chooses its heads by the image, which a graph does not: set '
            'runtime.backend to torch'
        )
    if spec.resize == 'stretch':
        size = size or small_size(spec)  # the only one that its images have
    network = network.eval()
    use_any_size(network)
    reference = reference_of(network, spec, size)
    # Traced at one small size and checked at another one: what does not follow the size shows.
    example = test_image(*(size or small_size(spec)))
    rows = 2 if spec.has_sky else 1  # axis of the prediction
    free = {
        'image': {2: 'height', 3: 'width'}, 'prediction': {rows: 'height', rows + 1: 'width'}
    }
    content: Any = io.BytesIO()  # which export() takes, whatever its annotation says
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter('ignore')  # of the tracer: what went wrong, the self-check shows
            # The older exporter: its graphs run 1.1 to 1.4 times as fast as torch.export's, which
            # would want another package on every robot.
            torch.onnx.export(
                _OnlyDepth(network), (example,), content, dynamo=False, opset_version=_OPSET,
                input_names=['image'], output_names=['prediction'],
                dynamic_axes=None if size else free,
            )
    except (RuntimeError, ValueError, TypeError, torch.onnx.errors.OnnxExporterError) as error:
        raise BackendError(
            f'{spec.name} cannot be exported ({reason(error)}): set runtime.backend to torch'
        ) from error
    write(onnx.load_from_string(content.getvalue()), OnnxFile(path, spec, reference))


def write(model: Any, file: OnnxFile) -> None:
    """Write a graph with what is known of it; the file appears whole or not at all.

    Args:
        model: the graph.
        file: where it goes, and what it says of itself.

    Raises:
        OSError: it cannot be written.
    """
    reference, path = file.reference, file.path
    assert reference is not None  # what is written here can be checked
    facts = {
        'format': FORMAT,
        'spec': asdict(file.spec),
        'int8': file.int8,
        'reference': {
            'height': reference.height, 'width': reference.width, 'stride': reference.stride,
            'values': reference.values.astype('<f4').tobytes().hex(),
        },
    }
    del model.metadata_props[:]
    model.metadata_props.add(key=_KEY, value=json.dumps(facts))
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix='.part', delete=False) as part:
        try:
            part.write(model.SerializeToString())
            part.close()
            os.replace(part.name, path)
        except BaseException:
            os.unlink(part.name)
            raise


def read(path: Path, *, trusted: bool = False) -> OnnxFile | None:
    """Read the metadata of a file that export() wrote.

    Args:
        path: the .onnx file.
        trusted: whether this program wrote the graph itself, so that it needs no inspection.

    Returns:
        What it says; None where the file was exported by others.

    Raises:
        CheckpointError: the file is no ONNX, truncated, of another version, or out of bounds.
    """
    from google.protobuf.message import DecodeError
    import onnx

    size = file_size(path, onnx_bounds.MOST_FILE_BYTES)
    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, OSError, ValueError) as error:
        raise CheckpointError(
            f'{path} cannot be read as ONNX ({reason(error, 120)}): it may be truncated or a '
            'placeholder of git LFS; download or export it again'
        ) from error
    if not model.graph.node:
        raise CheckpointError(f'{path} holds no network: download or export it again')
    written = {entry.key: entry.value for entry in model.metadata_props}.get(_KEY)
    if not trusted:
        onnx_bounds.check(model, path, size)
    if written is None:
        return None
    facts = decode(written, f'{path}: what it says of itself')
    if facts.content.get('format') != FORMAT:
        raise CheckpointError(
            f'{path} was exported by another version of depth_anything_ros: export it again'
        )
    spec = decode_spec(facts.section('spec'))
    return OnnxFile(path, spec, _reference(facts, spec), facts.flag('int8', False))


def _reference(facts: Fields, spec: ModelSpec) -> Reference:
    told = facts.section('reference')
    height, width = (told.integer(key, 0, 1, _LONGEST_SIDE) for key in ('height', 'width'))
    stride = told.integer('stride', 0, 1, _LONGEST_SIDE)
    shape = (2,) * spec.has_sky + (-(-height // stride), -(-width // stride))
    try:
        values = np.frombuffer(bytes.fromhex(told.text('values')), '<f4')
        if not np.isfinite(values).all() or not values.any():
            raise ValueError('no prediction')
        return Reference(height, width, stride, values.reshape(shape))
    except ValueError as error:
        wanted = 'x'.join(map(str, shape))
        raise told.wrong('values', f'{wanted} numbers of float32 in hexadecimal') from error


def open_onnx(path: Path, model: ModelConfig) -> OnnxFile:
    """Understand an .onnx file given as model.checkpoint.

    Args:
        path: written by export(), or somebody's export of a Depth Anything network.
        model: model.variant and model.max_depth say what others' files predict where their name
            does not; model.input_size and model.canonical_focal overrule the file.

    Raises:
        CheckpointError: the file cannot be read, or what it predicts is not known.
    """
    ours = read(path)
    # Others' exports have their depth first; what else they put out is not known.
    file = ours or OnnxFile(path, replace(named_spec(path, model), has_sky=False), None)
    spec = file.spec
    spec = replace(
        spec,
        input_size=model.input_size or spec.input_size,
        canonical_focal_px=(model.canonical_focal or spec.canonical_focal_px)
        if spec.metric else None,
    )
    return replace(file, spec=spec)
