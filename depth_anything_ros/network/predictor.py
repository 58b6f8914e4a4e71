# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The one door: model.* and runtime.* -> a network on its device, checked."""

from __future__ import annotations

import logging
import re
from typing import Protocol

import torch
from torch import Tensor

from depth_anything_ros.config import ModelConfig, RuntimeConfig
from depth_anything_ros.errors import BackendError, DeviceError
from depth_anything_ros.network import backends
from depth_anything_ros.network.backends import OnnxPredictor, TorchPredictor
from depth_anything_ros.network.cache import cached
from depth_anything_ros.network.checkpoint import Checkpoint, open_checkpoint
from depth_anything_ros.network.hub import locate
from depth_anything_ros.network.onnx_file import OnnxFile, open_onnx
from depth_anything_ros.network.self_check import check, reference_of, test_image, UnusableError
from depth_anything_ros.network.spec import ModelSpec
from depth_anything_ros.network.threads import thread_count


class Predictor(Protocol):
    """Anything that turns an image into a dense prediction."""

    spec: ModelSpec
    device: torch.device

    def __call__(self, image: Tensor) -> Tensor:
        """Predict from a 1x3xhxw float32 image, normalised, on the device, to hxw float32."""
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
    names = select_backends(runtime.backend, device, is_onnx=path.suffix == '.onnx')
    for name, following in zip(names, [*names[1:], None]):
        try:
            backends.require(name)
            if path.suffix == '.onnx':
                file = open_onnx(path, model)
                return _load_file(file, name, device, runtime, model.input_size)
            checkpoint = open_checkpoint(path, model)
            if name == 'torch':
                return _load_torch(checkpoint, device, runtime)
            return _load_exported(checkpoint, name, device, runtime)
        except BackendError as error:
            if following is None:
                raise
            logging.getLogger(__name__).warning('%s; taking %s instead', error, following)
    raise AssertionError('there is always a backend')


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


def _load_torch(
    checkpoint: Checkpoint, device: torch.device, runtime: RuntimeConfig
) -> TorchPredictor:
    dtype = select_dtype(runtime.precision, device)
    network = checkpoint.load().eval().to(device)
    is_plain = device.type == 'cpu' and dtype == torch.float32  # what the others are compared with
    reference = None if is_plain else reference_of(network, checkpoint.spec)
    predictor = TorchPredictor(network, checkpoint.spec, device, dtype, runtime.threads)
    if reference is not None:
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
    dtype = select_dtype(runtime.precision, torch.device('cpu'))  # auto is float32 for graphs
    threads = thread_count(runtime.threads)
    predictor = OnnxPredictor(file, name, device, dtype, threads, input_size)
    if file.reference is not None:
        check(predictor, file.reference, predictor.backend, device, dtype)
    else:  # nobody said what it should compute; that it runs is seen here, not at the first image
        size = predictor.spec.input_size
        predictor(test_image(size, size).to(device))
        predictor.backend += ', not checked: the file holds no reference'
    return predictor


def select_device(name: str) -> torch.device:
    """Turn runtime.device into a device that is there.

    Args:
        name: 'auto', 'cpu', 'cuda' or 'cuda:N'; auto is CUDA where there is one.

    Raises:
        DeviceError: the name is unknown, or CUDA is asked for and absent; there is no fallback.
    """
    if not re.fullmatch(r'auto|cpu|cuda(:\d+)?', name):
        raise DeviceError(f'runtime.device "{name}" is unknown: use auto, cpu, cuda or cuda:N')
    if name == 'cpu' or (name == 'auto' and not torch.cuda.is_available()):
        return torch.device('cpu')
    if not torch.cuda.is_available():
        cause = (
            f'PyTorch {torch.__version__} is built without CUDA: install its CUDA build'
            if torch.version.cuda is None
            else 'PyTorch finds no CUDA device: check nvidia-smi and the driver'
        )
        raise DeviceError(f'runtime.device is {name} but {cause}, or set runtime.device to cpu')
    index = int(name.partition(':')[2] or 0)
    if index >= torch.cuda.device_count():
        raise DeviceError(
            f'runtime.device is {name} but there are only {torch.cuda.device_count()} CUDA '
            'devices: use cuda:0 or another that is there'
        )
    return torch.device('cuda', index)


def select_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Turn runtime.precision into a number format that suits the device.

    Args:
        precision: 'auto', 'float32', 'float16' or 'bfloat16'; auto is float32 on a CPU and on
            cards without fast half precision (before compute capability 7.0), else float16, whose
            rounding is 8 times finer than bfloat16's.
        device: where the network runs.
    """
    if precision != 'auto':
        named: torch.dtype = getattr(torch, precision)
        return named
    if device.type == 'cuda' and torch.cuda.get_device_capability(device) >= (7, 0):
        return torch.float16
    return torch.float32
