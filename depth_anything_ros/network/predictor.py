# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The one door: model.* and runtime.* -> a network on its device, checked."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from depth_anything_ros.config import ModelConfig, RuntimeConfig
from depth_anything_ros.errors import BackendError
from depth_anything_ros.network import arithmetic, backends
from depth_anything_ros.network.backends import OnnxPredictor, TorchPredictor
from depth_anything_ros.network.cache import cached
from depth_anything_ros.network.checkpoint import Checkpoint, open_checkpoint
from depth_anything_ros.network.devices import current, select_device, select_dtype
from depth_anything_ros.network.hub import locate
from depth_anything_ros.network.onnx_file import OnnxFile, open_onnx
from depth_anything_ros.network.self_check import (
    check,
    check_finite,
    reference_of,
    small_size,
    test_image,
    UnusableError,
)
from depth_anything_ros.network.spec import ModelSpec
from depth_anything_ros.network.threads import thread_count, torch_threads


class Predictor(Protocol):
    """Anything that turns an image into a dense prediction."""

    spec: ModelSpec
    device: torch.device

    def __call__(self, image: Tensor) -> Tensor:
        """Predict from a 1x3xhxw float32 image, normalised, on the device.

        Returns:
            hxw float32, in the space that spec names; where spec.has_sky 2xhxw, of which the
            second plane is sky from SKY_FROM on. Of Nx3xhxw, which only PyTorch takes, Nxhxw or
            Nx2xhxw.
        """
        ...


LoadedPredictor = TorchPredictor | OnnxPredictor


def load_predictor(model: ModelConfig, runtime: RuntimeConfig) -> LoadedPredictor:
    """Load a checkpoint into a backend.

    Args:
        model: which checkpoint, and what it predicts where the checkpoint does not say.
        runtime: device, precision and backend. An automatic backend that does not do, or computes
            something else than PyTorch, gives way to the next one with a warning.

    Raises:
        BackendError: the backend is not installed, cannot run the network, or computes something
            else than PyTorch in float32 does.
        CheckpointError: the checkpoint cannot be found, read or understood.
        DeviceError: the device is not there.
    """
    device = select_device(runtime.device)
    path = locate(model.checkpoint)
    is_onnx = path.suffix == '.onnx'
    names = select_backends(runtime.backend, device, is_onnx=is_onnx)
    if runtime.batch > 1:
        names = _of_batches(names, runtime, is_onnx=is_onnx)
    checkpoint = file = None
    if is_onnx:
        backends.require(names[0])
        file = open_onnx(path, model)
    else:
        checkpoint = open_checkpoint(path, model)
    _require_precision(path, runtime.precision, device, int8=file is not None and file.int8)
    for name, following in zip(names, [*names[1:], None]):
        try:
            backends.require(name)
            with current(device):
                if file is not None:
                    return _load_file(file, name, device, runtime, model.input_size)
                assert checkpoint is not None
                if name == 'torch':
                    return _load_torch(checkpoint, device, runtime)
                return _load_exported(checkpoint, name, device, runtime)
        except BackendError as error:
            if following is None:
                raise
            logging.getLogger(__name__).warning('%s; taking %s instead', error, following)
    raise AssertionError('there is always a backend')


def _require_precision(path: Path, precision: str, device: torch.device, *, int8: bool) -> None:
    """Refuse 8 bits where there are none, and anything else where there are.

    Raises:
        BackendError: precision, device and what was found do not go together.
    """
    if int8 and precision not in ('auto', 'int8'):
        raise BackendError(
            f'{path} holds a network in 8 bits, which does not run in {precision}: set '
            'runtime.precision to auto or int8, or model.checkpoint to what it was made of'
        )
    if int8 and device.type != 'cpu':
        raise BackendError(
            f'{path} holds a network in 8 bits, which runs on a CPU only: set runtime.device to '
            'cpu, or model.checkpoint to what it was made of'
        )
    if precision == 'int8' and not int8:
        raise BackendError(
            f'runtime.precision int8 wants a file that was calibrated on your images, and {path} '
            'is none: run export_onnx CHECKPOINT OUT.onnx --int8 --images DIR_OR_BAG, and set '
            'model.checkpoint to OUT.onnx'
        )


def select_backends(name: str, device: torch.device, *, is_onnx: bool) -> list[str]:
    """List the backends to try, best first.

    Args:
        name: runtime.backend; anything but auto is tried alone.
        device: where images come from.
        is_onnx: whether the checkpoint is an .onnx file, which PyTorch does not run.

    Raises:
        BackendError: PyTorch is asked to run an .onnx file.
    """
    if name == 'torch' and is_onnx:
        raise BackendError(
            'runtime.backend torch does not run .onnx files: set it to auto, onnxruntime or '
            'openvino'
        )
    if name != 'auto':
        return [name]
    order = ['openvino', 'onnxruntime'] if device.type == 'cpu' else ['onnxruntime'] * is_onnx
    there = [backend for backend in order if not backends.missing_packages(backend)]
    return (there or ['onnxruntime']) if is_onnx else [*there, 'torch']


def _of_batches(names: list[str], runtime: RuntimeConfig, *, is_onnx: bool) -> list[str]:
    """Return of some backends the one that takes several images at once.

    Raises:
        BackendError: another one is asked for.
    """
    if is_onnx or runtime.backend not in ('auto', 'torch'):
        what = 'an .onnx file' if is_onnx else f'runtime.backend {runtime.backend}'
        raise BackendError(
            f'{what} takes one image at a time: set runtime.batch ({runtime.batch}) to 1, or let '
            'PyTorch run a checkpoint that is no .onnx file'
        )
    return [name for name in names if name == 'torch']


def _load_torch(
    checkpoint: Checkpoint, device: torch.device, runtime: RuntimeConfig
) -> TorchPredictor:
    dtype = select_dtype(runtime.precision, device)
    # float32 is float32: cuDNN would round what convolutions multiply to 10 bits (TF32).
    torch.backends.cudnn.allow_tf32 = False
    network = checkpoint.load().eval().to(device)
    is_plain = device.type == 'cpu' and dtype == torch.float32  # what the others are compared with
    size = small_size(checkpoint.spec) if is_plain else None
    with torch_threads(thread_count(runtime.threads)):
        reference = reference_of(network, checkpoint.spec, size)
    predictor = TorchPredictor(network, checkpoint.spec, device, dtype, runtime.threads)
    if not is_plain:
        check(predictor, reference, predictor.backend, device, dtype)
    return predictor


def _load_exported(
    checkpoint: Checkpoint, name: str, device: torch.device, runtime: RuntimeConfig
) -> OnnxPredictor:
    """Run a checkpoint's cached export; one that does not do is made again once."""
    try:
        return _load_file(cached(checkpoint), name, device, runtime)
    except UnusableError:
        file = cached(checkpoint, rebuild=True)
        return _load_file(file, name, device, runtime)


def _load_file(
    file: OnnxFile,
    name: str,
    device: torch.device,
    runtime: RuntimeConfig,
    input_size: int = 0,
) -> OnnxPredictor:
    threads = thread_count(runtime.threads)

    def begin(dtype: torch.dtype) -> OnnxPredictor:
        return OnnxPredictor(file, name, device, dtype, threads, input_size)

    if device.type == 'cpu' and runtime.precision in ('auto', 'int8'):
        predictor = arithmetic.start(file, begin, backends.against_bfloat16(name))
    else:  # auto is float32 for graphs on a GPU
        dtype = select_dtype(runtime.precision, torch.device('cpu'))
        predictor = begin(dtype)
        arithmetic.held_to_reference(file, predictor, dtype)
    if file.reference is None:
        # Nobody said what it should compute; that it runs is seen here, not at the first image.
        size = math.ceil(predictor.spec.input_size / predictor.spec.multiple)
        image = test_image(*(size * predictor.spec.multiple,) * 2)
        check_finite(predictor(image.to(device)).cpu().numpy(), predictor.spec)
        predictor.backend += ', not checked: the file holds no reference'
    return predictor
