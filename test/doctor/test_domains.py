# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a ROS domain has once: /clock, running or paused, asked for or not; or nobody at all."""

from doctor_calls import call_many, failures, PATIENCE_S
import pytest

from depth_anything_ros.ros.domain import reserve_domain
from helpers import program, TEST

ROBOTS = TEST / 'programs' / 'faulty_robots.py'
BUNDLED = ('-p', 'model.checkpoint:=bundled')
SIM = ('-p', 'use_sim_time:=true')

pytestmark = pytest.mark.timeout(2 * PATIENCE_S)


def said_of(robot, calls, tmp_path, monkeypatch):
    """Return what is said of a robot in a domain of its own."""
    monkeypatch.setenv('ROS_DOMAIN_ID', str(reserve_domain()))
    common = ('--only', 'graph', '-r', f'__ns:=/{robot}', *BUNDLED)
    with program(ROBOTS, robot, ready='driving'):
        return call_many(tmp_path, {name: (*common, *more) for name, more in calls.items()})


def test_images_that_follow_a_clock_that_is_not_asked_for(tmp_path, monkeypatch):
    said = said_of('clock_running', {'with': SIM, 'without': ()}, tmp_path, monkeypatch)
    code, found = said['without']
    assert code == 1 and set(failures(found)) == {'clock'}
    assert 'image stamps follow /clock' in found['clock']['said']
    assert found['clock']['cure'] == '-p use_sim_time:=true'
    code, found = said['with']
    assert code == 0 and found['clock']['state'] == found['stamps']['state'] == 'ok'


def test_a_clock_that_stands_still(tmp_path, monkeypatch):
    code, found = said_of('clock_paused', {'paused': SIM}, tmp_path, monkeypatch)['paused']
    assert code == 1 and set(failures(found)) == {'clock'}
    assert 'the time on /clock (/faulty_robots) stands still' in found['clock']['said']
    assert 'unpause' in found['clock']['cure']


def test_a_domain_without_anybody(tmp_path, monkeypatch):
    monkeypatch.setenv('ROS_DOMAIN_ID', str(reserve_domain()))
    code, found = call_many(tmp_path, {'alone': ('--only', 'graph', *BUNDLED)})['alone']
    assert code == 1
    assert set(failures(found)) == {'graph', 'image', 'camera_info', 'sensor'}
    assert 'no other node is seen in ROS domain' in found['graph']['said']
    assert 'ROS_DOMAIN_ID of the robot' in found['graph']['cure']
    assert 'no topic carries images' in found['image']['said']
    assert 'start the camera' in found['image']['cure']
