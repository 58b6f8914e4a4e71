# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a node that is started with these arguments would be; imports neither PyTorch nor OpenCV."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rclpy.node import Node

from depth_anything_ros.config import Config
from depth_anything_ros.ros import parameters

NODE = 'depth_anything'


@contextmanager
def asking_node() -> Iterator[Node]:
    """Give a node that has the name of the depth node, answers nobody and goes at once."""
    node = Node(NODE, start_parameter_services=False, enable_rosout=False)
    try:
        yield node
    finally:
        node.destroy_node()


def asked_config() -> Config:
    """Return the parameters by the arguments of rclpy.init().

    Raises:
        ConfigError: a parameter is wrong.
    """
    with asking_node() as node:
        return parameters.declare(node)
