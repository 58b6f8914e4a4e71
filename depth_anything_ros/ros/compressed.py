# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""JPEG and PNG files, looked at before they are decoded: the size, and whether all is there.

A decoder takes memory for the size that a file claims, goes on where a file ends too soon, and
spends its time on what does not show (1 kB of PNG holds 8 MB of text). Other formats are refused:
image_transport's compressed images are of these two where they are pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
import struct

from depth_anything_ros.errors import BadFrameError

_JPEG, _PNG = b'\xff\xd8\xff', b'\x89PNG\r\n\x1a\n'
_END_OF_JPEG, _SCAN = b'\xff\xd9', b'\xff\xda'
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # start of frame; those three are tables
_LEAST_MARKER_WITH_SIZE, _MARKERS_WITHOUT = 0xC0, range(0xD0, 0xDB)  # restart, begin, end, scan
_MOST_SEGMENTS, _MOST_SCANS, _MOST_CHUNKS = 1000, 32, 100_000  # what no camera comes near to
_PICTURE = (b'IHDR', b'PLTE', b'tRNS', b'IDAT', b'IEND')


def picture_file(data: bytes) -> tuple[int, int, bytes]:
    """Return what of a compressed image is to be decoded.

    Returns:
        Its width and height in pixels, more than zero, and the file without what is no picture.

    Raises:
        BadFrameError: it is neither JPEG nor PNG, or incomplete.
    """
    if data.startswith(_JPEG):
        return *_jpeg_size(data), data
    if data.startswith(_PNG):
        return _png_picture(data)
    raise BadFrameError(
        'undecodable_image',
        f'compressed image cannot be decoded: its {len(data)} bytes are neither JPEG nor PNG; set '
        'image_transport\'s format to one of these',
    )


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Return width and height as the first frame header says; ITU T.81 section B.1."""
    scans, last = data.count(_SCAN), data.rfind(_SCAN)
    if not 0 < scans <= _MOST_SCANS or data.find(_END_OF_JPEG, last) < 0:
        raise _incomplete('JPEG')
    at = 2
    for _ in range(_MOST_SEGMENTS):
        if at + 9 > len(data) or data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from('>HH', data, at + 5)
            if height and width:
                return width, height
            break
        if marker < _LEAST_MARKER_WITH_SIZE or marker in _MARKERS_WITHOUT:
            break
        at += 2 + int(struct.unpack_from('>H', data, at + 2)[0])
    raise _incomplete('JPEG')


def _png_picture(data: bytes) -> tuple[int, int, bytes]:
    """Return width, height and the file without its texts, profiles and animations."""
    chunks = list(_png_chunks(data))
    if len(data) < 24 or chunks[0][0] != b'IHDR':
        raise _incomplete('PNG')
    width, height = struct.unpack_from('>II', data, 16)
    if not (width and height):
        raise _incomplete('PNG')
    kept = [data[start:end] for kind, start, end in chunks if kind in _PICTURE]
    return width, height, data if len(kept) == len(chunks) else _PNG + b''.join(kept)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and end of each chunk up to the end of the picture; W3C PNG section 5."""
    at = len(_PNG)
    for _ in range(_MOST_CHUNKS):
        if at + 12 > len(data):
            break
        size, kind = struct.unpack_from('>I4s', data, at)
        end = at + 12 + size
        if end > len(data):
            break
        yield kind, at, end
        if kind == b'IEND':
            return
        at = end
    raise _incomplete('PNG')


def _incomplete(kind: str) -> BadFrameError:
    return BadFrameError(
        'undecodable_image',
        f'compressed image cannot be decoded: it is a {kind} that is cut short or broken; see what '
        'publishes it',
    )
