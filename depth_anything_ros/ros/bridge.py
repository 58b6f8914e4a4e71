# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""cv_bridge, where a ROS machine has one that is sound; OpenCV alone everywhere else.

A cv_bridge that was built for another NumPy imports well and crashes at the first image, and all
of them shear an image whose rows have padding that is no whole number of pixels. So it is tried
first, in a process of its own, and given only what it was seen to do as images.py does it.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.config import LimitsConfig
from depth_anything_ros.ros import images

PATIENCE_S = 5.0  # for the trial; whoever is slower is not used
_ROUNDING = 1  # grey level, where 16 bits become 8


def decode_image(message: Any, limits: LimitsConfig = LimitsConfig()) -> NDArray[np.uint8]:
    """Decode an image message by cv_bridge where that is sound, else by images.py alone.

    Args, Returns and Raises are those of images.decode_image().
    """
    if getattr(message, 'encoding', '') in sound_encodings():
        stored = images.check_image(message, limits)
        if stored.flags.c_contiguous and stored.dtype.isnative:  # as was tried
            return _by_cv_bridge(message)
    return images.decode_image(message, limits)


@cache
def sound_encodings() -> frozenset[str]:
    """Return the encodings that the installed cv_bridge decodes as images.py does; mostly none."""
    if find_spec('cv_bridge') is None:
        return frozenset()
    try:
        trial = subprocess.run(
            [sys.executable, '-m', __name__], capture_output=True, text=True, timeout=PATIENCE_S
        )
    except subprocess.TimeoutExpired:
        return frozenset()
    return frozenset(trial.stdout.split() if trial.returncode == 0 else ()) & set(images.ENCODINGS)


def _by_cv_bridge(message: Any) -> NDArray[np.uint8]:
    from cv_bridge import CvBridge

    return np.ascontiguousarray(CvBridge().imgmsg_to_cv2(message, desired_encoding='rgb8'))


def main() -> None:
    """Print the encodings in which cv_bridge and images.py agree on a small picture."""
    from cv_bridge import CvBridgeError

    for encoding, (channels, sample, _) in images.ENCODINGS.items():
        message = _example(encoding, channels, sample)
        expected = images.decode_image(message).astype(int)
        try:
            found = _by_cv_bridge(message)
        except CvBridgeError:  # it does not know this encoding
            continue
        if found.shape == expected.shape and np.abs(found - expected).max() <= _ROUNDING:
            print(encoding)


def _example(encoding: str, channels: int, sample: str) -> Any:
    """Return an Image of noise, of an even size and with the rows that the encoding needs."""
    height, width, dtype = 6, 8, np.dtype(sample)
    data = np.random.default_rng(0).integers(0, 256, 3 * height * width * channels * dtype.itemsize)
    return SimpleNamespace(
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=width * channels * dtype.itemsize,
        data=data.astype(np.uint8).tobytes(),
    )


if __name__ == '__main__':
    main()
