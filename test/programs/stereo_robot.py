# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Publish the textured scene as a stereo pair sees it, eight times a second.

stereo_robot.py right|left: the side of the second camera, 0.3 m beside the first.
"""

from pathlib import Path
import sys

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from builtin_interfaces.msg import Time  # noqa: E402
import numpy as np  # noqa: E402
import rclpy  # noqa: E402
from sensor_msgs.msg import CameraInfo, Image  # noqa: E402
from std_msgs.msg import Header  # noqa: E402

from depth_anything_ros.ros.messages import (  # noqa: E402
    encode_camera,
    encode_image,
    ns_to_stamp,
)
from depth_anything_ros.ros.running import running_node  # noqa: E402
from depth_anything_ros.ros.sensor_publisher import SensorPublisher  # noqa: E402
from helpers import SCENE_CAMERA, textured_view  # noqa: E402


def main(side):
    """Play until interrupted."""
    T = np.eye(4)
    T[0, 3] = {'right': 0.3, 'left': -0.3}[side]
    first, second = (textured_view(SCENE_CAMERA, pose)[0] for pose in (np.eye(4), T))
    P = np.hstack([SCENE_CAMERA.K, [[-500.0 * T[0, 3]], [0.0], [0.0]]])
    info = encode_camera(SCENE_CAMERA) | {'p': P.ravel().tolist()}
    with running_node('stereo_robot', None) as (node, stop):
        camera = SensorPublisher(node, 'first_optical_frame')
        infos = node.create_publisher(CameraInfo, 'right/camera_info', 5)
        images = node.create_publisher(Image, 'right/image', 5)

        def play():
            stamp_ns = node.get_clock().now().nanoseconds
            header = Header(stamp=Time(**ns_to_stamp(stamp_ns)), frame_id='second_optical_frame')
            infos.publish(CameraInfo(header=header, **info))
            images.publish(Image(header=header, **encode_image(second, 'mono8')))
            camera.publish_image(np.repeat(first[..., None], 3, axis=2), SCENE_CAMERA, stamp_ns)

        node.create_timer(1 / 8, play)
        print('playing', flush=True)
        while not stop.is_set():
            rclpy.spin_once(node, timeout_sec=0.1)


if __name__ == '__main__':
    main(sys.argv[1])
