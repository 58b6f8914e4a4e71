# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What depth/scale says of a frame."""

import numpy as np
import pytest

pytest.importorskip('rclpy')

from builtin_interfaces.msg import Time  # noqa: E402
from diagnostic_msgs.msg import DiagnosticStatus  # noqa: E402
from std_msgs.msg import Header  # noqa: E402

from depth_anything_ros.metric_depth.scale import ScaleFit, State  # noqa: E402
from depth_anything_ros.pipeline import DepthFrame  # noqa: E402
from depth_anything_ros.ros.outputs import scale_status  # noqa: E402
from helpers import SCENE_CAMERA  # noqa: E402


def test_a_held_status_is_matched_to_its_image_and_gated_by_its_covariance():
    covariance = np.array([[4e-4, -1e-5], [-1e-5, 9e-6]])
    fit = ScaleFit(
        State.HELD, 'lidar', 'inverse_depth', 0.5, 0.01, covariance, 80, 0.04, 5_000_000_007, 'why'
    )
    frame = DepthFrame(SCENE_CAMERA, SCENE_CAMERA, fit, sigma=0.0625)
    status = scale_status('depth', frame, Header(stamp=Time(sec=6, nanosec=20)))
    values = {pair.key: pair.value for pair in status.values}
    assert (status.message, status.level) == ('HELD', DiagnosticStatus.OK)
    assert (values['stamp'], values['image_stamp']) == ('5.000000007', '6.000000020')
    assert [float(x) for x in values['covariance'].split()] == [4e-4, -1e-5, 9e-6]
    assert float(values['sigma']) == 0.0625
    assert (float(values['scale']), float(values['shift'])) == (0.5, 0.01)
