# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Faults that are planted in real processes over real DDS, and what the doctor says of each."""

from doctor_calls import call, call_many, failures, PATIENCE_S
import numpy as np
import pytest

from depth_anything_ros.doctor.findings import LINES
from depth_anything_ros.poses import matrix_to_pose
from depth_anything_ros.ros.shared_memory import PROFILE_VARIABLES
from depth_anything_ros.world.drive import T_CAMERA_LIDAR
from helpers import program, TEST

ROBOTS = TEST / 'programs' / 'faulty_robots.py'
# As where there is no tf2, for the program as it is.
POSE = ('-p', f'scale.T_camera_sensor:={[float(x) for x in matrix_to_pose(T_CAMERA_LIDAR)]}')
CHECKPOINT = ('-p', 'model.checkpoint:=bundled')

pytestmark = pytest.mark.timeout(3 * PATIENCE_S)

# Robot -> line that fails -> what is said of it, and what of its cure.
PLANTED = {
    'wrong_topic_and_points_elsewhere': {
        'image': (
            'no publisher on the image topic {ns}/image, but these topics carry images: '
            '{ns}/front/image_raw, ',
            '-r image:={ns}/front/image_raw',
        ),
        'camera_info': ('no publisher on {ns}/camera_info, but there is ', '-r camera_info:='),
        'sensor': ('but there is {ns}/velodyne/points', '-r points:={ns}/velodyne/points'),
    },
    'only_compressed_and_no_points': {
        'image': ('its sibling {ns}/image/compressed is there', '-p image_transport:=compressed'),
        'sensor': ('nothing that tells what a metre is comes on {ns}/points', '-r points:='),
    },
    'cloud_for_image_and_info_elsewhere': {
        'image': ('{ns}/image carries sensor_msgs/msg/PointCloud2', '-r image:='),
        'camera_info': (
            'there is {ns}/front/camera_info', '-r camera_info:={ns}/front/camera_info'
        ),
    },
    'silent_camera_and_silent_points': {
        'image': ('{ns}/driver publishes {ns}/image, but nothing came', 'driver'),
        'sensor': ('{ns}/driver publishes {ns}/points, but nothing came', 'driver'),
    },
    'depth_for_image_and_no_info': {
        'image': ('{ns}/image carries depth images', '-r sensor_depth/image:={ns}/image'),
        'camera_info': ('no publisher on {ns}/camera_info', '-r camera_info:='),
    },
    'zero_k_and_points_without_xyz_and_late_tf': {
        'calibration': ('focal', 'calibrate the camera'),
        'sensor': ('has no x, y, z but distance', 'remap points'),
        'tf': ('s after the image', 'send sooner'),
    },
    'wrong_size_and_late_points_and_split_tf': {
        'size': ('image is 308x224 but camera_info describes 640x480', 'this stream'),
        'sensor_stamps': ('s older than the image', 'max_time_offset'),
        'tf': ('missing: a link from base, {name}_optical to mast, {name}_lidar', 'publish'),
    },
    'other_resolution_and_stopped_tf': {
        'calibration': ('a centre at (960, 540) outside of 308x224', 'at this resolution'),
        'tf': ('nothing is extrapolated', 'in time'),
    },
    'strange_lens_and_no_tf_and_zero_stamps': {
        'calibration': ('omni', 'rectify the image first'),
        'tf': ('{name}_optical and {name}_lidar in no transform', 'static_transform_publisher'),
        'stamps': ('are stamped 0', 'let {ns}/driver set header.stamp'),
    },
    'late_stamps_and_lossy': {
        'stamps': ('s behind the clock here', 'chrony'),
        'rate': ('get lost', 'fastdds_shm.xml'),
    },
    'future_stamps_and_blind_lidar': {
        'stamps': ('s ahead of the clock here', 'chrony'),
        'coverage': ('none of its points is in the image, but they are if', 'T_camera_sensor:=['),
    },
    'rolled_and_best_effort': {
        'extrinsic': ('when the sensor is turned by quarters', 'T_camera_sensor:=['),
        'qos': (
            '{ns}/image: best effort publisher and reliable subscription ({ns}/driver)',
            'qos_overrides.{ns}/image.subscription',
        ),
    },
    'back_stamps': {'stamps': ('stamps go back', '{ns}/driver')},
}
# What a fault may take along, as chance has it: no sweep may be near a stamp that went back.
TAKEN_ALONG = {'back_stamps': {'sensor_stamps'}}
RELIABLE = 'qos_overrides./rolled_and_best_effort/image.subscription.reliability:=reliable'
MORE = {  # arguments
    'rolled_and_best_effort': ('-p', RELIABLE),
    'compressed_and_slow': ('-p', 'image_transport:=compressed'),
}
# Other than most, and nothing wrong with it.
DIFFERENT = ('healthy', 'compressed_and_slow', 'large_and_best_effort', 'scan_and_moving_tf')


def arguments_for(name):
    """Return how the doctor is asked about one of the robots."""
    return ('--only', 'graph', '-r', f'__ns:=/{name}', *CHECKPOINT, *MORE.get(name, ()))


@pytest.fixture(scope='module')
def said(tmp_path_factory):
    """Return what is said of each robot, and at last of two as a user would ask; all drive."""
    names = [*PLANTED, *DIFFERENT]
    with program(ROBOTS, *names, ready='driving'):
        found = call_many(tmp_path_factory.mktemp('said'), {n: arguments_for(n) for n in names})
        large = ('-r', '__ns:=/large_and_best_effort', *POSE, *CHECKPOINT)
        for variables in (True, False):
            environment = {} if variables else dict.fromkeys(PROFILE_VARIABLES, '')
            code, lines, _ = call(*large, environment=environment)
            found['whole' if variables else 'no_shared_memory'] = code, lines
    return found


@pytest.mark.parametrize(
    'name, line', [(name, line) for name, lines in PLANTED.items() for line in lines]
)
def test_a_fault_is_named_with_its_cure(said, name, line):
    code, found = said[name]
    cause, cure = (text.format(ns=f'/{name}', name=name) for text in PLANTED[name][line])
    assert code == 1
    assert found[line]['state'] == 'failed', found[line]
    assert cause in found[line]['said'] and cure in found[line]['cure'], found[line]
    others = set(failures(found)) - set(PLANTED[name])
    assert others <= TAKEN_ALONG.get(name, set()), failures(found)


@pytest.mark.parametrize('name', DIFFERENT)
def test_nothing_fails_on_a_robot_that_is_merely_different(said, name):
    code, found = said[name]
    assert not failures(found) and code == 0
    assert found['image']['state'] == found['extrinsic']['state'] == 'ok' or 'scan' in name


def test_numbers_and_poses_that_are_said_are_right(said):
    def number(name, line, before):
        text = said[name][1][line]['said']
        return float(text.partition(f' s {before}')[0].rpartition(' ')[2])

    assert number('late_stamps_and_lossy', 'stamps', 'behind') == pytest.approx(5, abs=1)
    assert number('future_stamps_and_blind_lidar', 'stamps', 'ahead') == pytest.approx(5, abs=1)
    late = number('wrong_size_and_late_points_and_split_tf', 'sensor_stamps', 'older')
    assert late == pytest.approx(5, abs=1)
    late = number('zero_k_and_points_without_xyz_and_late_tf', 'tf', 'after')
    assert late == pytest.approx(1.5, abs=1)
    for name, line in (
        ('rolled_and_best_effort', 'extrinsic'), ('future_stamps_and_blind_lidar', 'coverage')
    ):
        cure = said[name][1][line]['cure']
        pose = [float(x) for x in cure.partition('[')[2].partition(']')[0].split(',')]
        assert sorted(map(abs, pose[:3])) == pytest.approx([0.1, 0.2, 0.35], abs=1e-3)
    # x of the lidar is z of the camera, y is -x, z is -y: a turn by 120 degrees.
    cure = said['rolled_and_best_effort'][1]['extrinsic']['cure']
    pose = [float(x) for x in cure.partition('[')[2].partition(']')[0].split(',')]
    assert pose[:3] == pytest.approx([0.1, -0.35, -0.2], abs=1e-3)
    quaternion = [x * np.sign(pose[6]) for x in pose[3:]]
    assert quaternion == pytest.approx([0.5, -0.5, 0.5, 0.5], abs=1e-3)


def test_the_whole_program_finds_nothing_wrong_with_machine_and_robot(said):
    code, found = said['whole']
    assert not failures(found) and code == 0
    assert set(found) == set(LINES)


def test_large_images_want_shared_memory(said):
    code, found = said['no_shared_memory']
    assert code == 1 and set(failures(found)) == {'shared_memory'}
    line = found['shared_memory']
    assert 'images of 3.6 MB' in line['said'] and 'shm:=true' in line['cure']
