# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A depth camera that looks at the scene of the tests, and is blind in a third of the picture.

depth_camera.py ENCODING: 16UC1, 32FC1, or compressedDepth (of 16UC1).
"""

import array
from pathlib import Path
import signal
import struct
import sys
import time

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import rclpy  # noqa: E402
from rclpy.signals import SignalHandlerOptions  # noqa: E402
from sensor_msgs.msg import CameraInfo, CompressedImage, Image  # noqa: E402
from std_msgs.msg import Header  # noqa: E402

from depth_anything_ros.ros.messages import encode_camera, encode_image  # noqa: E402
from helpers import blind, SCENE_CAMERA, scene_depth_image  # noqa: E402


def main():
    """Publish ten times a second until SIGINT."""
    encoding = sys.argv[1]
    camera = SCENE_CAMERA.scaled(320, 240)
    depth_m = np.where(blind(camera), np.nan, scene_depth_image(camera))
    millimetres = np.nan_to_num(1000 * depth_m).round().astype(np.uint16)
    compressed = encoding == 'compressedDepth'
    if compressed:
        png = cv2.imencode('.png', millimetres)[1].tobytes()
        data = array.array('B', struct.pack('<iff', 0, 0.0, 0.0) + png)
        fields = {'format': '16UC1; compressedDepth png', 'data': data}
    elif encoding == '16UC1':
        fields = encode_image(millimetres, encoding)
    else:
        fields = encode_image(depth_m.astype(np.float32), encoding)
    # Any thread may get the signal, so that blocking it in this one would not do.
    asked: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: asked.append(number))
    rclpy.init(args=sys.argv[2:], signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node('depth_camera')
    kind = CompressedImage if compressed else Image
    topic = node.resolve_topic_name('sensor_depth/image')
    images = node.create_publisher(kind, topic + '/compressedDepth' * compressed, 5)
    infos = node.create_publisher(CameraInfo, 'sensor_depth/camera_info', 5)
    while not asked:
        time.sleep(0.1)
        stamp = node.get_clock().now().to_msg()
        header = Header(stamp=stamp, frame_id='camera_optical_frame')
        infos.publish(CameraInfo(header=header, **encode_camera(camera)))
        images.publish(kind(header=header, **fields))
    node.destroy_node()
    rclpy.shutdown()


if __name__ == '__main__':
    main()
