# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A network on a device, run by PyTorch, OpenVINO or ONNX Runtime: input -> prediction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
import torch
from torch import nn, Tensor
import torch.nn.functional as F

from depth_anything_ros.errors import BackendError, CheckpointError, reason
from depth_anything_ros.network.cuda_graph import Graphed
from depth_anything_ros.network.onnx_file import OnnxFile
from depth_anything_ros.network.self_check import UnusableError
from depth_anything_ros.network.spec import at_size_of, ModelSpec
from depth_anything_ros.network.threads import thread_count, torch_threads

PACKAGES = {'torch': (), 'onnxruntime': ('onnxruntime', 'onnx'), 'openvino': ('openvino', 'onnx')}

Run = Callable[[NDArray[np.float32]], Any]


class TorchPredictor:
    """A network of transformers in evaluation mode; on CUDA it is replayed as a graph.

    Attributes:
        backend: what runs it, for people.
    """

    def __init__(
        self,
        network: nn.Module,
        spec: ModelSpec,
        device: torch.device,
        dtype: torch.dtype,
        threads: int = 0,
    ) -> None:
        self.spec = spec
        self._threads = thread_count(threads)
        self.device = device
        self.dtype = dtype
        self.network = network.eval().requires_grad_(False).to(device, dtype)
        output_layer = dict(network.named_modules()).get('head.conv3')
        if dtype != torch.float32 and output_layer is not None:
            _keep_float32(output_layer)
        self.backend = f'PyTorch {torch.__version__} ({_name(dtype)})'
        self._predict: Callable[[Tensor], Tensor] = self._eager
        if device.type == 'cuda':
            self._predict = Graphed(self._eager)

    @torch.no_grad()
    def __call__(self, image: Tensor) -> Tensor:
        """Predict one image, or several of one size at once.

        Args:
            image: Nx3xhxw float32, normalised with spec.mean and spec.std, on the device; h and w
                are multiples of spec.multiple.

        Returns:
            hxw float32 on the device, in the space that spec names; 2xhxw with sky. Of several
            images Nxhxw, or Nx2xhxw.
        """
        with torch_threads(self._threads):
            return self._predict(image)

    def _eager(self, image: Tensor) -> Tensor:
        prediction: Tensor = self.network(image.to(self.dtype)).predicted_depth.float()
        return at_size_of(image, prediction)


def _keep_float32(layer: nn.Module) -> None:
    """Run the layer that writes the prediction in float32 inside a half precision network.

    bfloat16 holds 8 bits: written in it, depth would come in steps of 0.4 %, 4 cm at 10 m.
    """
    layer.float()
    layer.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))


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
            dtype: arithmetic, in a file of 8 bits that of what is not in 8 bits.
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
        """Predict hxw or 2xhxw float32 from a 1x3xhxw float32 image; see Predictor."""
        fed = image
        if self._size is not None and image.shape[-2:] != self._size:
            fed = F.interpolate(image, self._size, mode='bicubic')
        output = np.asarray(self._run(fed.contiguous().cpu().numpy()))
        planes = 2 if self.spec.has_sky else 1
        is_image = output.ndim >= 2 and math.prod(output.shape[:-2]) == planes
        if not is_image or min(output.shape[-2:]) < 2 or output.dtype.kind != 'f':
            raise CheckpointError(
                f'{self.spec.name} answers with {output.dtype} of shape {output.shape}: export a '
                'network whose first output is one depth image'
            )
        prediction = torch.from_numpy(np.array(output, np.float32))
        return at_size_of(image, prediction).to(self.device)


@cache
def _openvino_core() -> Any:
    """Return the one Core of this process, for ever.

    On CPUs with AMX each Core gives its thread a stack for signal handlers, and at its end gives
    back the one that it found, which is gone if the other's Core ended first: then the next signal
    with a handler, in Python that is each, kills the process without a word.
    """
    import openvino

    return openvino.Core()


def _openvino(
    file: OnnxFile, device: torch.device, dtype: torch.dtype, threads: int
) -> tuple[Run, list[int | None], str]:
    import openvino

    if device.type != 'cpu':
        raise BackendError(
            f'runtime.backend openvino does not run on {device}: set runtime.device to cpu, or '
            'runtime.backend to torch or onnxruntime'
        )
    core = _openvino_core()
    hint, capability = {
        torch.float32: ('f32', 'FP32'),
        torch.float16: ('f16', 'FP16'),
        torch.bfloat16: ('bf16', 'BF16'),
    }[dtype]
    able = core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
    if capability not in able or (file.int8 and 'INT8' not in able):
        raise BackendError(
            f'this CPU has no {_kind(file, dtype)} arithmetic for OpenVINO (it has '
            f'{", ".join(able)}): set runtime.precision to auto'
        )
    settings = {
        'PERFORMANCE_HINT': 'LATENCY',
        'INFERENCE_PRECISION_HINT': hint,
        'INFERENCE_NUM_THREADS': threads,
        # Pinned, the threads of every process take the same first cores: two workers of one thread
        # shared one core, and the other was idle.
        'ENABLE_CPU_PINNING': False,
    }
    try:
        # Height and width stay open: for one size, folding the transposed weights takes 11 s and
        # wins 5 %.
        model = core.read_model(file.path)
        _require_one_image(file, [str(entry.element_type) for entry in model.inputs])
        shape = [int(x.get_length()) if x.is_static else None for x in model.input(0).partial_shape]
        compiled = core.compile_model(model, 'CPU', settings)
        request = compiled.create_infer_request()
    except RuntimeError as error:
        raise _cannot_run(file, 'OpenVINO', error) from error

    def run(image: NDArray[np.float32]) -> Any:
        try:
            return request.infer([image], share_inputs=True)[0]
        except RuntimeError as error:
            raise _cannot_run(file, 'OpenVINO', error) from error

    version = openvino.__version__.partition('-')[0]
    return run, shape, f'OpenVINO {version} ({_kind(file, dtype)}, {threads} threads)'


def _onnxruntime(
    file: OnnxFile, device: torch.device, dtype: torch.dtype, threads: int
) -> tuple[Run, list[int | None], str]:
    import onnxruntime

    wanted: list[Any] = ['OpenVINOExecutionProvider', 'CPUExecutionProvider']
    if device.type == 'cuda':
        index = {'device_id': str(device.index or 0)}
        half = {'trt_fp16_enable': str(dtype == torch.float16)}
        wanted = [
            ('TensorrtExecutionProvider', {**index, **half}),
            ('CUDAExecutionProvider', {**index, 'use_tf32': '0'}),  # float32 is float32
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
    _require_one_image(file, [entry.type for entry in session.get_inputs()])
    entry = session.get_inputs()[0]
    shape = [x if isinstance(x, int) else None for x in entry.shape]

    def run(image: NDArray[np.float32]) -> Any:
        try:
            return session.run(None, {entry.name: image})[0]
        except Exception as error:  # its exceptions have no base of their own
            raise _cannot_run(file, 'ONNX Runtime', error) from error

    used = session.get_providers()[0].removesuffix('ExecutionProvider')
    version = onnxruntime.__version__
    return run, shape, f'ONNX Runtime {version} ({used}, {_kind(file, dtype)}, {threads} threads)'


def _require_one_image(file: OnnxFile, inputs: list[str]) -> None:
    if len(inputs) != 1 or inputs[0] not in ('tensor(float)', "<Type: 'float32'>"):
        raise CheckpointError(
            f'{file.path} wants {len(inputs)} inputs ({", ".join(inputs)[:80]}): export a network '
            'that takes one float32 image'
        )


def _cannot_run(file: OnnxFile, backend: str, error: Exception) -> UnusableError:
    return UnusableError(
        f'{backend} cannot run {file.path} ({reason(error)}): try another runtime.backend'
    )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix('torch.')


def _kind(file: OnnxFile, dtype: torch.dtype) -> str:
    if not file.int8:
        return _name(dtype)
    return 'int8' if dtype == torch.float32 else f'int8 and {_name(dtype)}'


def against_bfloat16(backend: str) -> str:
    """Say why a backend has no bfloat16 that is faster than float32 on this CPU; '' if it has."""
    if backend != 'openvino':
        return 'only OpenVINO computes in it'
    import openvino

    # Listed where the processor multiplies it (AVX512-BF16, AMX), not where it is emulated.
    able = openvino.Core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
    return '' if 'BF16' in able else 'this processor does not multiply it'


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
