# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The size of the images is made ready as soon as camera_info tells it; all else stays."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.logging import LoggingSeverity
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image
from test_pipeline import process

from depth_anything_ros.pipeline import DepthPipeline
from depth_anything_ros.ros.node import DepthNode
from helpers import ExactPredictor, header, SCENE_CAMERA, scene_image

SUCCESS = TransitionCallbackReturn.SUCCESS
SQUARE, WIDE = (1, 3, 56, 56), (1, 3, 56, 70)  # the network's input; that of 640x480


class Recording(ExactPredictor):
    """The exact network; remembers what it was given, and can be made to wait."""

    def __init__(self):
        super().__init__(input_size=56)
        self.shapes: list[tuple[int, ...]] = []
        self.may_go = threading.Event()
        self.may_go.set()

    def __call__(self, image):
        self.shapes.append(tuple(image.shape))
        assert self.may_go.wait(60)
        return super().__call__(image)


@pytest.fixture
def robot():
    """Return an active node, its network, and functions that send and wait."""
    rclpy.init()
    network = Recording()
    overrides = [Parameter('autostart', value=False)]
    node = DepthNode(lambda model, runtime: network, parameter_overrides=overrides)
    node.get_logger().set_level(LoggingSeverity.FATAL)
    assert node.trigger_configure() is SUCCESS and node.trigger_activate() is SUCCESS
    eye = rclpy.create_node('eye')
    # Somebody must want a result, or images are not looked at.
    eye.create_subscription(Image, 'depth/image', lambda message: None, 1)
    publishers = {
        CameraInfo: eye.create_publisher(CameraInfo, 'camera_info', 1),
        Image: eye.create_publisher(Image, 'image', 1),
    }
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    executor.add_node(eye)

    def until(condition):
        end = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < end
            executor.spin_once(timeout_sec=0.02)
            node.raise_crash()

    until(lambda: all(p.get_subscription_count() for p in publishers.values()))
    yield node, network, lambda message: publishers[type(message)].publish(message), until
    network.may_go.set()
    node.close()
    eye.destroy_node()
    rclpy.shutdown()


def info(stamp_ns=0):
    """Return the camera_info of the scene's camera."""
    message = CameraInfo(height=480, width=640, distortion_model='plumb_bob')
    message.header, message.k = header(stamp_ns), SCENE_CAMERA.K.ravel().tolist()
    return message


def image(stamp_ns):
    """Return a picture of the scene."""
    message = Image(height=480, width=640, encoding='rgb8', step=1920)
    message.header, message.data = header(stamp_ns), scene_image().tobytes()
    return message


def test_the_size_that_camera_info_tells_is_made_ready_before_any_image(robot):
    node, network, send, until = robot
    assert network.shapes == [SQUARE]
    send(info())
    until(lambda: len(network.shapes) == 2)
    assert network.shapes[1] == WIDE
    send(info(1))  # no more than once
    send(image(1))
    until(lambda: len(network.shapes) == 3)
    assert node.trigger_deactivate() is SUCCESS
    assert network.shapes == [SQUARE, WIDE, WIDE]


def test_an_image_that_comes_first_is_not_held_up_by_a_warm_up(robot):
    node, network, send, until = robot
    network.may_go.clear()
    send(image(0))
    until(lambda: len(network.shapes) == 2)  # the worker has it in hand
    send(image(1))
    until(lambda: node._worker.waits(''))
    send(info())
    until(lambda: bool(node._units[0].cameras._messages))
    network.may_go.set()
    until(lambda: len(network.shapes) == 3)
    assert node.trigger_deactivate() is SUCCESS
    assert len(network.shapes) == 3 and node._units[0]._statistics._dropped['superseded'] == 0


def test_a_warm_up_that_an_image_overtakes_is_no_dropped_image(robot):
    node, network, send, until = robot
    network.may_go.clear()
    send(info())
    until(lambda: len(network.shapes) == 2)
    node._units[0].ask_for_warm_up()  # a second, which waits behind the first
    assert node._worker.waits('')
    send(image(0))
    until(lambda: node._units[0]._seen_image)
    network.may_go.set()
    until(lambda: len(network.shapes) == 3)  # configure, a warm-up, the image
    assert node._units[0]._statistics._dropped['superseded'] == 0


def test_a_wrong_camera_info_is_left_to_the_images(robot):
    node, network, send, until = robot
    wrong = info()
    wrong.k = [0.0] * 9
    send(wrong)
    until(lambda: bool(node._units[0].cameras._messages))
    assert node.trigger_deactivate() is SUCCESS
    assert node.crash is None and network.shapes == [SQUARE]


def test_what_follows_a_warm_up_is_what_would_have_been_without():
    cold, warm = DepthPipeline(ExactPredictor()), DepthPipeline(ExactPredictor())
    warm.warm_up(SCENE_CAMERA)
    assert warm.eye._preprocessor_for(SCENE_CAMERA, warm.config).camera is SCENE_CAMERA
    for stamp_ns in (0, 100_000_000):
        expected, found = process(cold, stamp_ns), process(warm, stamp_ns)
        assert found.fit.reason == expected.fit.reason
        np.testing.assert_array_equal(found.depth, expected.depth)
        np.testing.assert_array_equal(found.stddev_m, expected.stddev_m)


def test_a_warm_up_goes_all_the_way_to_refined_depth(monkeypatch):
    reached = []
    monkeypatch.setattr(
        'depth_anything_ros.cloud.maker.without_flying',
        lambda depth_m, *_: reached.append(depth_m) or depth_m,
    )
    DepthPipeline(ExactPredictor(camera=SCENE_CAMERA)).warm_up(SCENE_CAMERA)
    assert len(reached) == 1
