"""Vehicles, weapons, tools and gadgets."""

from __future__ import annotations

import math

import numpy as np

from flashmesh_core.mesh.canonical import Mesh

from .dice import between, chance, pick, sides, whole
from .primitives import (
    around,
    box,
    extrude,
    join,
    lathe,
    lay,
    loft,
    mirrored,
    move,
    ngon,
    prism,
    rectangle,
    rod,
    side_extrude,
    sphere,
    stacked,
    stand,
    sweep,
    taper,
    turn,
)

Rng = np.random.Generator


def _wheels(n: int, radius: float, width: float, xs: tuple[float, ...], track: float) -> list[Mesh]:
    """Pairs of wheels standing on z = 0 at the given x positions, `track` apart in y."""
    tyre = move(stand(prism(n, radius, width, z=-width / 2.0)), z=radius)
    return [move(tyre, x, s * track / 2.0) for x in xs for s in (-1, 1)]


def car(rng: Rng) -> Mesh:
    """A car: a side profile with a narrower cabin, or a pick-up or van, on four wheels."""
    length, w, r = between(rng, 1.1, 1.5), between(rng, 0.5, 0.65), between(rng, 0.12, 0.16)
    low, belt = r * 0.8, r * 0.8 + between(rng, 0.16, 0.24)
    roof, x = belt + between(rng, 0.16, 0.26), length / 2.0
    hood, boot = between(rng, 0.1, 0.3), between(rng, 0.05, 0.3)
    style = whole(rng, 0, 2)
    if style == 0:
        lower = box(length, w, belt - low, (0.0, 0.0, low))
        size = length * (1.0 - hood - boot)
        cabin = taper(size, w * 0.94, roof - belt, size * between(rng, 0.6, 0.8), w * 0.8)
        body = [lower, move(cabin, (boot - hood) * length / 2.0, 0.0, belt)]
    elif style == 1:
        a, b = x - hood * length, -x + boot * length
        nose = belt - between(rng, 0.0, 0.06)
        points = [
            (-x, low),
            (x, low),
            (x, nose),
            (a, belt),
            (a - 0.14, roof),
            (b + 0.08, roof),
            (b, belt),
            (-x, belt),
        ]
        body = [side_extrude(np.array(points), w)]
    else:
        a = x * between(rng, 0.2, 0.5)
        bed = box(x + a - 0.03, w, roof - low + between(rng, -0.2, 0.3), ((a - x) / 2.0 - 0.015, 0.0, low + 0.06))
        points = [(a, low), (x, low), (x, belt), (x - 0.1, roof), (a, roof)]
        body = [bed, side_extrude(np.array(points), w * 0.94), box(length, w * 0.6, 0.06, (0.0, 0.0, low))]
    n = pick(rng, (6, 8, 8, 10, 12))
    pieces = body + _wheels(n, r, between(rng, 0.1, 0.14), (x * 0.6, -x * 0.6), w * 0.95)
    if chance(rng, 0.5):
        pieces += mirrored(box(0.05, 0.1, 0.07, (x, w * 0.32, low + 0.06)), "y")
    if chance(rng, 0.4):
        pieces += [box(0.08, w * 0.95, 0.06, (s * x, 0.0, low)) for s in (-1, 1)]
    return join(*pieces)


def cart(rng: Rng) -> Mesh:
    """A wagon, cannon, tractor or locomotive."""
    n, style = pick(rng, (6, 8, 8, 10, 12)), whole(rng, 0, 2)
    if style == 0:
        w, d, h, r = (
            between(rng, 0.7, 1.0),
            between(rng, 0.4, 0.55),
            between(rng, 0.15, 0.3),
            between(rng, 0.16, 0.24),
        )
        floor = [box(w, d, 0.06, (0.0, 0.0, r))]
        floor += mirrored(box(w, 0.05, h, (0.0, d / 2.0 - 0.025, r + 0.06)), "y")
        floor += mirrored(box(0.05, d - 0.1, h, (w / 2.0 - 0.025, 0.0, r + 0.06)), "x")
        xs = (w * 0.3, -w * 0.3) if chance(rng, 0.5) else (0.0,)
        shafts = mirrored(box(0.45, 0.05, 0.05, (w / 2.0 + 0.2, d * 0.3, r)), "y")
        return join(*floor, *_wheels(n, r, 0.08, xs, d + 0.1), *shafts)
    if style == 1:
        r, caliber = between(rng, 0.22, 0.3), between(rng, 0.1, 0.14)
        length = between(rng, 0.7, 1.0)
        bore = [(caliber * 0.75, length), (caliber * 0.5, length), (0.0, length - 0.12)]
        barrel = lathe([(0.0, -0.05), (caliber, 0.0), (caliber * 0.75, length * 0.9), *bore], n)
        barrel = turn(lay(barrel), -between(rng, 0.05, 0.4), "y")
        trail = rod((0.1, 0.0, r), (-0.6, 0.0, 0.05), 0.06)
        return join(move(barrel, -0.2, 0.0, r + 0.12), *_wheels(n, r, 0.09, (0.0,), 0.42), trail)
    length, w, r = between(rng, 0.9, 1.2), between(rng, 0.35, 0.45), between(rng, 0.1, 0.14)
    boiler = move(lay(prism(n, w * 0.45, length * 0.62)), -length * 0.12, 0.0, 2 * r + w * 0.4)
    cab = box(length * 0.35, w, w * 1.3, (-length * 0.3, 0.0, 2 * r - 0.03))
    roof = box(length * 0.42, w * 1.15, 0.05, (-length * 0.3, 0.0, 2 * r - 0.03 + w * 1.3))
    chimney = lathe([(0.06, 0.0), (0.06, 0.2), (0.1, 0.3)], n)
    frame = box(length, w * 0.8, 0.08, (0.0, 0.0, r * 1.2))
    axles = pick(rng, ((-0.32, 0.32), (-0.34, 0.0, 0.34), (-0.34, 0.0, 0.34)))
    pieces = [boiler, cab, roof, frame, *_wheels(n, r, 0.07, tuple(length * f for f in axles), w)]
    return join(*pieces, move(chimney, length * 0.35, 0.0, 2 * r + w * 0.75))


def boat(rng: Rng) -> Mesh:
    """A rowing boat, sailing boat or ship: a lofted hull with deck, cabin or mast."""
    length, w, h = between(rng, 1.0, 1.5), between(rng, 0.35, 0.55), between(rng, 0.2, 0.35)
    stations = whole(rng, 4, 6)
    stern = between(rng, 0.5, 0.9)
    rings = []
    for k in range(stations):
        t = k / (stations - 1)
        half = w / 2.0 * (stern + (1.0 - stern) * math.sin(min(t * 2.2, 1.0) * math.pi / 2.0)) * (1.0 - t**3 * 0.97)
        sheer, keel = h + 0.12 * t * t, 0.22 * h * t**3
        x = length * (t - 0.5)
        rings.append(
            [
                (x, 0.0, keel),
                (x, half * 0.75, keel + 0.35 * h),
                (x, half, sheer),
                (x, -half, sheer),
                (x, -half * 0.75, keel + 0.35 * h),
            ]
        )
    hull = loft(np.array(rings))
    style = whole(rng, 0, 2)
    if style == 0:
        seats = [box(0.12, w * 0.8, 0.06, (x * length, 0.0, h + 0.0)) for x in (-0.25, 0.05)]
        oar = rod((0.0, w * 0.3, h + 0.08), (-0.2, w * 1.1, 0.1), 0.025)
        return join(hull, *seats, *mirrored(oar, "y"))
    if style == 1:
        tall = between(rng, 0.8, 1.3)
        sail = np.array([(-0.38 * length, 0.2), (-0.02, 0.2), (-0.02, tall * 0.95)])
        jib = np.array([(0.04, 0.2), (0.42 * length, 0.15), (0.04, tall * 0.8)])
        pieces = [hull, prism(6, 0.03, tall, z=h * 0.8), move(side_extrude(sail, 0.04), z=h)]
        return join(*pieces, move(side_extrude(jib, 0.04), z=h)) if chance(rng, 0.6) else join(*pieces)
    cabin = box(length * 0.35, w * 0.6, 0.2, (-length * 0.1, 0.0, h))
    bridge = taper(length * 0.2, w * 0.5, 0.15, length * 0.15, w * 0.45, (-length * 0.1, 0.0, h + 0.2))
    funnel = move(prism(8, 0.06, 0.25, top=0.85), -length * 0.25, 0.0, h + 0.18)
    return join(hull, cabin, bridge, funnel)


def plane(rng: Rng) -> Mesh:
    """An aeroplane or a rocket."""
    n, length, r = pick(rng, (6, 8, 8, 10)), between(rng, 0.9, 1.4), between(rng, 0.09, 0.15)
    if chance(rng, 0.4):
        nose = between(rng, 0.2, 0.4)
        body = lathe(
            [
                (r * 0.8, 0.0),
                (r * 1.2, length * 0.3),
                (r * 1.1, length * 0.7),
                (r * 0.5, length * 0.7 + nose),
                (0.0, length + nose * 0.4),
            ],
            n,
        )
        reach, rise = between(rng, 0.15, 0.3), between(rng, 0.2, 0.4)
        fin = side_extrude(np.array([(r * 0.6, 0.1), (r + reach, -0.15), (r + reach, 0.05), (r * 0.9, rise)]), 0.05)
        return join(body, *around(fin, whole(rng, 3, 4), 0.4), prism(n, r * 0.6, 0.1, z=-0.1, top=0.8))
    body = lay(
        lathe(
            [(r * 0.35, 0.0), (r, length * 0.45), (r, length * 0.8), (r * 0.5, length), (0.0, length + 0.06)],
            n,
        )
    )
    span, chord, back = between(rng, 0.4, 0.7), between(rng, 0.2, 0.3), between(rng, -0.05, 0.25)
    wing = extrude(np.array([(0.0, 0.0), (chord, 0.0), (chord - back, span), (chord * 0.4 - back, span)]), 0.05)
    x, z = length * 0.4, between(rng, -0.6, 0.6) * r
    pieces = [body, *mirrored(move(wing, x, 0.0, z - 0.025), "y")]
    tail = extrude(np.array([(0.0, 0.0), (0.15, 0.0), (0.07, 0.25), (0.0, 0.25)]), 0.04)
    pieces += mirrored(move(tail, 0.0, 0.0, 0.0), "y")
    pieces.append(side_extrude(np.array([(0.0, 0.0), (0.22, 0.0), (0.08, 0.28), (0.0, 0.28)]), 0.04))
    if chance(rng, 0.5):
        pieces.append(box(0.04, 0.5, 0.05, (length + 0.07, 0.0, -0.025)))
    else:
        pod = move(lay(prism(6, 0.05, 0.2)), x + 0.05, span * 0.45, z - 0.06)
        pieces += mirrored(pod, "y")
    return join(*pieces)


def sword(rng: Rng) -> Mesh:
    """A sword, dagger, spear or arrow, point up."""
    length, w = between(rng, 0.6, 1.1), between(rng, 0.06, 0.11)
    grip, t = between(rng, 0.18, 0.3), between(rng, 0.03, 0.05)
    n = pick(rng, (4, 6, 8))
    section = np.array([(w, 0.0), (0.0, t), (-w, 0.0), (0.0, -t)])
    levels = [(0.0, 1.0), (length * 0.75, between(rng, 0.7, 1.2))]
    blade = stacked(section, levels, end=(0.0, 0.0, length))
    if chance(rng, 0.3):
        head = stacked(section * 1.1, [(0.0, 0.3), (0.12, 1.0)], end=(0.0, 0.0, 0.45))
        return join(move(head, z=length), prism(n, 0.035, length + 0.03))
    span = between(rng, 0.15, 0.28)
    guard = box(2 * span, 0.08, 0.06, (0.0, 0.0, -0.05))
    if chance(rng, 0.4):
        bent = np.array([(-span, 0.0, 0.08), (-span * 0.4, 0.0, 0.0), (span * 0.4, 0.0, 0.0), (span, 0.0, 0.08)])
        guard = sweep(bent, ngon(4, 0.045), up=(0.0, 1.0, 0.0))
    handle = prism(n, 0.04, grip, z=-grip)
    pommel = move(sphere(6, 4, 0.06), z=-grip - 0.03)
    return join(blade, guard, handle, pommel)


def tool(rng: Rng) -> Mesh:
    """A hammer, axe, pickaxe, shovel or wrench-like tool, standing on its handle."""
    n, h, r = pick(rng, (4, 6, 8)), between(rng, 0.7, 1.1), between(rng, 0.03, 0.05)
    handle = prism(n, r, h, top=between(rng, 0.8, 1.0))
    style = whole(rng, 0, 3)
    if style == 0:
        size = between(rng, 0.08, 0.14)
        head = move(lay(prism(pick(rng, (4, 6, 8)), size, 0.45, z=-0.2)), z=h)
        return join(handle, head)
    if style == 1:
        blade = between(rng, 0.15, 0.3)
        outline = np.array(
            [
                (-0.06, -0.06),
                (0.08, -0.06),
                (blade + 0.05, -0.18),
                (blade + 0.1, 0.0),
                (blade + 0.05, 0.2),
                (0.08, 0.08),
                (-0.06, 0.08),
            ]
        )
        side = [move(side_extrude(outline, 0.07), z=h * 0.88)]
        if chance(rng, 0.3):
            side += [move(side_extrude(outline * (-1.0, 1.0), 0.06), z=h * 0.88)]
        return join(handle, *side)
    if style == 2:
        path = np.array([(-0.4, 0.0, -0.12), (-0.2, 0.0, 0.0), (0.2, 0.0, 0.0), (0.4, 0.0, -0.12)])
        pick_head = sweep(path, ngon(4, 0.06), up=(0.0, 1.0, 0.0), sizes=np.array([0.35, 1.0, 1.0, 0.35]))
        return join(handle, move(pick_head, z=h - 0.04))
    w = between(rng, 0.12, 0.18)
    outline = np.array([(-w, 0.3), (-w, 0.05), (0.0, -0.12), (w, 0.05), (w, 0.3)])
    spade = side_extrude(outline, 0.05)
    grip = lay(prism(n, r * 1.1, 0.26, z=-0.13))
    return join(move(handle, z=0.25), spade, move(grip, z=h + 0.25))


def machine(rng: Rng) -> Mesh:
    """A gadget: a box with pipes, dials and feet; a radio, engine block, camera or robot head."""
    w, d, h = between(rng, 0.5, 0.9), between(rng, 0.35, 0.6), between(rng, 0.35, 0.7)
    n, foot = sides(rng), 0.08
    pieces = [box(w, d, h, (0.0, 0.0, foot))]
    pieces += [box(0.1, 0.1, foot, (x * w * 0.38, y * d * 0.34, 0.0)) for x in (-1, 1) for y in (-1, 1)]
    front = -d / 2.0
    dial = stand(prism(n, between(rng, 0.07, 0.13), 0.1, top=between(rng, 0.7, 1.0)))
    count = whole(rng, 1, 3)
    for k in range(count):
        pieces.append(move(dial, w * ((k + 1) / (count + 1) - 0.5), front + 0.04, foot + h * 0.68))
    if chance(rng, 0.6):
        pieces.append(box(w * 0.6, 0.06, h * 0.22, (0.0, front, foot + h * 0.12)))
    if chance(rng, 0.5):
        pieces.append(move(prism(n, 0.08, between(rng, 0.2, 0.5)), w * 0.25, d * 0.1, foot + h - 0.01))
    if chance(rng, 0.5):
        path = [
            (w / 2 - 0.03, 0.0, foot + h * 0.3),
            (w / 2 + 0.15, 0.0, foot + h * 0.3),
            (w / 2 + 0.15, 0.0, foot + h * 0.8),
            (w / 2 - 0.03, 0.0, foot + h * 0.8),
        ]
        pieces.append(sweep(np.array(path), ngon(pick(rng, (4, 6)), 0.05), up=(0.0, 1.0, 0.0)))
    if chance(rng, 0.5):
        pieces.append(rod((-w * 0.3, 0.0, foot + h), (-w * 0.45, 0.0, foot + h + 0.45), 0.025, 4))
    if chance(rng, 0.3):
        pieces.append(stacked(rectangle(w * 0.9, d * 0.9), [(foot + h, 1.0), (foot + h + 0.1, 0.8)]))
    return join(*pieces)
