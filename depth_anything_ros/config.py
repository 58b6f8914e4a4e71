# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Every parameter of the node and the pipeline: default, unit, range and description.

This is the only place where a default stands. ros/parameters.py turns these dataclasses into ROS
parameters (a nested dataclass is a prefix, so ScaleConfig.max_hold is `scale.max_hold`), and
config/depth_anything.yaml is written from them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass, replace
import math
import re
from typing import Any

from depth_anything_ros.errors import ConfigError

FINEST_VOXEL = 1 / 8000  # of the reach: 16 bits count them along rays 4 times as long as depth
_NAME = '[A-Za-z][A-Za-z0-9_]{0,63}'  # of a camera


def param(
    default: Any,
    description: str,
    *,
    unit: str = '',
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    several: bool = False,
    runtime: bool = False,
    per_camera: bool = False,
) -> Any:
    """Declare one parameter as a dataclass field.

    Args:
        default: value and, by its type, the parameter's type.
        description: one sentence for `ros2 param describe` and the YAML file.
        unit: SI unit or pixel unit, empty when the value has none.
        minimum: smallest allowed number, inclusive.
        maximum: largest allowed number, inclusive.
        choices: allowed strings.
        several: whether choices may be joined by commas; auto and none stand alone.
        runtime: whether it may be changed while the node is active.
        per_camera: whether each of several cameras may have its own, as NAME.parameter.
    """
    metadata = {
        'description': description,
        'unit': unit,
        'minimum': minimum,
        'maximum': maximum,
        'choices': choices,
        'several': several,
        'runtime': runtime,
        'per_camera': per_camera,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class ModelConfig:
    """Which network, and what its output means where the checkpoint does not say."""

    checkpoint: str = param(
        'depth-anything/Depth-Anything-V2-Small-hf',
        'Hub id, folder in Hugging Face format, official Depth Anything .pth or .safetensors file, '
        '.onnx file, or "bundled" (the small one shipped for the demo); docs/networks.md lists '
        'them.',
    )
    variant: str = param(
        'auto',
        'Family of an official .pth or .safetensors file, or of an .onnx file exported by others; '
        'auto reads it from the file name.',
        choices=('auto', 'v1', 'v2', 'v2-metric', 'da3-metric', 'da3-mono', 'da3-any-view'),
    )
    max_depth: float = param(
        0.0,
        'Range of a metric .pth or .onnx file (20 indoor, 80 outdoor); 0 reads it from the file '
        'name.',
        unit='m',
        minimum=0.0,
        maximum=1000.0,
    )
    canonical_focal: float = param(
        0.0,
        'Focal length at network-input resolution for which a metric checkpoint predicts true '
        'metres; 0 takes what the checkpoint says, which may be none.',
        unit='px',
        minimum=0.0,
        maximum=1e6,
    )
    input_size: int = param(
        0,
        'Shorter side of the network input, of Depth Anything 3 the longer one, a multiple of 14; '
        '0 takes the checkpoint\'s own (518 for the official ones, 504 for Depth Anything 3).',
        unit='px',
        minimum=0,
        maximum=4096,
    )


@dataclass(frozen=True)
class RuntimeConfig:
    """Where and how the network runs."""

    device: str = param(
        'auto',
        'auto (CUDA where there is one, else CPU), cpu, cuda or cuda:N; an explicit device never '
        'falls back.',
    )
    precision: str = param(
        'auto',
        'Arithmetic of the network; auto is float16 on CUDA cards that are fast at it (compute '
        'capability 7.0 on), int8 for a file that export_onnx --int8 wrote, else float32.',
        choices=('auto', 'float32', 'float16', 'bfloat16', 'int8'),
    )
    backend: str = param(
        'auto',
        'What runs the network; auto takes torch on CUDA, and on a CPU the fastest that is '
        'installed: openvino, onnxruntime, torch. Another one than torch is compared with PyTorch '
        'when it is loaded.',
        choices=('auto', 'torch', 'onnxruntime', 'openvino'),
    )
    threads: int = param(
        0,
        'CPU threads of the network; 0 takes OMP_NUM_THREADS or all cores, and of more than two '
        'leaves one to everything else.',
        minimum=0,
        maximum=1024,
    )
    batch: int = param(
        1,
        'Most images of several cameras that go through the network at once. More than one takes '
        'PyTorch, and is for GPUs: on a CPU a batch takes as long as its images one by one '
        '(docs/cameras.md).',
        minimum=1,
        maximum=64,
    )


@dataclass(frozen=True)
class CameraConfig:
    """How the image relates to camera_info."""

    rectified: str = param(
        'auto',
        'Whether the incoming image is already rectified; auto asks the resolved topic name for '
        'a word "rect" or "image_rect...".',
        choices=('auto', 'true', 'false'),
        per_camera=True,
    )
    mask: str = param(
        '',
        'PNG file of the size of the incoming image, 0 where it shows the robot\'s own body: that '
        'enters no fit and is NaN in every output; empty is none.',
        per_camera=True,
    )


@dataclass(frozen=True)
class ScaleConfig:
    """How a relative prediction becomes metres, and how long that is believed."""

    method: str = param(
        'auto',
        'Where metres come from: lidar (points or scan), depth (a depth camera), stereo (a second '
        'camera), motion (of the camera in fixed_frame), camera_height (known height above the '
        'ground), range (a rangefinder: the scale alone, of a metric checkpoint or a held fit), '
        'several of these with commas between, none, or auto: all that are there share one fit, '
        'the ground and a range where there is nothing else.',
        choices=('auto', 'lidar', 'depth', 'stereo', 'motion', 'camera_height', 'range', 'none'),
        several=True,
    )
    unanchored: str = param(
        'withhold',
        'What to do with a relative prediction that nothing anchors: withhold metric outputs, or '
        'assume assumed_scale and assumed_shift.',
        choices=('withhold', 'assume'),
        runtime=True,
    )
    assumed_scale: float = param(
        1.0,
        'Scale s of 1/z = s*p + t when unanchored is assume; of z where the network predicts '
        'depth.',
        minimum=1e-9,
        maximum=1e9,
        runtime=True,
    )
    assumed_shift: float = param(
        0.0,
        'Shift t of 1/z = s*p + t when unanchored is assume; in m, of z, where the network '
        'predicts depth.',
        unit='1/m',
        minimum=-1e4,
        maximum=1e4,
        runtime=True,
    )
    T_camera_sensor: tuple[float, ...] = param(
        (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        'Pose of the point sensor in the camera optical frame: x y z qx qy qz qw; all zeros means '
        'TF.',
        unit='m, quaternion',
        per_camera=True,
    )
    max_time_offset: float = param(
        0.1,
        'Largest time between an image and the sweep that anchors it. A sweep lasts from its first '
        'to its last point where points carry times; else the period of the sweeps, up to 0.2 s, '
        'is granted on top, since the stamp may mark either end.',
        unit='s',
        minimum=0.0,
        maximum=10.0,
        runtime=True,
    )
    stereo_max_offset: float = param(
        0.001,
        'Largest time between an image and that of the second camera. Cameras of one trigger have '
        'one stamp; 5 ms apart, at a turn of 30 degrees/s, what is 10 m away seems 20 % off (12 cm '
        'baseline).',
        unit='s',
        minimum=0.0,
        maximum=1.0,
        runtime=True,
    )
    max_hold: float = param(
        2.0,
        'How long the last fit is used when no new one succeeds.',
        unit='s',
        minimum=0.0,
        maximum=3600.0,
        runtime=True,
    )
    min_range: float = param(
        0.5,
        'Nearest sensor point used as an anchor.',
        unit='m',
        minimum=0.0,
        maximum=1e4,
        runtime=True,
    )
    max_range: float = param(
        80.0,
        'Farthest sensor point used as an anchor.',
        unit='m',
        minimum=0.1,
        maximum=1e4,
        runtime=True,
    )
    depth_sigma: float = param(
        0.005,
        'Standard deviation of a depth camera\'s depth at any distance, most of that of one that '
        'measures the time of flight.',
        unit='m',
        minimum=1e-4,
        maximum=10.0,
        runtime=True,
    )
    depth_sigma_square: float = param(
        0.0025,
        'What grows with the square of the distance: depth at z is unsure by this times z^2, since '
        'the disparity of stereo and structured light has a constant error (a D435 about .0025, '
        'time of flight 0).',
        unit='1/m',
        minimum=0.0,
        maximum=1.0,
        runtime=True,
    )
    depth_transport: str = param(
        'raw',
        'raw subscribes to sensor_depth/image, compressedDepth to that topic + /compressedDepth.',
        choices=('raw', 'compressedDepth'),
    )
    refine: bool = param(
        True,
        'Correct the global fit where anchors show that it is off (spatially varying).',
        runtime=True,
    )
    max_stddev: float = param(
        0.0,
        'Pixels less sure than this become NaN; 0 keeps all.',
        unit='m',
        minimum=0.0,
        maximum=1e4,
        runtime=True,
    )
    camera_height: float = param(
        0.0,
        'Height of the camera above the ground; 0 means unknown, or TF from ground_frame.',
        unit='m',
        minimum=0.0,
        maximum=1000.0,
        per_camera=True,
    )
    camera_pitch: float = param(
        0.0,
        'Downward tilt of the optical axis below the horizon.',
        unit='rad',
        minimum=-math.pi / 2,
        maximum=math.pi / 2,
        per_camera=True,
    )
    camera_height_sigma: float = param(
        0.03,
        'Standard deviation of the height, be it from camera_height or ground_frame, as a share of '
        'it: load, springs and the tape measure.',
        minimum=0.0,
        maximum=1.0,
        runtime=True,
    )
    camera_pitch_sigma: float = param(
        0.02,
        'Standard deviation of the tilt against the ground ahead, be it from camera_pitch or '
        'ground_frame: mounting, springs and slopes (0.02 is 1.1 degrees). Depth at z is as unsure '
        'as z / height times this.',
        unit='rad',
        minimum=0.0,
        maximum=0.5,
        runtime=True,
    )
    ground_frame: str = param(
        '',
        'TF frame whose z = 0 plane is the ground; gives camera height and pitch; empty is off.',
    )
    fixed_frame: str = param(
        '',
        'TF frame that does not move (odom), to carry points from their stamp to the image\'s, and '
        'to triangulate what a moving camera sees; empty is off.',
    )
    odometry_sigma: float = param(
        0.02,
        'Standard deviation of the way in fixed_frame, as a share of it: wheel radius, slip, scale '
        'of a visual odometry.',
        minimum=0.0,
        maximum=1.0,
        runtime=True,
    )
    odometry_turn_sigma: float = param(
        0.0035,
        'Standard deviation of the rate of turn in fixed_frame (0.0035 is 0.2 degrees per second).',
        unit='rad/s',
        minimum=0.0,
        maximum=1.0,
        runtime=True,
    )


@dataclass(frozen=True)
class LimitsConfig:
    """What messages may cost at most; what would cost more is refused, with the reason."""

    image_pixels: int = param(
        36_000_000,
        'Most pixels of an image (8K has 33 million).',
        unit='px',
        minimum=1,
        maximum=1_000_000_000,
    )
    image_aspect: float = param(
        8.0,
        'Largest ratio of an image\'s longer side to its shorter one.',
        minimum=1.0,
        maximum=1000.0,
    )
    network_pixels: int = param(
        2_500_000,
        'Most pixels of the network input, whose size model.input_size sets; memory and time grow '
        'faster than it.',
        unit='px',
        minimum=196,
        maximum=1_000_000_000,
    )
    points: int = param(
        5_000_000,
        'Most points of a cloud or a scan.',
        minimum=1,
        maximum=1_000_000_000,
    )
    sensor_memory: int = param(
        256,
        'Memory for the messages of points, and as much again for scan and for right/image, that '
        'wait for an image; the newest 20 are kept within it.',
        unit='MiB',
        minimum=1,
        maximum=65536,
    )


@dataclass(frozen=True)
class DepthConfig:
    """The depth image."""

    encoding: str = param(
        '32FC1',
        '32FC1: metres, NaN invalid. 16UC1: millimetres, 0 invalid.',
        choices=('32FC1', '16UC1'),
        runtime=True,
    )
    stride: int = param(
        1, 'Publish every n-th row and column.', unit='px', minimum=1, maximum=16, runtime=True
    )
    rate: float = param(
        0.0,
        'Most images under depth/ per second of image time; 0 gives them for each image.',
        unit='Hz',
        minimum=0.0,
        maximum=1000.0,
        runtime=True,
    )
    min: float = param(
        0.1, 'Nearer depth is invalid.', unit='m', minimum=0.001, maximum=1e3, runtime=True
    )
    max: float = param(
        80.0,
        'Farther depth is invalid (NaN, never a wall at this distance).',
        unit='m',
        minimum=0.1,
        maximum=10000.0,
        runtime=True,
    )
    keep_measured: bool = param(
        True,
        'Publish the pixels of a depth camera that is registered to the image where it is sure, '
        'and the network\'s metres where it is blind.',
        runtime=True,
    )
    sky: str = param(
        'auto',
        'auto: what a network with a sky head (Depth Anything 3) calls sky is NaN and enters no '
        'fit; off: its depth stands there too.',
        choices=('auto', 'off'),
        runtime=True,
    )


@dataclass(frozen=True)
class CloudConfig:
    """The point cloud."""

    stride: int = param(
        1, 'Keep every n-th row and column.', unit='px', minimum=1, maximum=64, runtime=True
    )
    organized: bool = param(
        True,
        'Keep image order with NaN for invalid; false drops invalid points (height 1, dense).',
        runtime=True,
    )
    rate: float = param(
        0.0,
        'Most clouds (and scans) per second of image time; 0 gives one for each image.',
        unit='Hz',
        minimum=0.0,
        maximum=1000.0,
        runtime=True,
    )
    frame: str = param(
        '',
        'TF frame that the cloud is published in, such as base_link; empty is the image\'s own. '
        'Where TF does not say how to get there, no cloud is published.',
    )
    voxel: float = param(
        0.0,
        'Edge of the cubes of which each gives one point, the mean of its points weighted by '
        '1 / stddev^2 (height 1, dense); 0 keeps all points.',
        unit='m',
        minimum=0.0,
        maximum=100.0,
        runtime=True,
    )
    max_range: float = param(
        0.0,
        'Points farther from the camera than this are left out; 0 keeps all up to depth.max.',
        unit='m',
        minimum=0.0,
        maximum=10000.0,
        runtime=True,
    )
    max_stddev: float = param(
        0.0,
        'Points less sure than this are left out; 0 keeps all.',
        unit='m',
        minimum=0.0,
        maximum=1e4,
        runtime=True,
    )
    outlier_radius: float = param(
        0.0,
        'Points of which fewer than two of the eight around them in the image are within this '
        'depth are left out; 0 keeps all.',
        unit='m',
        minimum=0.0,
        maximum=100.0,
        runtime=True,
    )
    stddev: bool = param(
        False, 'Add a float32 field "stddev" in metres.', runtime=True
    )
    edge_threshold: float = param(
        0.05,
        'Ramps between two surfaces are flying pixels and become NaN where inverse depth changes '
        'by more than 4 px times this, however soft the network draws them; 0 keeps all.',
        unit='1/px',
        minimum=0.0,
        maximum=10.0,
        runtime=True,
    )


@dataclass(frozen=True)
class ScanConfig:
    """The level scan, of the same points as the cloud (cloud.rate, max_range ...)."""

    frame: str = param(
        '',
        'TF frame in whose x-y plane depth/scan lies, with z up, such as base_link; empty is no '
        'scan.',
    )
    min_height: float = param(
        0.1,
        'Lowest point that counts, above the origin of the frame.',
        unit='m',
        minimum=-1000.0,
        maximum=1000.0,
        runtime=True,
    )
    max_height: float = param(
        1.0,
        'Highest point that counts, above the origin of the frame.',
        unit='m',
        minimum=-1000.0,
        maximum=1000.0,
        runtime=True,
    )
    min_range: float = param(
        0.1,
        'Nearest point that counts, from the origin of the frame.',
        unit='m',
        minimum=0.0,
        maximum=1e4,
        runtime=True,
    )
    max_range: float = param(
        20.0,
        'Farthest point that counts, from the origin of the frame.',
        unit='m',
        minimum=0.1,
        maximum=1e4,
        runtime=True,
    )
    angle_increment: float = param(
        0.00872665,
        'Between two directions; a full turn is divided evenly (0.00872665 is half a degree).',
        unit='rad',
        minimum=1e-4,
        maximum=1.0,
        runtime=True,
    )


@dataclass(frozen=True)
class Config:
    """All parameters of the node."""

    cameras: tuple[str, ...] = param(
        (),
        'Names of several cameras that share the network and the sensors, as [front, left]: each '
        'has its topics under its name, front/image to front/depth/points, and its own '
        'front.camera.mask and the like (docs/cameras.md); empty is one camera without a name.',
    )
    image_transport: str = param(
        'raw',
        'raw subscribes to the image topic, compressed to that topic + /compressed.',
        choices=('raw', 'compressed'),
    )
    autostart: bool = param(
        True, 'Configure and activate by itself; false waits for a lifecycle manager.'
    )
    max_age: float = param(
        0.0,
        'Drop images that are older than this when their turn comes, or as far in the future; '
        '0 keeps all (bags have old stamps).',
        unit='s',
        minimum=0.0,
        maximum=1e9,
        runtime=True,
    )
    model: ModelConfig = field(default_factory=ModelConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    camera: CameraConfig = field(default_factory=CameraConfig)
    scale: ScaleConfig = field(default_factory=ScaleConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    depth: DepthConfig = field(default_factory=DepthConfig)
    cloud: CloudConfig = field(default_factory=CloudConfig)
    scan: ScanConfig = field(default_factory=ScanConfig)


@dataclass(frozen=True)
class Parameter:
    """One leaf of the configuration: its dotted name, value and the metadata of `param`."""

    name: str
    value: Any
    description: str
    unit: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    several: bool
    runtime: bool
    per_camera: bool


def parameters(config: Any = Config(), prefix: str = '') -> list[Parameter]:
    """List all parameters of a configuration, depth first, in order of declaration."""
    found: list[Parameter] = []
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            found += parameters(value, f'{prefix}{item.name}.')
        else:
            found.append(Parameter(prefix + item.name, value, **item.metadata))
    return found


def with_values(config: Config, values: dict[str, Any]) -> Config:
    """Return a copy of the configuration with some parameters replaced and everything checked.

    Args:
        config: the configuration to start from.
        values: dotted name -> new value; an int is accepted where a float is declared.

    Raises:
        ConfigError: a name is unknown, a type or range is wrong, or parameters contradict.
    """
    declared = {parameter.name: parameter for parameter in parameters()}
    changed: Any = config
    for name, value in values.items():
        if name not in declared:
            raise ConfigError(f'unknown parameter "{name}"; config/depth_anything.yaml lists all')
        changed = _replace_at(changed, name.split('.'), _checked(declared[name], value))
    _check_together(changed)
    result: Config = changed
    return result


def _replace_at(node: Any, path: list[str], value: Any) -> Any:
    head, *rest = path
    return replace(node, **{head: _replace_at(getattr(node, head), rest, value) if rest else value})


def _checked(parameter: Parameter, value: Any) -> Any:
    name, kind = parameter.name, type(parameter.value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if parameter.value == ():
        return _checked_names(name, value)
    if kind is tuple:
        try:
            numbers = tuple(float(x) for x in value)
        except (TypeError, ValueError):
            numbers = ()
        if len(numbers) != len(parameter.value) or not all(map(math.isfinite, numbers)):
            raise ConfigError(
                f'{name} must be {len(parameter.value)} finite numbers, got {value!r}'
            )
        return numbers
    if type(value) is not kind:
        raise ConfigError(f'{name} must be {kind.__name__}, got {value!r}')
    if parameter.choices:
        chosen = [x.strip() for x in value.split(',')] if parameter.several else [value]
        alone = len(chosen) == 1 or not {'auto', 'none'} & set(chosen)
        if not (alone and set(chosen) <= set(parameter.choices)):
            or_more = ' (or more, with commas between)' if parameter.several else ''
            raise ConfigError(
                f'{name} must be one of {", ".join(parameter.choices)}{or_more}, got "{value}"'
            )
        return ','.join(chosen)
    if kind in (int, float):
        low = -math.inf if parameter.minimum is None else parameter.minimum
        high = math.inf if parameter.maximum is None else parameter.maximum
        if not (math.isfinite(value) and low <= value <= high):
            raise ConfigError(f'{name} must be in [{low:g}, {high:g}], got {value}')
    return value


def _checked_names(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(x, str) for x in value):
        raise ConfigError(f'{name} must be a list of names such as [front, left], got {value!r}')
    for each in value:
        if re.fullmatch(_NAME, each) is None:
            raise ConfigError(
                f'{name}: {each!r} names no camera: its topics and parameters begin with the name, '
                'so take letters, digits and _, a letter first, 64 at most'
            )
        if value.count(each) > 1:
            raise ConfigError(f'{name} has {each!r} twice: give each camera a name of its own')
    return tuple(value)


def _check_together(config: Config) -> None:
    if config.model.input_size % 14:
        raise ConfigError(
            f'model.input_size must be a multiple of 14 (or 0), got {config.model.input_size}'
        )
    if config.depth.min >= config.depth.max:
        raise ConfigError(
            f'depth.min ({config.depth.min}) must be less than depth.max ({config.depth.max})'
        )
    if config.scale.min_range >= config.scale.max_range:
        raise ConfigError(
            f'scale.min_range ({config.scale.min_range}) must be less than '
            f'scale.max_range ({config.scale.max_range})'
        )
    low, high = config.scan.min_height, config.scan.max_height
    if low >= high:
        raise ConfigError(f'scan.min_height ({low}) must be less than scan.max_height ({high})')
    near, far = config.scan.min_range, config.scan.max_range
    if near >= far:
        raise ConfigError(f'scan.min_range ({near}) must be less than scan.max_range ({far})')
    reach_m = min(config.cloud.max_range or config.depth.max, config.depth.max)
    if 0 < config.cloud.voxel < reach_m * FINEST_VOXEL:
        raise ConfigError(
            f'cloud.voxel ({config.cloud.voxel}) must be at least {reach_m * FINEST_VOXEL:g} where '
            f'points are up to {reach_m:g} m away: raise it, or lower cloud.max_range'
        )
    quaternion = config.scale.T_camera_sensor[3:]
    norm = math.sqrt(sum(x * x for x in quaternion))
    if any(config.scale.T_camera_sensor) and abs(norm - 1.0) > 1e-2:
        raise ConfigError(
            f'scale.T_camera_sensor must end in a unit quaternion qx qy qz qw, got norm {norm:.3f}'
        )
