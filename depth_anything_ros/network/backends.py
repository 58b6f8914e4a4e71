# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Networks as .onnx files, run by OpenVINO or ONNX Runtime, and held to what PyTorch computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
import math
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor
import torch.nn.functional as F

from depth_anything_ros.errors import BackendError, CheckpointError
from depth_anything_ros.network.onnx_file import at_size_of, OnnxFile, Reference

PACKAGES = {'torch': (), 'onnxruntime': ('onnxruntime', 'onnx'), 'openvino': ('openvino', 'onnx')}

# Largest deviation from eager float32 PyTorch, relative to the largest prediction. Measured on
# ViT-S at 518x686: 2e-6 OpenVINO, 7e-6 ONNX Runtime, 0.017 OpenVINO in bfloat16.
LIMITS = {torch.float32: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.05}

Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class UnusableError(BackendError):
    """A backend does not run a file, or computes something else than PyTorch did."""


class OnnxPredictor:
    """A network in an .onnx file; see Predictor.

    Attributes:
        backend: what runs it, for people.
    """

    def __init__(
        self,
        file: OnnxFile,
        name: str,
        device: torch.device,
        dtype: torch.dtype,
        threads: int,
        input_size: int = 0,
    ) -> None:
        """Load the file into a backend.

        Args:
            file: fixed or any image size; a fixed one is fed stretched images, as its exporters do.
            name: 'openvino' or 'onnxruntime'.
            device: where images come from and predictions go.
            dtype: arithmetic.
            threads: of the CPU.
            input_size: model.input_size, 0 where the file may choose.

        Raises:
            BackendError: the backend is missing, cannot do this precision or not run the file.
            CheckpointError: the file wants or gives something else than image and depth.
        """
        self.device = device
        self.dtype = dtype
        start = {'openvino': _openvino, 'onnxruntime': _onnxruntime}[name]
        self._run, shape, self.backend = start(file, device, dtype, threads)
        if len(shape) != 4 or shape[0] not in (None, 1) or shape[1] not in (None, 3):
            raise CheckpointError(
                f'{file.path} wants an input of shape {shape}: export a network that takes one '
                '1x3xhxw image'
            )
        height, width = shape[2:]
        self._size: tuple[int, int] | None = None
        self.spec = file.spec
        if height and width:
            self._size = height, width
            if input_size not in (0, min(self._size)):
                raise CheckpointError(
                    f'{file.path} takes {height}x{width} images only: set model.input_size to 0, '
                    'or export the network with any size'
                )
            self.spec = replace(file.spec, input_size=min(self._size))

    def __call__(self, image: Tensor) -> Tensor:
        """Predict hxw float32 from a 1x3xhxw float32 image; see Predictor."""
        fed = image
        if self._size is not None and image.shape[-2:] != self._size:
            fed = F.interpolate(image, self._size, mode='bicubic')
        output = self._run(fed.contiguous().cpu().numpy())
        if math.prod(output.shape[:-2]) != 1:
            raise CheckpointError(
                f'{self.spec.name} answers with shape {output.shape}: export a network whose first '
                'output is one depth image'
            )
        prediction = torch.from_numpy(np.array(output, np.float32))
        return at_size_of(image, prediction).to(self.device)


def _openvino(
    file: OnnxFile, device: torch.device, dtype: torch.dtype, threads: int
) -> tuple[Run, list[int | None], str]:
    import openvino

    if device.type != 'cpu':
        raise BackendError(
            f'runtime.backend openvino does not run on {device}: set runtime.device to cpu, or '
            'runtime.backend to torch or onnxruntime'
        )
    core = openvino.Core()
    hint = {torch.float32: 'f32', torch.float16: 'f16', torch.bfloat16: 'bf16'}[dtype]
    able = core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
    if {'f32': 'FP32', 'f16': 'FP16', 'bf16': 'BF16'}[hint] not in able:
        raise BackendError(
            f'this CPU has no {_name(dtype)} arithmetic for OpenVINO (it has {", ".join(able)}): '
            'set runtime.precision to auto'
        )
    settings = {
        'PERFORMANCE_HINT': 'LATENCY',
        'INFERENCE_PRECISION_HINT': hint,
        'INFERENCE_NUM_THREADS': threads,
    }
    try:
        # Height and width stay open: for one size, folding the transposed weights takes 11 s and
        # wins 5 %.
        model = core.read_model(file.path)
        compiled = core.compile_model(model, 'CPU', settings)
    except RuntimeError as error:
        raise _cannot_run(file, 'OpenVINO', error) from error
    request = compiled.create_infer_request()
    shape = [int(x.get_length()) if x.is_static else None for x in model.input(0).partial_shape]

    def run(image: NDArray[np.float32]) -> NDArray[np.float32]:
        result: NDArray[np.float32] = request.infer([image], share_inputs=True)[0]
        return result

    version = openvino.__version__.partition('-')[0]
    return run, shape, f'OpenVINO {version} ({_name(dtype)}, {threads} threads)'


def _onnxruntime(
    file: OnnxFile, device: torch.device, dtype: torch.dtype, threads: int
) -> tuple[Run, list[int | None], str]:
    import onnxruntime

    wanted: list[Any] = ['OpenVINOExecutionProvider', 'CPUExecutionProvider']
    if device.type == 'cuda':
        index = {'device_id': str(device.index or 0)}
        half = {'trt_fp16_enable': str(dtype == torch.float16)}
        wanted = [
            ('TensorrtExecutionProvider', {**index, **half}), ('CUDAExecutionProvider', index),
            'CPUExecutionProvider',
        ]
    there = onnxruntime.get_available_providers()
    providers = [p for p in wanted if (p if isinstance(p, str) else p[0]) in there]
    first = providers[0] if isinstance(providers[0], str) else providers[0][0]
    if device.type == 'cuda' and first == 'CPUExecutionProvider':
        raise BackendError(
            f'this ONNX Runtime has no provider for {device} (it has {", ".join(there)}): pip '
            'install onnxruntime-gpu, or set runtime.device to cpu'
        )
    if dtype != torch.float32 and (first, dtype) != ('TensorrtExecutionProvider', torch.float16):
        raise BackendError(
            f'ONNX Runtime runs this network in float32 on {first}, not in {_name(dtype)}: set '
            'runtime.precision to float32, or runtime.backend to torch or openvino'
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Threads that spin while they wait for the next image would starve everything else.
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    try:
        session = onnxruntime.InferenceSession(file.path, options, providers)
    except Exception as error:  # its exceptions have no base of their own
        raise _cannot_run(file, 'ONNX Runtime', error) from error
    entry = session.get_inputs()[0]
    if len(session.get_inputs()) != 1 or entry.type != 'tensor(float)':
        raise CheckpointError(
            f'{file.path} wants {len(session.get_inputs())} inputs, the first a {entry.type}: '
            'export a network that takes one float32 image'
        )
    shape = [x if isinstance(x, int) else None for x in entry.shape]

    def run(image: NDArray[np.float32]) -> NDArray[np.float32]:
        result: NDArray[np.float32] = session.run(None, {entry.name: image})[0]
        return result

    used = session.get_providers()[0].removesuffix('ExecutionProvider')
    version = onnxruntime.__version__
    return run, shape, f'ONNX Runtime {version} ({used}, {_name(dtype)}, {threads} threads)'


def _cannot_run(file: OnnxFile, backend: str, error: Exception) -> UnusableError:
    reason = ' '.join(str(error).split())[:200]
    return UnusableError(
        f'{backend} cannot run {file.path} ({reason}): try another runtime.backend'
    )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix('torch.')


def missing_packages(backend: str) -> list[str]:
    """List the packages that a backend needs and that are not installed."""
    return [package for package in PACKAGES[backend] if find_spec(package) is None]


def require(backend: str) -> None:
    """Raise BackendError where the packages of a backend are missing."""
    if missing := missing_packages(backend):
        raise BackendError(
            f'runtime.backend {backend} needs {" and ".join(missing)}: pip install '
            f'{" ".join(missing)}, or set runtime.backend to auto'
        )


def check(
    predict: Callable[[Tensor], Tensor], reference: Reference, name: str, device: torch.device,
    dtype: torch.dtype,
) -> None:
    """Hold a backend to what eager float32 PyTorch says of the same image.

    Raises:
        BackendError: it deviates by more than LIMITS[dtype].
    """
    deviation, limit = reference.deviation(predict, device), LIMITS[dtype]
    if not deviation <= limit:
        raise UnusableError(
            f'{name} deviates from float32 PyTorch by {deviation:.3g} of the largest prediction '
            f'at {reference.height}x{reference.width} (allowed: {limit:g}): its output is wrong '
            'here, set runtime.backend to torch and runtime.precision to float32'
        )


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let PyTorch work on so many threads of the CPU until the block ends."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def thread_count(threads: int) -> int:
    """Turn runtime.threads into a number of threads; 0 leaves a core of more than two."""
    if threads:
        return threads
    told = os.environ.get('OMP_NUM_THREADS', '')
    if told.isdecimal() and int(told):
        return int(told)
    cores = len(os.sched_getaffinity(0))
    return cores if cores <= 2 else cores - 1
