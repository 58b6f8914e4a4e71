# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What people run instead of this pipeline, from RGB image to the bytes of a cloud.

Each rival is called with a HxWx3 uint8 RGB image and returns the stages it went through in
milliseconds. Both are spared the lidar fit: they take 1 / prediction for depth.
"""

from __future__ import annotations

from pathlib import Path
import sys
import time
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
import torch

from depth_anything_ros.camera import Camera
from depth_anything_ros.network.official_weights import ARCHITECTURES, renamed_keys


class NumpyCloud:
    """Unprojection and packing as it is usually written, with the rays computed once."""

    def __init__(self, camera: Camera) -> None:
        rays = camera.rays().astype(np.float32)
        self._x, self._y = rays[..., 0], rays[..., 1]

    def __call__(
        self, prediction: NDArray[np.float32], image: NDArray[np.uint8]
    ) -> tuple[bytes, bytes]:
        """Return the bytes of a 32FC1 depth image and of an organised x y z rgb cloud."""
        z = 1.0 / np.maximum(prediction, 1e-3)
        colour = image.astype(np.uint32)
        rgb = (colour[..., 0] << 16) | (colour[..., 1] << 8) | colour[..., 2]
        points = np.stack([self._x * z, self._y * z, z, rgb.view(np.float32)], axis=-1)
        return z.tobytes(), points.tobytes()


class TransformersUser:
    """The depth-estimation pipeline of transformers as its documentation shows it."""

    def __init__(self, folder: Path, camera: Camera, device: torch.device) -> None:
        from transformers import pipeline

        self._pipeline = pipeline('depth-estimation', model=str(folder), device=device)
        self._pack = NumpyCloud(camera)
        self._network_ms = 0.0
        self._started = 0.0
        self._wait = torch.cuda.synchronize if device.type == 'cuda' else lambda: None
        self._pipeline.model.register_forward_pre_hook(self._before)
        self._pipeline.model.register_forward_hook(self._after)

    def _before(self, *_: Any) -> None:
        self._wait()
        self._started = time.perf_counter()

    def _after(self, *_: Any) -> None:
        self._wait()
        self._network_ms = (time.perf_counter() - self._started) * 1e3

    def __call__(self, image: NDArray[np.uint8]) -> dict[str, float]:
        """Run everything once."""
        from PIL import Image

        start, start_cpu = time.perf_counter(), time.process_time()
        prediction = self._pipeline(Image.fromarray(image))['predicted_depth'].cpu().numpy()
        predicted = time.perf_counter()
        self._pack(prediction, image)
        end, end_cpu = time.perf_counter(), time.process_time()
        return {
            'before and after': (predicted - start) * 1e3 - self._network_ms,
            'network': self._network_ms,
            'pack': (end - predicted) * 1e3,
            'total': (end - start) * 1e3,
            'processor time': (end_cpu - start_cpu) * 1e3,
        }


class AuthorsCode:
    """Depth Anything V2's own infer_image(), from a checkout of its repository."""

    def __init__(
        self, checkout: Path, folder: Path, camera: Camera, input_size: int, device: torch.device
    ) -> None:
        """Build the authors' network with the weights of a folder in Hugging Face format."""
        from safetensors.torch import load_file

        state = load_file(folder / 'model.safetensors')
        width = state['backbone.embeddings.cls_token'].shape[-1]
        architecture = ARCHITECTURES[width]
        network = _authors_module(checkout).DepthAnythingV2(
            encoder={384: 'vits', 768: 'vitb', 1024: 'vitl'}[width],
            features=architecture.fusion,
            out_channels=list(architecture.neck),
        )
        network.load_state_dict(
            {
                official: torch.cat([state[name] for name in names])
                for official, names in renamed_keys(architecture.layers).items()
            }
        )
        self.network = network.eval().to(device)
        self._input_size = input_size
        self._pack = NumpyCloud(camera)

    def __call__(self, image: NDArray[np.uint8]) -> dict[str, float]:
        """Run everything once."""
        start, start_cpu = time.perf_counter(), time.process_time()
        prediction = self.network.infer_image(image[..., ::-1], self._input_size)
        predicted = time.perf_counter()
        self._pack(prediction, image)
        end, end_cpu = time.perf_counter(), time.process_time()
        return {
            'infer_image': (predicted - start) * 1e3,
            'pack': (end - predicted) * 1e3,
            'total': (end - start) * 1e3,
            'processor time': (end_cpu - start_cpu) * 1e3,
        }


def _authors_module(checkout: Path) -> Any:
    """Import depth_anything_v2.dpt; all it wants of torchvision is Compose."""
    if not (checkout / 'depth_anything_v2' / 'dpt.py').is_file():
        raise SystemExit(
            f'{checkout} has no depth_anything_v2/dpt.py: clone DepthAnything/Depth-Anything-V2'
        )
    if 'torchvision' not in sys.modules:
        transforms: Any = ModuleType('torchvision.transforms')

        class Compose:
            def __init__(self, steps: list[Any]) -> None:
                self._steps = steps

            def __call__(self, value: Any) -> Any:
                for step in self._steps:
                    value = step(value)
                return value

        transforms.Compose = Compose
        sys.modules['torchvision'] = ModuleType('torchvision')
        sys.modules['torchvision.transforms'] = transforms
    sys.path.insert(0, str(checkout))
    from depth_anything_v2 import dpt  # type: ignore[import-not-found]

    return dpt
