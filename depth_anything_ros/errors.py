# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Errors that a user can mend; anything else that is raised is a bug and keeps its traceback."""


class DepthAnythingError(Exception):
    """A mistake of input or setup: one line that names the cause and the cure."""


class CheckpointError(DepthAnythingError):
    """A checkpoint cannot be found, read or understood."""


class ConfigError(DepthAnythingError):
    """A parameter has a value outside its range, or two parameters contradict each other."""


class DeviceError(DepthAnythingError):
    """The requested compute device is not there."""


class BackendError(DepthAnythingError):
    """A runtime backend is not installed, cannot run the network, or computes something else."""


LONGEST_MESSAGE = 500  # characters


def one_line(text: str, longest: int = LONGEST_MESSAGE) -> str:
    """Return a text on one line that can be printed, cut in the middle where it is too long.

    What is quoted in it came from outside and may be of any length and hold any character.
    """
    if len(text) > longest:
        half = (longest - 5) // 2
        text = f'{text[:half]} ... {text[-half:]}'
    return ''.join(c if c.isprintable() else ' ' for c in text)


def reason(error: BaseException, longest: int = 200) -> str:
    """Return in one line what an exception says, or its name where it says nothing."""
    return one_line(' '.join(str(error)[: 4 * longest].split()), longest) or type(error).__name__


class BadFrameError(DepthAnythingError):
    """One image, camera model or point cloud cannot be used; the next one may be fine.

    Attributes:
        reason: short snake_case key under which the drop is counted on /diagnostics.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(one_line(message))
        self.reason = reason


class DatasetError(DepthAnythingError):
    """A data set's folder does not hold what its official layout promises."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message, 4 * LONGEST_MESSAGE))  # names of files and topics in it
