# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A ROS domain of one's own: no robot's topics get in, and none of one's own get out."""

from __future__ import annotations

import os
import socket

from depth_anything_ros.errors import DepthAnythingError

_DOMAINS = range(1, 101)  # on every system the ports of these lie below the ephemeral ones
_held: list[socket.socket] = []


def reserve_domain() -> int:
    """Reserve a domain that nobody else on this machine has reserved, until this process ends.

    The reservation is the last of the domain's 250 UDP ports, which DDS uses for its 120th
    participant only; the system frees it with the process, however that ends.

    Returns:
        The number for ROS_DOMAIN_ID.

    Raises:
        DepthAnythingError: all are taken.
    """
    for i in range(len(_DOMAINS)):
        domain = _DOMAINS[(os.getpid() + i) % len(_DOMAINS)]
        port = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            port.bind(('127.0.0.1', 7400 + 250 * domain + 249))
        except OSError:
            port.close()
            continue
        _held.append(port)
        return domain
    raise DepthAnythingError(
        f'all ROS domains from {_DOMAINS[0]} to {_DOMAINS[-1]} are reserved: end some of the '
        'demos and test runs on this machine'
    )
