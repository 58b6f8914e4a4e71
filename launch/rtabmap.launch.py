# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Start depth_anything and RTAB-Map, which takes its depth for that of an RGB-D camera."""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PythonExpression
from launch_ros.substitutions import FindPackageShare

THE_NODE = Path(__file__).with_name('depth_anything.launch.py')
CONFIG = Path(__file__).resolve().parent.parent / 'config'

# Name: (default, description). Those of depth_anything.launch.py hold here too, and those of
# rtabmap_launch but the ones that are set below.
ARGUMENTS = {
    'params_file': (str(CONFIG / 'rtabmap_depth.yaml'), 'parameters of the node'),
    'frame_id': ('base_link', 'frame of the robot'),
    'odom_frame_id': (
        '',
        'frame of the odometry on TF, such as odom; empty: RTAB-Map works it out from the images',
    ),
    'args': (
        '--Vis/MaxDepth 10 --Kp/MaxDepth 10 --Grid/RangeMax 5',
        'parameters of RTAB-Map; -d in front starts a new map',
    ),
    'rtabmap_viz': ('true', 'start its window'),
}


def generate_launch_description():
    """Return the declared arguments, the node and RTAB-Map."""
    given = {name: LaunchConfiguration(name) for name in ARGUMENTS}
    namespace = LaunchConfiguration('namespace')
    root = PythonExpression(["('/' + '", namespace, "'.strip('/')).rstrip('/')"])
    without_odometry = PythonExpression(["'false' if '", given['odom_frame_id'], "' else 'true'"])
    rtabmap = {
        'rgb_topic': [root, '/depth/image_rect'],
        'depth_topic': [root, '/depth/image'],
        'camera_info_topic': [root, '/depth/camera_info'],
        'approx_sync': 'false',  # the three have one stamp
        'visual_odometry': without_odometry,
        'namespace': [root, '/rtabmap'],
        'rviz': 'false',  # the node's own
    }
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=text)
                for name, (default, text) in ARGUMENTS.items()
            ),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(THE_NODE)),
                launch_arguments={'params_file': given['params_file']}.items(),
            ),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(
                    [FindPackageShare('rtabmap_launch'), '/launch/rtabmap.launch.py']
                ),
                launch_arguments=rtabmap.items(),
            ),
        ]
    )
