# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The executable: it answers signals from its first moment on, the seconds of imports included."""

from __future__ import annotations

import sys

from depth_anything_ros.ros.stopping import Stop


def main() -> int:
    """Run the node until SIGINT or SIGTERM; return the process's exit code."""
    stop = Stop()
    from depth_anything_ros.ros import node  # takes seconds

    return node.main(stop=stop)


if __name__ == '__main__':
    sys.exit(main())
