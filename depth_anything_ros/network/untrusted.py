# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Files that others wrote: regular, of a sane size, and each value of its type within bounds."""

from __future__ import annotations

from collections.abc import Sequence
import json
import math
from pathlib import Path
from typing import Any

from depth_anything_ros.errors import CheckpointError

# What libraries raise on values of the right type that make no sense together.
SENSELESS = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, RuntimeError,
    TypeError, ValueError,
)
_MOST_JSON_BYTES = 1 << 20
_MOST_DIGITS = 18


def file_size(path: Path, most_bytes: int) -> int:
    """Return the size in bytes of a file that may be read whole.

    Raises:
        CheckpointError: it is absent, too large, or no regular file (a device or a pipe never
            ends).
    """
    if not path.is_file():
        raise CheckpointError(
            f'{path} is {"no regular file" if path.exists() else "absent"}: download it again'
        )
    size = path.stat().st_size
    if size > most_bytes:
        raise CheckpointError(
            f'{path} has {size:,} bytes, more than the {most_bytes:,} that such a file can need: '
            'download it again'
        )
    return size


class Fields:
    """A JSON object of somebody else's; every value is read with its type and bounds.

    An absent value and null are the same. What is wrong raises CheckpointError, naming the value.
    """

    def __init__(self, content: Any, where: str) -> None:
        """Take a decoded object and the words by which messages name it."""
        if not isinstance(content, dict):
            raise CheckpointError(f'{where} is not a JSON object: download it again')
        self.content: dict[str, Any] = content
        self.where = where

    def wrong(self, key: str, wanted: str) -> CheckpointError:
        """Return the error that says what a value must be."""
        found = repr(self.content.get(key))
        found = found if len(found) <= 80 else f'{found[:80]}...'
        return CheckpointError(f'{self.where}: {key} must be {wanted}, got {found}')

    def text(self, key: str, default: str = '') -> str:
        """Return a string."""
        value = self._get(key, default)
        if not isinstance(value, str):
            raise self.wrong(key, 'a text')
        return value

    def flag(self, key: str, default: bool) -> bool:
        """Return true or false."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, 'true or false')
        return value

    def number(self, key: str, default: float, low: float, high: float) -> float:
        """Return a number from low to high."""
        value = self._get(key, default)
        if not _is_number(value) or not low <= value <= high:
            raise self.wrong(key, f'a number from {low:g} to {high:g}')
        return float(value)

    def integer(self, key: str, default: int, low: int, high: int) -> int:
        """Return a whole number from low to high."""
        value = self._get(key, default)
        if not _is_number(value) or not low <= value <= high or value != int(value):
            raise self.wrong(key, f'a whole number from {low} to {high}')
        return int(value)

    def three(
        self, key: str, default: Sequence[float], low: float, high: float
    ) -> tuple[float, float, float]:
        """Return three numbers from low to high."""
        value = self._get(key, default)
        if not (
            isinstance(value, (list, tuple))
            and len(value) == 3
            and all(_is_number(x) and low <= x <= high for x in value)
        ):
            raise self.wrong(key, f'three numbers from {low:g} to {high:g}')
        return float(value[0]), float(value[1]), float(value[2])

    def section(self, key: str) -> Fields:
        """Return an object within, empty where it is absent."""
        value = self._get(key, {})
        if not isinstance(value, dict):
            raise self.wrong(key, 'an object')
        return Fields(value, f'{self.where}, {key}')

    def sections(self, key: str) -> list[Fields]:
        """Return a list of objects within, empty where it is absent."""
        value = self._get(key, [])
        if not isinstance(value, list):
            raise self.wrong(key, 'a list of objects')
        return [Fields(entry, f'{self.where}, {key}') for entry in value]

    def _get(self, key: str, default: Any) -> Any:
        value = self.content.get(key)
        return default if value is None else value


def decode(text: str, where: str) -> Fields:
    """Read a JSON object.

    Raises:
        CheckpointError: it is none.
    """
    try:
        content = json.loads(text, parse_int=_integer, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f'{where} cannot be read as JSON ({error}): download it again'
        ) from error
    return Fields(content, where)


def read_json(path: Path) -> Fields:
    """Read a file that holds one JSON object.

    Raises:
        CheckpointError: it cannot be read, or holds something else.
    """
    file_size(path, _MOST_JSON_BYTES)
    try:
        text = path.read_text(encoding='utf-8')
    except (OSError, ValueError) as error:
        raise CheckpointError(f'{path} cannot be read ({error}): download it again') from error
    return decode(text, str(path))


def _integer(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f'a number of {len(text)} digits')
    return int(text)


def _no_constant(text: str) -> float:
    raise ValueError(f'{text} is no number')


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and math.isfinite(value)
