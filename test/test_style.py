# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The checkers of style and types, with the configuration that the repository carries."""

from __future__ import annotations

from pathlib import Path
import subprocess
import sys

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ['depth_anything_ros', 'launch', 'test', 'setup.py']
SOURCES += [name for name in ('benchmarks', 'docs') if any((ROOT / name).glob('*.py'))]

# The google convention has Args and Returns sections as we write them; __init__ files, magic
# methods and constructors need no docstring where the class and the package explain themselves.
PEP257 = ['--convention', 'google', '--add-ignore', 'D104', 'D105', 'D107']

CHECKERS = {
    'ruff': ['ruff', 'check', '.'],
    'mypy': ['mypy'],
    'flake8': ['ament_flake8.main', '--config', 'setup.cfg', *SOURCES],
    'pep257': ['ament_pep257.main', *PEP257, '--', 'depth_anything_ros', 'setup.py'],
}


@pytest.mark.timeout(600)  # mypy without its cache, beside other work
@pytest.mark.parametrize('name', CHECKERS)
def test_checker_finds_nothing(name):
    pytest.importorskip(CHECKERS[name][0].partition('.')[0])
    checked = subprocess.run(
        [sys.executable, '-m', *CHECKERS[name]], capture_output=True, text=True, cwd=ROOT
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_python_file_names_its_licence():
    for source in SOURCES:
        path = ROOT / source
        for file in sorted(path.rglob('*.py')) if path.is_dir() else [path]:
            head = file.read_text().splitlines()[:3]
            assert '# SPDX-License-Identifier: Apache-2.0' in head, file
