# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Metric 3D from one ordinary camera: image -> network -> relative -> metric depth + cloud.

What stands in __all__ is for programs without ROS; it is imported when it is first asked for.
"""

from importlib import import_module
from typing import Any

_PUBLIC = {
    'load': 'pipeline',
    'DepthPipeline': 'pipeline',
    'DepthFrame': 'pipeline',
    'Outputs': 'pipeline',
    'Camera': 'camera',
    'SensorPoints': 'metric_depth.anchors',
    'GroundPlane': 'metric_depth.scale',
    'State': 'metric_depth.scale',
    'DepthAnythingError': 'errors',
    'BadFrameError': 'errors',
}
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{_PUBLIC[name]}'), name)
