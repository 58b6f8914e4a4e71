# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One private ROS domain for a test run, with images over shared memory as in the demo."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

os.environ['ROS_DOMAIN_ID'] = str(os.getpid() % 100 + 1)
for variable in ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'):
    os.environ[variable] = str(ROOT / 'config' / 'fastdds_shm.xml')
