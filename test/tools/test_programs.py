# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A program that lacks a package says so in one line."""

from __future__ import annotations

import ast
from pathlib import Path
import subprocess
import sys

import pytest

from depth_anything_ros.tools import programs

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import importlib.abc, sys

MISSING, PROGRAM = sys.argv[1:]

class Without(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] == MISSING:
            raise ModuleNotFoundError(f'No module named {MISSING!r}', name=MISSING)

sys.meta_path.insert(0, Without())
from depth_anything_ros.tools import programs
program = getattr(programs, PROGRAM)
sys.argv[1:] = ['--help']
sys.exit(program())
"""


@pytest.mark.parametrize(
    'name, missing',
    [('demo', 'rosbags'), ('train', 'rosbags'), ('train', 'kornia'), ('depth_node', 'torch')],
)
def test_the_one_line_of_a_program(name, missing):
    done = subprocess.run(
        [sys.executable, '-c', PROGRAM, missing, name], capture_output=True, text=True, cwd=ROOT
    )
    assert (done.returncode, done.stdout) == (2, '')
    assert done.stderr == f'{name}: {sys.executable} has no {missing}: pip install {missing}\n'


@pytest.mark.parametrize(
    'name, cure',
    [
        ('cv2', 'pip install opencv-python-headless'),
        ('huggingface_hub', 'pip install huggingface-hub'),
        ('rclpy', 'source the setup.bash of your ROS 2 installation'),
        ('sensor_msgs', 'source the setup.bash of your ROS 2 installation'),
    ],
)
def test_the_cure_fits_the_package(name, cure):
    line = programs.cure(ModuleNotFoundError(name=name))
    assert line == f'{sys.executable} has no {name}: {cure}'


@pytest.mark.parametrize('name', ['depth_anything_ros.absent', 'torch.absent', 'absent', None])
def test_what_no_package_mends_keeps_its_traceback(monkeypatch, name):
    def fail(module):
        raise ModuleNotFoundError('no such module', name=name)

    monkeypatch.setattr(programs, 'import_module', fail)
    with pytest.raises(ModuleNotFoundError):
        programs.demo()


def test_what_a_program_returns_is_returned(monkeypatch):
    class Module:
        @staticmethod
        def main():
            return 3

    monkeypatch.setattr(programs, 'import_module', lambda module: Module)
    assert programs.train() == 3


def test_a_program_that_is_interrupted_says_so_in_one_line(monkeypatch, capsys):
    def interrupted(module):
        raise KeyboardInterrupt

    monkeypatch.setattr(programs, 'import_module', interrupted)
    assert programs.export_onnx() == 130
    assert capsys.readouterr().err == 'export_onnx: stopped\n'


def test_there_is_a_cure_for_every_package_that_is_imported():
    imported = set()
    for path in (ROOT / 'depth_anything_ros').rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module or '')
    tops = {name.partition('.')[0] for name in imported} - set(sys.stdlib_module_names)
    tops.discard('compression')  # which is Python's own from 3.14 on
    tops.remove('depth_anything_ros')
    assert len(tops) > 20
    uncured = {name for name in tops if not programs.cure(ModuleNotFoundError(name=name))}
    assert not uncured


def test_tests_that_lack_a_package_are_skipped_by_its_name(tmp_path):
    for name, imported in (('skipped', 'absent_msgs'), ('broken', 'absent')):
        (tmp_path / f'test_{name}.py').write_text(f'import {imported}\n')
    (tmp_path / 'test_fine.py').write_text('def test():\n    pass\n')
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', '-rs', '-p', 'conftest', '--continue-on-collection-errors',
         '--rootdir', str(tmp_path), str(tmp_path)],
        capture_output=True, text=True, cwd=ROOT / 'test',
    )
    assert '1 passed, 1 skipped, 1 error' in done.stdout, done.stdout
    assert 'test_skipped.py:0: ' in done.stdout and 'has no absent_msgs: source' in done.stdout
    assert "No module named 'absent'" in done.stdout
