# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Imports point one way, without a circle, and the core works without ROS."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path
import re
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
CORE += modules('cloud') + modules('network') + modules('metric_depth')
ROOMS = [f'depth_anything_ros.{room}' for room in ('cloud', 'network', 'metric_depth')]


# Room (a folder, or a module beside them) -> the rooms that it may import from, itself apart.
GROUND = {'errors', 'poses', 'stopwatch', 'stretch', 'transfer'}
CAMERA = {*GROUND, 'config', 'camera', 'gray_view'}
PIPELINE = {'prediction', 'pipeline'}
MAY_IMPORT = {
    'errors': set(),
    'ray_workers': {'errors'},
    'engine_arguments': {'errors'},
    'addresses': {'errors'},
    'poses': {'errors'},
    'stopwatch': set(),
    'stretch': set(),
    'transfer': set(),
    'config': GROUND,
    'camera': GROUND,
    'gray_view': {'camera'},
    'cloud': CAMERA,
    'network': CAMERA,
    'metric_depth': {*CAMERA, 'network.spec'},  # they share what a prediction means, nothing else
    'prediction': {*CAMERA, 'network', 'metric_depth'},
    'pipeline': {*CAMERA, 'cloud', 'network', 'metric_depth', 'prediction'},
    'world': {'camera', 'errors'},
    'ros': {*CAMERA, 'cloud', 'network', 'metric_depth', *PIPELINE},
    'evaluation': {*CAMERA, 'network', 'metric_depth', *PIPELINE, 'ros'},
    'training': {*CAMERA, 'network', 'metric_depth', *PIPELINE, 'ros', 'evaluation', 'world',
                 'addresses'},
    'labelling': {*CAMERA, 'network', *PIPELINE, 'ray_workers', 'training', 'addresses'},
    'annotation': {*CAMERA, 'network', 'metric_depth', *PIPELINE, 'ros', 'ray_workers',
                   'addresses'},
    'doctor': {*CAMERA, 'network', 'metric_depth', *PIPELINE, 'ros', 'annotation'},
    'tools': {*CAMERA, 'network', 'metric_depth', *PIPELINE, 'ros', 'evaluation', 'training',
              'labelling', 'world', 'annotation', 'doctor', 'engine_arguments', 'addresses'},
}


def imported_by(path):
    """Return the modules of ours that a file imports, anywhere in it: `network.spec` and so on."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or '').startswith(PACKAGE.name):
            inside = node.module.partition('.')[2]
            for alias in node.names:
                name = f'{inside}.{alias.name}'.strip('.')
                is_module = (PACKAGE / (name.replace('.', '/') + '.py')).is_file()
                found.add(name if is_module else inside)
        elif isinstance(node, ast.Import):
            ours = [a.name for a in node.names if a.name.startswith(PACKAGE.name + '.')]
            found |= {name.partition('.')[2] for name in ours}
    return found


FILES = {
    '.'.join(path.relative_to(PACKAGE).with_suffix('').parts): path
    for path in sorted(PACKAGE.rglob('*.py'))
    if path.name != '__init__.py'
}


@pytest.mark.parametrize('module', FILES)
def test_imports_point_one_way(module):
    room = module.partition('.')[0]
    allowed = {room, *MAY_IMPORT[room]}
    wrong = {
        name for name in imported_by(FILES[module])
        if name.partition('.')[0] not in allowed and name not in allowed
    }
    assert not wrong, f'{module} imports {wrong}'


def test_no_circle():
    TopologicalSorter({module: imported_by(path) for module, path in FILES.items()}).prepare()


def test_imports_are_found_however_they_are_written(tmp_path):
    file = tmp_path / 'x.py'
    file.write_text(
        'import depth_anything_ros.camera\n'
        'def f():\n'
        '    from depth_anything_ros.network import spec\n'
        '    from depth_anything_ros.errors import CheckpointError\n'
        'import numpy\n'
    )
    assert imported_by(file) == {'camera', 'network.spec', 'errors'}


def test_only_train_needs_what_its_requirements_bring():
    brings = re.compile(r'^ *(from|import) (kornia|lightning)', re.MULTILINE)
    needs = {module for module, path in FILES.items() if brings.search(path.read_text())}
    assert 'training.perturbation' in needs
    while more := {m for m, path in FILES.items() if imported_by(path) & needs} - needs:
        needs |= more
    listed = FILES['tools.programs'].read_text()
    programs = set(re.findall(r"_program\('\w+', '([\w.]+)'\)", listed))
    assert len(programs) > 10 and programs & needs == {'training.train'}


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
    names += modules('labelling')
    assert set(names) <= set(import_without_ros(names))


def test_the_block_blocks():
    with pytest.raises(AssertionError, match='rclpy is blocked'):
        import_without_ros(['rclpy'])
