# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The parameters: names, types, ranges and what each mistake is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from depth_anything_ros.config import Config, parameters, with_values
from depth_anything_ros.errors import ConfigError
from depth_anything_ros.tools.write_config import config_yaml

ROOT = Path(__file__).resolve().parents[1]
LEVEL_X_FORWARD = (0.5, -0.5, 0.5, 0.5)  # a unit quaternion


def flat(tree, prefix=''):
    """Return dotted name -> value of nested dictionaries."""
    found = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            found |= flat(value, f'{prefix}{name}.')
        else:
            found[prefix + name] = value
    return found


def test_names_that_others_depend_on():
    names = {parameter.name for parameter in parameters()}
    assert names >= {
        'model.checkpoint',
        'image_transport',
        'runtime.device',
        'autostart',
        'scale.method',
        'scale.unanchored',
        'scale.max_hold',
        'scale.assumed_scale',
        'scale.assumed_shift',
        'scale.T_camera_sensor',
        'scale.camera_height',
        'scale.camera_pitch',
        'scale.ground_frame',
        'depth.encoding',
        'cloud.stride',
        'camera.rectified',
        'max_age',
    }


def test_defaults_that_the_contract_names():
    config = Config()
    assert config.max_age == 0.0
    assert config.autostart is True
    assert config.scale.max_hold == 2.0
    assert config.scale.unanchored == 'withhold'
    assert config.scale.T_camera_sensor == (0.0,) * 7
    assert config.depth.encoding == '32FC1'


@pytest.mark.parametrize('parameter', parameters(), ids=lambda parameter: parameter.name)
def test_each_default_is_described_and_within_its_own_range(parameter):
    assert parameter.description.endswith('.')
    assert with_values(Config(), {parameter.name: parameter.value}) == Config()


@pytest.mark.parametrize('parameter', parameters(), ids=lambda parameter: parameter.name)
def test_nothing_outside_the_range_or_the_choices_is_taken(parameter):
    step = 1 if isinstance(parameter.value, int) else 1e-3
    if parameter.minimum is not None:
        with pytest.raises(ConfigError, match=rf'^{parameter.name} must be in \['):
            with_values(Config(), {parameter.name: parameter.minimum - step})
    if parameter.maximum is not None:
        with pytest.raises(ConfigError, match=rf'^{parameter.name} must be in \['):
            with_values(Config(), {parameter.name: parameter.maximum + step})
    if parameter.choices:
        with pytest.raises(ConfigError, match=f'^{parameter.name} must be one of'):
            with_values(Config(), {parameter.name: 'no such choice'})


def test_values_replace_only_what_they_name():
    changed = with_values(Config(), {'scale.max_hold': 5.0, 'cloud.stride': 4})
    assert (changed.scale.max_hold, changed.cloud.stride) == (5.0, 4)
    assert with_values(changed, {'scale.max_hold': 2.0, 'cloud.stride': 1}) == Config()


def test_whole_numbers_are_accepted_for_doubles():
    changed = with_values(Config(), {'max_age': 1, 'scale.T_camera_sensor': [0, 0, 1, 0, 0, 0, 1]})
    assert changed.max_age == 1.0
    assert isinstance(changed.max_age, float)
    assert changed.scale.T_camera_sensor == (0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    assert all(isinstance(x, float) for x in changed.scale.T_camera_sensor)


@pytest.mark.parametrize(
    ('name', 'value', 'message'),
    [
        ('depth.far', 1.0, 'unknown parameter "depth.far"'),
        ('max_age', '1', "max_age must be float, got '1'"),
        ('max_age', True, 'max_age must be float, got True'),
        ('max_age', float('nan'), 'max_age must be in [0, 1e+09], got nan'),
        ('max_age', float('inf'), 'max_age must be in [0, 1e+09], got inf'),
        ('depth.min', 0.0, 'depth.min must be in [0.001, 1000], got 0.0'),
        ('cloud.stride', 2.0, 'cloud.stride must be int, got 2.0'),
        ('cloud.stride', True, 'cloud.stride must be int, got True'),
        ('autostart', 1, 'autostart must be bool, got 1'),
        ('model.checkpoint', 7, 'model.checkpoint must be str, got 7'),
        ('camera.rectified', True, 'camera.rectified must be str, got True'),
        ('model.input_size', 500, 'model.input_size must be a multiple of 14'),
        ('scale.T_camera_sensor', '', "scale.T_camera_sensor must be 7 finite numbers, got ''"),
        ('scale.T_camera_sensor', [1.0], 'scale.T_camera_sensor must be 7 finite numbers'),
        ('scale.T_camera_sensor', [float('nan')] * 7, 'must be 7 finite numbers'),
        ('scale.T_camera_sensor', [0, 0, 1, 0, 0, 0, 2], 'unit quaternion qx qy qz qw, got norm 2'),
        ('scale.T_camera_sensor', [1, 0, 0, 0, 0, 0, 0], 'unit quaternion qx qy qz qw, got norm 0'),
    ],
)
def test_a_mistake_is_one_line_that_names_the_parameter(name, value, message):
    with pytest.raises(ConfigError) as raised:
        with_values(Config(), {name: value})
    assert message in str(raised.value)
    assert '\n' not in str(raised.value)


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ({'depth.min': 90.0}, 'depth.min (90.0) must be less than depth.max (80.0)'),
        ({'depth.min': 5.0, 'depth.max': 5.0}, 'depth.min (5.0) must be less than'),
        ({'scale.min_range': 80.0}, 'scale.min_range (80.0) must be less than scale.max_range'),
    ],
)
def test_contradictions_are_refused(values, message):
    with pytest.raises(ConfigError) as raised:
        with_values(Config(), values)
    assert message in str(raised.value)


def test_values_that_only_agree_together_are_taken_together():
    changed = with_values(Config(), {'depth.min': 90.0, 'depth.max': 100.0})
    assert (changed.depth.min, changed.depth.max) == (90.0, 100.0)


def test_a_unit_quaternion_is_taken():
    pose = (1.0, 2.0, 3.0, *LEVEL_X_FORWARD)
    assert with_values(Config(), {'scale.T_camera_sensor': pose}).scale.T_camera_sensor == pose


def test_the_parameter_file_is_the_one_that_the_dataclasses_give():
    assert (ROOT / 'config' / 'depth_anything.yaml').read_text() == config_yaml(), (
        'run python3 -m depth_anything_ros.tools.write_config > config/depth_anything.yaml'
    )


def test_the_parameter_file_holds_every_default_with_its_type_for_any_namespace():
    values = flat(yaml.safe_load(config_yaml())['/**']['ros__parameters'])
    assert list(values) == [parameter.name for parameter in parameters()]
    for parameter in parameters():
        value = values[parameter.name]
        if isinstance(parameter.value, tuple):
            # ROS refuses arrays that mix integers and doubles.
            assert [type(x) for x in value] == [float] * len(parameter.value)
            value = tuple(value)
        assert (type(value), value) == (type(parameter.value), parameter.value), parameter.name


def test_the_parameter_file_tells_unit_range_and_meaning():
    text = ' '.join(config_yaml().split())
    text = text.replace(' # ', ' ')
    for parameter in parameters():
        assert parameter.description in text
        if parameter.unit:
            assert f'[{parameter.unit}' in text
    assert 'Farthest sensor point used as an anchor. [m; 0.1 to 10000; settable' in text
    assert '[one of 32FC1, 16UC1; settable while running]' in text


@pytest.mark.parametrize(
    ('given', 'kept'),
    [('lidar', 'lidar'), ('depth,lidar', 'depth,lidar'), ('depth, lidar', 'depth,lidar')],
)
def test_sources_of_scale_may_be_listed(given, kept):
    assert with_values(Config(), {'scale.method': given}).scale.method == kept


@pytest.mark.parametrize(
    'given', ['', ',', 'lidar,', 'radar', 'lidar,radar', 'auto,lidar', 'none,depth']
)
def test_a_list_of_sources_that_names_none_or_contradicts_itself_is_refused(given):
    with pytest.raises(ConfigError, match='^scale.method must be one of auto, lidar.* commas'):
        with_values(Config(), {'scale.method': given})


def test_only_what_says_so_may_be_listed():
    with pytest.raises(ConfigError, match='scale.unanchored must be one of'):
        with_values(Config(), {'scale.unanchored': 'withhold,assume'})


@pytest.mark.parametrize(
    ('given', 'cause'),
    [
        (['front', 'front'], "has 'front' twice"),
        (['front', ''], "'' names no camera"),
        (['front/left'], "'front/left' names no camera"),
        (['1st'], "'1st' names no camera"),
        (['vorne_\u00e4'], 'names no camera'),
        (['a' * 65], 'names no camera'),
        (['front\n'], 'names no camera'),
        ('front', r"must be a list of names such as \[front, left\], got 'front'"),
        ([1, 2], 'must be a list of names'),
        (None, 'must be a list of names'),
    ],
)
def test_names_of_cameras_that_are_none_are_refused(given, cause):
    with pytest.raises(ConfigError, match=f'^cameras.*{cause}'):
        with_values(Config(), {'cameras': given})


def test_names_of_cameras_are_kept_in_their_order():
    assert Config().cameras == ()
    for names in (['left', 'front_2'], ['scan', 'depth', 'scale', 'camera', 'a' * 64], []):
        assert with_values(Config(), {'cameras': names}).cameras == tuple(names)
