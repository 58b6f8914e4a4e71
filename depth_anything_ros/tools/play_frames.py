# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Publish recorded frames as a robot's camera and lidar would, at a chosen rate, looping."""

from __future__ import annotations

import argparse
from dataclasses import replace
import itertools
import sys

import numpy as np
import rclpy
from rclpy.utilities import remove_ros_args

from depth_anything_ros.errors import DatasetError, DepthAnythingError
from depth_anything_ros.evaluation.frames import Frame, load_frames
from depth_anything_ros.poses import matrix_to_pose
from depth_anything_ros.ros.running import running_node, wait_for_go
from depth_anything_ros.ros.sensor_publisher import SensorPublisher


def choose(frames: list[Frame], names: list[str]) -> list[Frame]:
    """Return the frames of one camera, those named or those that share the first one's pose.

    Raises:
        DatasetError: a name is not among the frames.
    """
    known = {frame.name: frame for frame in frames}
    if unknown := [name for name in names if name not in known]:
        raise DatasetError(f'no frame {", ".join(unknown)}: there are {", ".join(known)}')
    chosen = [known[name] for name in names] or frames
    first = chosen[0].T_camera_sensor
    return [frame for frame in chosen if np.allclose(frame.T_camera_sensor, first)]


def main(args: list[str] | None = None) -> int:
    """Play a folder of frames until interrupted."""
    parser = argparse.ArgumentParser(prog='play_frames', description=__doc__)
    parser.add_argument('folder', help='KITTI object style or a nuScenes sample')
    parser.add_argument('--rate', type=float, default=10.0, help='frames per second')
    parser.add_argument('--frames', nargs='+', default=[], help='names of frames or of one camera')
    parser.add_argument('--count', type=int, default=0, help='stop after so many; 0 loops forever')
    parser.add_argument(
        '--stamps',
        choices=('now', 'recorded'),
        default='now',
        help='recorded stamps repeat with each loop',
    )
    parser.add_argument('--image-transport', choices=('raw', 'compressed'), default='raw')
    parser.add_argument('--wait', action='store_true', help='for a line on standard input')
    parser.add_argument('--camera-frame', default='camera_optical_frame')
    options = parser.parse_args(remove_ros_args(args or sys.argv)[1:])
    try:
        if options.rate <= 0:
            raise DepthAnythingError(f'--rate must be positive, got {options.rate}')
        frames = choose(load_frames(options.folder), options.frames)
    except DepthAnythingError as error:
        print(f'play_frames: {error}', file=sys.stderr)
        return 2
    pose = ', '.join(f'{x:.9f}' for x in matrix_to_pose(frames[0].T_camera_sensor))
    sequence = itertools.cycle(frames)
    played = 0
    with running_node('play_frames', args) as (node, stop):
        publisher = SensorPublisher(node, options.camera_frame, options.image_transport)
        node.get_logger().info(
            f'playing {", ".join(f.name for f in frames)}; scale.T_camera_sensor:=[{pose}]'
        )

        def play() -> None:
            nonlocal played
            frame = next(sequence)
            if options.stamps == 'now':
                stamp_ns = node.get_clock().now().nanoseconds
                points_ns = stamp_ns + frame.points.stamp_ns - frame.stamp_ns
            else:
                stamp_ns, points_ns = frame.stamp_ns, frame.points.stamp_ns
            publisher.publish_points(replace(frame.points, stamp_ns=points_ns))
            publisher.publish_image(frame.image_rgb, frame.camera, stamp_ns)
            node.get_logger().debug(f'{frame.name} at {stamp_ns} ns')
            played += 1

        if options.wait:
            wait_for_go(publisher.publishers, stop)
        node.create_timer(1.0 / options.rate, play)
        while not stop.is_set() and not 0 < options.count <= played:
            rclpy.spin_once(node, timeout_sec=0.1)
    return 0


if __name__ == '__main__':
    sys.exit(main())
