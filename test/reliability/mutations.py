# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Good messages of a small known scene, and every way in which sensors and networks break them.

A mutated message follows from seed and index alone, so that any of a run can be made again. Half
are good ones (or those of another type) with their bytes changed; the others are well-formed but
their fields, drawn by hypothesis, are not.
"""

from __future__ import annotations

import array
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
import random
import struct
from typing import Any
import zlib

from hypothesis import given, HealthCheck, settings
from hypothesis import strategies as st
import numpy as np
from rclpy.serialization import serialize_message
from sensor_msgs.msg import (
    CameraInfo,
    CompressedImage,
    Image,
    LaserScan,
    PointCloud2,
    PointField,
    RegionOfInterest,
)

from depth_anything_ros.camera import Camera
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.ros.bags import TYPES
from depth_anything_ros.ros.messages import (
    encode_camera,
    encode_image,
    encode_jpeg,
    encode_points,
)
from helpers import SCENE_CAMERA, scene_depth_image, scene_lidar

CAMERA_FRAME, LIDAR_FRAME = 'camera', 'lidar'
KINDS: dict[str, Any] = {
    'image': Image,
    'compressed': CompressedImage,
    'camera_info': CameraInfo,
    'points': PointCloud2,
    'scan': LaserScan,
}
INDEX_NS = 50_000_000  # between the stamps of one index and the next
BASE_NS = 1_000_000_000_000


@dataclass(frozen=True)
class Rig:
    """What looks at the scene: an image of so many pixels and a lidar of so many rays."""

    width: int = 84  # multiples of 14: the network sees every pixel
    height: int = 56
    rings: int = 8
    columns: int = 24

    @property
    def camera(self) -> Camera:
        """The camera model of the image."""
        return SCENE_CAMERA.scaled(self.width, self.height)


RIG = Rig()
CAMERA = RIG.camera


@dataclass(frozen=True)
class Message:
    """A serialised message.

    Attributes:
        kind: the input it goes to, a key of KINDS.
        data: CDR.
        what: how it was made, for people.
        well_formed: whether only its fields are odd, not its bytes.
    """

    kind: str
    data: bytes
    what: str
    well_formed: bool = True


# Good messages ----------------------------------------------------------------------------------


def stamp_ns_of(data: bytes) -> int:
    """Return the stamp in nanoseconds of a well-formed message that begins with a header."""
    sec, nanosec = struct.unpack_from('<iI' if data[1] & 1 else '>iI', data, 4)
    return sec * 10**9 + nanosec


def restamped(data: bytes, stamp_ns: int) -> bytes:
    """Return a well-formed message with another stamp."""
    stamp = struct.pack('<iI' if data[1] & 1 else '>iI', *divmod(stamp_ns, 10**9))
    return data[:4] + stamp + data[12:]


def _bytes(values: Any) -> array.array[int]:
    return array.array('B', bytes(values))


def _with_header(message: Any, stamp: tuple[int, int], frame_id: str) -> Any:
    message.header.stamp.sec, message.header.stamp.nanosec = stamp
    message.header.frame_id = frame_id
    return message


def _frame_of(kind: str) -> str:
    return LIDAR_FRAME if kind in ('points', 'scan') else CAMERA_FRAME


@lru_cache
def good_fields(kind: str, rig: Rig = RIG) -> dict[str, Any]:
    """Return the fields of a good message, header apart."""
    depth_m = scene_depth_image(rig.camera)
    shade = (255 * np.exp(-depth_m / 8)).astype(np.uint8)
    image_rgb = np.stack([shade, 255 - shade, shade // 2], axis=-1)
    xyz_m, ring = scene_lidar(rig.rings, rig.columns)
    if kind == 'image':
        return encode_image(image_rgb, 'rgb8')
    if kind == 'compressed':
        return encode_jpeg(image_rgb)
    if kind == 'camera_info':
        return encode_camera(rig.camera)
    if kind == 'points':
        numbers, fields = encode_points(SensorPoints(xyz_m, 0, LIDAR_FRAME, None, ring))
        return numbers | {'fields': [PointField(**field) for field in fields]}
    return {  # scan: 90 degrees, a wall at 5 m
        'angle_min': -0.8, 'angle_max': 0.8, 'angle_increment': 1.6 / 180, 'time_increment': 1e-4,
        'scan_time': 0.1, 'range_min': 0.1, 'range_max': 30.0,
        'ranges': array.array('f', [5.0] * 181), 'intensities': array.array('f', []),
    }


@lru_cache
def _good(kind: str, rig: Rig = RIG) -> bytes:
    message = KINDS[kind](**good_fields(kind, rig))
    return bytes(serialize_message(_with_header(message, (0, 0), _frame_of(kind))))


def good(kind: str, stamp_ns: int, rig: Rig = RIG) -> Message:
    """Return a good message of a kind."""
    return Message(kind, restamped(_good(kind, rig), stamp_ns), 'good')


@lru_cache
def huge(kind: str, stamp_ns: int) -> Message:
    """Return a good message with a frame_id as long as the longest texts of the attack together."""
    message = KINDS[kind](**good_fields(kind))
    data = serialize_message(_with_header(message, divmod(stamp_ns, 10**9), 'x' * 2_100_000))
    return Message(kind, bytes(data), 'huge')


# Bytes ------------------------------------------------------------------------------------------

LENGTHS = (0, 1, 255, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


@lru_cache
def _other_order(kind: str) -> bytes:
    """Return a good message as a machine of the other byte order would send it."""
    name = f'sensor_msgs/msg/{KINDS[kind].__name__}'
    message = TYPES.deserialize_cdr(_good(kind), name)
    return bytes(TYPES.serialize_cdr(message, name, little_endian=False))


def _set(data: bytes, offset: int, new: bytes) -> bytes:
    return data[:offset] + new + data[offset + len(new) :]


def _flip(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 2, 8, 64))):
        # Mostly where the fields are; the bulk of the data has no say.
        at = rng.randrange(min(len(changed), rng.choice((16, 100, 400, len(changed)))))
        changed[at] ^= 1 << rng.randrange(8)
    return bytes(changed)


BYTES: dict[str, Callable[[random.Random, bytes, str], bytes]] = {
    'a few bytes': lambda rng, data, kind: data[: rng.randint(0, 12)],
    'half': lambda rng, data, kind: data[: len(data) // 2],
    'cut short': lambda rng, data, kind: data[: rng.randrange(len(data))],
    'cut in the fields': lambda rng, data, kind: data[: rng.randrange(12, 120)],
    'last byte missing': lambda rng, data, kind: data[:-1],
    'too long': lambda rng, data, kind: data + rng.randbytes(rng.randint(1, 5000)),
    'order byte flipped': lambda rng, data, kind: _set(data, 1, bytes([data[1] ^ 1])),
    'other byte order': lambda rng, data, kind: restamped(
        _other_order(kind), stamp_ns_of(data)
    ),
    'another encapsulation': lambda rng, data, kind: _set(data, 0, rng.randbytes(4)),
    'random bytes': lambda rng, data, kind: rng.randbytes(rng.choice((5, 16, 64, 300, 5000))),
    'random after the stamp': lambda rng, data, kind: data[:12] + rng.randbytes(
        rng.choice((1, 30, 300))
    ),
    'zeros': lambda rng, data, kind: bytes(rng.choice((0, 4, 12, 100, 2000))),
    'ones': lambda rng, data, kind: data[:12] + b'\xff' * rng.choice((4, 100, 2000)),
    'a length': lambda rng, data, kind: _set(
        data, 4 * rng.randrange(1, 50), struct.pack('<I', rng.choice(LENGTHS))
    ),
    'text that is no UTF-8': lambda rng, data, kind: _set(data, 16, b'\xff\xfe\xc0'),
    'bits flipped': lambda rng, data, kind: _flip(rng, data),
    'a piece repeated': lambda rng, data, kind: data[: (at := rng.randrange(len(data)))]
    + data[max(0, at - rng.choice((4, 40, 400))) :],
    'another type': lambda rng, data, kind: restamped(
        _good(rng.choice([k for k in KINDS if k != kind])), rng.choice((0, BASE_NS))
    ),
}


# Fields, drawn by hypothesis --------------------------------------------------------------------

UINT8 = st.sampled_from((0, 1, 2, 127, 255)) | st.integers(0, 255)
UINT32 = st.sampled_from(
    (0, 1, 2, 3, 7, 100, 1000, 2**16 - 1, 2**16, 10**6, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1)
) | st.integers(0, 64)
INT32 = st.sampled_from((-(2**31), -1, 0, 1, 2**31 - 1)) | st.integers(-(2**31), 2**31 - 1)
FLOAT = st.sampled_from(
    (0.0, -0.0, 1.0, -1.0, 0.5, 5e-324, 1e-30, 1e-9, 1e9, 1e30, -1e30, 1e308, np.nan, np.inf,
     -np.inf)
) | st.floats(-1000, 1000)
FLOAT32 = FLOAT.map(lambda x: float(np.clip(x, -3e38, 3e38)) if np.isfinite(x) else x)
TEXT = st.text(max_size=12) | st.sampled_from(
    ('', '\n', '\0', '\x1b[2J', '%s%n', '/', 'x' * 300, 'ä€😀' * 50)
) | st.sampled_from((100_000, 1_000_000)).map('x'.__mul__)
PIECE = np.random.default_rng(0).integers(0, 256, 1 << 16, dtype=np.uint8).tobytes()


def _data(length: int) -> array.array[int]:
    """Return so many bytes of noise."""
    return _bytes((PIECE * (length // len(PIECE) + 1))[:length])


def _some(**strategies: Any) -> Any:
    """Change some of these fields."""
    return st.fixed_dictionaries({}, optional=strategies)


ENCODINGS = (
    'rgb8', 'bgr8', 'rgba8', 'bgra8', 'mono8', '8UC1', '8UC3', '8UC4', 'rgb16', 'bgra16', 'mono16',
    'bayer_rggb8', 'bayer_gbrg8', 'bayer_bggr16', 'yuv422', 'uyvy', 'yuv422_yuy2', 'yuyv', 'nv21',
    'nv24', '32FC1', '16UC1', '8UC2', 'rgb9',
)
BYTES_PER_PIXEL = (1, 1.5, 2, 3, 4, 6, 8)
SIDE = st.integers(1, 40) | st.sampled_from((1, 2, 3, 56, 84, 85))
SIZES = st.tuples(SIDE, SIDE) | st.sampled_from(
    ((1, 2000), (2000, 1), (1, 20000), (20000, 1), (60000, 1), (1, 60000), (3, 5000), (600, 480))
)


@st.composite
def odd_images(draw: Any) -> dict[str, Any]:
    """Draw an image whose data may fit its header."""
    height, width = draw(SIZES)
    row = int(width * draw(st.sampled_from(BYTES_PER_PIXEL)))
    step = max(0, row + draw(st.sampled_from((0, 0, 0, 1, 8, -1))))
    rows = int(height * draw(st.sampled_from((1, 1, 1, 1.5, 2, 3))))
    return {
        'height': height, 'width': width, 'encoding': draw(st.sampled_from(ENCODINGS)),
        'step': step, 'is_bigendian': draw(UINT8),
        'data': _data(max(0, rows * step + draw(st.sampled_from((0, 0, 0, -1, 1, 100))))),
    }


IMAGES = odd_images() | _some(
    height=UINT32, width=UINT32, encoding=st.sampled_from(ENCODINGS) | TEXT, is_bigendian=UINT8,
    step=UINT32, data=st.sampled_from((0, 1, 100, 84 * 56, 84 * 56 * 3 - 1)).map(_data),
)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))


@lru_cache(maxsize=64)
def png(width: int, height: int, bits: int, colour: int, filled: bool) -> bytes:
    """Return a PNG of zeros that claims a size; unless filled, it holds a row at most."""
    row = 1 + (width * bits * {0: 1, 2: 3, 3: 1, 6: 4}.get(colour, 1) + 7) // 8
    zip_ = zlib.compressobj(1)
    pixels = zip_.compress(bytes(min(row, 1 << 20)))
    if filled:
        pixels += b''.join(zip_.compress(bytes(row)) for _ in range(height - 1))
    head = struct.pack('>IIBBBBB', width, height, bits, colour, 0, 0, 0)
    return (b'\x89PNG\r\n\x1a\n' + _chunk(b'IHDR', head)
            + _chunk(b'IDAT', pixels + zip_.flush()) + _chunk(b'IEND', b''))


def jpeg(width: int, height: int) -> bytes:
    """Return a good JPEG that claims another size."""
    data = bytes(good_fields('compressed')['data'])
    return _set(data, data.index(b'\xff\xc0') + 5, struct.pack('>HH', height, width))


CLAIMS = st.sampled_from((0, 1, 2, 56, 84, 4000, 16000, 25000, 60000, 65500, 65535))
PNGS = st.builds(
    png, CLAIMS | UINT32.filter(lambda n: n > 2**20), CLAIMS, st.sampled_from((1, 8, 16, 3)),
    st.sampled_from((0, 2, 3, 6, 7)), st.just(False),
) | st.sampled_from(((25000, 25000, 1, 0, True), (84, 56, 8, 2, True), (60000, 1, 8, 0, True))
                    ).map(lambda args: png(*args))
OTHERS = st.sampled_from((
    b'', b'\xff', b'\xff\xd8', b'\x89PNG\r\n\x1a\n', b'GIF89a' + b'\xff' * 100, b'BM' + bytes(60),
    b'P5\n60000 60000\n255\n', b'P6 9999999999 9999999999 255\n', b'Pf\n60000 60000\n-1.0\n',
    b'RIFF\xff\xff\xff\xffWEBPVP8 ' + b'\xff' * 40, b'II*\0\x08\0\0\0' + b'\xff' * 60,
    b'#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 60000 +X 60000\n', b'v/1\x01' + b'\xff' * 60,
    b'BM' + struct.pack('<IIIIiiHHIIiiII', 99, 0, 54, 40, 60000, -60000, 1, 24, 0, 0, 0, 0, 0, 0),
    b'\0\0\0\x0cjP  \r\n\x87\n' + b'\xff' * 60,
    b'\x59\xa6\x6a\x95' + struct.pack('>7I', *[2**31] * 7),  # Sun raster
))
COMPRESSED = st.fixed_dictionaries(
    {'data': (PNGS | st.builds(jpeg, CLAIMS, CLAIMS) | OTHERS | st.binary(max_size=200)
              | st.integers(0, 600).map(lambda n: bytes(good_fields('compressed')['data'])[:n])
              ).map(_bytes)},
    optional={'format': TEXT | st.sampled_from(('png', 'jpeg', 'rgb8; jpeg compressed bgr8',
                                                '16UC1; compressedDepth', 'h264'))},
)


@st.composite
def matrices(draw: Any, rows: int, columns: int) -> Any:
    """Draw a matrix: the camera's own with some numbers changed, or nonsense."""
    K = np.zeros((rows, columns))
    K[:3, :3] = draw(st.sampled_from((CAMERA.K, np.eye(3), np.zeros((3, 3)), np.ones((3, 3)))))
    for _ in range(draw(st.integers(0, 3))):
        K[draw(st.integers(0, rows - 1)), draw(st.integers(0, columns - 1))] = draw(FLOAT)
    return K.ravel()


ROI = st.builds(
    RegionOfInterest, x_offset=UINT32, y_offset=UINT32, height=UINT32, width=UINT32,
    do_rectify=st.booleans(),
)
MODELS = st.sampled_from(('plumb_bob', 'rational_polynomial', 'equidistant', 'fisheye', 'mei', ''))
CAMERA_INFOS = _some(
    k=matrices(3, 3), r=matrices(3, 3), p=matrices(3, 4),
    d=st.lists(FLOAT, max_size=14) | st.lists(st.floats(-1, 1), min_size=4, max_size=8),
    distortion_model=MODELS | TEXT,
) | _some(
    height=UINT32 | SIDE, width=UINT32 | SIDE, binning_x=UINT32, binning_y=UINT32, roi=ROI,
    distortion_model=MODELS, d=st.lists(FLOAT, max_size=14),
)

NAMES = ('x', 'y', 'z', 'ring', 'channel', 'line', 't', 'time', 'offset_time', 'timestamp', 'rgb')
FIELDS = st.lists(
    st.builds(PointField, name=st.sampled_from(NAMES[:3]) | st.sampled_from(NAMES) | TEXT,
              offset=st.sampled_from((0, 4, 8, 12, 16)) | UINT32,
              datatype=st.integers(0, 9) | UINT8,
              count=st.just(1) | st.sampled_from((0, 1, 3000)) | UINT32),
    max_size=8,
)


@st.composite
def whole_fields(draw: Any) -> list[PointField]:
    """Draw x, y, z where they are in the good cloud, and another field of some meaning."""
    kept = good_fields('points')['fields']
    extra = PointField(name=draw(st.sampled_from(NAMES)), offset=draw(st.sampled_from((8, 12, 16))),
                       datatype=draw(st.integers(1, 8)), count=1)
    at = draw(st.integers(0, 3))
    one = PointField(name=kept[at].name, offset=draw(UINT32), datatype=draw(UINT8),
                     count=draw(UINT32))
    return draw(st.sampled_from(([*kept[:3], extra], [*kept, kept[0]], kept[:2], kept[::-1],
                                 [*kept[:at], one, *kept[at + 1 :]])))


@st.composite
def point_bytes(draw: Any) -> array.array[int]:
    """Draw the good points with some of their numbers changed."""
    values = np.frombuffer(good_fields('points')['data'], '<f4').copy()
    every = draw(st.sampled_from((1, 2, 3, 4, 7)))
    values[draw(st.integers(0, 3)) :: every] = draw(FLOAT32)
    return _bytes(values.tobytes())


CLOUDS = _some(fields=whole_fields(), data=point_bytes()) | _some(
    fields=whole_fields() | FIELDS, height=UINT32, width=UINT32, point_step=UINT32,
    row_step=UINT32, is_bigendian=st.booleans(), is_dense=st.booleans(),
    data=st.sampled_from((0, 1, 16, 3071, 3072, 100_000)).map(_data) | point_bytes(),
)
SCANS = _some(
    angle_min=FLOAT32, angle_max=FLOAT32, angle_increment=FLOAT32, time_increment=FLOAT32,
    scan_time=FLOAT32, range_min=FLOAT32, range_max=FLOAT32,
    ranges=st.lists(FLOAT32, max_size=30) | st.builds(
        lambda value, count: array.array('f', [value] * count), FLOAT32,
        st.sampled_from((0, 1, 181, 100_000))),
    intensities=st.lists(FLOAT32, max_size=3),
)
STAMPS = st.tuples(INT32, st.sampled_from((0, 999_999_999, 10**9, 2**32 - 1)))


class _Drawer:
    """Draws one example of a strategy per buffer of random bytes."""

    def __init__(self, strategy: Any) -> None:
        self._drawn: list[Any] = []

        @settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(strategy)
        def take(example: Any) -> None:
            self._drawn.append(example)

        self._fuzz = take.hypothesis.fuzz_one_input

    def __call__(self, rng: random.Random) -> Any:
        self._drawn.clear()
        while not self._drawn:  # too few bytes, or a filter said no
            self._fuzz(rng.randbytes(2000))
        return self._drawn[0]


_draw_changes = {
    kind: _Drawer(st.tuples(strategy, st.none() | st.none() | st.none() | _some(
        stamp=STAMPS, frame_id=TEXT)))
    for kind, strategy in (('image', IMAGES), ('compressed', COMPRESSED), ('points', CLOUDS),
                           ('camera_info', CAMERA_INFOS), ('scan', SCANS))
}


# Both -------------------------------------------------------------------------------------------


def stamp_of(index: int) -> int:
    """Return the stamp in nanoseconds of what belongs to an index."""
    return BASE_NS + index * INDEX_NS


def _short(value: Any) -> str:
    if isinstance(value, array.array) and len(value) > 8:
        return f'{value[:8].tolist()} and {len(value) - 8} more'
    text = repr(value)
    return text if len(text) < 300 else f'{text[:300]}... ({len(text)} characters)'


def mutated(seed: int, index: int, image: str) -> Message:
    """Return the message of a seed and an index.

    Args:
        seed: of the run.
        index: of the message in the run; its stamp, where it keeps one, is stamp_of(index).
        image: 'image' or 'compressed', what the node subscribes to.
    """
    rng = random.Random(f'{seed}:{index}')
    kind = rng.choice((image, image, 'points', 'points', 'camera_info', 'scan'))
    stamp_ns = stamp_of(index)
    if rng.random() < 0.5:
        name = rng.choice(list(BYTES))
        return Message(kind, BYTES[name](rng, good(kind, stamp_ns).data, kind), name, False)
    changes, told = _draw_changes[kind](rng)
    told = told or {}
    message = KINDS[kind](**good_fields(kind) | changes)
    stamp = told.get('stamp', divmod(stamp_ns, 10**9))
    data = serialize_message(_with_header(message, stamp, told.get('frame_id', _frame_of(kind))))
    return Message(kind, bytes(data), ', '.join(
        f'{name}={_short(value)}' for name, value in (changes | told).items()))
