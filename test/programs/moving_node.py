# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The real node on a robot whose way is on TF: to the right at 0.8 m/s, known from START_NS on."""

from pathlib import Path
import sys

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from geometry_msgs.msg import TransformStamped  # noqa: E402
from rclpy.time import Time  # noqa: E402

from depth_anything_ros.ros import live_transforms  # noqa: E402
from depth_anything_ros.ros.node import main  # noqa: E402
import fake_tf2  # noqa: E402
from helpers import NearnessPredictor  # noqa: E402
from moving_camera import SECOND  # noqa: E402

START_NS = 1_000 * SECOND
SPEED_M_S = 0.8


class Way(live_transforms.TransformBuffer):
    """The way as TF would tell it, two seconds of it."""

    def __init__(self):
        super().__init__()
        way = []
        for i in range(21):
            message = TransformStamped(child_frame_id='camera')
            message.header.frame_id = 'odom'
            message.header.stamp = Time(nanoseconds=START_NS + i * SECOND // 10).to_msg()
            message.transform.translation.x = SPEED_M_S * i / 10
            way.append(message)
        self.add(way, static=False)


if __name__ == '__main__':
    fake_tf2.stand_in(live_transforms)
    live_transforms.TransformBuffer = Way
    main(sys.argv, load=lambda model, runtime: NearnessPredictor())
