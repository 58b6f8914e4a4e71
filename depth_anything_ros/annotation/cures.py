# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Arguments that mend what is missing, as inspect and the doctor give them."""

from __future__ import annotations

GIVE_POSE = '-p "scale.T_camera_sensor:=[x, y, z, qx, qy, qz, qw]"'
GIVE_HEIGHT = '-p scale.camera_height:=METRES -p scale.camera_pitch:=RADIANS'


def remap(name: str, topic: str) -> str:
    """Return what makes an input of a topic."""
    return f'-r {name}:={topic}'
