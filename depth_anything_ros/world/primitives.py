# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the world is made of: unit shapes under a scale, a turn about the vertical and a shift.

World frame: x forward, y left, z up (REP 103), metres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
import math

import numpy as np
import torch


class Shape(IntEnum):
    """Unit shapes; each fills [-1, 1] in all three local axes."""

    BOX = 0
    WEDGE = 1  # a box whose top is narrower than its foot, by `taper` in x and y
    ELLIPSOID = 2
    CYLINDER = 3  # upright, closed at both ends


class Semantic(IntEnum):
    """Semantic classes of the world."""

    SKY = 0
    GROUND = 1
    PAVEMENT = 2
    BUILDING = 3
    CEILING = 4
    VEHICLE = 5
    PERSON = 6
    VEGETATION = 7
    POLE = 8
    OBJECT = 9


class Pattern(IntEnum):
    """How a material mixes its two colours over a surface."""

    PLAIN = 0
    CHECKER = 1
    BRICK = 2
    WINDOWS = 3
    STRIPES = 4
    LANES = 5
    TILES = 6
    FOLIAGE = 7


@dataclass(frozen=True)
class Material:
    """Surface look: two colours (RGB, 0 to 1), a pattern with its period in metres, and noise."""

    colour: tuple[float, float, float]
    second: tuple[float, float, float] = (0.5, 0.5, 0.5)
    pattern: Pattern = Pattern.PLAIN
    period_m: float = 1.0
    noise: float = 0.2
    noise_period_m: float = 2.0


@dataclass(frozen=True)
class Primitives:
    """N primitives as tensors, each row one shape.

    Attributes:
        shape: (N,) int64, values of Shape.
        centre_m: (N, 3) float32, world frame.
        half_size_m: (N, 3) float32, along the local axes.
        yaw_rad: (N,) float32, about world z.
        taper: (N, 2) float32, share by which a wedge's top is narrower in local x and y.
        semantic: (N,) int64, values of Semantic.
        colours: (N, 2, 3) float32, RGB 0 to 1.
        pattern: (N,) int64, values of Pattern.
        texture: (N, 4) float32: pattern period, noise strength, noise period, random offset.
    """

    shape: torch.Tensor
    centre_m: torch.Tensor
    half_size_m: torch.Tensor
    yaw_rad: torch.Tensor
    taper: torch.Tensor
    semantic: torch.Tensor
    colours: torch.Tensor
    pattern: torch.Tensor
    texture: torch.Tensor

    def to(self, device: torch.device | str) -> Primitives:
        """Copy to a device; the same object when it is there already."""
        if self.shape.device == torch.device(device):
            return self
        return Primitives(**{name: value.to(device) for name, value in vars(self).items()})

    def __len__(self) -> int:
        return int(self.shape.shape[0])

    def moved(self, x_m: float, y_m: float, yaw_rad: float) -> Primitives:
        """Turn all about the world's z axis, and then shift them along x and y."""
        cos, sin = math.cos(yaw_rad), math.sin(yaw_rad)
        x, y, z = self.centre_m.unbind(dim=1)
        centre_m = torch.stack([cos * x - sin * y + x_m, sin * x + cos * y + y_m, z], dim=1)
        return replace(self, centre_m=centre_m, yaw_rad=self.yaw_rad + yaw_rad)

    @staticmethod
    def together(parts: Sequence[Primitives]) -> Primitives:
        """Return the primitives of all parts, in their order."""
        names = vars(parts[0])
        return Primitives(**{n: torch.cat([getattr(part, n) for part in parts]) for n in names})


@dataclass
class Builder:
    """Collects primitives one by one and turns them into tensors."""

    rng: np.random.Generator
    rows: list[tuple[object, ...]] = field(default_factory=list)

    def add(
        self,
        shape: Shape,
        centre_m: tuple[float, float, float],
        half_size_m: tuple[float, float, float],
        material: Material,
        semantic: Semantic,
        yaw_rad: float = 0.0,
        taper: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """Add one primitive; centre and half sizes in metres, world frame."""
        texture = (material.period_m, material.noise, material.noise_period_m,
                   float(self.rng.uniform(0, 100)))
        self.rows.append((int(shape), centre_m, half_size_m, yaw_rad, taper, int(semantic),
                          (material.colour, material.second), int(material.pattern), texture))

    def stand(
        self,
        shape: Shape,
        foot_m: tuple[float, float, float],
        size_m: tuple[float, float, float],
        material: Material,
        semantic: Semantic,
        yaw_rad: float = 0.0,
        taper: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """Add one primitive by the centre of its foot and its full size in metres."""
        x, y, z = foot_m
        half = (size_m[0] / 2, size_m[1] / 2, size_m[2] / 2)
        self.add(shape, (x, y, z + half[2]), half, material, semantic, yaw_rad, taper)

    def build(self) -> Primitives:
        """Return everything added so far as tensors on the CPU."""
        shape, centre, half, yaw, taper, semantic, colours, pattern, texture = zip(*self.rows)

        def real(values: object) -> torch.Tensor:
            return torch.from_numpy(np.asarray(values, dtype=np.float32))

        def whole(values: object) -> torch.Tensor:
            return torch.from_numpy(np.asarray(values, dtype=np.int64))

        return Primitives(whole(shape), real(centre), real(half), real(yaw), real(taper),
                          whole(semantic), real(colours), whole(pattern), real(texture))
