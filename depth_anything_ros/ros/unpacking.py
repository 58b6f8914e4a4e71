# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What zstd and lz4 have packed, unpacked within bounds: 10 kB can be made to hold 300 MB."""

from __future__ import annotations

from pathlib import Path
import sys

from lz4.frame import LZ4FrameDecompressor

from depth_anything_ros.errors import reason

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MOST_BYTES = 1 << 28  # of a chunk or a message, unpacked: 5 million points, or 8K in colour
ZSTD_MAGIC = b'\x28\xb5\x2f\xfd'
_BLOCK = 1 << 20
_MOST_EXPANSION = 1000  # of a whole file, on disk


class Unreadable(Exception):
    """A part of a bag cannot be read, for the reason given; others may be."""


def unpacked(data: bytes, compression: str, most: int = MOST_BYTES) -> bytes:
    """Unpack what begins in some data, in bounded memory.

    Args:
        data: may be cut short, and then gives what its beginning holds.
        compression: zstd, lz4 or empty.
        most: bytes that are unpacked at most.

    Raises:
        Unreadable: the data are of no such kind.
    """
    try:
        if compression == 'zstd':
            return bytes(zstd.ZstdDecompressor().decompress(data, max_length=most))
        if compression == 'lz4':
            return bytes(LZ4FrameDecompressor().decompress(data, max_length=most))
    except (zstd.ZstdError, RuntimeError, EOFError) as error:
        raise Unreadable(f'cannot be unpacked ({reason(error)})') from error
    if compression:
        raise Unreadable(f'is packed by "{compression[:20]}", which is not known')
    return data[:most]


def unpack_chunk(compression: str, data: bytes, size: int) -> bytes:
    """Unpack a chunk that says how long it is; one byte more where it is longer.

    Raises:
        Unreadable: it says that it is too long, or the data are of no such kind.
    """
    if size > MOST_BYTES:
        raise Unreadable(f'a chunk says that it unpacks to {size} bytes, over {MOST_BYTES}')
    return unpacked(data, compression, size + 1)


def unpack_file(source: Path, target: Path) -> str:
    """Unpack a .zstd file to disk as far as that is possible.

    Returns:
        Why not all of it, empty where it was.
    """
    unpacker, left = zstd.ZstdDecompressor(), _MOST_EXPANSION * (source.stat().st_size + _BLOCK)
    with source.open('rb') as packed, target.open('wb') as file:
        while not unpacker.eof:
            data = packed.read(_BLOCK) if unpacker.needs_input else b''
            if unpacker.needs_input and not data:
                return 'it is cut short'
            try:
                part = unpacker.decompress(data, max_length=_BLOCK)
            except zstd.ZstdError as error:
                return f'it cannot be unpacked further ({reason(error)})'
            left -= file.write(part)
            if left < 0:
                return f'it unpacks to more than {_MOST_EXPANSION} times its size'
    return ''
