# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Several cameras in one node: robot, node and judge are three real processes over real DDS."""

from collections import defaultdict
from contextlib import contextmanager
import subprocess
import sys
import time

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
import numpy as np
import pytest
import rclpy
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from depth_anything_ros.poses import matrix_to_pose
from helpers import (
    edges,
    program,
    SCENE_CAMERA,
    scene_depth_image,
    SCENE_T_CAMERA_LIDAR,
    TEST,
)

NODE = TEST / 'programs' / 'fake_network_node.py'
CAMERA = SCENE_CAMERA.scaled(320, 240)
ROBOT = TEST / 'programs' / 'several_cameras.py'
POSE = ', '.join(f'{x:.9f}' for x in matrix_to_pose(SCENE_T_CAMERA_LIDAR))
KINDS = {
    'depth/image': Image,
    'depth/camera_info': CameraInfo,
    'depth/points': PointCloud2,
    'depth/relative': Image,
    'depth/scale': DiagnosticStatus,
}
PATIENCE_S = 90

pytestmark = pytest.mark.timeout(2 * PATIENCE_S + 60)


def stamp(message):
    """Return a message's stamp in nanoseconds."""
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec


def values_of(status):
    """Return the values of a status."""
    return {pair.key: pair.value for pair in status.values}


class Judge:
    """Listens to what the node says of its cameras."""

    def __init__(self, cameras, outputs):
        self.node = rclpy.create_node('judge')
        self.got = defaultdict(list)
        self.rows = {}
        topics = [(f'{camera}/{output}', KINDS[output]) for camera in cameras for output in outputs]
        topics += [(f'{camera}/image', Image) for camera in cameras]
        for topic, kind in topics:
            self.node.create_subscription(kind, topic, self.got[topic].append, 10)
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self._tell, 10)

    def _tell(self, message):
        self.rows = {status.name: (status, values_of(status)) for status in message.status}

    def wait(self, condition):
        """Listen until something holds."""
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, '\n'.join(self._heard())
            rclpy.spin_once(self.node, timeout_sec=0.1)

    def _heard(self):
        for topic, messages in self.got.items():
            yield f'{topic}: {len(messages)}'
        for name, (status, values) in self.rows.items():
            yield f'{name}: {status.message} {values}'

    def row(self, camera):
        """Return the status of a camera, and its values."""
        return self.rows.get(f'/depth_anything: {camera}: pipeline', (None, defaultdict(str)))

    def scales(self, camera):
        """Return the values of depth/scale of a camera."""
        return [values_of(status) for status in self.got[f'{camera}/depth/scale']]


@contextmanager
def cameras_of(robot, outputs, network='nearness'):
    """Run robot and node; give a judge of all cameras that are named."""
    names = [each.partition('=')[0] for each in robot]
    parameters = ['-p', f'cameras:=[{", ".join(names)}]', '-p', f'scale.T_camera_sensor:=[{POSE}]']
    rclpy.init()
    judge = Judge(names, outputs)
    try:
        with program(ROBOT, *robot, ready='playing'):
            with program(NODE, network, '--ros-args', *parameters, ready='predicts'):
                yield judge
    finally:
        judge.node.destroy_node()
        rclpy.shutdown()


def assert_true_depth(message):
    """Check depth against the scene: images have 256 shades of it."""
    depth_m = np.frombuffer(message.data, '<f4').reshape(message.height, message.width)
    truth_m = scene_depth_image(CAMERA)
    where = ~edges(truth_m, 3) & (truth_m < 10)
    off = np.abs(np.log(depth_m / truth_m))[where]
    assert np.nanmedian(off) < 0.02 and np.isfinite(off).mean() > 0.95


def test_each_camera_keeps_the_contract_with_states_of_its_own():
    names = ('front', 'left', 'right')
    outputs = tuple(KINDS)
    with cameras_of([f'{name}=good' for name in names], outputs) as judge:
        topics = [f'{name}/{output}' for name in names for output in outputs]
        judge.wait(lambda: all(len(judge.got[topic]) >= 3 for topic in topics))
        judge.wait(lambda: all(judge.row(name)[1]['scale_state'] == 'FITTED' for name in names))
        published = {topic for topic, _ in judge.node.get_topic_names_and_types()}
    assert not {f'/{output}' for output in outputs} & published  # nothing without a name
    for number, name in enumerate(names):
        images = judge.got[f'{name}/image']
        known = {stamp(image) for image in images}
        first = min(known)
        for output in outputs[:-1]:
            messages = [m for m in judge.got[f'{name}/{output}'] if first <= stamp(m) <= max(known)]
            assert {m.header.frame_id for m in messages} == {f'{name}_optical'}
            assert {stamp(m) for m in messages} <= known
        infos = {stamp(m): m for m in judge.got[f'{name}/depth/camera_info']}
        for message in judge.got[f'{name}/depth/image'][-2:]:
            assert (message.height, message.width) == CAMERA.size
            assert_true_depth(message)
        assert len(infos.keys() & {stamp(m) for m in judge.got[f'{name}/depth/image']}) >= 2
        np.testing.assert_allclose(np.reshape(infos[max(infos)].k, (3, 3)), CAMERA.K)
        # red = 255 p, so that each has a line of its own: it is not another camera's.
        status = judge.scales(name)[-1]
        assert status['state'] == 'FITTED' and status['method'] == 'lidar'
        gain, offset = 420 + 40 * number, 20 + 10 * number
        assert float(status['scale']) == pytest.approx(255 / gain, rel=0.03)
        assert float(status['shift']) == pytest.approx(-offset / gain, abs=5e-3)
        row, values = judge.row(name)
        assert row.hardware_id == f'/{name}/image' and row.level == DiagnosticStatus.OK
        assert values[f'publishers_{name}/image'] == values['publishers_points'] == '1'
        assert judge.got[f'{name}/depth/scale'][-1].name == f'/depth_anything: {name}: scale'


def test_what_is_wrong_with_one_camera_is_no_matter_to_the_others():
    robot = ['front=good', 'gone=silent', 'large=large', 'zero=zero', 'back=back', 'fast=fast',
             'broken=broken']
    with cameras_of(robot, ('depth/image', 'depth/relative', 'depth/scale')) as judge:
        judge.wait(lambda: len(judge.got['front/depth/image']) >= 5)
        for name in ('large', 'zero', 'back', 'fast'):
            judge.wait(lambda n=name: len(judge.got[f'{n}/depth/relative']) >= 3)
        judge.wait(lambda: judge.row('broken')[1].get('dropped_truncated_image', '0') > '2')
        judge.wait(lambda: 'gone' in judge.row('gone')[0].message)
        # Of 30 images a second few are near a sweep, and not each of them is the newest in time.
        judge.wait(lambda: 'FITTED' in {status['state'] for status in judge.scales('fast')})
        rows = {name: judge.row(name) for name in ('front', 'large', 'zero', 'broken', 'gone')}
    assert judge.scales('front')[-1]['state'] == 'FITTED'
    assert 'UNANCHORED' not in {status['state'] for status in judge.scales('front')[1:]}
    assert_true_depth(judge.got['front/depth/image'][-1])
    lacks = {key for key in rows['front'][1] if key.startswith(('dropped', 'incomplete'))}
    assert lacks <= {'dropped_superseded'}  # of a machine that is busy
    assert int(rows['large'][1]['incomplete_camera_info_mismatch']) > 0
    assert rows['large'][1]['scale_state'] == rows['zero'][1]['scale_state'] == 'UNANCHORED'
    for name in ('large', 'zero', 'broken', 'gone'):
        assert not judge.got[f'{name}/depth/image']
        assert rows[name][0].level == DiagnosticStatus.WARN


def test_no_camera_starves_where_the_network_is_slow():
    names = [f'c{i}' for i in range(5)]
    robot = [*(f'{name}=good' for name in names), 'fast=fast']
    with cameras_of(robot, ('depth/scale',), network='slow') as judge:
        served = {name: judge.got[f'{name}/depth/scale'] for name in [*names, 'fast']}
        judge.wait(lambda: all(served.values()))
        judge.wait(lambda: len(served['fast']) >= 5)
        counts = [len(each) for each in served.values()]
        assert max(counts) - min(counts) <= 2
        judge.wait(lambda: int(judge.row('fast')[1]['dropped_superseded'] or 0) > 0)


def test_names_that_are_none_are_refused_in_one_line():
    result = subprocess.run(
        [sys.executable, str(NODE), 'exact', '--ros-args', '-p', 'cameras:=[front, front]'],
        capture_output=True,
        text=True,
    )
    lines = [x for x in (result.stdout + result.stderr).splitlines() if '[rcl]' not in x]
    assert result.returncode == 1 and len(lines) == 1 and "has 'front' twice" in lines[0]
