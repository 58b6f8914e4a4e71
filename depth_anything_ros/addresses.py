# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Files and folders in stores that fsspec reaches (s3://, gs://, http:// ...), by address."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
import errno
from fnmatch import fnmatchcase
import os
from pathlib import Path, PurePosixPath
import re
from tempfile import NamedTemporaryFile
from typing import Any, BinaryIO, cast, NamedTuple, TypeVar
from uuid import uuid4

from depth_anything_ros.errors import DatasetError, reason

T = TypeVar('T')

_SECRETS = re.compile(r'(?<=://)[^\s/@?]*(?::[^\s@?]*)?@')  # before @: user, key and password
_QUERY = re.compile(r'(://[^\s?]*\?)[^\s\'")]*')


class Unreachable(DatasetError):
    """A store does not answer, or refuses; what lies there may be whole."""


def is_remote(path: str) -> bool:
    """Tell whether a path is the address of something in a store."""
    return '://' in path


def without_secrets(text: str) -> str:
    """Return a text without what may be secret in its addresses: before @, and after ?."""
    return _QUERY.sub(r'\1***', _SECRETS.sub('***@', text))


def open_store(address: str) -> tuple[Any, str]:
    """Return fsspec's file system of an address, and the path in it.

    Raises:
        DatasetError: fsspec is not there.
        Exception: it knows no such store, or lacks a package or what it needs to reach it.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise DatasetError(
            f'{without_secrets(address)} is not on this machine, and fsspec, which would reach it, '
            "is not there: pip install 'depth_anything_ros[fleet]', or mount or copy it first"
        ) from None
    store, path = url_to_fs(address)
    return store, str(path).rstrip('/')


def refused(address: str, error: Exception, read: bool = True) -> Unreachable:
    """Make one line of what a store answers, whose exceptions have no base."""
    done, do, end = ('read', 'read', 'or copy it first') if read else (
        'written', 'write', 'then start again')
    return Unreachable(without_secrets(
        f'{address} cannot be {done} ({reason(error)}): see that this machine may {do} it (its '
        f'credentials, and the package that fsspec wants), {end}'))


class Facts(NamedTuple):
    """What a store says of a file; named as in os.stat_result."""

    st_size: int


@dataclass(frozen=True, order=True, repr=False)
class Address:
    """A file or folder in a store: as much of pathlib.Path as shards need.

    It is printed without its secrets. What is not there is a FileNotFoundError as of a path; all
    else that a store raises is Unreachable.

    Attributes:
        base: up to the query, without a / at its end.
        query: with its ?, which everything in a folder has too.
    """

    base: str
    query: str = ''

    def __str__(self) -> str:
        return without_secrets(self.base + self.query)

    __repr__ = __str__

    def __truediv__(self, name: str) -> Address:
        return replace(self, base=f'{self.base}/{name}')

    @property
    def name(self) -> str:
        """What follows the last slash."""
        return self.base.rpartition('/')[2]

    @property
    def stem(self) -> str:
        """The name without its last suffix."""
        return PurePosixPath(self.name).stem

    @property
    def parent(self) -> Address:
        """The folder."""
        return replace(self, base=self.base.rpartition('/')[0])

    def with_suffix(self, suffix: str) -> Address:
        """Return what lies beside it with another suffix."""
        return self.parent / (self.stem + suffix)

    def absolute(self) -> Address:
        """Return it, which is the same from everywhere."""
        return self

    def glob(self, pattern: str) -> Iterator[Address]:
        """Yield what lies in a folder itself and has such a name; of no folder nothing."""

        def listed(store: Any, path: str) -> list[str]:
            store.invalidate_cache()  # another process may have written since
            return list(store.ls(path, detail=False))

        try:
            found = self._ask(listed)
        except FileNotFoundError:
            return
        names = {name.rpartition('/')[2].partition('?')[0] for name in found}
        yield from (self / name for name in sorted(names) if fnmatchcase(name, pattern))

    def stat(self) -> Facts:
        """Return how many bytes it has."""
        return Facts(int(self._info()['size'] or 0))

    def is_file(self) -> bool:
        """Tell whether it is one."""
        try:
            return bool(self._info()['type'] == 'file')
        except FileNotFoundError:
            return False

    def read_bytes(self, start: int | None = None, end: int | None = None) -> bytes:
        """Read a file, or a part of it in one request; fewer bytes where it ends before."""
        data: bytes = self._ask(lambda store, path: store.cat_file(path, start=start, end=end))
        if start is not None and end is not None and len(data) > end - start:
            raise Unreachable(f'{self} comes as a whole where a part was asked for: copy its '
                              'folder first, or have a server that knows Range')
        return data

    def read_text(self) -> str:
        """Read a file in UTF-8."""
        return self.read_bytes().decode()

    def unlink(self) -> None:
        """Remove a file."""
        self._ask(lambda store, path: store.rm_file(path), read=False)

    def mkdir(self, parents: bool = True, exist_ok: bool = False) -> None:
        """Make a folder, always with those it lies in, for stores that have such."""
        self._ask(lambda store, path: store.makedirs(path, exist_ok=exist_ok), read=False)

    def put(self, file: str) -> None:
        """Copy a file of this machine there."""
        self._ask(lambda store, path: store.put_file(file, path), read=False)

    def _info(self) -> dict[str, Any]:
        def info(store: Any, path: str) -> dict[str, Any]:
            store.invalidate_cache()
            return dict(store.info(path))

        return self._ask(info)

    def _ask(self, do: Callable[[Any, str], T], read: bool = True) -> T:
        try:
            return do(*open_store(self.base + self.query))
        except DatasetError:
            raise
        except Exception as error:
            if read and isinstance(error, FileNotFoundError):
                code = errno.ENOENT
                raise FileNotFoundError(code, os.strerror(code), str(self)) from None
            raise refused(str(self), error, read) from None  # which would print the secrets


PathOrAddress = Path | Address


def path_or_address(named: str | PathOrAddress) -> PathOrAddress:
    """Return what a user named.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(named, Path | Address):
        return named
    if not isinstance(named, str):  # as YAML may have it
        raise ValueError('must be a path or an address')
    if not is_remote(named):
        return Path(named)
    base, mark, query = named.partition('?')
    return Address(base.rstrip('/'), mark + query)


def on_this_machine(named: T) -> T:
    """Return what a user named where it is no address.

    Raises:
        ValueError: it is one.
    """
    if isinstance(named, str) and is_remote(named):
        raise ValueError('must be a folder on this machine')
    return named


def read_part(file: PathOrAddress, start: int, length: int) -> bytes:
    """Read a part of a file; fewer bytes where it ends before.

    Raises:
        OSError: it cannot be read on this machine, or is not there.
        Unreachable: it cannot be read in the store.
    """
    if isinstance(file, Address):
        return file.read_bytes(start, start + length)
    with file.open('rb') as data:
        if start + length > os.fstat(data.fileno()).st_size:
            return b''
        data.seek(start)
        return data.read(length)


@contextmanager
def written_whole(file: PathOrAddress) -> Iterator[BinaryIO]:
    """Give a file to write, which comes to its place at the end, when it is whole.

    Its half is beside it (.part), or that of an address in the temporary folder.

    Raises:
        OSError: it cannot be written on this machine.
        Unreachable: nor in the store.
    """
    if isinstance(file, Address):
        with NamedTemporaryFile(prefix='shard-') as copy:
            yield cast(BinaryIO, copy)
            copy.flush()
            file.put(copy.name)
        return
    part = file.with_suffix(f'.{uuid4().hex}.part')  # of this attempt alone
    try:
        with part.open('wb') as half:
            yield half
            half.flush()
            os.fsync(half.fileno())
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
