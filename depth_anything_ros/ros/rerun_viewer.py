# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Show the demo live in Rerun (VIEWER=rerun); rerun-sdk is asked for only then."""

from __future__ import annotations

from typing import Any

import numpy as np

from depth_anything_ros.errors import DepthAnythingError
from depth_anything_ros.ros.images import depth_plane
from depth_anything_ros.ros.messages import decode_camera, decode_image, stamp_to_ns


class RerunViewer:
    """Logs the messages that make a picture."""

    def __init__(self) -> None:
        """Open the viewer.

        Raises:
            DepthAnythingError: rerun-sdk is not installed.
        """
        try:
            import rerun
        except ImportError as error:
            raise DepthAnythingError(
                'VIEWER=rerun needs the viewer: .venv/bin/pip install rerun-sdk'
            ) from error
        self._rerun = rerun
        rerun.init('depth_anything_ros', spawn=True)
        rerun.log('camera', rerun.ViewCoordinates.RDF, static=True)

    def show(self, topic: str, message: Any) -> None:
        """Show one message of the node's outputs, or the truth; others are left out."""
        rerun = self._rerun
        if topic not in ('/depth/camera_info', '/depth/image_rect', '/depth/image',
                         '/depth/points', '/truth/depth'):
            return
        rerun.set_time('image', timestamp=stamp_to_ns(message.header.stamp) / 1e9)
        if topic == '/depth/camera_info':
            camera = decode_camera(message, rectified=True)
            resolution = [camera.width, camera.height]
            rerun.log('camera/pinhole', rerun.Pinhole(image_from_camera=camera.K,
                                                      resolution=resolution))
        elif topic == '/depth/image_rect':
            rerun.log('camera/pinhole/image', rerun.Image(decode_image(message)))
        elif topic == '/depth/points':
            cloud = np.frombuffer(message.data, '<f4').reshape(-1, message.point_step // 4)
            cloud = cloud[np.isfinite(cloud[:, 2])]
            bgr = np.ascontiguousarray(cloud[:, 3]).view(np.uint8).reshape(-1, 4)[:, :3]
            rerun.log('camera/cloud', rerun.Points3D(cloud[:, :3], colors=bgr[:, ::-1]))
        else:
            depth_m = np.nan_to_num(depth_plane(message))
            name = 'depth' if topic == '/depth/image' else 'truth'
            rerun.log(name, rerun.DepthImage(depth_m, meter=1.0))
