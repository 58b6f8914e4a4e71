# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Configuration dataclasses <-> ROS parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import (
    InvalidParameterTypeException,
    InvalidParameterValueException,
    ParameterException,
)
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter
from rclpy.qos import QoSPolicyKind
from rclpy.qos_overriding_options import QoSOverridingOptions

from depth_anything_ros.config import Config, Parameter, parameters, with_values
from depth_anything_ros.errors import ConfigError

QOS_OVERRIDES = QoSOverridingOptions(  # rclpy's own default leaves out durability
    (
        QoSPolicyKind.HISTORY,
        QoSPolicyKind.DEPTH,
        QoSPolicyKind.RELIABILITY,
        QoSPolicyKind.DURABILITY,
    )
)
_UNBOUNDED = 1e308
_INT_UNBOUNDED = 2**31 - 1


def declare(node: Node) -> Config:
    """Declare every parameter on the node and return the configuration that it was started with.

    Raises:
        ConfigError: an override has the wrong type or is out of range.
    """
    config = with_values(Config(), _declared(node, parameters()))
    for camera in config.cameras:
        _declared(node, _of_camera(config, camera))
        of_camera(node, config, camera)
    return config


def of_camera(node: Node, config: Config, camera: str) -> Config:
    """Return the configuration of one of several cameras: the node's, but for what is its own.

    Args:
        node: the node on which declare() was called.
        config: the one in force.
        camera: its name; empty is the one without a name.

    Raises:
        ConfigError: a parameter of the camera is wrong.
    """
    if not camera:
        return config
    own = {
        each.name.removeprefix(f'{camera}.'): _value(node, each)
        for each in _of_camera(config, camera)
    }
    try:
        return with_values(config, own)
    except ConfigError as error:
        raise ConfigError(f'{camera}.{error}') from error


def on_change(node: Node, read: Callable[[], Config], apply: Callable[[Config], None]) -> None:
    """Let the runtime-settable parameters be changed: all of a request or nothing.

    Args:
        node: the node on which declare() was called.
        read: returns the configuration in force.
        apply: takes the new one, checked as a whole.
    """
    names = {each.name for each in parameters()}

    def check(changes: list[RosParameter]) -> SetParametersResult:
        values = {change.name: change.value for change in changes if change.name in names}
        try:
            if values:
                apply(with_values(read(), values))
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(check)


@contextmanager
def qos_overridden(topic: str) -> Iterator[None]:
    """Create a publisher or subscription with QOS_OVERRIDES inside this.

    Raises:
        ConfigError: one of its qos_overrides is wrong.
    """
    try:
        yield
    except (ParameterException, RuntimeError) as error:
        raise ConfigError(f'{topic} cannot be had as its qos_overrides say: {error}') from error


def _of_camera(config: Config, camera: str) -> list[Parameter]:
    """Return what a camera may have of its own; the node's own values are the defaults."""
    return [
        replace(each, name=f'{camera}.{each.name}')
        for each in parameters(config)
        if each.per_camera
    ]


def _declared(node: Node, wanted: list[Parameter]) -> dict[str, Any]:
    try:
        node.declare_parameters(
            '', [(each.name, _ros_value(each.value), _descriptor(each)) for each in wanted]
        )
    except (InvalidParameterTypeException, InvalidParameterValueException) as error:
        raise ConfigError(str(error)) from error
    return {each.name: _value(node, each) for each in wanted}


def _value(node: Node, parameter: Parameter) -> Any:
    value = node.get_parameter(parameter.name).value
    # A list without entries has no type in YAML, and ROS takes it for nothing at all.
    return () if value is None and parameter.value == () else value


def _ros_value(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _descriptor(parameter: Parameter) -> ParameterDescriptor:
    """Describe a parameter to `ros2 param describe` and rqt.

    Numbers are declared with dynamic typing, since people write 1 for 1.0 in YAML and on the
    command line; with_values() checks type and range instead, and says what is wrong in one line.
    """
    unit = f' [{parameter.unit}]' if parameter.unit else ''
    choices = f'One of: {", ".join(parameter.choices)}.' if parameter.choices else ''
    descriptor = ParameterDescriptor(
        description=parameter.description + unit,
        additional_constraints=choices,
        read_only=not parameter.runtime,
        dynamic_typing=isinstance(parameter.value, (float, tuple)),
    )
    bounded = parameter.minimum is not None or parameter.maximum is not None
    if bounded and isinstance(parameter.value, float):
        low, high = _bounds(parameter, _UNBOUNDED)
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    elif bounded and isinstance(parameter.value, int):
        low, high = _bounds(parameter, _INT_UNBOUNDED)
        descriptor.integer_range = [
            IntegerRange(from_value=int(low), to_value=int(high), step=1)
        ]
    return descriptor


def _bounds(parameter: Parameter, unbounded: float) -> tuple[float, float]:
    low = -unbounded if parameter.minimum is None else parameter.minimum
    high = unbounded if parameter.maximum is None else parameter.maximum
    return float(low), float(high)
