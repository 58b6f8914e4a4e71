# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Bags, folders of bags and patterns, here or in a store -> units, and where each output goes."""

from __future__ import annotations

from collections.abc import Sequence
from glob import glob
from pathlib import Path

from depth_anything_ros.addresses import is_remote
from depth_anything_ros.annotation.remote import FILES, find_remote, Place
from depth_anything_ros.annotation.unfinished import SUFFIX
from depth_anything_ros.annotation.unit_report import Unit
from depth_anything_ros.errors import DatasetError

_HERE = 'file://'


def find_units(inputs: Sequence[str], out: Path) -> list[tuple[Unit, Path]]:
    """Find all bags.

    Args:
        inputs: each a bag (its folder, or one .mcap or .db3 file), a folder of bags at any depth,
            or a pattern of such; or the address of one (remote.py).
        out: of one bag that is named by itself its output; else the folder that holds them all,
            named as the bags are.

    Returns:
        Units, ordered by their output, and that.

    Raises:
        DatasetError: there is no bag, two would be written to one place, or out is in an input.
    """
    found = [place for name in inputs for place in _places(name, out)]
    if len(found) == 1 and found[0].is_bag:
        return [(Unit(found[0].path), out)]
    outputs: dict[Path, str] = {}
    for place in found:
        if not place.bags:
            raise DatasetError(
                f'{place.path} holds no bag: name folders with metadata.yaml, or .mcap or .db3 '
                'files'
            )
        for bag, name in place.bags:
            goes = out / (name.with_suffix('') if name.suffix in FILES else name)
            if goes in outputs:
                raise DatasetError(
                    f'{bag} and {outputs[goes]} would both be written to {goes}: do one after '
                    'the other'
                )
            outputs[goes] = bag
    return [(Unit(bag), goes) for goes, bag in sorted(outputs.items())]


def _places(name: str, out: Path) -> list[Place]:
    if is_remote(name) and not name.startswith(_HERE):
        return find_remote(name)
    places = []
    for root in _expanded(name.removeprefix(_HERE)):
        is_bag = _is_bag(root)
        if not is_bag and root.resolve() in (out.resolve(), *out.resolve().parents):
            raise DatasetError(f'{out} is in {root}, which is read: write beside it')
        bags = [root] if is_bag else _bags_in(root)
        named = [(str(b), Path(b.name) if b == root else b.relative_to(root)) for b in bags]
        places.append(Place(str(root), named, is_bag))
    return places


def _expanded(name: str) -> list[Path]:
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
    return (path / 'metadata.yaml').is_file() or (path.is_file() and path.suffix in FILES)


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
