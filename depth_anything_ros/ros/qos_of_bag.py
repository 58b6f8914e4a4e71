# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The quality of service that a bag says its topics were offered with."""

from __future__ import annotations

from rosbags.interfaces import Qos
from rosbags.rosbag2.metadata import parse_qos

_LONGEST = 1 << 16  # characters; a publisher's profile has 500


def qos_profiles(text: str) -> list[Qos]:
    """Return what YAML in a bag says of a topic's publishers; nothing where it makes no sense."""
    try:
        return parse_qos(text) if len(text) <= _LONGEST else []
    except Exception:  # a YAML parser, and lookups in what it gives, meet broken bytes
        return []
