# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What depth/scale says of a frame."""

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
import numpy as np
from std_msgs.msg import Header

from depth_anything_ros.metric_depth.scale import ScaleFit, State
from depth_anything_ros.pipeline import DepthFrame
from depth_anything_ros.ros.output_messages import scale_status
from helpers import SCENE_CAMERA


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
