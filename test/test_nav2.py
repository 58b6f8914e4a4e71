# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The files for nav2 and RTAB-Map, and what a costmap makes of the clouds that they ask for."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from voxel_layer import VoxelLayer
import yaml

from depth_anything_ros.camera import Camera
from depth_anything_ros.cloud.maker import CloudMaker
from depth_anything_ros.config import Config, with_values
from depth_anything_ros.ros.output_messages import COMPRESSED_DEPTH, TOPICS

ROOT = Path(__file__).resolve().parents[1]
PAGES = {name: (ROOT / 'docs' / f'{name}.md').read_text()
         for name in ('nav2', 'rtabmap', 'consumers', 'clouds')}
COSTMAP = yaml.safe_load((ROOT / 'config' / 'nav2_costmap.yaml').read_text())
LOCAL = COSTMAP['local_costmap']['local_costmap']['ros__parameters']

CAMERA = Camera(240, 480, np.array([[500.0, 0, 119.5], [0, 500.0, 239.5], [0, 0, 1.0]]))
HEIGHT_M = 1.0
T_ODOM_CAMERA = np.array(
    [[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, HEIGHT_M], [0, 0, 0, 1]], np.float32
)
CAMERA_M = T_ODOM_CAMERA[:3, 3]


def flat(tree, prefix=''):
    """Return dotted name -> value of nested dictionaries."""
    found = {}
    for name, value in tree.items():
        below = flat(value, f'{prefix}{name}.') if isinstance(value, dict) else {}
        found |= below or {prefix + name: value}
    return found


def node_config(file, **more):
    """Return the configuration of a node that is started with a file of config/."""
    given = yaml.safe_load((ROOT / 'config' / file).read_text())['/**']['ros__parameters']
    return with_values(Config(), flat(given) | more)


@pytest.mark.parametrize('file', ['nav2_depth.yaml', 'rtabmap_depth.yaml'])
def test_the_node_takes_the_parameters_of_each_file(file):
    assert node_config(file) != Config()


def test_every_parameter_of_nav2_is_explained_where_its_sources_read_it():
    table = PAGES['nav2'].partition('## What the parameters are')[2].partition('\n## ')[0]
    rows = [row for row in table.splitlines() if row.startswith('| `')]
    assert all(re.search(r'\w:\d+', row.split('|')[4]) for row in rows)
    explained = {name for row in rows for name in re.findall(r'`(\w+)`', row.split('|')[1])}
    used = {name.rpartition('.')[2] for name in flat(COSTMAP)} - {'plugin'}
    assert used == explained


def test_the_layer_is_named_as_it_is_listed_and_its_sources_too():
    layer = LOCAL['depth_layer']
    assert 'depth_layer' in LOCAL['plugins'] and LOCAL['plugins'][-1] == 'inflation_layer'
    assert {name for name, value in layer.items() if isinstance(value, dict)} == set(
        layer['observation_sources'].split()
    )
    assert layer['z_voxels'] <= 16
    monitor = COSTMAP['collision_monitor']['ros__parameters']
    assert 'depth' in monitor['observation_sources']


def test_topics_that_are_named_are_those_that_the_node_publishes():
    published = {*TOPICS, COMPRESSED_DEPTH}
    texts = [*PAGES.values(), yaml.safe_dump(COSTMAP),
             (ROOT / 'launch' / 'rtabmap.launch.py').read_text()]
    for text in texts:
        named = set(re.findall(r'(?<![\w/.-])/?(depth/[\w/]+)', text))
        assert named <= published, named - published
    assert all('depth/points' in text for text in texts[:1] + texts[4:5])


def test_the_merge_of_the_docs_keeps_what_was_there(tmp_path):
    (program,) = re.findall(r'```python\n(.*?)```', PAGES['nav2'], re.DOTALL)
    (tmp_path / 'merge.py').write_text(program)
    lidar = {'plugin': 'nav2_costmap_2d::VoxelLayer', 'observation_sources': 'scan'}
    before = {
        'local_costmap': {'local_costmap': {'ros__parameters': {
            'width': 3, 'resolution': 0.05, 'plugins': ['voxel_layer', 'inflation_layer'],
            'voxel_layer': lidar,
        }}},
        'amcl': {'ros__parameters': {'alpha1': 0.2}},
    }  # fmt: skip
    (tmp_path / 'nav2.yaml').write_text(yaml.safe_dump(before))
    fragment = ROOT / 'config' / 'nav2_costmap.yaml'
    command = [sys.executable, 'merge.py', str(fragment), 'nav2.yaml', 'merged.yaml']
    subprocess.run(command, cwd=tmp_path, check=True)
    merged = yaml.safe_load((tmp_path / 'merged.yaml').read_text())
    assert merged['amcl'] == before['amcl']
    local = merged['local_costmap']['local_costmap']['ros__parameters']
    assert local['voxel_layer'] == lidar and local['resolution'] == 0.05
    assert local['width'] == 8 and local['depth_layer'] == LOCAL['depth_layer']
    assert local['plugins'] == ['voxel_layer', 'depth_layer', 'inflation_layer']


def view(*, person, wall_m=np.inf, scale=1.0):
    """Return depth of a level camera above a floor, with a person 3 m ahead, and a wall or sky."""
    forward, left, up = np.moveaxis(CAMERA.rays() @ T_ODOM_CAMERA[:3, :3].T, -1, 0)
    with np.errstate(divide='ignore', invalid='ignore'):
        depth_m = np.where(up < 0, -HEIGHT_M / up, np.inf)
        if np.isfinite(wall_m):
            depth_m = np.minimum(depth_m, wall_m)
        if person:
            at_m = 3.0
            hit = (np.abs(left * at_m) <= 0.25) & (HEIGHT_M + up * at_m <= 1.5)
            depth_m = np.where(hit & (depth_m > at_m), at_m, depth_m)
    depth_m = np.where(depth_m <= Config().depth.max, depth_m, np.nan)
    return (scale * depth_m).astype(np.float32)


def points_of(depth_m, config):
    """Return the points of the cloud that the node publishes of an image's depth."""
    maker = CloudMaker(CAMERA)
    depth = torch.from_numpy(depth_m)
    solid = maker.solid(depth, 0.05 * depth, config.cloud, 1.0)
    image = np.zeros((480, 240, 3), np.uint8)
    stddev_m = None if solid.stddev_m is None else solid.stddev_m.numpy()
    cloud = maker.cloud(solid.depth_m.numpy(), stddev_m, image, config.cloud, {})
    return cloud.points[..., :3].reshape(-1, 3)


def costmap_of(*depths_m, layer=LOCAL['depth_layer'], **more):
    """Return which cells of the costmap are lethal after each of some images."""
    config = node_config('nav2_depth.yaml', **more)
    return lethal_after([points_of(depth_m, config) for depth_m in depths_m], layer)


def lethal_after(clouds, layer=LOCAL['depth_layer']):
    """Return which cells of the costmap are lethal after each of some clouds."""
    costmap = VoxelLayer(layer, LOCAL['width'], 0.05)
    lethal = []
    for points_m in clouds:
        costmap.update(points_m, T_ODOM_CAMERA, CAMERA_M)
        lethal.append(costmap.lethal.copy())
    return lethal


def changed(**values):
    """Return the layer with some parameters of its sources changed, as source__parameter."""
    layer = deepcopy(LOCAL['depth_layer'])
    for name, value in values.items():
        *source, parameter = name.split('__')
        (layer[source[0]] if source else layer)[parameter] = value
    return layer


def test_a_person_is_an_obstacle_and_is_gone_when_they_went_before_a_wall():
    there, gone = costmap_of(view(person=True, wall_m=15.0), view(person=False, wall_m=15.0))
    x, y = np.nonzero(there)
    assert len(x) >= 10 and np.all(np.abs((x + 0.5) * 0.05 - 4 - 3.0) <= 0.05)  # half a metre wide
    assert np.all(np.abs((y + 0.5) * 0.05 - 4) <= 0.30)
    assert not gone.any()


@pytest.mark.parametrize('scale', [0.95, 1.05])
def test_the_floor_is_none_though_depth_is_off_by_a_sigma(scale):
    (lethal,) = costmap_of(view(person=False, scale=scale))
    assert not lethal.any()


def test_what_stood_before_the_sky_stays_above_the_camera_and_not_below():
    images = view(person=True), view(person=False)
    there, stays = costmap_of(*images)
    assert there.any() and stays.any()
    below_m = HEIGHT_M - 2 * LOCAL['depth_layer']['z_resolution']
    there, gone = costmap_of(*images, layer=changed(mark__max_obstacle_height=below_m))
    assert there.any() and not gone.any()


def test_a_cloud_that_is_cut_clears_no_more():
    images = view(person=True, wall_m=15.0), view(person=False, wall_m=15.0)
    for cut in ({'cloud.max_range': 5.0}, {'cloud.max_stddev': 0.3}):
        _, stays = costmap_of(*images, **cut)
        assert stays.any(), cut


def test_one_source_of_narrow_heights_does_not_clear():
    images = view(person=True, wall_m=15.0), view(person=False, wall_m=15.0)
    narrow = changed(clear__min_obstacle_height=0.15, clear__max_obstacle_height=1.6)
    _, stays = costmap_of(*images, layer=narrow)
    assert stays.any()


def test_a_camera_above_the_grid_clears_nothing():
    images = view(person=True, wall_m=15.0), view(person=False, wall_m=15.0)
    _, stays = costmap_of(*images, layer=changed(z_resolution=0.05))  # 0.8 m, as nav2 comes
    assert stays.any()


def test_inf_for_the_sky_would_clear_no_more_than_nan():
    whole = with_values(Config(), {'cloud.stride': 4})
    far = (CAMERA.rays()[::4, ::4] * np.inf).reshape(-1, 3)
    with_nan, with_inf = [], []
    for person in (True, False):
        points_m = points_of(view(person=person), whole)
        with_nan.append(points_m)
        with_inf.append(np.where(np.isnan(points_m), far, points_m))
    assert np.isinf(with_inf[1]).any()
    assert np.array_equal(lethal_after(with_nan)[1], lethal_after(with_inf)[1])
