# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What stands in the core works without ROS and knows nothing of what is built on it."""

from __future__ import annotations

from pathlib import Path
import subprocess
import sys

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'depth_anything_ros'

PROGRAM = """
import importlib, importlib.abc, re, sys

ROS = re.compile(r'^(rclpy|.*_(msgs|interfaces|msgs_py)|tf2.*|cv_bridge|launch.*|ament_.*)$')

class NoRos(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if ROS.match(name.partition('.')[0]):
            raise ModuleNotFoundError(f'{name} is blocked', name=name)

sys.meta_path.insert(0, NoRos())
for name in sys.argv[1:]:
    importlib.import_module(name)
print('\\n'.join(name for name in sys.modules if name.startswith('depth_anything_ros.')))
"""


def modules(folder):
    """Return the dotted names of the modules in a folder of the package and below it."""
    return [
        '.'.join(path.relative_to(ROOT).with_suffix('').parts)
        for path in sorted((PACKAGE / folder).rglob('*.py'))
        if path.name != '__init__.py'
    ]


CORE = [f'depth_anything_ros.{path.stem}' for path in sorted(PACKAGE.glob('[!_]*.py'))]
CORE += modules('network') + modules('metric_depth')
ROOMS = ['depth_anything_ros.network', 'depth_anything_ros.metric_depth']


def import_without_ros(names):
    """Import modules in a process of their own that has no ROS; return what of ours it loaded."""
    done = subprocess.run(
        [sys.executable, '-c', PROGRAM, *names], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_core_is_there():
    names = ('pipeline', 'camera', 'network.predictor', 'metric_depth.scale')
    assert {f'depth_anything_ros.{name}' for name in names} <= set(CORE)


def test_the_core_imports_without_ros_and_without_what_is_built_on_it():
    loaded = import_without_ros(CORE)
    assert set(loaded) == {*CORE, *ROOMS}


def test_evaluation_training_and_world_import_without_ros():
    names = modules('evaluation') + modules('training') + modules('world')
    assert set(names) <= set(import_without_ros(names))


def test_the_block_blocks():
    with pytest.raises(AssertionError, match='rclpy is blocked'):
        import_without_ros(['rclpy'])
