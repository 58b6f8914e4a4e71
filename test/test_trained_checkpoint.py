# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What training leaves behind, run by the real node over real DDS."""

import time

import numpy as np
import rclpy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
import torch
from transformers import AutoModelForDepthEstimation

from depth_anything_ros.camera import Camera
from depth_anything_ros.network.position_embeddings import use_authors_positions
from depth_anything_ros.ros.images import depth_plane
from depth_anything_ros.ros.messages import encode_camera, encode_image, ns_to_stamp
from depth_anything_ros.training.augment import to_network
from depth_anything_ros.training.config import Phase
from depth_anything_ros.training.train import train
from depth_anything_ros.training.world_data import render_world
from helpers import program, tiny_run

DEADLINE_S = 90  # for the first answer of a node that has its network
FIRST_STAMP_NS = 1_700_000_000_123_456_789
WIDTH, HEIGHT = 42, 28  # what the network asks for: nothing is resized


def first_answer(image_rgb):
    """Publish an image with ever new stamps; return the first depth/relative, and the stamps."""
    camera = Camera(WIDTH, HEIGHT, np.array([[40.0, 0, 20.5], [0, 40, 13.5], [0, 0, 1]]))
    rclpy.init()
    node = rclpy.create_node('asker')
    answers, sent = [], []
    try:
        images = node.create_publisher(Image, 'image', 1)
        infos = node.create_publisher(CameraInfo, 'camera_info', 1)
        node.create_subscription(Image, 'depth/relative', answers.append, 10)
        end = time.monotonic() + DEADLINE_S
        while not answers and time.monotonic() < end:
            stamp = ns_to_stamp(FIRST_STAMP_NS + 10**8 * len(sent))
            sent.append(stamp)
            header = Header(frame_id='eye')
            header.stamp.sec, header.stamp.nanosec = stamp['sec'], stamp['nanosec']
            infos.publish(CameraInfo(header=header, **encode_camera(camera)))
            images.publish(Image(header=header, **encode_image(image_rgb, 'rgb8')))
            rclpy.spin_once(node, timeout_sec=0.1)
    finally:
        node.destroy_node()
        rclpy.shutdown()
    assert answers, f'no depth/relative within {DEADLINE_S} s'
    return answers[0], sent


def test_the_node_runs_a_trained_checkpoint_by_its_path(tmp_path):
    render_world(tmp_path / 'world', 4, 7, 56, 42)
    enough = (Phase(60, 4, ((HEIGHT, WIDTH),), 1e-2, 0.0),)  # for an answer that is not flat
    train(tiny_run(tmp_path / 'world', tmp_path / 'run', phases=enough, eval_every=60))
    checkpoint = tmp_path / 'run' / 'checkpoint'
    image_rgb = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    arguments = ['--ros-args', '-p', f'model.checkpoint:={checkpoint}']
    with program('-m', 'depth_anything_ros.ros.depth_node', *arguments, ready='predicts'):
        answer, sent = first_answer(image_rgb)
    stamp = answer.header.stamp
    assert {'sec': stamp.sec, 'nanosec': stamp.nanosec} in sent
    assert answer.header.frame_id == 'eye' and answer.encoding == '32FC1'
    network = AutoModelForDepthEstimation.from_pretrained(checkpoint, dtype=torch.float32).eval()
    use_authors_positions(network)
    with torch.no_grad():
        picture = torch.from_numpy(image_rgb).permute(2, 0, 1)[None].float() / 255
        expected = network(to_network(picture)).predicted_depth[0].numpy()
    assert expected.std() > 0.01 * abs(expected.mean())
    np.testing.assert_allclose(depth_plane(answer), expected, rtol=1e-3, atol=1e-5)
