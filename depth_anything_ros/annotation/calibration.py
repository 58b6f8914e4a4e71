# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A camera's calibration from a file, for recordings without camera_info."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo
import yaml  # type: ignore[import-untyped]

from depth_anything_ros.errors import BadFrameError, ConfigError, reason
from depth_anything_ros.ros.messages import decode_camera

_MATRICES = {
    'k': 'camera_matrix',
    'd': 'distortion_coefficients',
    'r': 'rectification_matrix',
    'p': 'projection_matrix',
}


def read_camera_info(path: str) -> bytes:
    """Read the YAML that camera_calibration and camera_info_manager write.

    Args:
        path: of the file: image_width, image_height, distortion_model, camera_matrix and so on;
            rectification_matrix and projection_matrix may be left out.

    Returns:
        The CameraInfo, serialised.

    Raises:
        ConfigError: the file is not there, is none of these, or describes no camera.
    """
    message = CameraInfo()
    try:
        values: Any = yaml.safe_load(Path(path).expanduser().read_text())
        message.width, message.height = values['image_width'], values['image_height']
        message.distortion_model = values['distortion_model']
        for field, name in _MATRICES.items():
            if name in values or field in 'kd':
                setattr(message, field, [float(x) for x in values[name]['data']])
        decode_camera(message, rectified=False)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f'{path} cannot be read ({reason(error)}): name a YAML file') from error
    except BadFrameError as error:
        raise ConfigError(f'{path} describes no camera: {error}') from error
    except (KeyError, TypeError, ValueError, AssertionError) as error:
        raise ConfigError(
            f'{path} is no calibration as camera_calibration writes it ({reason(error)}): it needs '
            'image_width, image_height, distortion_model, camera_matrix and '
            'distortion_coefficients, each with data'
        ) from error
    return serialize_message(message)
