# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The real node, which also knows official networks of the tests' tiny size."""

import sys

from depth_anything_ros.ros.stopping import Stop

if __name__ == '__main__':
    stop = Stop()
    from depth_anything_ros.network import official_weights
    from depth_anything_ros.ros.node import main

    tiny = official_weights.Architecture('tiny', 6, 2, (4, 8, 12, 16), 8, (0, 2, 3, 5))
    official_weights.ARCHITECTURES[24] = tiny
    sys.exit(main(stop=stop))
