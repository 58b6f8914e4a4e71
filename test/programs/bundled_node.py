# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The real node with whatever network it is given, and TF wherever it runs."""

from pathlib import Path
import sys

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from depth_anything_ros.ros.stopping import Stop  # noqa: E402

if __name__ == '__main__':
    stop = Stop()
    from depth_anything_ros.ros import live_transforms
    from depth_anything_ros.ros.node import main
    import fake_tf2

    fake_tf2.stand_in(live_transforms)
    main(sys.argv, stop=stop)
