# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures in shards: WebDataset tar files, and beside each an index to draw from them at random.

A sample is the members of one key, one after the other:

KEY.jpg or KEY.png: the picture, upright.
KEY.depth.png: 16 bit, the bits of inverse depth in 1/m as float16 (.05 % at any distance); 0 is
    sky, not a number (0x7e00) unknown. Not there where depth is not known at all.
KEY.semantic.png: 8 bit classes. Not there where they are not known.
KEY.confidence.png: 8 bit, how far two views of a teacher agree: 255 wholly. Only of labels that
    `label` made.
KEY.json: sparse (see Sample), intrinsics (fx, fy, cx, cy in pixels) or null, and what the writer
    adds, such as source and licence.
Others are left alone.

NAME.npy beside NAME.tar has a row for each sample: where it begins, how long it is, its CRC-32. It
is written last: a shard without it is none yet. In a store (see addresses) it is the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
import json
import sys
import tarfile
from typing import Any, NamedTuple
import zlib

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from depth_anything_ros.addresses import (
    Address,
    PathOrAddress,
    read_part,
    Unreachable,
    written_whole,
)
from depth_anything_ros.errors import DatasetError
from depth_anything_ros.training.picture_files import decode_file
from depth_anything_ros.training.sample import Sample, UNKNOWN_CLASS

ROW = np.dtype([('start', '<u8'), ('bytes', '<u4'), ('crc32', '<u4')])
LABELS = 'label.json'  # lies where the shards are a teacher's labels, and says by what
_UNKNOWN, _AS_IS = np.float16(np.nan), cv2.IMREAD_UNCHANGED
_END = 2 * tarfile.BLOCKSIZE  # zeros at the end of a tar file


class Stored(NamedTuple):
    """What a shard keeps of a sample: its members, KEY.suffix -> bytes."""

    key: str
    members: dict[str, bytes]


def encode(key: str, sample: Sample, about: Mapping[str, Any], jpeg: int = 95) -> Stored:
    """Make of a sample what shards keep.

    Args:
        key: of letters, digits and _, no other sample's.
        sample: at its own size.
        about: what else KEY.json is to hold.
        jpeg: quality of the picture, 1 to 100; 0 writes PNG, which loses nothing.
    """
    bgr = cv2.cvtColor(sample.image_rgb, cv2.COLOR_RGB2BGR)
    members = {}
    if jpeg:
        members['jpg'] = _file('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, jpeg])
    else:
        members['png'] = _file('.png', bgr)
    if np.isfinite(sample.inverse_depth).any():
        with np.errstate(over='ignore'):
            half = sample.inverse_depth.astype(np.float16)
        half = np.where(np.isfinite(half), np.abs(half), _UNKNOWN)
        members['depth.png'] = _file('.png', half.view(np.uint16))
    if (sample.semantic != UNKNOWN_CLASS).any():
        members['semantic.png'] = _file('.png', sample.semantic)
    told = {'sparse': sample.sparse, 'intrinsics': sample.intrinsics, **about}
    members['json'] = json.dumps(told).encode()
    return Stored(key, members)


def _file(suffix: str, picture: NDArray[Any], settings: Iterable[int] = ()) -> bytes:
    return cv2.imencode(suffix, picture, list(settings))[1].tobytes()


def decode(members: Mapping[str, bytes], with_depth: bool = True, confidence: float = 0.0
           ) -> Sample:
    """Make a sample of what a shard keeps of it.

    Args:
        members: suffix -> bytes.
        with_depth: whether depth is needed; else it is left alone.
        confidence: 0 to 1; depth of which a teacher is less sure is unknown.

    Raises:
        ValueError: something is missing or broken.
    """
    picture = members.get('jpg') or members.get('png')
    bgr = None if picture is None else decode_file(picture, cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError('it holds no picture')
    size = bgr.shape[:2]
    inverse: NDArray[np.float16] = np.full(size, _UNKNOWN)
    if with_depth:
        stored = decode_file(members['depth.png'], _AS_IS) if 'depth.png' in members else None
        if stored is None or stored.dtype != np.uint16 or stored.shape != size:
            raise ValueError('it holds no depth of the picture\'s size')
        inverse = stored.view(np.float16)
        if confidence > 0:
            sure = decode_file(members.get('confidence.png', b''), _AS_IS)
            if sure is None or sure.dtype != np.uint8 or sure.shape != size:
                raise ValueError('it holds no confidence of the picture\'s size')
            inverse = np.where(sure >= 255 * confidence, inverse, _UNKNOWN)
    semantic = np.full(size, UNKNOWN_CLASS, np.uint8)
    if 'semantic.png' in members:
        classes = decode_file(members['semantic.png'], _AS_IS)
        if classes is None or classes.dtype != np.uint8 or classes.shape != size:
            raise ValueError('its classes are not of the picture\'s size')
        semantic = classes
    try:
        told = dict(json.loads(members.get('json', b'{}')))
        intrinsics = None
        if told.get('intrinsics') is not None:
            fx, fy, cx, cy = map(float, told['intrinsics'])
            intrinsics = fx, fy, cx, cy
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError('its .json is broken') from error
    return Sample(np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8), inverse, semantic,
                  bool(told.get('sparse', False)), intrinsics)


def is_finished(tar: PathOrAddress) -> bool:
    """Tell whether a shard is whole: its index is there, and all bytes that this counts.

    Raises:
        Unreachable: the store does not say.
    """
    try:
        rows = _read_index(tar.with_suffix('.npy'))
        end = max((int(row['start']) + int(row['bytes']) for row in rows[-1:]), default=0)
        return tar.stat().st_size >= end + _END
    except Unreachable:
        raise
    except (OSError, DatasetError):
        return False


def _read_index(file: PathOrAddress) -> NDArray[Any]:
    """Map a shard's index, or read that of a store.

    Raises:
        DatasetError: it is missing, corrupt or none.
    """
    try:
        rows: NDArray[Any] = (
            np.lib.format.read_array(BytesIO(file.read_bytes()), allow_pickle=False)
            if isinstance(file, Address) else np.lib.format.open_memmap(file, mode='r'))
    except (OSError, ValueError, EOFError) as error:
        raise DatasetError(f'{file} is corrupt: remove it and write its shard again') from error
    if rows.dtype != ROW or rows.ndim != 1:
        raise DatasetError(f'{file} is no index of a shard: remove it')
    return rows


def _index_or_error(file: PathOrAddress) -> NDArray[Any] | DatasetError:
    try:
        return _read_index(file)
    except Unreachable:
        raise
    except DatasetError as error:
        return error


def write_shard(tar: PathOrAddress, samples: Iterable[Stored]) -> int:
    """Write a shard; it comes into being all at once, and of the same samples the same bytes.

    Args:
        tar: where.
        samples: each written as it comes, so that one is in memory at a time.

    Returns:
        How many samples it has.

    Raises:
        OSError or Unreachable: it cannot be written, on this machine or in a store.
    """
    index, rows = tar.with_suffix('.npy'), []
    with written_whole(tar) as file:
        for key, members in samples:
            block = b''.join(_member(f'{key}.{suffix}', data) for suffix, data in members.items())
            rows.append((file.tell(), len(block), zlib.crc32(block)))
            file.write(block)
        file.write(bytes(_END))
        np.save(told := BytesIO(), np.array(rows, ROW))
        if index.is_file() and index.read_bytes() != told.getvalue():
            index.unlink()  # of a tar that was broken, and is replaced now
    with written_whole(index) as file:
        file.write(told.getvalue())
    return len(rows)


def _member(name: str, data: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o644
    return info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % tarfile.BLOCKSIZE)


def are_shards(folder: PathOrAddress) -> bool:
    """Tell whether a folder is one of shards; Unreachable where the store does not say."""
    return next(folder.glob('*.tar'), None) is not None


class ShardSamples(Dataset[Sample]):
    """A folder's shards; each sample is read when it is asked for, in one piece."""

    def __init__(self, folder: PathOrAddress, with_depth: bool, confidence: float = 0.0) -> None:
        """Count the samples.

        Args:
            folder: of shards; those that are not finished are left out, and with a line those
                whose index is corrupt.
            with_depth: whether every sample needs a depth.
            confidence: see decode().

        Raises:
            DatasetError: no shard is left, or none has a sample.
        """
        self._with_depth, self._confidence = with_depth, confidence
        self._tars: list[PathOrAddress] = []
        self._kept: dict[PathOrAddress, NDArray[Any]] = {}  # indices that cannot be mapped
        counts, tars = [], set[PathOrAddress](folder.glob('*.tar'))
        indices = sorted(set[PathOrAddress](folder.glob('*.npy')), key=lambda index: index.name)
        with ThreadPoolExecutor(16, 'index') as readers:
            each = readers.map if isinstance(folder, Address) else map
            for index, rows in zip(indices, each(_index_or_error, indices)):
                if isinstance(rows, DatasetError):
                    print(f'left out: {rows}', file=sys.stderr)
                elif (tar := index.with_suffix('.tar')) in tars:
                    counts.append(len(rows))
                    self._tars.append(tar)
                    if isinstance(tar, Address):
                        self._kept[tar] = rows
        if not sum(counts):
            raise DatasetError(f'{folder} holds no sample in a finished shard: pack it to its end')
        self._ends = np.cumsum(counts)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Sample:
        """Read one sample.

        Raises:
            DatasetError: it is missing or corrupt.
        """
        which = int(np.searchsorted(self._ends, index, side='right'))
        tar = self._tars[which]
        rows = self._kept.get(tar)
        if rows is None:
            rows = _read_index(tar.with_suffix('.npy'))
        position = index - int(self._ends[which - 1] if which else 0)
        if position >= len(rows):
            raise DatasetError(f'{tar} changed while it was read: start again')
        row = rows[position]
        start, length, checksum = (int(row[name]) for name in ('start', 'bytes', 'crc32'))
        try:
            block = read_part(tar, start, length)
        except OSError as error:
            raise DatasetError(f'{tar} cannot be read ({error.strerror}): write it again'
                               ) from error
        if len(block) < length:
            raise DatasetError(f'{tar} is cut short: remove its .npy and write it again')
        try:
            if zlib.crc32(block) != checksum:
                raise ValueError('its bytes have changed')
            return decode(_members(block), self._with_depth, self._confidence)
        except (ValueError, tarfile.TarError) as error:
            raise DatasetError(f'sample {position} of {tar} is corrupt ({error}): leave it, or '
                               'remove the .npy beside and write the shard again') from error


def _members(block: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=BytesIO(block), mode='r:') as tar:
        found = {}
        for member in tar:
            if member.size > len(block):  # as a sparse one may say
                raise ValueError('it claims more bytes than there are')
            data = tar.extractfile(member)
            if data is not None:
                found[member.name.partition('.')[2]] = data.read()
        return found
