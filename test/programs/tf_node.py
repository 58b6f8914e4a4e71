# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The real node with a network that reads nearness off the image, and TF wherever it runs."""

from pathlib import Path
import sys

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from depth_anything_ros.ros import live_transforms  # noqa: E402
from depth_anything_ros.ros.node import main  # noqa: E402
import fake_tf2  # noqa: E402
from helpers import NearnessPredictor  # noqa: E402

if __name__ == '__main__':
    fake_tf2.stand_in(live_transforms)
    main(sys.argv, load=lambda model, runtime: NearnessPredictor())
