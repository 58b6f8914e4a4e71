# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Bags, folders of bags and patterns -> units, and where the output of each goes."""

from __future__ import annotations

from collections.abc import Sequence
from glob import glob
from pathlib import Path

from depth_anything_ros.annotation.unfinished import SUFFIX
from depth_anything_ros.annotation.unit_report import Unit
from depth_anything_ros.errors import DatasetError

_FILES = ('.mcap', '.db3')


def find_units(inputs: Sequence[str], out: Path) -> list[tuple[Unit, Path]]:
    """Find all bags.

    Args:
        inputs: each a bag (its folder, or one .mcap or .db3 file), a folder of bags at any depth,
            or a pattern of such.
        out: of one bag that is named by itself its output; else the folder that holds them all,
            named as the bags are.

    Returns:
        Units, ordered by their output, and that.

    Raises:
        DatasetError: there is no bag, two would be written to one place, or out is in an input.
    """
    found = [path for name in inputs for path in _expanded(name)]
    if len(found) == 1 and _is_bag(found[0]):
        return [(Unit(str(found[0])), out)]
    outputs: dict[Path, Path] = {}
    for root in found:
        if root.resolve() in (out.resolve(), *out.resolve().parents):
            raise DatasetError(f'{out} is in {root}, which is read: write beside it')
        bags = [root] if _is_bag(root) else _bags_in(root)
        if not bags:
            raise DatasetError(
                f'{root} holds no bag: name folders with metadata.yaml, or .mcap or .db3 files'
            )
        for bag in bags:
            name = Path(bag.name) if bag == root else bag.relative_to(root)
            place = out / (name.with_suffix('') if bag.suffix in _FILES else name)
            if place in outputs:
                raise DatasetError(
                    f'{bag} and {outputs[place]} would both be written to {place}: do one after '
                    'the other'
                )
            outputs[place] = bag
    return [(Unit(str(bag)), place) for place, bag in sorted(outputs.items())]


def _expanded(name: str) -> list[Path]:
    if '://' in name:
        raise DatasetError(f'{name} is not on this machine: mount or copy it first')
    path = Path(name).expanduser()
    if path.exists():
        return [path]
    found = sorted(Path(match) for match in glob(str(path), recursive=True))
    if not found:
        raise DatasetError(f'{name} is not there: name a bag, a folder of bags, or a pattern')
    return [path for path in found if _is_bag(path) or path.is_dir()]


def _is_bag(path: Path) -> bool:
    if path.name.endswith(SUFFIX):
        return False
    return (path / 'metadata.yaml').is_file() or (path.is_file() and path.suffix in _FILES)


def _bags_in(path: Path) -> list[Path]:
    """Return the bags in a folder and below it; none where it is no folder.

    Raises:
        DatasetError: a folder cannot be read.
    """
    if not path.is_dir() or path.name.endswith(SUFFIX):
        return []
    try:
        inside = sorted(path.iterdir())
    except OSError as error:
        raise DatasetError(
            f'{path} cannot be read ({error.strerror}): leave it out, or ask its owner'
        ) from error
    return [bag for one in inside for bag in ([one] if _is_bag(one) else _bags_in(one))]
