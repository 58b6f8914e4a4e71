# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What tests of training runs learn from."""

from pathlib import Path

import pytest

from depth_anything_ros.training.world_data import render_world


@pytest.fixture(scope='module')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of eight small rendered pictures."""
    folder = tmp_path_factory.mktemp('world') / 'pictures'
    render_world(folder, 8, 7, 56, 42)
    return folder
