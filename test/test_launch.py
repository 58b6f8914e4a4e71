# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The launch files under the real launch; what they start only says how it was started."""

from __future__ import annotations

import os
from pathlib import Path
import re
import subprocess
import sys

import pytest

from depth_anything_ros.network.hub import KNOWN

pytest.importorskip('launch_ros', reason='launch and launch_ros come with a ROS installation')

ROOT = Path(__file__).resolve().parents[1]
LAUNCH = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

file = PythonLaunchDescriptionSource(sys.argv[1])
arguments = [argument.split(':=', 1) for argument in sys.argv[2:]]
service = LaunchService(argv=sys.argv[2:])
service.include_launch_description(
    LaunchDescription([IncludeLaunchDescription(file, launch_arguments=arguments)])
)
sys.exit(service.run())
"""
PROGRAM = '#!/bin/sh\necho "STARTED $(basename "$0") $* profile=$FASTDDS_DEFAULT_PROFILES_FILE"\n'
OURS = {'depth_anything_ros': ('depth_node', 'world_robot')}
RVIZ = {'rviz2': ('rviz2',)}
# What a launch file of another package was handed, told in its place.
INCLUDED = """
from launch import LaunchDescription
from launch.actions import OpaqueFunction


def tell(context):
    for name, value in context.launch_configurations.items():
        print(f'GIVEN {name}={value}', flush=True)
    return []


def generate_launch_description():
    return LaunchDescription([OpaqueFunction(function=tell)])
"""
NOTHING: dict[str, str] = {}
NAV2 = {'nav2_bringup': 'navigation_launch.py'}
RTABMAP = {'rtabmap_launch': 'rtabmap.launch.py'}


@pytest.fixture
def launched(tmp_path):
    """Return a function that launches a file where only the packages given are installed."""

    def launch(file, *arguments, packages=OURS, included=NOTHING):
        for package in (*packages, *included):
            index = tmp_path / 'share' / 'ament_index' / 'resource_index' / 'packages' / package
            index.parent.mkdir(parents=True, exist_ok=True)
            index.touch()
        for package, name in included.items():
            other = tmp_path / 'share' / package / 'launch' / name
            other.parent.mkdir(parents=True, exist_ok=True)
            other.write_text(INCLUDED)
        for package, programs in packages.items():
            for name in programs:
                program = tmp_path / 'lib' / package / name
                program.parent.mkdir(parents=True, exist_ok=True)
                program.write_text(PROGRAM)
                program.chmod(0o755)
        surroundings = {key: x for key, x in os.environ.items() if not key.startswith('FAST')}
        done = subprocess.run(
            [sys.executable, '-c', LAUNCH, str(ROOT / 'launch' / file), *arguments],
            env={
                **surroundings,
                'AMENT_PREFIX_PATH': str(tmp_path),
                'ROS_LOG_DIR': str(tmp_path),
                'OVERRIDE_LAUNCH_PROCESS_OUTPUT': 'screen',
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started = dict(re.findall(r'STARTED (\w+) (.*)', done.stdout))
        return done, started

    return launch


@pytest.mark.parametrize(
    'arguments, camera_info',
    [
        (['image:=/cam/image_raw'], '/cam/camera_info'),
        (['image:=/top'], '/camera_info'),
        ([], 'camera_info'),
        (['image:=/cam/image_raw', 'camera_info:=/calibration'], '/calibration'),
    ],
)
def test_camera_info_is_taken_beside_the_image(launched, arguments, camera_info):
    done, started = launched('depth_anything.launch.py', *arguments, 'points:=/lidar/points')
    assert done.returncode == 0, done.stdout
    assert set(started) == {'depth_node'}
    remaps = re.findall(r'-r (image|camera_info|points):=(\S+)', started['depth_node'])
    image = arguments[0].partition(':=')[2] if arguments else 'image'
    assert dict(remaps) == {'image': image, 'camera_info': camera_info, 'points': '/lidar/points'}


def test_several_cameras_by_a_pattern(launched):
    done, started = launched(
        'depth_anything.launch.py', 'cameras:=front,left', 'image:=/{camera}/image_raw'
    )
    assert done.returncode == 0, done.stdout
    remaps = dict(re.findall(r'-r (\S+):=(\S+)', started['depth_node']))
    assert {k: v for k, v in remaps.items() if k.endswith('image') or 'front/c' in k} == {
        'front/image': '/front/image_raw',
        'front/camera_info': '/front/camera_info',
        'left/image': '/left/image_raw',
        'front/sensor_depth/image': 'front/sensor_depth/image',
        'left/sensor_depth/image': 'left/sensor_depth/image',
        'front/right/image': 'front/right/image',
        'left/right/image': 'left/right/image',
    }
    done, started = launched('depth_anything.launch.py', 'cameras:=front,left', 'image:=/cam/image')
    assert done.returncode == 1 and not started
    assert 'put {camera} into it' in done.stdout and 'Traceback' not in done.stdout


def test_the_info_of_a_depth_camera_is_taken_beside_its_image(launched):
    _, started = launched('depth_anything.launch.py', 'sensor_depth:=/cam/depth/image', 'range:=/r')
    remaps = re.findall(r'-r (sensor_depth/\w+|range):=(\S+)', started['depth_node'])
    assert dict(remaps) == {
        'sensor_depth/image': '/cam/depth/image',
        'sensor_depth/camera_info': '/cam/depth/camera_info',
        'range': '/r',
    }


def test_the_info_of_a_second_camera_is_taken_beside_its_image(launched):
    _, started = launched('depth_anything.launch.py', 'right:=/stereo/right/image_rect')
    remaps = re.findall(r'-r (right/\w+):=(\S+)', started['depth_node'])
    assert dict(remaps) == {
        'right/image': '/stereo/right/image_rect',
        'right/camera_info': '/stereo/right/camera_info',
    }


def test_rviz_and_shared_memory_come_on_request(launched):
    done, started = launched(
        'depth_anything.launch.py', 'rviz:=true', 'shm:=true', packages=OURS | RVIZ
    )
    assert done.returncode == 0, done.stdout
    assert set(started) == {'depth_node', 'rviz2'}
    assert str(ROOT / 'config' / 'depth_anything.rviz') in started['rviz2']
    for how in started.values():
        assert how.endswith(f'profile={ROOT / "config" / "fastdds_shm.xml"}')
    _, started = launched('depth_anything.launch.py')
    assert started['depth_node'].endswith('profile=')


@pytest.mark.parametrize(
    'file, arguments, expected',
    [
        ('depth_anything.launch.py', ['rviz:=true'], {'depth_node'}),
        ('demo.launch.py', [], {'depth_node', 'world_robot'}),
    ],
)
def test_without_rviz2_the_rest_goes_on_and_one_line_says_so(launched, file, arguments, expected):
    done, started = launched(file, *arguments)
    assert done.returncode == 0, done.stdout
    assert set(started) == expected
    warnings = [line for line in done.stdout.splitlines() if '[WARNING]' in line]
    assert len(warnings) == 1 and 'rviz2 is not installed: going on without RViz' in warnings[0]


def test_a_params_file_that_is_not_there_is_an_error_of_one_line(launched, tmp_path):
    missing = tmp_path / 'robot.yaml'
    done, started = launched('depth_anything.launch.py', f'params_file:={missing}')
    assert done.returncode == 1 and not started
    errors = [line for line in done.stdout.splitlines() if '[ERROR]' in line]
    assert len(errors) == 1 and f'params_file {missing} is not a file' in errors[0]
    assert 'Traceback' not in done.stdout


def test_a_params_file_reaches_the_node_also_from_home(launched, tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    file = tmp_path / 'robot.yaml'
    file.write_text('/**:\n  ros__parameters: {max_age: 1.0}\n')
    done, started = launched('depth_anything.launch.py', 'params_file:=~/robot.yaml')
    assert done.returncode == 0, done.stdout
    assert f'--params-file {file} ' in started['depth_node']


def given(done):
    """Return what INCLUDED told, by name."""
    return dict(re.findall(r'GIVEN (\w+)=(.*)', done.stdout))


def test_nav2_is_started_with_its_own_parameters_where_they_are_given(launched, tmp_path):
    own = ['image:=/cam/image_raw', 'use_sim_time:=true', 'namespace:=robot']
    done, started = launched('nav2_depth.launch.py', *own)
    assert done.returncode == 0, done.stdout
    assert f'--params-file {ROOT / "config" / "nav2_depth.yaml"} ' in started['depth_node']
    assert '-r image:=/cam/image_raw' in started['depth_node'] and not given(done)

    nav2 = tmp_path / 'my_nav2.yaml'
    done, started = launched(
        'nav2_depth.launch.py', *own, f'nav2_params_file:={nav2}', included=NAV2
    )
    assert done.returncode == 0, done.stdout
    assert f'--params-file {ROOT / "config" / "nav2_depth.yaml"} ' in started['depth_node']
    handed_on = {name: given(done)[name] for name in ('params_file', 'use_sim_time', 'namespace')}
    assert handed_on == {'params_file': str(nav2), 'use_sim_time': 'true', 'namespace': 'robot'}


@pytest.mark.parametrize(
    'file, arguments, package',
    [
        ('nav2_depth.launch.py', ['nav2_params_file:=nav2.yaml'], 'nav2_bringup'),
        ('rtabmap.launch.py', [], 'rtabmap_launch'),
    ],
)
def test_a_package_that_is_not_installed_is_named(launched, file, arguments, package):
    done, _ = launched(file, *arguments)
    assert done.returncode == 1
    errors = [line for line in done.stdout.splitlines() if '[ERROR]' in line]
    assert len(errors) == 1 and f"'{package}' not found" in errors[0]


@pytest.mark.parametrize(
    'arguments, root, visual_odometry',
    [([], '', 'true'), (['namespace:=/robot', 'odom_frame_id:=odom'], '/robot', 'false')],
)
def test_rtabmap_is_handed_the_topics_of_the_node(launched, arguments, root, visual_odometry):
    done, started = launched('rtabmap.launch.py', *arguments, 'rviz:=true', included=RTABMAP,
                             packages=OURS | RVIZ)
    assert done.returncode == 0, done.stdout
    assert set(started) == {'depth_node', 'rviz2'}
    assert f'--params-file {ROOT / "config" / "rtabmap_depth.yaml"} ' in started['depth_node']
    expected = {
        'rgb_topic': f'{root}/depth/image_rect',
        'depth_topic': f'{root}/depth/image',
        'camera_info_topic': f'{root}/depth/camera_info',
        'approx_sync': 'false',
        'visual_odometry': visual_odometry,
        'odom_frame_id': 'odom' if root else '',
        'namespace': f'{root}/rtabmap',
        'rviz': 'false',
        'frame_id': 'base_link',
    }
    assert {name: given(done)[name] for name in expected} == expected


@pytest.mark.parametrize(
    'file, own',
    [
        ('nav2_depth.launch.py', {'params_file', 'nav2_params_file'}),
        ('rtabmap.launch.py', {'params_file', 'frame_id', 'odom_frame_id', 'args', 'rtabmap_viz'}),
    ],
)
def test_show_args_lists_those_of_the_node_too(file, own):
    from launch import LaunchContext
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    source = PythonLaunchDescriptionSource(str(ROOT / 'launch' / file))
    description = source.get_launch_description(LaunchContext())
    shown = {argument.name for argument in description.get_launch_arguments()}
    assert shown >= own | {'image', 'points', 'shm', 'checkpoint', 'namespace'}


def test_the_page_of_arguments_says_what_show_args_does():
    from launch import LaunchContext
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    from build_site import launch_arguments

    source = PythonLaunchDescriptionSource(str(ROOT / 'launch' / 'depth_anything.launch.py'))
    shown = source.get_launch_description(LaunchContext()).get_launch_arguments()
    listed = launch_arguments()
    assert [argument.name for argument in shown] == list(listed)
    for argument in shown:
        default = ''.join(part.text for part in argument.default_value)
        page, text, choices = listed[argument.name]
        assert default.removesuffix(page) in ('', f'{ROOT}/')
        assert argument.description.partition('. Valid choices are: ')[0] == text
        assert tuple(argument.choices or ()) == (choices or ())


@pytest.mark.parametrize('file', ['depth_anything.launch.py', 'demo.launch.py'])
def test_show_args_lists_the_checkpoints_and_forbids_no_others(file):
    from launch import LaunchContext
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    source = PythonLaunchDescriptionSource(str(ROOT / 'launch' / file))
    description = source.get_launch_description(LaunchContext())
    shown = [a for a in description.get_launch_arguments() if a.name == 'checkpoint']
    assert all(argument.choices is None for argument in shown)
    if file == 'demo.launch.py':
        assert 'depth_anything.launch.py' in shown[0].description
    else:
        assert set(KNOWN) <= set(shown[0].description.split())
