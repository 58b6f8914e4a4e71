# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The demo on a ROS machine: the bundled checkpoint on a synthetic street, shown in RViz."""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

THE_NODE = Path(__file__).with_name('depth_anything.launch.py')


def generate_launch_description():
    """Return the node with RViz as depth_anything.launch.py starts them, and the robot."""
    arguments = {name: LaunchConfiguration(name) for name in ('checkpoint', 'rviz')}
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'checkpoint',
                default_value='bundled',
                description='as of depth_anything.launch.py',
            ),
            DeclareLaunchArgument(
                'rviz', default_value='true', description='start RViz', choices=('true', 'false')
            ),
            # It also sets up shared memory for what is started after it.
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(THE_NODE)),
                launch_arguments={**arguments, 'shm': 'true'}.items(),
            ),
            # It tells TF where its lidar is. `ros2 run ... world_robot --help` has other scenes.
            Node(package='depth_anything_ros', executable='world_robot', output='screen'),
        ]
    )
