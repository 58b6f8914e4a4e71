# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The executable: it answers signals from its first moment on, the seconds of imports included."""

from __future__ import annotations

from typing import NoReturn

from depth_anything_ros.ros.stopping import Stop


def main() -> NoReturn:
    """Run the node until SIGINT or SIGTERM, then end the process."""
    stop = Stop()
    from depth_anything_ros.ros import node  # takes seconds

    node.main(stop=stop)


if __name__ == '__main__':
    main()
