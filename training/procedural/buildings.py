"""Buildings and what stands around them."""

from __future__ import annotations

import math

import numpy as np

from flashmesh_core.mesh.canonical import Mesh

from .dice import between, chance, pick, whole
from .primitives import (
    arc,
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
    stacked,
    stand,
    taper,
    tube,
    turn,
)

Rng = np.random.Generator


def _gable(width: float, length: float, eaves: float, ridge: float) -> Mesh:
    """A house body: a pentagon profile in xz, extruded along y."""
    x = width / 2.0
    return side_extrude(np.array([(-x, 0), (x, 0), (x, eaves), (0, ridge), (-x, eaves)], dtype=float), length)


def _gable_roof(width: float, length: float, eaves: float, ridge: float, thick: float, over: float) -> Mesh:
    """A folded roof slab over the gable, overhanging by `over`."""
    x = width / 2.0
    slope = (ridge - eaves) / x
    low = eaves - over * slope
    points = [(-x - over, low), (0, ridge), (x + over, low), (x + over, low + thick), (0, ridge + thick)]
    return side_extrude(np.array([*points, (-x - over, low + thick)]), length + 2 * over)


def _hip_roof(width: float, length: float, z: float, rise: float, over: float) -> Mesh:
    """A hipped roof: a rectangle rising to a ridge along the longer side."""
    w, d = width + 2 * over, length + 2 * over
    ridge = max(d - w, 0.02 * d) * 0.9
    eaves = np.concatenate([rectangle(w, d), np.full((4, 1), z)], axis=1)
    top = np.concatenate([rectangle(w * 0.1, ridge), np.full((4, 1), z + rise)], axis=1)
    return loft(np.stack([eaves, top]))


def _openings(rng: Rng, width: float, length: float, height: float) -> list[Mesh]:
    """A door and windows as thin boxes half sunk into the walls."""
    door_w, door_h, t = between(rng, 0.13, 0.2), height * between(rng, 0.5, 0.75), 0.05
    pieces = [box(door_w, t, door_h, (between(rng, -0.2, 0.2) * width, -length / 2.0, 0.0))]
    if chance(rng, 0.75):
        size, z = between(rng, 0.12, 0.2), height * between(rng, 0.35, 0.5)
        count = whole(rng, 1, 2)
        for k in range(count):
            y = length * ((k + 1) / (count + 1) - 0.5)
            pieces += mirrored(box(t, size, size * 1.2, (width / 2.0, y, z)), "x")
    return pieces


def house(rng: Rng) -> Mesh:
    """A house with a gable, hip or shed roof, a door, windows, a chimney, and now and then a wing."""
    w, d, h = between(rng, 0.6, 1.0), between(rng, 0.7, 1.3), between(rng, 0.35, 0.8)
    rise, over = between(rng, 0.2, 0.55), between(rng, 0.04, 0.12)
    style = whole(rng, 0, 3)
    if style <= 1:
        pieces = [_gable(w, d, h, h + rise), _gable_roof(w, d, h, h + rise, between(rng, 0.05, 0.09), over)]
    elif style == 2:
        pieces = [box(w, d, h), _hip_roof(w, d, h, rise, over)]
    else:
        roof = np.array([(-w / 2 - over, h), (w / 2 + over, h), (w / 2 + over, h + rise), (w / 2, h + rise)])
        pieces = (
            [box(w, d, h), side_extrude(roof, d + over)]
            if chance(rng, 0.5)
            else [box(w, d, h), box(w + 0.1, d + 0.1, 0.07, (0.0, 0.0, h))]
        )
    pieces += _openings(rng, w, d, h)
    if style <= 2 and chance(rng, 0.6):
        x, y = between(rng, 0.15, 0.3) * w, between(rng, -0.25, 0.25) * d
        t = between(rng, 0.09, 0.14)
        pieces.append(box(t, t, rise * 0.9, (x, y, h + rise * 0.3)))
    if chance(rng, 0.25):
        wing_w, wing_d = w * between(rng, 0.5, 0.7), d * between(rng, 0.4, 0.7)
        wing_h, wing_rise = h * between(rng, 0.6, 0.9), rise * 0.6
        wing = join(
            _gable(wing_d, wing_w, wing_h, wing_h + wing_rise),
            _gable_roof(wing_d, wing_w, wing_h, wing_h + wing_rise, 0.05, over * 0.7),
        )
        pieces.append(move(turn(wing, math.pi / 2.0), w / 2.0 + wing_w * 0.4, 0.1 * d, 0.0))
    if chance(rng, 0.3):
        pieces.append(box(w * 1.25, d * 1.2, 0.05, (0.0, 0.0, -0.05)))
    return join(*pieces)


def tower(rng: Rng) -> Mesh:
    """A castle tower, a lighthouse, or a block of flats."""
    style = whole(rng, 0, 3)
    if style == 3:
        return _skyscraper(rng)
    n, r, h = pick(rng, (4, 6, 8, 8, 10, 12)), between(rng, 0.2, 0.35), between(rng, 0.8, 1.4)
    top, lip = r * between(rng, 0.75, 1.0), between(rng, 0.04, 0.08)
    profile = [(r, 0.0), (top, h), (top + lip, h + 0.06), (top + lip, h + 0.16)]
    pieces = [lathe(profile, n)]
    if style == 0:
        count, size = n if n > 4 else 8, 0.09
        tooth = box(size, size, 0.12, (top + lip - size * 0.62, 0.0, h + 0.16))
        if n > 4:
            pieces += around(tooth, count, math.pi / n * (count // n))
        else:
            s = (top + lip) * math.cos(math.pi / 4) - size / 2
            spots = [(x, y) for x in (-s, 0.0, s) for y in (-s, 0.0, s) if x or y]
            pieces += [box(size, size, 0.12, (x, y, h + 0.16)) for x, y in spots]
    else:
        over = top + lip + between(rng, 0.02, 0.08)
        pieces.append(prism(n, over, between(rng, 0.3, 0.8), top=0.0, z=h + 0.16))
    if chance(rng, 0.6):
        wall = r * math.cos(math.pi / n)
        pieces.append(box(r * 0.5, 0.12, h * 0.25, (0.0, -wall + 0.03, 0.0)))
        if chance(rng, 0.7):
            pieces.append(box(r * 0.3, 0.2, h * 0.15, (0.0, -top * math.cos(math.pi / n) + 0.03, h * 0.6)))
    return join(*pieces)


def _skyscraper(rng: Rng) -> Mesh:
    w, d, h = between(rng, 0.3, 0.5), between(rng, 0.3, 0.5), between(rng, 0.8, 1.5)
    pieces = [box(w, d, h)]
    if chance(rng, 0.5):
        pieces.append(box(w * 0.7, d * 0.7, h * 0.3, (0.0, 0.0, h)))
        if chance(rng, 0.5):
            pieces.append(prism(4, 0.03, 0.3, z=h * 1.3, top=0.5))
    floors = whole(rng, 2, 6)
    gap = h / (floors + 0.5)
    if chance(rng, 0.5):
        pieces += [box(w * 1.08, d * 1.08, 0.04, (0.0, 0.0, gap * (k + 0.75))) for k in range(floors)]
    else:
        for k in range(floors):
            z = gap * (k + 0.4)
            pieces += mirrored(box(w * 0.3, 0.05, gap * 0.55, (w * 0.23, -d / 2.0, z)), "x")
            if chance(rng, 0.5):
                pieces.append(box(0.05, d * 0.6, gap * 0.5, (w / 2.0, 0.0, z)))
    return join(*pieces)


def castle(rng: Rng) -> Mesh:
    """Four towers joined by walls, with a gate; or one stretch of battlement."""
    n, r = pick(rng, (4, 6, 6, 8)), between(rng, 0.12, 0.18)
    h, wall_h, t = between(rng, 0.5, 0.8), between(rng, 0.25, 0.45), between(rng, 0.07, 0.11)
    if chance(rng, 0.4):
        length, teeth = between(rng, 0.8, 1.4), whole(rng, 3, 6)
        gap = length / (teeth - 0.5)
        merlons = [box(gap * 0.5, t, 0.09, (-length / 2 + gap * (k + 0.25), 0.0, wall_h)) for k in range(teeth)]
        return join(box(length, t * 1.4, wall_h), *merlons)
    half = between(rng, 0.4, 0.6)
    roof = between(rng, 0.2, 0.4)
    flat = chance(rng, 0.4)
    cap = prism(n, r * 1.2, 0.1, z=h) if flat else prism(n, r * 1.25, roof, top=0.0, z=h)
    corner = join(prism(n, r, h), cap)
    pieces = [move(corner, x, y) for x in (-half, half) for y in (-half, half)]
    wall = box(2 * half - r, t, wall_h, (0.0, half, 0.0))
    pieces += around(wall, 4)
    gate = between(rng, 0.12, 0.2)
    pieces.append(box(2 * gate, t * 2.2, wall_h * 1.3, (0.0, -half, 0.0)))
    if chance(rng, 0.5):
        keep = between(rng, 0.3, 0.45)
        pieces.append(box(keep, keep, h * 1.1))
        pieces.append(prism(4, keep * 0.85, roof, top=0.0, z=h * 1.1))
    return join(*pieces)


def fence(rng: Rng) -> Mesh:
    """A fence of pickets, posts and rails, or a ladder."""
    count, h = whole(rng, 3, 9), between(rng, 0.35, 0.7)
    t, gap = between(rng, 0.04, 0.06), between(rng, 0.13, 0.22)
    length = gap * (count - 1)
    style = whole(rng, 0, 2)
    xs = [gap * k - length / 2.0 for k in range(count)]
    if style == 2:
        rungs = [box(0.3, t * 0.8, t * 0.8, (0.0, 0.0, gap * (k + 0.5))) for k in range(count)]
        return join(*mirrored(box(t, t * 1.2, gap * count, (0.15 + t / 2.0, 0.0, 0.0)), "x"), *rungs)
    if style == 0:
        p = between(rng, 0.04, 0.07)
        tip = h - p if chance(rng, 0.5) else h - 1.7 * p
        profile = np.array([(-p, 0), (p, 0), (p, tip), (0, h), (-p, tip)], dtype=float)
        posts = [move(side_extrude(profile, t * 0.8), x) for x in xs]
    else:
        posts = [box(t * 1.5, t * 1.5, h, (x, 0.0, 0.0)) for x in xs]
        if chance(rng, 0.4):
            posts += [move(prism(4, t * 1.35, t * 1.5, top=0.0), x, 0.0, h) for x in xs]
    y = t if style == 0 else 0.0
    rails = [box(length + gap * 0.6, t, 0.06, (0.0, y * 0.9, h * z)) for z in (0.25, 0.65)]
    return join(*posts, *rails)


def stairs(rng: Rng) -> Mesh:
    """A flight of steps: solid in one profile, floating boards, or a spiral."""
    count, width = whole(rng, 3, 9), between(rng, 0.35, 0.7)
    run, rise = between(rng, 0.12, 0.2), between(rng, 0.09, 0.17)
    style = whole(rng, 0, 2)
    if style == 0:
        points = [(0.0, 0.0), (run * count, 0.0)]
        for k in range(count):
            x = run * (count - k)
            points += [(x, rise * (k + 1)), (x - run, rise * (k + 1))]
        return side_extrude(np.array(points), width)
    if style == 1:
        steps = [box(run * 1.05, width, 0.05, (run * k, 0.0, rise * (k + 1) - 0.05)) for k in range(count)]
        slope = [(-run, 0.0), (0.0, 0.0), (run * count, rise * count), (run * (count - 1), rise * count)]
        beam = move(side_extrude(np.array(slope), 0.06), 0.0, width / 2.0 + 0.02)
        return join(*steps, *mirrored(beam, "y"))
    count += 3
    angle = between(rng, 0.35, 0.6)
    wedge = np.array([(0.04, -0.03), (width, -angle * width * 0.52), (width, angle * width * 0.52), (0.04, 0.03)])
    step = extrude(wedge, 0.05)
    steps = [move(turn(step, angle * k), z=rise * (k + 1) - 0.05) for k in range(count)]
    return join(prism(8, 0.07, rise * (count + 1)), *steps)


def arch(rng: Rng) -> Mesh:
    """An archway, a bridge, or a wall with an arched opening: one welded profile."""
    span, h, t = between(rng, 0.25, 0.45), between(rng, 0.2, 0.6), between(rng, 0.1, 0.25)
    curve = arc(span, math.pi, 0.0, whole(rng, 4, 10)) + np.array((0.0, h))
    top = h + span + between(rng, 0.06, 0.3)
    x = span + t
    if chance(rng, 0.4):
        ramp = between(rng, 0.3, 0.7)
        outline = [
            (-x - ramp, 0.0),
            (-x - ramp, 0.08),
            (-x * 0.6, top),
            (x * 0.6, top),
            (x + ramp, 0.08),
            (x + ramp, 0.0),
        ]
    else:
        outline = [(-x, 0.0), (-x, top), (x, top), (x, 0.0)]
    inner = [(span, 0.0), *curve[::-1], (-span, 0.0)]
    body = side_extrude(np.array([*outline, *inner]), between(rng, 0.15, 0.6))
    if chance(rng, 0.3):
        return join(body, box(2 * x * 1.1, 0.7, 0.07, (0.0, 0.0, top)))
    return body


def temple(rng: Rng) -> Mesh:
    """Columns on a stepped base under a gable: a temple, pavilion or porch."""
    nx, ny, n = whole(rng, 2, 4), whole(rng, 2, 3), pick(rng, (4, 6, 6, 8))
    gap, h, r = between(rng, 0.22, 0.32), between(rng, 0.4, 0.7), between(rng, 0.04, 0.06)
    w, d = gap * (nx - 1) + 0.24, gap * (ny - 1) * 1.2 + 0.24
    pieces = [box(w * 1.15, d * 1.15, 0.06), box(w, d, 0.06, (0.0, 0.0, 0.06))]
    column = prism(n, r, h, top=between(rng, 0.75, 1.0), z=0.12)
    for i in range(nx):
        for j in range(ny):
            if i in (0, nx - 1) or j in (0, ny - 1):
                pieces.append(move(column, gap * (i - (nx - 1) / 2), 1.2 * gap * (j - (ny - 1) / 2)))
    pieces.append(box(w, d, 0.09, (0.0, 0.0, h + 0.12)))
    x, rise = w * 0.56, between(rng, 0.12, 0.3)
    gable = side_extrude(np.array([(-x, 0.0), (x, 0.0), (0.0, rise)]), d * 1.08)
    return join(*pieces, move(gable, z=h + 0.21))


def column(rng: Rng) -> Mesh:
    """A column with base and capital, whole or broken off, or a chess-like piece."""
    n, h, r = pick(rng, (6, 8, 8, 10, 12)), between(rng, 0.8, 1.4), between(rng, 0.1, 0.16)
    neck, a, b = r * between(rng, 0.7, 0.95), between(rng, 0.06, 0.12), between(rng, 0.06, 0.12)
    profile = [
        (r * 1.4, 0.0),
        (r * 1.4, a),
        (r, a * 1.5),
        (neck, h - 1.5 * b),
        (r * 1.3, h - b),
        (r * 1.3, h),
    ]
    if chance(rng, 0.3):
        shaft = lathe([(r * 1.3, 0.0), (r, a), (neck, h - b), (0.0, h + r)], n)
        return join(shaft, prism(n, r * 1.5, 0.06, z=-0.06))
    if chance(rng, 0.5):
        plinth = box(r * 3.0, r * 3.0, a, (0.0, 0.0, 0.0))
        slab = box(r * 3.0, r * 3.0, b, (0.0, 0.0, h - b))
        return join(plinth, lathe([(r, a), (neck, h - b)], n), slab)
    return lathe(profile, n)


def well(rng: Rng) -> Mesh:
    """A draw well with a little roof, or a fountain."""
    n, r, h = pick(rng, (6, 8, 8, 10, 12)), between(rng, 0.3, 0.45), between(rng, 0.2, 0.4)
    basin = tube(ngon(n, r), ngon(n, r * between(rng, 0.65, 0.85)), h)
    if chance(rng, 0.4):
        t, z = r * 0.16, between(rng, 0.4, 0.8)
        bowl = lathe([(0.0, 0.0), (t, 0.0), (t, z), (r * 0.6, z + 0.1), (r * 0.55, z + 0.14), (0.0, z + 0.06)], n)
        return join(basin, prism(n, r * 0.75, h * 0.5), bowl)
    z = between(rng, 0.7, 1.0)
    posts = mirrored(box(0.07, 0.07, z, (r * 0.88, 0.0, 0.0)), "x")
    roof = _gable_roof(r * 1.3, r * 2.2, z - 0.1, z + 0.15, 0.05, 0.05)
    roof = turn(roof, math.pi / 2.0)
    beam = rod((-r, 0.0, z * 0.75), (r, 0.0, z * 0.75), 0.035, 6)
    return join(basin, *posts, beam, roof)


def windmill(rng: Rng) -> Mesh:
    """A windmill, water tower or signpost."""
    n, h = pick(rng, (6, 8, 8)), between(rng, 0.8, 1.2)
    style = whole(rng, 0, 2)
    if style == 0:
        body = [prism(n, 0.28, h, top=0.65), prism(n, 0.24, 0.22, top=0.0, z=h)]
        count, reach = pick(rng, (3, 4, 4)), between(rng, 0.45, 0.65)
        blade = join(box(0.04, 0.05, reach), box(0.14, 0.04, reach * 0.75, (0.06, 0.0, reach * 0.22)))
        sails = [turn(blade, 2 * math.pi * (k + 0.3) / count, "y") for k in range(count)]
        hub = stand(prism(6, 0.06, 0.25))
        return join(*body, move(hub, y=-0.08, z=h * 0.9), *(move(s, y=-0.31, z=h * 0.9) for s in sails))
    if style == 1:
        r, z = between(rng, 0.25, 0.35), h * 0.6
        leg = rod((r, r, 0.0), (r * 0.6, r * 0.6, z), 0.04)
        legs = [m for s in mirrored(leg, "x") for m in mirrored(s, "y")]
        tank = stacked(ngon(pick(rng, (8, 10, 12)), r), [(z, 1.0), (z + 0.4, 1.0)])
        return join(tank, prism(8, r * 1.08, 0.18, top=0.0, z=z + 0.4), *legs)
    post = taper(0.09, 0.09, h, 0.06, 0.06)
    boards = []
    for k in range(whole(rng, 1, 3)):
        length = between(rng, 0.35, 0.55)
        sign = np.array([(-0.12, 0.0), (length, 0.0), (length + 0.09, 0.065), (length, 0.13), (-0.12, 0.13)])
        board = move(side_extrude(sign, 0.05), 0.0, -0.05, h * 0.9 - 0.2 * (k + 1) + 0.1)
        boards.append(turn(board, pick(rng, (0.0, math.pi, 0.4, -0.5))))
    return join(post, *boards)


def tunnel(rng: Rng) -> Mesh:
    """A half-pipe vault, a tent, or a greenhouse-like shed."""
    n, length, r = whole(rng, 3, 9), between(rng, 0.6, 1.3), between(rng, 0.35, 0.5)
    if chance(rng, 0.5):
        outer, inner = arc(r, 0.0, math.pi, n), arc(r * between(rng, 0.8, 0.9), math.pi, 0.0, n)
        shell = side_extrude(np.concatenate([outer, inner]), length)
        return shell
    body = stacked(arc(r, 0.0, math.pi, n), [(0.0, 1.0), (length, 1.0)])
    door = box(0.05, r * 0.5, r * 0.6, (0.0, 0.0, 0.0))
    return join(lay(body), door)
