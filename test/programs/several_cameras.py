# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Publish several cameras that look at the scene, and one lidar: arguments NAME=KIND...

Kinds: good, silent, large (no image of the size that its camera_info tells), zero (a camera_info
without a focal length), back (stamps go back all the time), fast (at 30 Hz, the others are at 2),
broken (an image without its data). The images of the n-th camera show inverse depth in red in a way
of their own: red = 20 + 10 n + (420 + 40 n) / z, so that each has another line.
"""

from pathlib import Path
import sys

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402
import rclpy  # noqa: E402

from depth_anything_ros.camera import Camera  # noqa: E402
from depth_anything_ros.metric_depth.anchors import SensorPoints  # noqa: E402
from depth_anything_ros.ros.running import running_node  # noqa: E402
from depth_anything_ros.ros.sensor_publisher import CameraPublisher, PointsPublisher  # noqa: E402
from helpers import SCENE_CAMERA, scene_depth_image, scene_lidar  # noqa: E402

CAMERA = SCENE_CAMERA.scaled(320, 240)
PERIOD_S, FAST_S = 0.5, 1 / 30
MS = 1_000_000


def picture(number):
    """Return what the n-th camera sees."""
    red = 20 + 10 * number + (420 + 40 * number) / scene_depth_image(CAMERA)
    image = np.full((*red.shape, 3), 90, np.uint8)
    image[..., 0] = red.round().clip(0, 255)
    return image


class Publisher:
    """One camera."""

    def __init__(self, node, name, kind, number):
        self.kind, self.number, self._node = kind, number, node
        self._camera = CameraPublisher(node, f'{name}_optical', f'{name}/image')
        self._image, self._model, self._stamps = picture(number), CAMERA, 0
        if kind == 'large':
            self._image = np.repeat(self._image, 2, axis=1)
        if kind == 'zero':
            self._model = Camera(320, 240, np.diag([0.0, 0.0, 1.0]))
        if kind == 'broken':
            whole = self._camera._image.publish
            self._camera._image.publish = lambda message: whole(_cut(message))

    def __call__(self):
        """Publish an image, some milliseconds from those of the other cameras."""
        stamp_ns = self._node.get_clock().now().nanoseconds + self.number * MS
        if self.kind == 'back':
            self._stamps += 1
            stamp_ns -= self._stamps * 1000 * MS
        if self.kind != 'silent':
            self._camera.publish(self._image, self._model, stamp_ns)


def _cut(message):
    message.data = message.data[:1000]
    return message


def main():
    """Publish until interrupted."""
    named = dict(argument.split('=') for argument in sys.argv[1:])
    with running_node('robot', None) as (node, stop):
        cameras = [Publisher(node, *each, i) for i, each in enumerate(named.items())]
        points = PointsPublisher(node)
        xyz_m, ring = scene_lidar()

        def play():
            stamp_ns = node.get_clock().now().nanoseconds
            points.publish(SensorPoints(xyz_m, stamp_ns, 'lidar', None, ring))
            for camera in cameras:
                if camera.kind != 'fast':
                    camera()

        node.create_timer(PERIOD_S, play)
        for camera in cameras:
            if camera.kind == 'fast':
                node.create_timer(FAST_S, camera)
        print('playing', flush=True)
        while not stop.is_set():
            rclpy.spin_once(node, timeout_sec=0.1)


if __name__ == '__main__':
    main()
