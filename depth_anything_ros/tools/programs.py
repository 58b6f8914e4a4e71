# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The executables; one that lacks a Python package, or is interrupted, says so in one line.

Imports nothing that may be missing: the program itself is imported as it starts.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
import re
import sys

# Module that is imported -> package that pip brings it by.
PACKAGES = {
    'backports': 'backports.zstd',
    'cv2': 'opencv-python-headless',
    'fsspec': 'fsspec',
    'google': 'protobuf',
    'h5py': 'h5py',
    'huggingface_hub': 'huggingface-hub',
    'kornia': 'kornia',
    'lightning_fabric': 'lightning-fabric',
    'lz4': 'lz4',
    'numpy': 'numpy',
    'onnx': 'onnx',
    'onnxruntime': 'onnxruntime',
    'openvino': 'openvino',
    'PIL': 'pillow',
    'pyarrow': 'pyarrow',
    'pydantic': 'pydantic',
    'pydantic_core': 'pydantic',
    'ray': 'ray',
    'rerun': 'rerun-sdk',
    'rich': 'rich',
    'rosbags': 'rosbags',
    'safetensors': 'safetensors',
    'scipy': 'scipy',
    'tensorboard': 'tensorboard',
    'torch': 'torch',
    'transformers': 'transformers',
    'yaml': 'pyyaml',
}
_OF_ROS = re.compile(r'rclpy|.*_(msgs|interfaces|msgs_py)|tf2.*|cv_bridge|launch.*|ament_.*')


def cure(error: ModuleNotFoundError) -> str:
    """Return one line that says what is missing and how to get it, empty where that is a bug."""
    name = error.name or ''
    if name in PACKAGES:
        return f'{sys.executable} has no {name}: pip install {PACKAGES[name]}'
    if _OF_ROS.fullmatch(name):
        return f'{sys.executable} has no {name}: source the setup.bash of your ROS 2 installation'
    return ''


def _program(name: str, module: str) -> Callable[[], int | None]:
    def main() -> int | None:
        try:
            status: int | None = import_module(f'depth_anything_ros.{module}').main()
        except ModuleNotFoundError as error:
            if not cure(error):
                raise
            print(f'{name}: {cure(error)}', file=sys.stderr)
            return 2
        except KeyboardInterrupt:  # of programs that have nothing to say of it
            print(f'{name}: stopped', file=sys.stderr)
            return 130
        return status

    return main


depth_node = _program('depth_node', 'ros.depth_node')
play_frames = _program('play_frames', 'tools.play_frames')
world_robot = _program('world_robot', 'tools.world_robot')
evaluate = _program('evaluate', 'tools.evaluate')
annotate = _program('annotate', 'tools.annotate')
inspect = _program('inspect', 'tools.inspect_bag')
doctor = _program('doctor', 'tools.doctor')
fleet_report = _program('fleet_report', 'tools.fleet_report')
pack = _program('pack', 'training.packing')
label = _program('label', 'tools.label')
train = _program('train', 'training.train')
demo = _program('demo', 'tools.demo')
export_onnx = _program('export_onnx', 'tools.export_onnx')
