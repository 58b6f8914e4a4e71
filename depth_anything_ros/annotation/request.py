# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is wanted of bags."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    """What is wanted of every bag; may be pickled.

    Attributes:
        topics: of output_messages.TOPICS and COMPRESSED_DEPTH, those that are written to a bag;
            depth/scale always is.
        keep: whether the original topics are kept in it.
        cameras: topics of images; empty is all.
        remapped: pairs of an input of the node and its topic.
        camera_info: serialised CameraInfo for cameras that have none in the bag; None is none.
        format: mcap, a bag; or kitti, a folder of pictures (folder_output.py).
        smooth: whether images without a fit of their own use the fits before and after them.
    """

    topics: frozenset[str] = frozenset({'depth/image', 'depth/camera_info', 'depth/stddev'})
    keep: bool = True
    cameras: tuple[str, ...] = ()
    remapped: tuple[tuple[str, str], ...] = ()
    camera_info: bytes | None = None
    format: str = 'mcap'
    smooth: bool = False

    @property
    def keeps(self) -> bool:
        """Whether original messages are written."""
        return self.keep and self.format == 'mcap'
