"""Abstract solids: boxes, prisms, cones, spheres, rings, letters and box-modelled lumps."""

from __future__ import annotations

import math

import numpy as np

from flashmesh_core.mesh.canonical import Mesh

from .dice import between, chance, pick, sides, whole
from .primitives import (
    arc,
    box,
    ear_clip,
    extrude,
    join,
    lathe,
    lay,
    loft,
    move,
    ngon,
    prism,
    rectangle,
    side_extrude,
    sphere,
    stacked,
    stand,
    stretch,
    sweep,
    taper,
    tube,
    turn,
)

Rng = np.random.Generator


def cuboid(rng: Rng) -> Mesh:
    """A box: plain, tapered, with cut edges, or with a bevelled top."""
    x, y, z = (between(rng, 0.2, 1.0) for _ in range(3))
    style = whole(rng, 0, 3)
    if style == 0:
        return box(x, y, z)
    if style == 1:
        return taper(x, y, z, x * between(rng, 0.3, 0.9), y * between(rng, 0.3, 0.9))
    cut = between(rng, 0.06, 0.12)
    if style == 2:
        return stacked(rectangle(x, y, cut), [(0.0, 1.0), (z, 1.0)])
    ring = np.concatenate([rectangle(x, y, cut), np.zeros((8, 1))], axis=1)
    inner = np.concatenate([rectangle(x - 1.2 * cut, y - 1.2 * cut, cut * 0.6), np.zeros((8, 1))], axis=1)
    heights = ((inner, 0.0), (ring, cut * 0.6), (ring, z - cut * 0.6), (inner, z))
    return loft(np.stack([r + np.array((0.0, 0.0, h)) for r, h in heights]))


def solid_prism(rng: Rng) -> Mesh:
    """A prism of 3 to 12 sides, upright or lying, sometimes banded or with a cap."""
    n = whole(rng, 3, 12)
    outline = ngon(n, between(rng, 0.2, 0.5), squash=between(rng, 0.6, 1.0) if chance(rng, 0.3) else 1.0)
    height = between(rng, 0.15, 1.2)
    levels = [(0.0, 1.0), (height, 1.0)]
    if chance(rng, 0.4):
        cut = between(rng, 0.1, 0.3)
        levels = [(0.0, 1.0), (height * (1.0 - cut), 1.0), (height, between(rng, 0.4, 0.85))]
        if chance(rng, 0.5):
            levels = [(0.0, levels[-1][1]), (height * cut, 1.0), *levels[1:]]
    mesh = stacked(outline, levels)
    return lay(mesh) if chance(rng, 0.3) else mesh


def pyramid(rng: Rng) -> Mesh:
    """A cone or pyramid, a bipyramid, or a stepped pyramid."""
    n = whole(rng, 3, 12)
    radius, height = between(rng, 0.3, 0.6), between(rng, 0.3, 1.2)
    style = whole(rng, 0, 2)
    if style == 0:
        return prism(max(n, 4), radius, height, top=0.0 if chance(rng, 0.7) else between(rng, 0.1, 0.6))
    if style == 1:
        waist = between(rng, 0.2, 0.6) * height
        return lathe([(0.0, 0.0), (radius, waist), (0.0, height)], n)
    steps, n = whole(rng, 2, 4), pick(rng, (4, 4, 4, 6, 8))
    profile = []
    for k in range(steps):
        r = radius * (1.0 - k / steps)
        profile += [(r, height * k / steps), (r, height * (k + 1) / steps)]
    return lathe(profile, n)


def wedge(rng: Rng) -> Mesh:
    """A ramp, a roof-like wedge or a cheese-like slice."""
    x, y, z = (between(rng, 0.3, 1.0) for _ in range(3))
    style = whole(rng, 0, 2)
    if style == 0:
        lip = between(rng, 0.06, 0.3) * z if chance(rng, 0.5) else 0.0
        front = [(x, 0.0), (x, lip)] if lip else [(x, 0.0)]
        return side_extrude(np.array([(0.0, 0.0), *front, (between(rng, 0.0, 0.4) * x, z), (0.0, z)]), y)
    if style == 1:
        return side_extrude(np.array([(-x / 2, 0.0), (x / 2, 0.0), (between(rng, -0.5, 0.5) * x, z)]), y)
    opening = between(rng, 0.5, 2.2)
    rim = arc(x, -opening / 2.0, opening / 2.0, whole(rng, 2, 7))
    return extrude(np.concatenate([np.zeros((1, 2)), rim]), z * 0.6)


def ball(rng: Rng) -> Mesh:
    """A sphere, egg, capsule or dome."""
    n, rows = whole(rng, 5, 16), whole(rng, 4, 9)
    style = whole(rng, 0, 3)
    if style <= 1:
        squash = 1.0 if style == 0 else between(rng, 0.5, 1.6)
        return stretch(sphere(n, rows, 0.5), z=squash)
    bands = whole(rng, 2, 4)
    dome = arc(0.4, 0.0, math.pi / 2.0, bands)
    dome[-1, 0] = 0.0
    length = between(rng, 0.1, 1.0)
    if style == 2:
        return lathe([(0.4, 0.0), *(dome + np.array((0.0, length * 0.3)))], n)
    lower = dome[::-1] * (1.0, -1.0)
    capsule = lathe([*lower, *(dome + np.array((0.0, length)))], n)
    return lay(capsule) if chance(rng, 0.5) else capsule


def ring(rng: Rng) -> Mesh:
    """A torus, a washer, a pipe stub or a picture-frame-like rectangle."""
    style = whole(rng, 0, 2)
    if style == 0:
        path = ngon(whole(rng, 6, 16), 0.5)
        path = np.concatenate([path, np.zeros((len(path), 1))], axis=1)
        mesh = sweep(path, ngon(whole(rng, 4, 8), between(rng, 0.08, 0.2)), closed=True)
    elif style == 1:
        n, hole = sides(rng), between(rng, 0.4, 0.85)
        mesh = tube(ngon(n, 0.5), ngon(n, 0.5 * hole), between(rng, 0.1, 1.0))
    else:
        x, y, edge = between(rng, 0.5, 1.0), between(rng, 0.5, 1.0), between(rng, 0.06, 0.14)
        mesh = tube(rectangle(x, y), rectangle(x - 2 * edge, y - 2 * edge), between(rng, 0.05, 0.25))
    return stand(mesh) if chance(rng, 0.5) else mesh


def _outline(rng: Rng) -> np.ndarray:
    """A concave outline (N, 2): a letter, arrow, cross, star, heart or crescent, about one unit wide."""
    w = between(rng, 0.6, 1.0)
    t = w * between(rng, 0.2, 0.36)
    kind = whole(rng, 0, 8)
    if kind == 0:
        points = [(0, 0), (w, 0), (w, t), (t, t), (t, 1), (0, 1)]
    elif kind == 1:
        points = [(0, 0), (w, 0), (w, 1), (w - t, 1), (w - t, t), (t, t), (t, 1), (0, 1)]
    elif kind == 2:
        a, b = (w - t) / 2, (w + t) / 2
        points = [(a, 0), (b, 0), (b, 1 - t), (w, 1 - t), (w, 1), (0, 1), (0, 1 - t), (a, 1 - t)]
    elif kind == 3:
        a, b, c = (w - t) / 2, (w + t) / 2, between(rng, 0.25, 0.55)
        d = c + t
        points = [
            (a, 0),
            (b, 0),
            (b, c),
            (w, c),
            (w, d),
            (b, d),
            (b, 1),
            (a, 1),
            (a, d),
            (0, d),
            (0, c),
            (a, c),
        ]
    elif kind == 4:
        h = between(rng, 0.3, 0.5)
        a, b = (w - t) / 2, (w + t) / 2
        points = [(a, 0), (b, 0), (b, 1 - h), (w, 1 - h), (w / 2, 1), (0, 1 - h), (a, 1 - h)]
    elif kind == 5:
        s = (1 - t) / 2
        points = [(0, 0), (t, 0), (t, s), (w - t, s), (w - t, 0), (w, 0), (w, 1)]
        points += [(w - t, 1), (w - t, s + t), (t, s + t), (t, 1), (0, 1)]
    elif kind == 6:
        star = ngon(2 * whole(rng, 4, 7), 0.5, phase=math.pi / 2.0)
        star[1::2] *= between(rng, 0.35, 0.6)
        return star
    elif kind == 7:
        points = [(0, 0), (0.3, 0.25), (0.5, 0.6), (0.42, 0.85), (0.2, 0.92), (0, 0.72)]
        points += [(-x, y) for x, y in points[-2:0:-1]]
    else:
        n, depth = whole(rng, 4, 7), between(rng, 0.15, 0.3)
        outer = arc(0.5, -1.9, 1.9, n)
        inner_arc = arc(0.5, 1.3, -1.3, n - 1) * (0.7, 0.75) - (depth * 0.2, 0.0)
        return np.concatenate([outer, inner_arc])
    return np.array(points, dtype=np.float64)


def emblem(rng: Rng) -> Mesh:
    """An extruded letter, arrow, star, heart or crescent, lying or standing."""
    mesh = extrude(_outline(rng), between(rng, 0.1, 0.5))
    return stand(mesh) if chance(rng, 0.6) else mesh


def stack(rng: Rng) -> Mesh:
    """Two to five prisms piled on one another, as in a pedestal or a toy."""
    pieces, z = [], 0.0
    n = pick(rng, (4, 4, 6, 8, 8, 12))
    for _ in range(whole(rng, 2, 5)):
        r, h = between(rng, 0.2, 0.5), between(rng, 0.08, 0.4)
        pieces.append(prism(n, r, h, top=between(rng, 0.6, 1.0) if chance(rng, 0.4) else 1.0, z=z))
        z += h
    if chance(rng, 0.3):
        pieces.append(prism(n, between(rng, 0.2, 0.4), between(rng, 0.2, 0.5), top=0.0, z=z))
    return join(*pieces)


def _push(vertices: list[np.ndarray], quads: list[tuple[int, ...]], index: int, inset: float, out: float) -> None:
    """Extrude quad `index` in place: shrink it about its center, push it out, and bridge the gap."""
    quad = quads[index]
    corners = np.array([vertices[k] for k in quad])
    (ax, ay, az), (bx, by, bz) = corners[2] - corners[0], corners[3] - corners[1]
    normal = np.array((ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx))
    normal *= out / (math.sqrt(float(normal @ normal)) + 1e-12)
    center = corners.sum(axis=0) / 4.0
    first = len(vertices)
    vertices.extend(center + (corners - center) * inset + normal)
    new = tuple(range(first, first + 4))
    quads[index] = new
    quads.extend((quad[k], quad[(k + 1) % 4], new[(k + 1) % 4], new[k]) for k in range(4))


def box_modelled(rng: Rng) -> Mesh:
    """A welded lump modelled from a box by insetting and extruding faces, often mirror-symmetric in x."""
    x, y, z = (between(rng, 0.25, 0.6) for _ in range(3))
    start = box(x, y, z).vertices
    vertices = list(start)
    quads: list[tuple[int, ...]] = [
        (0, 3, 2, 1),
        (4, 5, 6, 7),
        (0, 1, 5, 4),
        (1, 2, 6, 5),
        (2, 3, 7, 6),
        (3, 0, 4, 7),
    ]
    for _ in range(whole(rng, 2, 6)):
        face = whole(rng, 1, 5)
        targets = (3, 5) if face in (3, 5) and chance(rng, 0.8) else (face,)
        inset, out = between(rng, 0.5, 0.95), between(rng, 0.08, 0.4)
        nested = chance(rng, 0.3)
        dent = chance(rng, 0.2)
        for target in targets:
            if nested:
                _push(vertices, quads, target, between(rng, 0.6, 0.8), 0.0)
            _push(vertices, quads, target, inset * 0.9 if dent else inset, -0.06 if dent else out)
    q = np.array(quads, dtype=np.int64)
    return Mesh(np.array(vertices), np.concatenate([q[:, [0, 1, 2]], q[:, [0, 2, 3]]]))


def terrain(rng: Rng) -> Mesh:
    """An open patch of ground over a grid: hills, a valley or terraces."""
    n, m = whole(rng, 3, 9), whole(rng, 3, 9)
    u, v = np.meshgrid(np.linspace(-0.5, 0.5, n + 1), np.linspace(-0.5, 0.5, m + 1), indexing="ij")
    height = np.zeros_like(u)
    for _ in range(whole(rng, 1, 4)):
        cx, cy = rng.random() - 0.5, rng.random() - 0.5
        height += between(rng, -0.15, 0.35) * np.exp(-((u - cx) ** 2 + (v - cy) ** 2) / between(rng, 0.02, 0.15))
    if chance(rng, 0.4):
        height += rng.normal(0.0, 0.025, u.shape)
    k = np.arange(n)[:, None] * (m + 1) + np.arange(m)[None]
    a, b, c, d = (x.ravel() for x in (k, k + m + 1, k + m + 2, k + 1))
    faces = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    return Mesh(np.stack([u.ravel(), v.ravel(), height.ravel()], axis=1), faces)


def polygon_card(rng: Rng) -> Mesh:
    """Crossed flat cards, as game artists draw grass and signs: open, single-sided outlines."""
    outline = _outline(rng)
    faces = ear_clip(outline)
    card = stand(Mesh(np.concatenate([outline, np.zeros((len(outline), 1))], axis=1), faces))
    card = move(card, x=-float(outline[:, 0].mean()))
    count = whole(rng, 2, 4)
    return join(*(turn(card, math.pi * k / count) for k in range(count)))
