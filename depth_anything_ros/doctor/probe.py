# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One question to what is installed, answered in a process of its own, which may crash.

`python -m depth_anything_ros.doctor.probe NAME [JSON]` prints one line of JSON.
"""

from __future__ import annotations

from importlib.util import find_spec
import json
import logging
from pathlib import Path
import sys
from typing import Any


def ros(_: dict[str, Any]) -> dict[str, Any]:
    """Say which middleware starts."""
    import rclpy

    return {'rmw': rclpy.get_rmw_implementation_identifier()}


def packages(_: dict[str, Any]) -> dict[str, Any]:
    """Say what decodes images."""
    import cv2
    import numpy as np

    cv2.cvtColor(np.zeros((2, 2, 3), np.uint8), cv2.COLOR_RGB2GRAY)
    from depth_anything_ros.ros.bridge import sound_encodings

    return {
        'numpy': np.__version__,
        'cv2': cv2.__version__,
        'cv_bridge': find_spec('cv_bridge') is not None,
        'sound_encodings': sorted(sound_encodings()),
    }


def onnxruntime(_: dict[str, Any]) -> dict[str, Any]:
    """Say what ONNX Runtime runs on."""
    import onnxruntime

    names = onnxruntime.get_available_providers()
    return {'version': onnxruntime.__version__, 'runs_on': ', '.join(names)}


def openvino(_: dict[str, Any]) -> dict[str, Any]:
    """Say what OpenVINO runs on."""
    import openvino

    version = openvino.__version__.partition('-')[0]
    return {'version': version, 'runs_on': ', '.join(openvino.Core().available_devices)}


def network(asked: dict[str, Any]) -> dict[str, Any]:
    """Say where the network would run, whether its checkpoint is whole, and where exports go.

    Args:
        asked: parameters by name, and whether to download.
    """
    import torch

    from depth_anything_ros.config import Config, with_values
    from depth_anything_ros.errors import DepthAnythingError
    from depth_anything_ros.network import backends
    from depth_anything_ros.network.cache import cache_folder
    from depth_anything_ros.network.checkpoint import open_checkpoint
    from depth_anything_ros.network.devices import select_device
    from depth_anything_ros.network.hub import locate
    from depth_anything_ros.network.onnx_file import open_onnx
    from depth_anything_ros.network.weights import check_whole, files_in

    config = with_values(Config(), asked['parameters'])
    said: dict[str, Any] = {
        'torch': torch.__version__,
        'cuda_build': torch.version.cuda,
        'nvidia': Path('/dev/nvidia0').exists() or Path('/dev/nvhost-gpu').exists(),
        'device_asked': config.runtime.device,
        **dict.fromkeys(('device', 'checkpoint', 'cache', 'cache_note'), ''),
        **dict.fromkeys(('device_error', 'backend_error', 'checkpoint_error', 'cache_error'), ''),
        'metric': None,
    }
    try:
        said['device'] = str(select_device(config.runtime.device))
    except DepthAnythingError as error:
        said['device_error'] = str(error)
    try:
        if config.runtime.backend != 'auto':
            backends.require(config.runtime.backend)
    except DepthAnythingError as error:
        said['backend_error'] = str(error)
    try:
        path = locate(config.model.checkpoint, download=asked['download'])
        said['checkpoint'] = str(path)
        if path.suffix == '.onnx':
            spec = open_onnx(path, config.model).spec
        else:
            spec = open_checkpoint(path, config.model).spec
            for file in files_in(path) if path.is_dir() else [path]:
                check_whole(file)
        said['metric'] = spec.metric
    except DepthAnythingError as error:
        said['checkpoint_error'] = str(error)
    notes = _Notes()
    logging.getLogger('depth_anything_ros').addHandler(notes)
    try:
        said['cache'] = str(cache_folder())
        said['cache_note'] = '; '.join(notes.lines)
    except DepthAnythingError as error:
        said['cache_error'] = str(error)
    return said


class _Notes(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


PROBES = {each.__name__: each for each in (ros, packages, onnxruntime, openvino, network)}


def main() -> int:
    """Answer one question."""
    name, *arguments = sys.argv[1:]
    if name in ('onnxruntime', 'openvino') and find_spec(name) is None:
        answer = {'error': 'not installed'}
    else:
        answer = PROBES[name](json.loads(arguments[0]) if arguments else {})
    print('\n' + json.dumps(answer), flush=True)
    return 0


if __name__ == '__main__':
    sys.exit(main())
