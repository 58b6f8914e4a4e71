# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The real doctor, and TF wherever it runs."""

from pathlib import Path
import sys

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rclpy.serialization import deserialize_message  # noqa: E402

from depth_anything_ros.doctor import listening  # noqa: E402
from depth_anything_ros.tools.doctor import main  # noqa: E402
import fake_tf2  # noqa: E402

if __name__ == '__main__':
    if listening.TFMessage is None:
        listening.TFMessage = fake_tf2.ON_TF
        listening.transforms_in = lambda data: [deserialize_message(data, fake_tf2.ON_TF)]
    sys.exit(main())
