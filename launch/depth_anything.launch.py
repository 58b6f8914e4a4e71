# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Start depth_anything, and RViz on request; `ros2 launch ... --show-args` lists the arguments."""

from pathlib import Path

from ament_index_python.packages import get_package_prefix, PackageNotFoundError
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.logging import get_logger
from launch_ros.actions import LifecycleNode, Node

from depth_anything_ros.network.hub import KNOWN

CONFIG = Path(__file__).resolve().parent.parent / 'config'

# Name: (default, description, choices).
ARGUMENTS = {
    'cameras': (
        '',
        'names of several cameras with commas between, as front,left; {camera} in image, '
        'camera_info, sensor_depth and right stands for each; empty: as in params_file',
        None,
    ),
    'image': ('image', 'topic of the camera image', None),
    'camera_info': ('', 'topic of its calibration; empty: camera_info beside the image', None),
    'points': ('points', 'topic of the PointCloud2 that anchors the scale', None),
    'scan': ('scan', 'topic of the LaserScan that anchors the scale', None),
    'sensor_depth': ('sensor_depth/image', 'topic of a depth camera; its info beside it', None),
    'right': ('right/image', 'topic of a stereo pair\'s second camera; its info beside it', None),
    'range': ('range', 'topic of a rangefinder', None),
    'image_transport': ('', 'raw or compressed; empty: as in params_file', None),
    'checkpoint': (
        '',
        'empty: as in params_file; a folder or file, or an id on the hub, of which these are known '
        'to load (docs/networks.md):' + '\n            '.join(['', *KNOWN]),
        None,
    ),
    'params_file': (str(CONFIG / 'depth_anything.yaml'), 'parameters of the node', None),
    'namespace': ('', 'namespace of the node and of its topics', None),
    'use_sim_time': ('false', 'take the time from /clock', ('true', 'false')),
    'log_level': ('info', 'debug, info, warn, error or fatal', None),
    'shm': ('false', 'exchange images through 32 MB of shared memory', ('true', 'false')),
    'rviz': ('false', 'start RViz too', ('true', 'false')),
    'fixed_frame': ('', 'fixed frame of RViz; empty: camera_optical_frame', None),
}


def generate_launch_description():
    """Return the declared arguments and the actions that they lead to."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text, choices=choices)
        for name, (default, text, choices) in ARGUMENTS.items()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=_start)])


def _start(context):
    given = {name: context.launch_configurations[name] for name in ARGUMENTS}
    parameters = {'use_sim_time': given['use_sim_time'] == 'true'}
    if given['checkpoint']:
        parameters['model.checkpoint'] = given['checkpoint']
    if given['image_transport']:
        parameters['image_transport'] = given['image_transport']
    cameras = [name.strip() for name in given['cameras'].split(',')] if given['cameras'] else []
    if cameras:
        parameters['cameras'] = cameras
    params_file = Path(given['params_file']).expanduser()
    if not params_file.is_file():  # launch_ros would start the node with its defaults
        raise FileNotFoundError(f'params_file {params_file} is not a file: correct the path')

    actions = []
    if given['shm'] == 'true':
        # The first name holds up to Jazzy, the second from Kilted on.
        for variable in ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'):
            actions.append(SetEnvironmentVariable(variable, str(CONFIG / 'fastdds_shm.xml')))
    # It configures and activates itself; its parameter autostart=false leaves that to a manager.
    actions.append(
        LifecycleNode(
            package='depth_anything_ros',
            executable='depth_node',
            name='depth_anything',
            namespace=given['namespace'],
            parameters=[str(params_file), parameters],
            remappings=[
                *(remap for name in cameras or [''] for remap in _remappings(given, name)),
                ('points', given['points']),
                ('scan', given['scan']),
                ('range', given['range']),
            ],
            ros_arguments=['--log-level', given['log_level']],
            output='screen',
        )
    )
    if given['rviz'] == 'true' and _has_rviz():
        fixed_frame = ['-f', given['fixed_frame']] if given['fixed_frame'] else []
        outputs = ('depth/image', 'depth/image_color', 'depth/points')
        actions.append(
            Node(
                package='rviz2',
                executable='rviz2',
                namespace=given['namespace'],
                arguments=['-d', str(CONFIG / 'depth_anything.rviz'), *fixed_frame],
                parameters=[{'use_sim_time': parameters['use_sim_time']}],
                remappings=[('/image', given['image']), *((f'/{name}', name) for name in outputs)],
            )
        )
    return actions


def _remappings(given, camera):
    """Return where a camera's inputs come from; one of several stays under its name as it is."""
    found = {}
    for name, argument in (
        ('image', 'image'), ('sensor_depth/image', 'sensor_depth'), ('right/image', 'right')
    ):
        topic = given[argument]
        if camera and topic == ARGUMENTS[argument][0]:
            topic = f'{{camera}}/{name}'
        beside = f'{name.removesuffix("image")}camera_info'
        found |= {name: topic, beside: _sibling(topic, 'camera_info')}
    found['camera_info'] = given['camera_info'] or found['camera_info']
    if not camera:
        return list(found.items())
    for name, topic in found.items():
        if '{camera}' not in topic:
            raise ValueError(
                f'{name} of several cameras cannot all be {topic}: put {{camera}} into it, as in '
                '/{camera}/image_raw'
            )
    return [
        (f'{camera}/{name}', topic.replace('{camera}', camera)) for name, topic in found.items()
    ]


def _has_rviz():
    """Say whether RViz is installed; a ros-base installation comes without."""
    try:
        get_package_prefix('rviz2')
    except PackageNotFoundError:
        get_logger('depth_anything.launch').warning(
            'rviz2 is not installed: going on without RViz (rviz:=false, or apt install '
            'ros-$ROS_DISTRO-rviz2)'
        )
        return False
    return True


def _sibling(topic, name):
    """Return the topic of that name beside this one, as image_transport looks for camera_info."""
    return topic.rpartition('/')[0] + '/' + name if '/' in topic else name
