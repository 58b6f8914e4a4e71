# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Things that stand in the world, each built from a few primitives."""

from __future__ import annotations

import math

import numpy as np

from depth_anything_ros.world.primitives import Builder, Material, Pattern, Semantic, Shape

Colour = tuple[float, float, float]


def grey(rng: np.random.Generator, low: float = 0.05, high: float = 0.9, tint: float = 0.06
         ) -> Colour:
    """Draw a nearly grey colour."""
    value = rng.uniform(low, high)
    r, g, b = np.clip(value * (1 + rng.normal(0, tint, 3)), 0.01, 1.0)
    return float(r), float(g), float(b)


def vivid(rng: np.random.Generator) -> Colour:
    """Draw any colour."""
    r, g, b = rng.uniform(0.02, 0.95, 3)
    return float(r), float(g), float(b)


def leaf(rng: np.random.Generator) -> Colour:
    """Draw the colour of leaves or grass, from fresh to dry."""
    value = rng.uniform(0.06, 0.4)
    red, blue = rng.uniform(0.55, 1.1), rng.uniform(0.2, 0.6)
    return float(value * red), float(value), float(value * blue)


def any_material(rng: np.random.Generator, period_m: float = 0.5) -> Material:
    """Draw a material without regard to what it is for."""
    first = vivid(rng) if rng.random() < 0.6 else grey(rng)
    second = vivid(rng) if rng.random() < 0.5 else grey(rng)
    pattern = Pattern.PLAIN if rng.random() < 0.5 else Pattern(int(rng.integers(1, 8)))
    return Material(first, second, pattern, period_m * rng.uniform(0.3, 2), rng.uniform(0, 0.6),
                    period_m * rng.uniform(0.5, 6))


def _turned(x: float, y: float, yaw: float, dx: float, dy: float) -> tuple[float, float]:
    cos, sin = math.cos(yaw), math.sin(yaw)
    return x + cos * dx - sin * dy, y + sin * dx + cos * dy


def car(b: Builder, x: float, y: float, yaw: float) -> None:
    """A passenger car: lower body, tapered cabin of dark glass, roof, four wheels, lights."""
    rng = b.rng
    length, width = rng.uniform(3.6, 5.0), rng.uniform(1.65, 1.95)
    belt, top = rng.uniform(0.75, 1.0), rng.uniform(1.38, 1.85)
    paint = Material(grey(rng, 0.02, 0.95) if rng.random() < 0.65 else vivid(rng), noise=0.05)
    glass = Material(grey(rng, 0.02, 0.25), noise=0.3, noise_period_m=4)
    dark = Material(grey(rng, 0.01, 0.06))
    clear = rng.uniform(0.15, 0.28)
    b.stand(Shape.WEDGE, (x, y, clear), (length, width, belt - clear), paint, Semantic.VEHICLE,
            yaw, (0.04, 0.08))
    back = rng.uniform(-0.12, 0.02) * length
    share = rng.uniform(0.55, 0.85)
    cx, cy = _turned(x, y, yaw, back, 0)
    taper = (rng.uniform(0.15, 0.4), rng.uniform(0.12, 0.25))
    b.stand(Shape.WEDGE, (cx, cy, belt), (share * length, width * 0.93, top - belt), glass,
            Semantic.VEHICLE, yaw, taper)
    b.stand(Shape.WEDGE, (cx, cy, top - 0.06),
            (share * length * (1 - taper[0]) * 1.02, width * 0.93 * (1 - taper[1]) * 1.02, 0.09),
            paint, Semantic.VEHICLE, yaw, (0.1, 0.1))
    radius = rng.uniform(0.29, 0.37)
    for dx in (-0.31 * length, 0.31 * length):
        for dy in (-width / 2 + 0.08, width / 2 - 0.08):
            wx, wy = _turned(x, y, yaw, dx, dy)
            b.add(Shape.ELLIPSOID, (wx, wy, radius), (radius, 0.16, radius), dark,
                  Semantic.VEHICLE, yaw)
    light = Material((0.7, 0.05, 0.04) if rng.random() < 0.7 else (0.9, 0.9, 0.85), noise=0)
    for dx in (-length / 2, length / 2):
        lx, ly = _turned(x, y, yaw, dx, 0)
        b.stand(Shape.BOX, (lx, ly, belt - 0.28), (0.12, width * 0.9, 0.12),
                light if rng.random() < 0.6 else dark, Semantic.VEHICLE, yaw)


def truck(b: Builder, x: float, y: float, yaw: float) -> None:
    """A bus, van or lorry: a tall box, perhaps with a cab in front."""
    rng = b.rng
    length, width, height = rng.uniform(4.5, 12), rng.uniform(1.9, 2.55), rng.uniform(2.0, 3.6)
    paint = Material(grey(rng, 0.1, 0.95) if rng.random() < 0.6 else vivid(rng), vivid(rng),
                     Pattern(int(rng.choice([0, 0, 3, 4]))), rng.uniform(0.8, 2), 0.1)
    dark = Material(grey(rng, 0.01, 0.08))
    b.stand(Shape.BOX, (x, y, 0.45), (length, width, height - 0.45), paint, Semantic.VEHICLE, yaw)
    b.stand(Shape.BOX, (x, y, 0.25), (length * 0.96, width * 0.85, 0.3), dark, Semantic.VEHICLE,
            yaw)
    if rng.random() < 0.6:
        cx, cy = _turned(x, y, yaw, length / 2 + 0.9, 0)
        b.stand(Shape.WEDGE, (cx, cy, 0.4), (1.6, width * 0.95, rng.uniform(1.6, 2.3)),
                Material(vivid(rng), noise=0.1), Semantic.VEHICLE, yaw, (0.25, 0.05))
    window_x, window_y = _turned(x, y, yaw, -length / 2, 0)
    b.stand(Shape.BOX, (window_x, window_y, height * 0.55), (0.06, width * 0.8, height * 0.25),
            dark, Semantic.VEHICLE, yaw)
    for dx in (-0.33 * length, 0.36 * length):
        for dy in (-width / 2 + 0.1, width / 2 - 0.1):
            wx, wy = _turned(x, y, yaw, dx, dy)
            b.add(Shape.ELLIPSOID, (wx, wy, 0.48), (0.48, 0.2, 0.48), dark, Semantic.VEHICLE, yaw)


def person(b: Builder, x: float, y: float, yaw: float, z: float = 0.0) -> None:
    """A standing or walking person."""
    rng = b.rng
    size = rng.uniform(0.75, 1.1)
    stride = rng.uniform(0, 0.22)
    trousers, shirt = Material(grey(rng, 0.03, 0.5)), Material(vivid(rng), noise=0.3)
    skin = Material((float(rng.uniform(0.25, 0.8)), 0.4, 0.3), noise=0.05)
    for side in (-1, 1):
        lx, ly = _turned(x, y, yaw, side * stride, side * 0.1 * size)
        b.stand(Shape.CYLINDER, (lx, ly, z), (0.16 * size, 0.16 * size, 0.85 * size), trousers,
                Semantic.PERSON)
        ax, ay = _turned(x, y, yaw, -side * stride * 0.8, side * 0.26 * size)
        b.add(Shape.ELLIPSOID, (ax, ay, z + 1.12 * size), (0.07, 0.07, 0.34 * size), shirt,
              Semantic.PERSON)
    b.add(Shape.ELLIPSOID, (x, y, z + 1.15 * size), (0.16 * size, 0.24 * size, 0.38 * size),
          shirt, Semantic.PERSON, yaw)
    b.add(Shape.ELLIPSOID, (x, y, z + 1.63 * size), (0.11 * size, 0.1 * size, 0.14 * size), skin,
          Semantic.PERSON, yaw)


def tree(b: Builder, x: float, y: float, z: float = 0.0) -> None:
    """A tree: a trunk and a crown of a few leafy lumps, or one tall cone-like crown."""
    rng = b.rng
    height = rng.uniform(3.5, 13)
    trunk = Material((float(rng.uniform(0.08, 0.3)), 0.14, 0.09), noise=0.6, noise_period_m=0.5)
    colour = leaf(rng)
    dark = (colour[0] * 0.3, colour[1] * 0.3, colour[2] * 0.3)
    crown = Material(colour, dark, Pattern.FOLIAGE, rng.uniform(0.3, 1.2), 0.5)
    radius = rng.uniform(0.06, 0.28)
    b.stand(Shape.CYLINDER, (x, y, z), (2 * radius, 2 * radius, height * 0.7), trunk,
            Semantic.VEGETATION)
    spread = height * rng.uniform(0.14, 0.32)
    base = height * rng.uniform(0.3, 0.6)
    for _ in range(int(rng.integers(3, 8))):
        dx, dy = rng.normal(0, spread * 0.55, 2)
        dz = rng.uniform(base, height)
        lump = spread * rng.uniform(0.5, 1.0)
        b.add(Shape.ELLIPSOID, (x + dx, y + dy, z + dz), (lump, lump, lump * rng.uniform(0.6, 1)),
              crown, Semantic.VEGETATION)


def bush(b: Builder, x: float, y: float, size_m: float, z: float = 0.0) -> None:
    """A bush of two to four lumps; size is its height in metres."""
    rng = b.rng
    colour = leaf(rng)
    dark = (colour[0] * 0.25, colour[1] * 0.25, colour[2] * 0.25)
    material = Material(colour, dark, Pattern.FOLIAGE, rng.uniform(0.2, 0.8), 0.5)
    for _ in range(int(rng.integers(2, 5))):
        dx, dy = rng.normal(0, size_m * 0.5, 2)
        b.add(Shape.ELLIPSOID, (x + dx, y + dy, z + size_m * rng.uniform(0.2, 0.5)),
              (size_m * rng.uniform(0.5, 1), size_m * rng.uniform(0.5, 1),
               size_m * rng.uniform(0.4, 0.7)), material, Semantic.VEGETATION,
              rng.uniform(0, math.pi))


def lamp_post(b: Builder, x: float, y: float, yaw: float) -> None:
    """A lamp post with an arm over the road."""
    rng = b.rng
    height, width = rng.uniform(4, 9), rng.uniform(0.08, 0.25)
    steel = Material(grey(rng, 0.1, 0.7), noise=0.15)
    b.stand(Shape.CYLINDER, (x, y, 0), (width, width, height), steel, Semantic.POLE)
    if rng.random() < 0.7:
        ax, ay = _turned(x, y, yaw, 0.8, 0)
        b.stand(Shape.BOX, (ax, ay, height - 0.1), (1.8, 0.1, 0.1), steel, Semantic.POLE, yaw)


def sign(b: Builder, x: float, y: float, yaw: float) -> None:
    """A traffic sign or a board on a post."""
    rng = b.rng
    height, side = rng.uniform(1.8, 3.2), rng.uniform(0.4, 1.3)
    b.stand(Shape.CYLINDER, (x, y, 0), (0.07, 0.07, height), Material(grey(rng)), Semantic.POLE)
    face = Material(vivid(rng), grey(rng), Pattern(int(rng.choice([0, 1, 4]))), side / 2, 0.1)
    b.stand(Shape.BOX, (x, y, height - side), (0.07, side, side * rng.uniform(0.5, 1.2)), face,
            Semantic.POLE, yaw)


def clutter(b: Builder, x: float, y: float, size_m: float, z: float = 0.0) -> None:
    """A bin, crate, cone, ball or barrier of about the given size in metres."""
    rng = b.rng
    shape = Shape(int(rng.integers(0, 4)))
    size = tuple(float(v) for v in size_m * rng.uniform(0.4, 1.3, 3))
    taper = (float(rng.uniform(0, 1)), float(rng.uniform(0, 1)))
    b.stand(shape, (x, y, z), (size[0], size[1], size[2]), any_material(rng, size_m),
            Semantic.OBJECT, rng.uniform(0, math.pi), taper)


def table(b: Builder, x: float, y: float, yaw: float) -> None:
    """A table, now and then with something on it."""
    rng = b.rng
    length, width, height = rng.uniform(0.6, 2.0), rng.uniform(0.5, 1.0), rng.uniform(0.4, 0.95)
    wood = any_material(rng, 0.4)
    b.stand(Shape.BOX, (x, y, height - 0.05), (length, width, 0.05), wood, Semantic.OBJECT, yaw)
    for dx in (-length / 2 + 0.06, length / 2 - 0.06):
        for dy in (-width / 2 + 0.06, width / 2 - 0.06):
            lx, ly = _turned(x, y, yaw, dx, dy)
            b.stand(Shape.BOX, (lx, ly, 0), (0.06, 0.06, height - 0.05), wood, Semantic.OBJECT,
                    yaw)
    for _ in range(int(rng.integers(0, 3))):
        ox, oy = _turned(x, y, yaw, *(rng.uniform(-0.4, 0.4, 2) * (length, width)))
        clutter(b, ox, oy, rng.uniform(0.1, 0.4), height)


def chair(b: Builder, x: float, y: float, yaw: float) -> None:
    """A chair or, when wide, a sofa."""
    rng = b.rng
    sofa = rng.random() < 0.35
    width, depth = (rng.uniform(1.2, 2.4), 0.85) if sofa else (0.45, 0.45)
    seat, height = rng.uniform(0.38, 0.5), rng.uniform(0.75, 1.1)
    cloth = any_material(rng, 0.3)
    if sofa:
        b.stand(Shape.BOX, (x, y, 0.05), (depth, width, seat - 0.05), cloth, Semantic.OBJECT, yaw)
    else:
        b.stand(Shape.BOX, (x, y, seat - 0.06), (depth, width, 0.06), cloth, Semantic.OBJECT, yaw)
        for dx in (-0.19, 0.19):
            for dy in (-0.19, 0.19):
                lx, ly = _turned(x, y, yaw, dx, dy)
                b.stand(Shape.CYLINDER, (lx, ly, 0), (0.04, 0.04, seat - 0.06), cloth,
                        Semantic.OBJECT)
    bx, by = _turned(x, y, yaw, -depth / 2, 0)
    b.stand(Shape.BOX, (bx, by, seat * 0.8), (0.1 if not sofa else 0.22, width,
                                              height - seat * 0.8), cloth, Semantic.OBJECT, yaw)


def shelf(b: Builder, x: float, y: float, yaw: float, height: float) -> None:
    """A cupboard or an open shelf with boards and things on them."""
    rng = b.rng
    width, depth = rng.uniform(0.6, 2.4), rng.uniform(0.3, 0.6)
    wood = any_material(rng, 0.6)
    if rng.random() < 0.5:
        b.stand(Shape.BOX, (x, y, 0), (depth, width, height), wood, Semantic.OBJECT, yaw)
        return
    for side in (-width / 2, width / 2):
        sx, sy = _turned(x, y, yaw, 0, side)
        b.stand(Shape.BOX, (sx, sy, 0), (depth, 0.05, height), wood, Semantic.OBJECT, yaw)
    boards = int(rng.integers(2, 5))
    for i in range(boards):
        z = 0.1 + (height - 0.1) * i / boards
        b.stand(Shape.BOX, (x, y, z), (depth, width, 0.04), wood, Semantic.OBJECT, yaw)
        for _ in range(int(rng.integers(0, 3))):
            ox, oy = _turned(x, y, yaw, 0, rng.uniform(-0.4, 0.4) * width)
            clutter(b, ox, oy, rng.uniform(0.15, 0.35), z + 0.04)
