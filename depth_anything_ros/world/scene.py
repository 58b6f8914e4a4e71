# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Random scenes: streets, rooms and corridors, the same for the same seed.

World frame: x forward along the street or corridor, y left, z up (REP 103), metres.
"""

from __future__ import annotations

from dataclasses import dataclass
import math

import numpy as np
import torch

from depth_anything_ros.errors import DepthAnythingError
from depth_anything_ros.world import objects
from depth_anything_ros.world.objects import any_material, grey, leaf, vivid
from depth_anything_ros.world.primitives import (
    Builder,
    Material,
    Pattern,
    Primitives,
    Semantic,
    Shape,
)

KINDS = ('street', 'room', 'corridor')


@dataclass(frozen=True)
class Light:
    """The lamp of a room or the sun of a street (a lamp very far away).

    Attributes:
        position_m: world frame.
        strength: share of direct light; 0 is an overcast day without shadows.
        ambient: light from everywhere.
        reach_m: distance over which a lamp loses half its light; infinite for the sun.
        colour: RGB of the direct light.
    """

    position_m: tuple[float, float, float]
    strength: float
    ambient: float
    reach_m: float
    colour: tuple[float, float, float]


@dataclass(frozen=True)
class Sky:
    """Colours (RGB 0 to 1), cloud cover (0 to 1) and the haze over a hundred metres."""

    horizon: tuple[float, float, float]
    zenith: tuple[float, float, float]
    clouds: float
    haze_per_m: float


@dataclass(frozen=True)
class Scene:
    """Everything that can be seen, and where a camera may be.

    Attributes:
        kind: street, room or corridor.
        seed: what it was drawn from.
        primitives: the shapes.
        light: sun or lamp.
        sky: sky colours and haze.
        free_m: x_min, x_max, y_min, y_max of where a camera may be placed, world frame.
        lane_m: y of the line kept free of obstacles along all of free_m's x, and its half width.
        camera_height_m: usual height of a camera.
        speed_m_s: usual forward speed.
    """

    kind: str
    seed: int
    primitives: Primitives
    light: Light
    sky: Sky
    free_m: tuple[float, float, float, float]
    lane_m: tuple[float, float]
    camera_height_m: float
    speed_m_s: float

    def clearance_m(self, point_m: torch.Tensor) -> float:
        """Distance from a point in the world to the nearest primitive's bounding box, metres."""
        p = self.primitives
        offset = point_m.to(p.centre_m) - p.centre_m
        cos, sin = torch.cos(p.yaw_rad), torch.sin(p.yaw_rad)
        local = torch.stack([cos * offset[:, 0] + sin * offset[:, 1],
                             cos * offset[:, 1] - sin * offset[:, 0], offset[:, 2]], dim=-1)
        outside = (local.abs() - p.half_size_m).clamp(min=0)
        return float(outside.norm(dim=-1).min())


def random_scene(seed: int, kind: str | None = None) -> Scene:
    """Draw a scene.

    Args:
        seed: any non-negative integer; the same seed and kind give the same scene.
        kind: 'street', 'room', 'corridor', or None to draw one (three in five are streets).

    Returns:
        The scene, on the CPU.

    Raises:
        DepthAnythingError: the kind is unknown.
    """
    rng = np.random.default_rng(seed)
    drawn = str(rng.choice(KINDS, p=[0.6, 0.25, 0.15]))
    kind = drawn if kind is None else kind
    if kind == 'street':
        return _street(seed, rng)
    if kind == 'room':
        return _room(seed, rng)
    if kind == 'corridor':
        return _corridor(seed, rng)
    raise DepthAnythingError(f"unknown scene kind '{kind}': use one of {', '.join(KINDS)}")


def _facade(rng: np.random.Generator) -> Material:
    pattern = Pattern(int(rng.choice([0, 2, 3, 3, 3, 4, 6])))
    wall = grey(rng, 0.15, 0.9, 0.15)
    pane = grey(rng, 0.02, 0.3) if rng.random() < 0.75 else grey(rng, 0.5, 0.95)
    period = {Pattern.BRICK: 0.5, Pattern.STRIPES: 1.0}.get(pattern, rng.uniform(1.5, 4))
    return Material(wall, pane, pattern, period, rng.uniform(0.05, 0.35), rng.uniform(1, 8))


def _building(b: Builder, x: float, y: float, length: float, depth: float, height: float) -> None:
    rng = b.rng
    wall = _facade(rng)
    b.stand(Shape.BOX, (x, y, 0), (length, depth, height), wall, Semantic.BUILDING)
    if rng.random() < 0.4:
        roof = Material(grey(rng, 0.05, 0.5, 0.25), grey(rng), Pattern.STRIPES, 0.4, 0.3)
        along = rng.random() < 0.5
        b.stand(Shape.WEDGE, (x, y, height), (length * 1.05, depth * 1.08, rng.uniform(1, 4)),
                roof, Semantic.BUILDING, 0.0, (0.0, 0.95) if along else (0.95, 0.1))
    elif rng.random() < 0.5:
        b.stand(Shape.BOX, (x, y, height), (length * 1.03, depth * 1.05, 0.4),
                Material(grey(rng)), Semantic.BUILDING)
    side = -math.copysign(1, y)  # towards the street
    face = y + side * depth / 2
    for _ in range(int(rng.integers(0, 4))):  # doors, garages, shop windows, balconies, columns
        dx = rng.uniform(-0.4, 0.4) * length
        kind = rng.random()
        if kind < 0.6:
            b.stand(Shape.BOX, (x + dx, face, 0), (rng.uniform(0.9, 4), 0.16, rng.uniform(2, 3)),
                    Material(grey(rng, 0.02, 0.7, 0.3), grey(rng), Pattern.STRIPES, 0.3),
                    Semantic.BUILDING)
        elif kind < 0.8:
            b.stand(Shape.BOX, (x + dx, face + side * 0.5, rng.uniform(2.6, max(2.7, height - 1))),
                    (rng.uniform(1.5, 5), 1.2, rng.uniform(0.15, 1)), Material(grey(rng)),
                    Semantic.BUILDING)
        else:
            b.stand(Shape(int(rng.choice([0, 3]))), (x + dx, face + side * 1.0, 0),
                    (rng.uniform(0.4, 1), 0.6, height * rng.uniform(0.4, 1)),
                    Material(grey(rng)), Semantic.BUILDING)


def _edge(b: Builder, x: float, y: float, length: float) -> None:
    """A stretch of fence, wall, hedge, guard rail or barrier along x."""
    rng = b.rng
    kind = int(rng.integers(0, 5))
    if kind == 0:  # wall or close fence
        b.stand(Shape.BOX, (x, y, 0), (length, 0.2, rng.uniform(0.8, 3)),
                Material(grey(rng, 0.1, 0.9, 0.2), grey(rng), Pattern(int(rng.choice([0, 2, 4]))),
                         rng.uniform(0.15, 0.6), 0.3), Semantic.BUILDING)
    elif kind == 1:  # hedge
        colour = leaf(rng)
        dark = (colour[0] * 0.3, colour[1] * 0.3, colour[2] * 0.3)
        b.stand(Shape.BOX, (x, y, 0), (length, rng.uniform(0.6, 1.5), rng.uniform(0.7, 2.5)),
                Material(colour, dark, Pattern.FOLIAGE, 0.4, 0.5), Semantic.VEGETATION)
    elif kind == 2:  # guard rail on posts
        steel = Material(grey(rng, 0.4, 0.8), noise=0.15)
        b.stand(Shape.BOX, (x, y, 0.45), (length, 0.08, 0.32), steel, Semantic.OBJECT)
        for i in range(int(length / 4)):
            b.stand(Shape.BOX, (x - length / 2 + 4 * i, y, 0), (0.1, 0.12, 0.6), steel,
                    Semantic.OBJECT)
    elif kind == 3:  # concrete or plastic barrier in pieces
        b.stand(Shape.WEDGE, (x, y, 0), (length, 0.6, rng.uniform(0.7, 1.1)),
                Material(vivid(rng), grey(rng, 0.6, 0.95), Pattern.STRIPES, 2.0, 0.2),
                Semantic.OBJECT, 0.0, (0.0, 0.6))
    else:  # bushes
        for i in range(int(length / 2)):
            objects.bush(b, x - length / 2 + 2 * i, y, rng.uniform(0.6, 2.2))


def _street(seed: int, rng: np.random.Generator) -> Scene:
    b = Builder(rng)
    lane_width = rng.uniform(2.8, 4.0)
    lanes = int(rng.integers(1, 5))
    road = lane_width * lanes / 2 + rng.uniform(0, 2.5)  # half width
    # The camera's lane has its centre on y = 0; the road's centre is elsewhere.
    middle = (lanes / 2 - 0.5 - float(rng.integers(0, lanes))) * lane_width
    left, right = middle + road, middle - road
    ground = any_material(rng, 2.0) if rng.random() < 0.15 else Material(
        leaf(rng) if rng.random() < 0.6 else grey(rng, 0.1, 0.6, 0.15), grey(rng),
        Pattern.PLAIN, 1, rng.uniform(0.2, 0.6), rng.uniform(1, 8))
    b.stand(Shape.BOX, (0, 0, -2.05), (2400, 2400, 2), ground, Semantic.GROUND)
    asphalt = Material(grey(rng, 0.06, 0.55, 0.05), grey(rng, 0.6, 0.95),
                       Pattern.LANES if rng.random() < 0.75 else Pattern.PLAIN, lane_width,
                       rng.uniform(0.05, 0.35), rng.uniform(0.5, 8))
    b.stand(Shape.BOX, (0, middle, -1), (800, 2 * road, 1), asphalt, Semantic.GROUND)
    for side, edge in ((1, left), (-1, right)):
        _roadside(b, side, edge, (left, right))
    if rng.random() < 0.5:  # something closes the street far away
        for end in (-1, 1):
            x = end * rng.uniform(90, 200)
            if rng.random() < 0.5:
                _building(b, x, rng.uniform(-20, 20) or 1, 15, rng.uniform(30, 80),
                          rng.uniform(6, 30))
            else:
                colour = leaf(rng)
                for _ in range(8):
                    radius = rng.uniform(4, 9)
                    b.add(Shape.ELLIPSOID, (x, rng.uniform(-60, 60), radius * 0.5),
                          (radius, radius * 1.5, radius * 0.9),
                          Material(colour, (0.02, 0.03, 0.01), Pattern.FOLIAGE, 1.5, 0.6),
                          Semantic.VEGETATION)
    _traffic(b, lane_width, middle, lanes)
    if rng.random() < 0.12:  # a bridge over the street
        x, deck = rng.uniform(-50, 70), Material(grey(rng, 0.2, 0.8), noise=0.3)
        b.stand(Shape.BOX, (x, middle, rng.uniform(4.5, 9)), (rng.uniform(3, 20), 80, 1.5), deck,
                Semantic.BUILDING)
        for y in (left + 1.5, right - 1.5):
            b.stand(Shape(int(rng.choice([0, 3]))), (x, y, 0), (1.5, 1.5, 8), deck,
                    Semantic.BUILDING)
    elevation, azimuth = rng.uniform(0.25, 1.4), rng.uniform(-math.pi, math.pi)
    sun = (500 * math.cos(elevation) * math.cos(azimuth),
           500 * math.cos(elevation) * math.sin(azimuth), 500 * math.sin(elevation))
    strength = 0.0 if rng.random() < 0.2 else float(rng.uniform(0.3, 1.5))
    light = Light(sun, strength, float(rng.uniform(0.25, 0.7)), math.inf,
                  (1.0, float(rng.uniform(0.85, 1.0)), float(rng.uniform(0.7, 1.0))))
    white = rng.uniform(0.6, 1.3)
    zenith = (white * rng.uniform(0.3, 1), white * rng.uniform(0.55, 1), white)
    sky = Sky((white, white, white), zenith, float(rng.uniform(0, 1)),
              float(10 ** rng.uniform(-4, -1.9)))
    return Scene('street', seed, b.build(), light, sky, (-60, 60, right + 0.5, left - 0.5),
                 (0.0, 1.3), float(rng.uniform(1.3, 1.9)), float(rng.uniform(3, 8)))


def _roadside(b: Builder, side: int, edge: float, road: tuple[float, float]) -> None:
    """Pavement, verge, buildings and what stands about, on one side of the road."""
    rng = b.rng
    walk = 0.0 if rng.random() < 0.2 else rng.uniform(1, 5)
    if walk > 0:
        kerb = rng.uniform(0.03, 0.18)
        stone = Material(grey(rng, 0.2, 0.8, 0.1), grey(rng, 0.1, 0.6),
                         Pattern(int(rng.choice([0, 2, 6, 6]))), rng.uniform(0.3, 1.2), 0.25)
        b.stand(Shape.BOX, (0, edge + side * walk / 2, -1), (800, walk, 1 + kerb), stone,
                Semantic.PAVEMENT)
        b.stand(Shape.BOX, (0, edge + side * 0.08, -1), (800, 0.18, 1.005 + kerb),
                Material(grey(rng), grey(rng), Pattern(int(rng.choice([0, 0, 4]))), 2.0, 0.2),
                Semantic.PAVEMENT)
    setback = edge + side * (walk + (0 if rng.random() < 0.3 else rng.uniform(0, 18)))
    open_land = rng.random() < 0.2
    gap_x, gap = rng.uniform(-60, 80), rng.uniform(6, 25)  # a side street
    x = rng.uniform(-110, -95)
    tall = rng.uniform(3, 10) if rng.random() < 0.6 else rng.uniform(8, 40)
    while x < 130:
        length = rng.uniform(6, 28)
        centre = x + length / 2
        if not open_land and abs(centre - gap_x) > gap / 2 + length / 2 and rng.random() < 0.8:
            depth, height = rng.uniform(7, 15), max(2.8, tall * rng.uniform(0.6, 1.4))
            shift = rng.uniform(0, 3)
            _building(b, centre, setback + side * (depth / 2 + shift), length, depth, height)
        elif rng.random() < 0.7:
            for _ in range(int(rng.integers(1, 4))):
                objects.tree(b, centre + rng.uniform(-0.5, 0.5) * length,
                             setback + side * rng.uniform(2, 14))
        x += length + (rng.uniform(0, 8) if rng.random() < 0.4 else 0)
    beside = edge + side * (walk + 0.3)
    if rng.random() < 0.6:
        for _ in range(int(rng.integers(1, 4))):
            _edge(b, rng.uniform(-50, 70), beside + side * rng.uniform(0, 1.5),
                  rng.uniform(5, 40))
    furniture = edge + side * rng.uniform(0.3, max(0.4, walk - 0.3))
    if rng.random() < 0.6:
        step, at = rng.uniform(8, 30), rng.uniform(-80, -60)
        trees = rng.random() < 0.5
        while at < 100:
            if trees:
                objects.tree(b, at, furniture)
            else:
                objects.lamp_post(b, at, furniture, -side * math.pi / 2)
            at += step * rng.uniform(0.8, 1.2)
    for _ in range(int(rng.integers(0, 8))):
        at, y = rng.uniform(-50, 70), edge + side * rng.uniform(0.2, walk + 3)
        pick = rng.random()
        if pick < 0.35:
            objects.person(b, at, y, rng.uniform(-math.pi, math.pi))
        elif pick < 0.5:
            objects.sign(b, at, y, rng.uniform(-0.4, 0.4))
        elif pick < 0.7:
            objects.bush(b, at, y, rng.uniform(0.4, 2))
        else:
            objects.clutter(b, at, y, rng.uniform(0.4, 1.8))


def _traffic(b: Builder, lane_width: float, middle: float, lanes: int) -> None:
    """Cars in the lanes and at the kerbs; the lane on y = 0 stays free over free_m."""
    rng = b.rng
    for lane in range(lanes):
        y = middle + (lane + 0.5 - lanes / 2) * lane_width
        own = abs(y) < 0.5
        x = rng.uniform(66, 90) if own else rng.uniform(-90, -40)
        while x < 140:
            if rng.random() < 0.75:
                yaw = rng.normal(0, 0.03) + (math.pi if y > 0.5 else 0)
                build = objects.truck if rng.random() < 0.2 else objects.car
                build(b, x, y + rng.normal(0, 0.15), yaw)
            x += rng.uniform(9, 60)
    for side in (-1, 1):
        spare = abs(middle + side * lane_width * lanes / 2)  # outermost marking
        if rng.random() < 0.5 and spare + 1.1 > 2.4:
            x = rng.uniform(-90, -70)
            while x < 90:
                if rng.random() < 0.7:
                    objects.car(b, x, middle + side * (lane_width * lanes / 2 + 1.1),
                                rng.normal(0, 0.05) + (math.pi if rng.random() < 0.3 else 0))
                x += rng.uniform(5.5, 14)


def _shell(b: Builder, x: tuple[float, float], y: tuple[float, float], height: float,
           stretch: float = 1.0) -> None:
    """Floor, ceiling and four walls around a rectangle, and what hangs on the walls."""
    rng = b.rng
    cx, cy, length, width = (x[0] + x[1]) / 2, (y[0] + y[1]) / 2, x[1] - x[0], y[1] - y[0]
    floor = Material(grey(rng, 0.1, 0.8, 0.2), grey(rng, 0.1, 0.8, 0.2),
                     Pattern(int(rng.choice([0, 1, 2, 4, 6]))), rng.uniform(0.15, 1.0), 0.3)
    b.stand(Shape.BOX, (cx, cy, -1), (length + 1, width + 1, 1), floor, Semantic.GROUND)
    ceiling = Material(grey(rng, 0.4, 0.95), grey(rng, 0.3, 0.9),
                       Pattern(int(rng.choice([0, 0, 4, 6]))), rng.uniform(0.5, 1.5), 0.1)
    b.stand(Shape.BOX, (cx, cy, height), (length + 1, width + 1, 1), ceiling, Semantic.CEILING)
    paint = Material(grey(rng, 0.2, 0.95, 0.15), grey(rng, 0.1, 0.9, 0.2),
                     Pattern(int(rng.choice([0, 0, 0, 2, 4]))), rng.uniform(0.2, 0.8), 0.15)
    at: tuple[float, float]
    size: tuple[float, float]
    for at, size in (((x[0] - 0.5, cy), (1, width + 2)), ((x[1] + 0.5, cy), (1, width + 2)),
                     ((cx, y[0] - 0.5), (length + 2, 1)), ((cx, y[1] + 0.5), (length + 2, 1))):
        wall = paint if rng.random() < 0.7 else any_material(rng, 1.0)
        b.stand(Shape.BOX, (at[0], at[1], 0), (size[0], size[1], height), wall,
                Semantic.BUILDING)
    for _ in range(int(rng.integers(2, 7) * stretch)):  # doors, windows, pictures
        along, wide = rng.random() < (0.5 if stretch == 1 else 0.95), rng.uniform(0.5, 1.6)
        door = rng.random() < 0.4
        low, tall = (0.0, 2.05) if door else (rng.uniform(0.8, 1.4), rng.uniform(0.4, 1.2))
        glow = rng.random() < 0.3
        face = Material((1.6, 1.6, 1.5) if glow else vivid(rng), vivid(rng),
                        Pattern.PLAIN if glow else Pattern(int(rng.choice([0, 1, 4]))), 0.5, 0.2)
        if along:
            at = (rng.uniform(x[0] + 1, x[1] - 1), y[int(rng.integers(0, 2))])
            size = (wide, 0.1)
        else:
            at = (x[int(rng.integers(0, 2))], rng.uniform(y[0] + 0.8, y[1] - 0.8))
            size = (0.1, wide)
        b.stand(Shape.BOX, (at[0], at[1], low), (size[0], size[1], min(tall, height - low)),
                face, Semantic.BUILDING)


def _lamp(rng: np.random.Generator, x: float, y: float, height: float) -> Light:
    return Light((x, y, height - 0.15), float(rng.uniform(0.3, 1.5)),
                 float(rng.uniform(0.2, 0.6)), float(rng.uniform(3, 12)),
                 (1.0, float(rng.uniform(0.8, 1.0)), float(rng.uniform(0.55, 1.0))))


_DARK = Sky((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 0.0, 1e-4)


def _room(seed: int, rng: np.random.Generator) -> Scene:
    b = Builder(rng)
    hall = rng.random() < 0.25
    length, width = (rng.uniform(12, 30, 2) if hall else rng.uniform(3.2, 9, 2))
    height = rng.uniform(4, 8) if hall else rng.uniform(2.3, 3.4)
    _shell(b, (0, length), (-width / 2, width / 2), height)
    free = 0.55  # half width of the lane along y = 0
    count = int(rng.integers(4, 12) * (2 if hall else 1))
    for _ in range(count):
        x = rng.uniform(0.3, length - 0.3)
        side = 1 if rng.random() < 0.5 else -1
        room = width / 2 - free - 1.1
        if room < 0.1:
            continue
        y = side * (free + 1.0 + room * rng.random() ** 0.7)
        yaw = float(rng.choice([0, 0.5, 1, 1.5])) * math.pi + rng.normal(0, 0.1)
        pick = rng.random()
        if pick < 0.25:
            objects.table(b, x, y, yaw)
        elif pick < 0.45:
            objects.chair(b, x, y, yaw)
        elif pick < 0.65:
            wall = side * (width / 2 - 0.35)
            objects.shelf(b, x, wall, math.pi / 2, min(height - 0.2, rng.uniform(0.7, 2.4)))
        elif pick < 0.75:
            objects.person(b, x, y, yaw)
        elif pick < 0.8:
            objects.bush(b, x, y, rng.uniform(0.3, 0.7))
        else:
            objects.clutter(b, x, y, rng.uniform(0.2, 1.2))
    for x in rng.uniform(0.5, length - 0.5, 2):  # against the end walls' corners
        objects.clutter(b, float(x), (width / 2 - 0.4) * float(rng.choice([-1, 1])),
                        rng.uniform(0.3, 0.7))
    light = _lamp(rng, length * rng.uniform(0.2, 0.8), width * rng.uniform(-0.3, 0.3), height)
    return Scene('room', seed, b.build(), light, _DARK,
                 (0.4, length - 0.8, -width / 2 + 0.4, width / 2 - 0.4), (0.0, free),
                 float(rng.uniform(0.4, 1.6)), 0.7)


def _corridor(seed: int, rng: np.random.Generator) -> Scene:
    b = Builder(rng)
    length, width, height = rng.uniform(8, 40), rng.uniform(1.7, 4), rng.uniform(2.3, 3.5)
    _shell(b, (0, length), (-width / 2, width / 2), height, stretch=3.0)
    free = min(0.55, width / 2 - 0.25)
    for _ in range(int(rng.integers(1, 8))):
        side = 1 if rng.random() < 0.5 else -1
        x = rng.uniform(1.5, length)
        spare = width / 2 - free
        if spare > 0.35:
            size = rng.uniform(0.2, min(0.6, spare))
            y = side * (width / 2 - size / 2)
            if rng.random() < 0.3:
                objects.person(b, x, side * (width / 2 - 0.3), rng.uniform(-3, 3))
            else:
                objects.clutter(b, x, y, size)
    step = rng.uniform(2, 5)
    if rng.random() < 0.4:  # pilasters, beams or lamps
        for i in range(int(length / step)):
            if rng.random() < 0.5:
                b.stand(Shape.BOX, (i * step, 0, height - 0.12), (0.3, width, 0.15),
                        Material((1.5, 1.5, 1.4)), Semantic.CEILING)
            for side in (-1, 1):
                b.stand(Shape.BOX, (i * step, side * width / 2, 0), (0.3, 0.3, height),
                        Material(grey(rng)), Semantic.BUILDING)
    light = _lamp(rng, length * rng.uniform(0.1, 0.9), 0.0, height)
    return Scene('corridor', seed, b.build(), light, _DARK,
                 (0.4, length - 1.0, -width / 2 + 0.35, width / 2 - 0.35), (0.0, free),
                 float(rng.uniform(0.4, 1.6)), 0.7)
