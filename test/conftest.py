# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One private ROS domain for a test run, with images over shared memory as in the demo.

Exported networks are kept from run to run, apart from the user's own.
"""

import os
from pathlib import Path
import tempfile

from depth_anything_ros.ros.domain import reserve_domain

ROOT = Path(__file__).resolve().parents[1]

os.environ['ROS_DOMAIN_ID'] = str(reserve_domain())
for variable in ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'):
    os.environ[variable] = str(ROOT / 'config' / 'fastdds_shm.xml')
os.environ['XDG_CACHE_HOME'] = str(
    Path(tempfile.gettempdir(), f'depth_anything_ros_test_{os.getuid()}')
)
