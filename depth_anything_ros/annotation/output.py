# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What every kind of output is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from rosbags.interfaces import Connection

from depth_anything_ros.annotation.recording import RecordedImage
from depth_anything_ros.pipeline import DepthFrame
from depth_anything_ros.poses import Matrix


@dataclass(frozen=True, eq=False)
class Answer:
    """An image and what is known of it.

    Attributes:
        image: as it was recorded.
        header: of its message.
        frame: its depth.
        number: which it is of its camera's answers, counted from 0; they need not come in order.
        T_fixed_camera: 4x4 pose of the optical frame in scale.fixed_frame; None where that is not
            known or not asked for.
    """

    image: RecordedImage
    header: Any
    frame: DepthFrame
    number: int
    T_fixed_camera: Matrix | None = None


class Output(Protocol):
    """Something that answers are written to, from one thread."""

    def keep(self, connection: Connection, time_ns: int, data: bytes) -> None:
        """Write an original message."""

    def write_frame(self, answer: Answer) -> None:
        """Write what is known of an image."""
