# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One image of a data set, and what is known of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from depth_anything_ros.evaluation import files
from depth_anything_ros.evaluation.files import Depth, Image


@dataclass(frozen=True)
class Picture:
    """One image.

    Attributes:
        name: path of the image inside the data set, without suffix; saved predictions, split files
            and reports use it.
        image: reads the image, HxWx3 uint8 RGB.
    """

    name: str
    image: Callable[[], Image]


@dataclass(frozen=True)
class Sample(Picture):
    """One image with its true depth.

    Attributes:
        depth_m: reads the true depth, HxW float32 in metres, NaN invalid.
    """

    depth_m: Callable[[], Depth]


def sample_of(
    name: str, image: Path, read_depth: Callable[..., Depth], *arguments: Any
) -> Sample:
    """Make the sample of an image file and a function that reads its depth from the arguments."""
    return Sample(name, partial(files.image, image), partial(read_depth, *arguments))
