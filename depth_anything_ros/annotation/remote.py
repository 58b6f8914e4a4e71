# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Bags in stores that fsspec reaches (s3://, gs://, http:// ...): found there, copied to be read.

A bag is read at random places and more than once, which costs a copy less than a store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
import shutil
from tempfile import gettempdir, TemporaryDirectory
from typing import Any, NamedTuple, TypeVar

from depth_anything_ros.addresses import is_remote, open_store, refused, without_secrets
from depth_anything_ros.annotation.unfinished import cannot_write, SUFFIX
from depth_anything_ros.errors import DatasetError

T = TypeVar('T')

FILES = ('.mcap', '.db3')  # bags of one file
_MAGIC = '*?['


class Place(NamedTuple):
    """What a user named.

    Attributes:
        path: or address.
        bags: path or address of each bag in it, and what its output is to be called.
        is_bag: whether it is itself the one bag.
    """

    path: str
    bags: list[tuple[str, Path]]
    is_bag: bool


def find_remote(address: str) -> list[Place]:
    """Find the bags at an address, which may be a pattern.

    Raises:
        DatasetError: it cannot be reached, or there is nothing.
    """
    store, path = _told(address, partial(open_store, address))
    roots = [path]
    if any(c in path for c in _MAGIC):
        roots = sorted(_told(address, partial(store.glob, path)))
    places = []
    for root in roots:
        files = sorted(_told(address, partial(_sizes, store, root)))
        bags = [PurePosixPath(bag) for bag in _bags_of(files)]
        at = PurePosixPath(root)
        named = [
            (str(store.unstrip_protocol(str(bag))),
             Path(bag.name) if bag == at else Path(bag.relative_to(at)))
            for bag in bags
        ]
        if named or len(roots) == 1 and files:
            places.append(Place(str(store.unstrip_protocol(root)), named, bags == [at]))
    if not places:
        raise DatasetError(f'{without_secrets(address)} is not there: name a bag, a folder of '
                           'bags, or a pattern')
    return places


@contextmanager
def local_copy(path: str) -> Iterator[Path]:
    """Give a bag on this machine: itself, or a copy that is gone at the end.

    Raises:
        DatasetError: it cannot be reached, or there is no room for it.
    """
    if not is_remote(path):
        yield Path(path)
        return
    store, root = _told(path, partial(open_store, path))
    sizes = _told(path, partial(_sizes, store, root))
    free, needed = shutil.disk_usage(gettempdir()).free, sum(size or 0 for size in sizes.values())
    if needed > free:
        raise DatasetError(
            f'{path} is {needed / 1e9:.1f} GB, and {gettempdir()} has room for {free / 1e9:.1f}: '
            'free some space, or set TMPDIR to a folder that has it'
        )
    with TemporaryDirectory(prefix='annotate-') as folder:
        copy = Path(folder) / PurePosixPath(root).name
        for file, size in sizes.items():
            to = copy / PurePosixPath(file).relative_to(root)
            try:
                to.parent.mkdir(parents=True, exist_ok=True)
                _told(path, partial(store.get_file, file, str(to)))
            except OSError as error:
                raise cannot_write(to, error) from error
            if size is not None and to.stat().st_size != size:
                raise DatasetError(f'{path} was not copied as a whole: start again')
        try:
            yield copy
        except DatasetError as error:
            raise DatasetError(str(error).replace(str(copy), path)) from error


def _sizes(store: Any, root: str) -> dict[str, int | None]:
    """Return all files under a path with their sizes in bytes, None where that is not known."""
    store.info(root)  # which says what find() leaves out: that one may not, or there is nothing
    return {file: facts.get('size') for file, facts in store.find(root, detail=True).items()}


def _told(address: str, ask: Callable[[], T]) -> T:
    """Return what a store answers.

    Raises:
        DatasetError: it does not, in one line.
    """
    try:
        return ask()
    except DatasetError:
        raise
    except FileNotFoundError as error:
        raise DatasetError(f'{without_secrets(address)} is not there: name a bag, a folder of '
                           'bags, or a pattern') from error
    except Exception as error:
        raise refused(address, error) from error


def _bags_of(files: list[str]) -> list[str]:
    """Return folders with a metadata.yaml, and files of bags that are in none."""
    paths = [PurePosixPath(file) for file in files]
    paths = [p for p in paths if not any(part.endswith(SUFFIX) for part in p.parts)]
    folders = {p.parent for p in paths if p.name == 'metadata.yaml'}
    alone = {p for p in paths if p.suffix in FILES and not folders & set(p.parents)}
    return sorted(map(str, folders | alone))
