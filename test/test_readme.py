# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the documents say, held to the code: README's Python as it stands there, names elsewhere."""

from __future__ import annotations

from pathlib import Path
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest

import depth_anything_ros
from depth_anything_ros.config import Config, parameters
from depth_anything_ros.network.hub import KNOWN
from depth_anything_ros.tools import programs
from depth_anything_ros.tools.world_robot import DEMO_SEED
from depth_anything_ros.world.drive import WorldDrive

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / 'README.md').read_text()
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]


def test_ten_lines_of_python_make_metres(tmp_path, monkeypatch, capsys):
    (block,) = re.findall(r'```python\n(.*?)```', README, re.DOTALL)
    seen = WorldDrive(DEMO_SEED, 'street').moment(2.0)
    cv2.imwrite(str(tmp_path / 'image.png'), seen.image_rgb[..., ::-1])
    np.save(tmp_path / 'lidar.npy', seen.sweep.points_lidar)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(block, names)
    assert capsys.readouterr().out.startswith('FITTED ')
    depth_m, cloud = names['depth_m'], names['cloud']
    assert (depth_m.shape, cloud.shape) == ((224, 308), (224, 308, 4))
    both = np.isfinite(depth_m) & np.isfinite(seen.depth_m) & (seen.depth_m < 40.0)
    assert both.mean() > 0.5
    assert np.mean(np.abs(depth_m - seen.depth_m)[both] / seen.depth_m[both]) < 0.06
    # The cloud holds the same metres, along each pixel's ray: x = (u - cx) z / f.
    z = cloud[180, 200, 2]
    assert z == depth_m[180, 200]
    assert cloud[180, 200, :2] == pytest.approx([(200 - 153.5) * z / 200, (180 - 111.5) * z / 200])


def test_names_for_programs_without_ros_are_there_and_cost_nothing_before():
    for name in depth_anything_ros.__all__:
        assert getattr(depth_anything_ros, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'absent'"):
        depth_anything_ros.absent  # noqa: B018
    program = 'import sys, depth_anything_ros; print(*sys.modules)'
    done = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert not {'numpy', 'torch', 'cv2', 'rclpy'} & set(done.stdout.split())


def test_a_wrong_parameter_is_named():
    with pytest.raises(depth_anything_ros.DepthAnythingError, match='scale.camera_hight'):
        depth_anything_ros.load('bundled', parameters={'scale.camera_hight': 1.2})


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_every_parameter_that_a_page_names_is_one(page):
    names = {parameter.name for parameter in parameters()}
    groups = {name.partition('.')[0] for name in names if '.' in name}
    quoted = re.findall(rf'`({"|".join(groups)})\.(\w+)\b(?!\()', page.read_text())
    files = ('py', 'md', 'yaml', 'json', 'safetensors')
    said = {'.'.join(pair) for pair in quoted if pair[1] not in files}
    assert said <= names


def test_every_launch_argument_that_a_page_gives_is_one():
    files = (ROOT / 'launch').glob('*.launch.py')
    arguments = {
        name for file in files for name in re.findall(r"^    '(\w+)': \(", file.read_text(), re.M)
    }
    assert len(arguments) > 10
    of_others = re.compile(r'ros2 run (?!depth_anything_ros)(?:.*\\\n)*.*')
    pages = [of_others.sub('', page.read_text()) for page in PAGES]
    given = {name for page in pages for name in re.findall(r'([\w.]+):=', page)}
    assert given <= arguments | {parameter.name for parameter in parameters()}


def test_the_checkpoints_that_pages_name_are_those_known_to_load():
    page = (ROOT / 'docs' / 'networks.md').read_text()
    table = page.partition('## What loads')[2].partition('\n\n## ')[0]
    cells = re.findall(r'^\| (`.*?) \|', table, re.MULTILINE)
    assert sorted(re.findall(r'`(.*?)`', ' '.join(cells))) == sorted(KNOWN)
    assert Config().model.checkpoint in KNOWN
    owners = '|'.join({name.partition('/')[0] for name in KNOWN if '/' in name})
    for page in PAGES:
        named = re.findall(rf'[`=]((?:{owners})/[\w-]+)', page.read_text())
        assert set(named) <= set(KNOWN), page


def test_readme_lists_the_programs():
    table = README.partition('## Programs')[2].partition('\n## ')[0]
    listed = set(re.findall(r'^\| `(\w+)', table, re.MULTILINE))
    assert listed == {name for name in vars(programs) if callable(getattr(programs, name))
                      and getattr(programs, name).__name__ == 'main'}


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_every_python_file_that_a_page_runs_is_there(page):
    text = page.read_text()
    for path in re.findall(r'python (\w+/\w+\.py)', text):
        assert (ROOT / path).is_file(), path
    for module in re.findall(r'-m (depth_anything_ros\.[\w.]+)', text):
        assert (ROOT / f'{module.replace(".", "/")}.py').is_file(), module
