# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One private ROS domain for a test run, with images over shared memory as in the demo.

Exported networks are kept from run to run, apart from the user's own. A file of tests that imports
a package which is not installed is skipped, with the package's name.
"""

import os
from pathlib import Path
import sys
import tempfile

import pytest
import torch

from depth_anything_ros.ros.domain import reserve_domain
from depth_anything_ros.tools.programs import cure

ROOT = Path(__file__).resolve().parents[1]

sys.path.append(str(ROOT / 'docs'))  # build_site
os.environ['ROS_DOMAIN_ID'] = str(reserve_domain())
for variable in ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'):
    os.environ[variable] = str(ROOT / 'config' / 'fastdds_shm.xml')
os.environ['XDG_CACHE_HOME'] = str(
    Path(tempfile.gettempdir(), f'depth_anything_ros_test_{os.getuid()}')
)
# As in the node: two threads wait for each other on a busy machine, three times as long.
torch.set_num_threads(1)


@pytest.fixture
def teacher(tmp_path):
    """Return the folder of a teacher, which a network of the tests stands for."""
    (folder := tmp_path / 'teacher').mkdir()
    (folder / 'config.json').write_text('{}')
    return folder


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector):
    """Skip what lacks a package that is not everywhere; `make` installs them all."""
    outcome = yield
    report = outcome.get_result()
    error = report.call.excinfo.value.__cause__ if report.call.excinfo else None
    if isinstance(error, ModuleNotFoundError) and (missing := cure(error)):
        report.outcome, report.longrepr = 'skipped', (str(collector.path), 0, f'Skipped: {missing}')
