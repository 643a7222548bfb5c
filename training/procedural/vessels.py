"""Turned things: vases, bottles, cups, bells, chess pieces, wheels."""

from __future__ import annotations

import math

import numpy as np

from flashmesh_core.mesh.canonical import Mesh

from .dice import between, chance, pick, sides, whole
from .primitives import (
    arc,
    around,
    box,
    join,
    lathe,
    move,
    ngon,
    prism,
    rectangle,
    rod,
    sphere,
    stand,
    stretch,
    sweep,
    tube,
)

Rng = np.random.Generator
Profile = list[tuple[float, float]]


def _hollow(outside: Profile, wall: float, floor: float) -> Profile:
    """The profile of an open vessel: up `outside`, over the rim and down the inside to the axis."""
    inner = [(max(r - wall, 0.02), z) for r, z in reversed(outside) if z > floor]
    inner[0] = (outside[-1][0] - wall, outside[-1][1])
    return [(0.0, outside[0][1]), *outside, *inner, (0.0, floor)]


def vase(rng: Rng) -> Mesh:
    """A vase: a random smooth profile of three to seven bands, solid, or hollow with a wall."""
    n, h, bands = sides(rng), between(rng, 0.6, 1.3), whole(rng, 3, 7)
    foot, belly, neck = between(rng, 0.12, 0.25), between(rng, 0.25, 0.45), between(rng, 0.08, 0.2)
    peak, rim = between(rng, 0.25, 0.6), between(rng, 1.0, 1.6)
    profile: Profile = []
    for k in range(bands + 1):
        t = k / bands
        if t < peak:
            r = foot + (belly - foot) * math.sin(t / peak * math.pi / 2.0)
        else:
            r = neck + (belly - neck) * (0.5 + 0.5 * math.cos((t - peak) / (1.0 - peak) * math.pi))
        profile.append((r, h * t))
    profile[-1] = (profile[-1][0] * rim, h)
    body = lathe(_hollow(profile, 0.05, 0.06), n) if chance(rng, 0.5) else lathe(profile, n)
    if chance(rng, 0.2):
        handle = _handle(belly * 0.95, neck * 0.9, h * peak, h * 0.9, 0.035)
        return join(body, *around(handle, 2))
    return body


def _handle(low_r: float, high_r: float, low: float, high: float, t: float) -> Mesh:
    """A bent handle in the xz plane from (low_r, low) to (high_r, high)."""
    out = max(low_r, high_r) + 0.4 * (high - low)
    path = np.array(
        [
            (low_r - 0.02, 0.0, low),
            (out * 0.92, 0.0, low + 0.15 * (high - low)),
            (out, 0.0, low + 0.6 * (high - low)),
            (out * 0.85, 0.0, high),
            (high_r - 0.02, 0.0, high - 0.03),
        ]
    )
    return sweep(path, ngon(4, t * 1.3), up=(0.0, 1.0, 0.0))


def bottle(rng: Rng) -> Mesh:
    """A bottle, flask or jar with a neck, and sometimes a cork."""
    n, h = sides(rng), between(rng, 0.5, 0.8)
    r, neck = between(rng, 0.15, 0.35), between(rng, 0.06, 0.1)
    shoulder, top = between(rng, 0.1, 0.3), between(rng, 0.15, 0.4)
    low = r * between(rng, 0.7, 1.0)
    profile: Profile = [(low, 0.0), (r, between(rng, 0.05, 0.3) * h), (r, h)]
    if chance(rng, 0.5):
        profile.append((r * 0.75, h + shoulder * 0.6))
    profile += [(neck, h + shoulder), (neck, h + shoulder + top)]
    if chance(rng, 0.5):
        z = h + shoulder + top
        profile += [(neck * 1.4, z), (neck * 1.4, z + 0.06)]
    body = lathe(profile, n)
    if chance(rng, 0.4):
        return join(body, prism(n, neck * 0.8, 0.1, top=1.2, z=profile[-1][1]))
    return body


def cup(rng: Rng) -> Mesh:
    """A mug, bowl, goblet, bucket or flower pot: hollow, some with handles or a stem."""
    n, wall = sides(rng), between(rng, 0.04, 0.07)
    r, h = between(rng, 0.28, 0.45), between(rng, 0.35, 0.7)
    style = whole(rng, 0, 3)
    if style == 0:
        body = lathe(_hollow([(r * 0.95, 0.0), (r, h)], wall, 0.07), n)
        return join(body, _handle(r, r, h * 0.25, h * 0.8, 0.045))
    if style == 1:
        curve = arc(1.0, -math.pi / 2.0 + 0.4, 0.0, whole(rng, 2, 4)) * (r, h * 0.7) + (0.0, h * 0.7)
        outside = [(float(a), float(b)) for a, b in curve]
        outside[0] = (outside[0][0], 0.0)
        return lathe(_hollow(outside, wall, 0.08), n)
    if style == 2:
        stem, z = between(rng, 0.05, 0.08), between(rng, 0.3, 0.5)
        outside = [(r, 0.0), (r * 0.8, 0.06), (stem, 0.1), (stem, z), (r * 0.8, z + 0.12), (r, z + h)]
        inner = [(r - wall, z + h), (r * 0.8 - wall, z + 0.17), (0.0, z + 0.1)]
        return lathe([(0.0, 0.0), *outside, *inner], n)
    low = r * between(rng, 0.55, 0.85)
    outside = [(low, 0.0), (r, h)]
    if chance(rng, 0.5):
        outside = [(low, 0.0), (r * 0.92, h * 0.8), (r * 1.08, h * 0.8), (r * 1.08, h)]
    body = lathe(_hollow(outside, wall * 1.2, h * 0.7), n)
    if chance(rng, 0.5):
        loop = stand(Mesh(*_arch(r * 1.02, 0.03)))
        return join(body, move(loop, z=h - 0.02))
    return join(body, *_sprout(rng, r * 0.5, h * 0.7))


def _arch(radius: float, t: float) -> tuple[np.ndarray, np.ndarray]:
    """A half ring of square section in the xy plane."""
    curve = arc(radius, 0.0, math.pi, 6)
    mesh = sweep(np.concatenate([curve, np.zeros((7, 1))], axis=1), ngon(4, t * 1.4))
    return mesh.vertices, mesh.faces


def _sprout(rng: Rng, radius: float, z: float) -> list[Mesh]:
    """A few leaves as flattened spikes spreading out of a pot."""
    count, rise = whole(rng, 4, 7), between(rng, 0.3, 0.7)
    outline = np.array([(0.0, -0.02), (0.05, 0.0), (0.0, 0.02), (-0.05, 0.0)])
    path = np.array([(0.02, 0.0, z - 0.02), (radius * 0.7, 0.0, z + rise * 0.6), (radius * 1.8, 0.0, z + rise)])
    leaf = sweep(path, outline * 1.3, up=(0.0, 1.0, 0.0), sizes=np.array([0.7, 1.6, 0.4]))
    return around(leaf, count, rng.random())


def bell(rng: Rng) -> Mesh:
    """A bell, a hat or a traffic cone: a flared shell on a brim."""
    n, h, r = sides(rng), between(rng, 0.4, 0.9), between(rng, 0.35, 0.5)
    style = whole(rng, 0, 2)
    if style == 0:
        profile = [(r, 0.0), (r * 0.75, h * 0.25), (r * 0.6, h * 0.7), (r * 0.4, h * 0.95), (0.0, h)]
        knob = move(sphere(6, 4, r * 0.16), z=h + r * 0.1)
        return join(lathe(profile, n), knob)
    if style == 1:
        crown = r * between(rng, 0.5, 0.65)
        top = crown * between(rng, 0.1, 1.1)
        return lathe([(r, 0.0), (r, 0.05), (crown, 0.08), (top, h), (0.0, h)], n)
    cone = lathe([(r * 0.65, 0.06), (r * 0.1, h)], n)
    return join(box(1.7 * r, 1.7 * r, 0.07), cone)


def chess(rng: Rng) -> Mesh:
    """A chess piece or newel post: base, waist, collar, and a ball, crown or cross on top."""
    n, h = sides(rng), between(rng, 0.6, 1.0)
    r, waist, collar = between(rng, 0.2, 0.28), between(rng, 0.07, 0.12), between(rng, 0.13, 0.18)
    body = [(r, 0.0), (r, 0.08), (r * 0.7, 0.16), (waist, h * 0.6), (waist, h - 0.05)]
    body += [(collar, h), (collar, h + 0.05)]
    style = whole(rng, 0, 2)
    if style == 0:
        return join(lathe(body, n), move(sphere(n, 5, collar), z=h + 0.04 + collar * 0.8))
    if style == 1:
        z, flare = h + 0.05, between(rng, 0.15, 0.22)
        crown = [(waist, z), (flare, z + 0.22), (flare * 0.6, z + 0.22), (0.0, z + 0.14)]
        return lathe([*body, *crown], n)
    z = h + 0.05
    cross = [box(0.06, 0.06, 0.24, (0.0, 0.0, z + 0.15)), box(0.17, 0.06, 0.06, (0.0, 0.0, z + 0.24))]
    return join(lathe([*body, (waist, z), (collar, z + 0.16)], n), *cross)


def wheel(rng: Rng) -> Mesh:
    """A cart wheel with spokes, a tyre, or a pulley; standing."""
    n, r, width = pick(rng, (8, 8, 10, 12, 16)), 0.5, between(rng, 0.1, 0.25)
    style = whole(rng, 0, 2)
    if style == 0:
        rim = tube(ngon(n, r), ngon(n, r * between(rng, 0.75, 0.85)), width, -width / 2.0)
        count = whole(rng, 4, 8)
        spoke = rod((0.05, 0.0, 0.0), (r * 0.83, 0.0, 0.0), between(rng, 0.03, 0.05))
        hub = prism(max(6, n // 2), 0.11, width * 1.4, z=-width * 0.7)
        return stand(join(rim, hub, *around(spoke, count)))
    w = width / 2.0
    if style == 1:
        tyre = [(r * 0.6, -w), (r * 0.9, -w), (r, -w * 0.6), (r, w * 0.6), (r * 0.9, w), (r * 0.6, w)]
        return stand(join(lathe([*tyre, (r * 0.5, w * 0.4), (0.0, w * 0.4)], n)))
    groove = [(r, -w), (r, -w * 0.5), (r * 0.75, 0.0), (r, w * 0.5), (r, w)]
    return stand(join(lathe(groove, n), prism(max(6, n // 2), r * 0.3, width * 1.5, z=-width * 0.75)))


def gear(rng: Rng) -> Mesh:
    """A toothed wheel with or without a bore, or a nut."""
    teeth, hole = whole(rng, 6, 16), between(rng, 0.25, 0.6)
    depth, thick = between(rng, 0.75, 0.88), between(rng, 0.1, 0.3)
    if chance(rng, 0.2):
        return tube(ngon(6, 0.5, phase=0.0), ngon(6, 0.28, phase=0.0), thick * 1.5)
    step = 2.0 * math.pi / teeth
    angles = step * (np.arange(teeth)[:, None] + np.array([0.0, 0.12, 0.38, 0.5])).ravel()
    radii = 0.5 * np.tile([depth, 1.0, 1.0, depth], teeth)
    outer = radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    inner = 0.5 * hole * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    if chance(rng, 0.4) or teeth > 12:
        hub = prism(8, 0.5 * hole, thick * 1.6, z=-thick * 0.3)
        inner = inner[::2].repeat(2, axis=0) * 0.9
        return join(_toothed(teeth, depth, thick), hub)
    return tube(outer, inner, thick)


def _toothed(teeth: int, depth: float, thick: float) -> Mesh:
    """A solid disc with box teeth sunk into its rim."""
    disc = prism(teeth, 0.5 * depth / math.cos(math.pi / teeth), thick)
    size = 0.5 * math.pi * depth / teeth
    reach = 0.5 - 0.5 * depth + 0.06
    tooth = box(reach, size, thick * 0.94, (0.5 - reach / 2.0, 0.0, thick * 0.03))
    return join(disc, *around(tooth, teeth, math.pi / teeth))


def pipe(rng: Rng) -> Mesh:
    """A bent pipe with flanges, a hook, or a spring."""
    n, r = pick(rng, (4, 6, 6, 8)), between(rng, 0.05, 0.1)
    style = whole(rng, 0, 2)
    if style == 0:
        bend, a, b = whole(rng, 2, 5), between(rng, 0.2, 0.6), between(rng, 0.2, 0.6)
        curve = arc(0.25, 0.0, math.pi / 2.0, bend)
        points = [(0.25, 0.0, -a), *((float(x), 0.0, float(z)) for x, z in curve), (-b, 0.0, 0.25)]
        body = sweep(np.array(points), ngon(n, r), up=(0.0, 1.0, 0.0))
        flange = prism(n, r * 1.6, 0.06)
        return join(body, move(flange, 0.25, 0.0, -a - 0.03)) if chance(rng, 0.5) else body
    if style == 1:
        curve = arc(0.25, -math.pi * 0.8, math.pi * 0.5, whole(rng, 5, 9))
        points = [*((float(x), 0.0, float(z)) for x, z in curve), (-0.02, 0.0, 0.3), (-0.02, 0.0, 0.7)]
        hook = np.array(points)
        return sweep(hook, ngon(n, r * 0.8), up=(0.0, 1.0, 0.0), sizes=np.linspace(0.5, 1.0, len(hook)))
    turns, per = between(rng, 1.5, 2.6), 8
    steps = int(turns * per)
    angle = np.arange(steps + 1) * 2.0 * math.pi / per
    pitch = between(rng, 0.3, 0.4)
    path = np.stack([0.35 * np.cos(angle), 0.35 * np.sin(angle), pitch * angle / (2.0 * math.pi)], axis=1)
    return sweep(path, ngon(4, r))


def ornament(rng: Rng) -> Mesh:
    """A diamond, a lantern, a bauble or a trophy-like stack of turned shapes on a plinth."""
    n, base = sides(rng), between(rng, 0.2, 0.35)
    pieces = [box(2 * base, 2 * base, 0.12) if chance(rng, 0.5) else prism(n, base * 1.2, 0.12, top=0.85)]
    style = whole(rng, 0, 2)
    if style == 0:
        r, h = between(rng, 0.2, 0.35), between(rng, 0.4, 0.8)
        gem = lathe([(0.0, 0.12), (r, 0.12 + h * 0.65), (r * 0.6, 0.12 + h), (0.0, 0.12 + h)], n)
        pieces.append(gem)
    elif style == 1:
        r = between(rng, 0.2, 0.35)
        pieces += [prism(n, 0.07, 0.2, z=0.1), move(sphere(n, whole(rng, 4, 6), r), z=0.25 + r)]
    else:
        r, h = between(rng, 0.2, 0.3), between(rng, 0.35, 0.5)
        profile = _hollow([(0.07, 0.12), (0.07, 0.3), (r, 0.42), (r * 1.1, 0.3 + h)], 0.05, 0.45)
        body = lathe(profile, n)
        pieces += [body, *around(_handle(r, r * 1.08, 0.45, 0.25 + h, 0.03), 2)]
    return join(*pieces)


def table_setting(rng: Rng) -> Mesh:
    """A candle, a cake, a hamburger-like stack or a sundae: round food on a plate."""
    n, r = sides(rng), between(rng, 0.35, 0.5)
    plate = lathe([(r * 0.6, 0.0), (r, 0.07), (r, 0.1), (0.0, 0.06)], n)
    style = whole(rng, 0, 2)
    if style == 0:
        candle = prism(n, r * 0.3, between(rng, 0.4, 0.8), z=0.05)
        top = float(candle.vertices[:, 2].max())
        return join(plate, candle, lathe([(0.0, top), (0.04, top + 0.08), (0.0, top + 0.2)], 5))
    if style == 1:
        tiers = whole(rng, 1, 3)
        pieces, z = [plate], 0.06
        for k in range(tiers):
            h = between(rng, 0.15, 0.25)
            pieces.append(prism(n, r * (0.8 - 0.22 * k), h, z=z))
            z += h
        berry = stretch(sphere(6, 4, 0.06), z=1.2)
        return join(*pieces, move(berry, z=z + 0.05))
    z, pieces = 0.06, [plate]
    for _ in range(whole(rng, 2, 4)):
        h = between(rng, 0.06, 0.12)
        pieces.append(prism(n, r * between(rng, 0.65, 0.85), h, z=z))
        z += h
    dome = arc(r * 0.75, 0.0, math.pi / 2.0, 3) * (1.0, 0.6) + (0.0, z)
    dome[-1, 0] = 0.0
    return join(*pieces, lathe(dome, n))


def frame(rng: Rng) -> Mesh:
    """A picture frame, mirror, screen or window on a stand."""
    x, z, edge = between(rng, 0.5, 1.1), between(rng, 0.5, 1.1), between(rng, 0.06, 0.1)
    border = stand(tube(rectangle(x, z), rectangle(x - 2 * edge, z - 2 * edge), 0.09, -0.045))
    pane = box(x - 2 * edge, 0.04, z - 2 * edge, (0.0, 0.0, -z / 2.0 + edge))
    pieces = [border, pane]
    style = whole(rng, 0, 2)
    if style == 0:
        pieces += [
            box(0.08, 0.06, 0.2, (0.0, 0.0, -z / 2.0 - 0.2)),
            box(0.4, 0.25, 0.05, (0.0, 0.0, -z / 2.0 - 0.25)),
        ]
    elif style == 1:
        pieces[1:] = [
            box(x - 2 * edge, 0.06, 0.05, (0.0, 0.0, -0.025)),
            box(0.05, 0.07, z - 2 * edge, (0.0, 0.0, -z / 2 + edge)),
        ]
        pieces.append(box(x * 1.1, 0.16, 0.05, (0.0, 0.0, -z / 2.0 - 0.05)))
    return join(*pieces)
