# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Start depth_anything with clouds for costmaps, and nav2 too where its parameters are given."""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PythonExpression
from launch_ros.substitutions import FindPackageShare

THE_NODE = Path(__file__).with_name('depth_anything.launch.py')
CONFIG = Path(__file__).resolve().parent.parent / 'config'

# Name: (default, description). Those of depth_anything.launch.py hold here too.
ARGUMENTS = {
    'params_file': (str(CONFIG / 'nav2_depth.yaml'), 'parameters of the node'),
    'nav2_params_file': (
        '',
        'parameters of nav2, those of config/nav2_costmap.yaml among them; empty: nav2 is started '
        'elsewhere',
    ),
}


def generate_launch_description():
    """Return the declared arguments, the node, and nav2 without a map and localisation."""
    given = {name: LaunchConfiguration(name) for name in ARGUMENTS}
    nav2_is_wanted = PythonExpression(["'", given['nav2_params_file'], "' != ''"])
    navigation = [FindPackageShare('nav2_bringup'), '/launch/navigation_launch.py']
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=text)
                for name, (default, text) in ARGUMENTS.items()
            ),
            # It also sets up shared memory for what is started after it.
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(THE_NODE)),
                launch_arguments={'params_file': given['params_file']}.items(),
            ),
            # Its namespace and clock are the node's: it declares arguments of the same names.
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(navigation),
                condition=IfCondition(nav2_is_wanted),
                launch_arguments={'params_file': given['nav2_params_file']}.items(),
            ),
        ]
    )
