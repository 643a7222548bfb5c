"""Rocks, plants and animals."""

from __future__ import annotations

import math
from functools import lru_cache

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
    mirrored,
    move,
    ngon,
    prism,
    rod,
    side_extrude,
    stretch,
    sweep,
    taper,
    turn,
)

Rng = np.random.Generator


@lru_cache(maxsize=1)
def _icosahedron() -> Mesh:
    """A regular icosahedron of radius 1, pole up."""
    z, r = 1.0 / math.sqrt(5.0), 2.0 / math.sqrt(5.0)
    lower, upper = ngon(5, r, phase=0.0), ngon(5, r, phase=math.pi / 5.0)
    vertices = np.array(
        [*((x, y, -z) for x, y in lower), *((x, y, z) for x, y in upper), (0.0, 0.0, -1.0), (0.0, 0.0, 1.0)]
    )
    faces = []
    for j in range(5):
        k = (j + 1) % 5
        faces += [(10, k, j), (j, k, 5 + j), (k, 5 + k, 5 + j), (11, 5 + j, 5 + k)]
    return Mesh(vertices, np.array(faces, dtype=np.int64))


@lru_cache(maxsize=1)
def _icosphere() -> Mesh:
    """The icosahedron subdivided once: 80 faces."""
    base = _icosahedron()
    vertices = [tuple(v) for v in base.vertices]
    middle: dict[tuple[int, int], int] = {}

    def between_(a: int, b: int) -> int:
        key = (min(a, b), max(a, b))
        if key not in middle:
            m = (np.array(vertices[a]) + np.array(vertices[b])) / 2.0
            vertices.append(tuple(m / np.linalg.norm(m)))
            middle[key] = len(vertices) - 1
        return middle[key]

    faces = []
    for a, b, c in base.faces.tolist():
        ab, bc, ca = between_(a, b), between_(b, c), between_(c, a)
        faces += [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    return Mesh(np.array(vertices), np.array(faces, dtype=np.int64))


def _lump(rng: Rng, radius: float, rough: float, fine: bool) -> Mesh:
    """An irregular blob: an icosahedron or icosphere with jittered radii."""
    base = _icosphere() if fine else _icosahedron()
    jitter = radius * (1.0 + rough * (rng.random((len(base.vertices), 1)) - 0.5))
    return Mesh(base.vertices * jitter, base.faces)


def rock(rng: Rng) -> Mesh:
    """A boulder or a few, or a cluster of crystals."""
    if chance(rng, 0.35):
        pieces = []
        for _ in range(whole(rng, 2, 6)):
            h, r = between(rng, 0.3, 1.0), between(rng, 0.08, 0.16)
            n = pick(rng, (4, 5, 6))
            crystal = lathe([(r * 0.8, 0.0), (r, h * 0.7), (0.0, h)], n)
            lean = turn(crystal, between(rng, 0.0, 0.5), "y")
            pieces.append(move(turn(lean, rng.random() * 6.28), between(rng, -0.15, 0.15), between(rng, -0.15, 0.15)))
        return join(*pieces)
    pieces = []
    for _ in range(pick(rng, (1, 1, 2, 3))):
        lump = _lump(rng, between(rng, 0.25, 0.5), 0.45, chance(rng, 0.5))
        lump = stretch(lump, between(rng, 0.8, 1.4), between(rng, 0.8, 1.2), between(rng, 0.5, 1.0))
        lump.vertices[:, 2] = np.maximum(lump.vertices[:, 2], -0.12)
        pieces.append(move(lump, 0.6 * len(pieces), between(rng, -0.2, 0.2)))
    return join(*pieces)


def tree(rng: Rng) -> Mesh:
    """A tree: conifer tiers, round crowns, a palm, or bare branches."""
    n, h, r = pick(rng, (5, 6, 6, 7, 8)), between(rng, 0.3, 0.7), between(rng, 0.05, 0.09)
    trunk = prism(pick(rng, (4, 5, 6)), r, h + 0.08, top=between(rng, 0.6, 1.0))
    style = whole(rng, 0, 3)
    if style == 0:
        tiers, width, z = whole(rng, 1, 4), between(rng, 0.3, 0.45), h * 0.6
        pieces = [trunk]
        for k in range(tiers):
            size = width * (1.0 - 0.22 * k)
            pieces.append(turn(prism(n, size, size * 1.15, top=0.0 if k == tiers - 1 else 0.35, z=z), 0.3 * k))
            z += size * 0.75
        return join(*pieces)
    if style == 1:
        pieces = [trunk]
        fine = chance(rng, 0.4)
        for k in range(whole(rng, 1, 3)):
            size = between(rng, 0.22, 0.38)
            crown = stretch(_lump(rng, size, 0.25, fine), z=between(rng, 0.8, 1.3))
            spread = 0.0 if k == 0 else 0.22
            pieces.append(
                move(crown, between(rng, -spread, spread), between(rng, -spread, spread), h + 0.15 + 0.12 * k)
            )
        return join(*pieces)
    if style == 2:
        bend, tall = between(rng, 0.0, 0.3), h + 0.5
        path = np.array([(bend * t * t, 0.0, tall * t) for t in (0.0, 0.35, 0.7, 1.0)])
        stem = sweep(path, ngon(6, r), up=(0.0, 1.0, 0.0), sizes=np.array([1.2, 0.9, 0.8, 0.7]))
        frond = np.array([(0.0, 0.0, -0.03), (0.2, 0.0, 0.08), (0.38, 0.0, 0.02), (0.5, 0.0, -0.14)])
        blade = np.array([(0.02, 0.0), (0.0, 0.09), (-0.02, 0.0), (0.0, -0.09)])
        leaf = sweep(frond, blade, up=(0.0, 1.0, 0.0), sizes=np.array([0.5, 1.0, 0.9, 0.3]))
        return join(stem, *(move(m, bend, 0.0, tall) for m in around(leaf, whole(rng, 5, 8))))
    pieces = [trunk]
    for k in range(whole(rng, 2, 5)):
        z, reach = h * between(rng, 0.5, 1.0), between(rng, 0.2, 0.4)
        branch = rod((0.0, 0.0, z), (reach, 0.0, z + reach * 1.1), r * 0.6, 4, top=0.5)
        pieces.append(turn(branch, 2.4 * k + rng.random()))
    return join(*pieces)


def mushroom(rng: Rng) -> Mesh:
    """A mushroom, a parasol, or a cactus."""
    n, h, r = sides(rng), between(rng, 0.3, 0.7), between(rng, 0.07, 0.14)
    style = whole(rng, 0, 2)
    if style == 0:
        cap, rise = between(rng, 0.25, 0.45), between(rng, 0.15, 0.35)
        skin = [
            (r * 0.7, h * 0.97),
            (cap, h - 0.02),
            (cap * 0.9, h + rise * 0.4),
            (cap * 0.5, h + rise * 0.85),
            (0.0, h + rise),
        ]
        return join(lathe([(r * 1.2, 0.0), (r, h * 0.5), (r * 0.8, h)], n), lathe(skin, n))
    if style == 1:
        cap = between(rng, 0.4, 0.6)
        roof = lathe([(0.0, h + 0.38), (cap, h + 0.2), (cap, h + 0.25), (cap * 0.6, h + 0.4), (0.0, h + 0.48)], n)
        return join(roof, prism(6, 0.03, h + 0.45), prism(8, 0.16, 0.07, top=0.7))
    r, tall = r + 0.03, h + 0.4
    trunk = lathe([(r, 0.0), (r, tall - r * 0.5), (r * 0.6, tall), (0.0, tall + r * 0.2)], n)
    pieces = [trunk]
    for k in range(whole(rng, 1, 3)):
        z, reach = tall * between(rng, 0.3, 0.5), r + between(rng, 0.12, 0.2)
        path = np.array(
            [
                (0.0, 0.0, z),
                (reach * 0.9, 0.0, z),
                (reach, 0.0, z + 0.1),
                (reach, 0.0, z + between(rng, 0.2, 0.4)),
            ]
        )
        pieces.append(turn(sweep(path, ngon(6, r * 0.6), up=(0.0, 1.0, 0.0)), 3.14 * k + between(rng, -0.3, 0.3)))
    return join(*pieces)


def animal(rng: Rng) -> Mesh:
    """A four-legged toy animal of boxes, or a fish or bird of lofted sections."""
    style = whole(rng, 0, 1)
    if style == 0:
        length, h, w, leg = (
            between(rng, 0.6, 0.9),
            between(rng, 0.25, 0.4),
            between(rng, 0.22, 0.32),
            between(rng, 0.2, 0.5),
        )
        t = between(rng, 0.07, 0.1)
        pieces = [taper(length, w, h, length * between(rng, 0.85, 1.0), w * between(rng, 0.7, 1.0), (0.0, 0.0, leg))]
        pieces += [
            box(t, t, leg + 0.03, (x * (length * 0.46 - t / 2), y * (w * 0.46 - t / 2), 0.0))
            for x in (-1, 1)
            for y in (-1, 1)
        ]
        neck, head = between(rng, 0.05, 0.5), between(rng, 0.16, 0.24)
        tip = (length * 0.5 + neck * 0.4, 0.0, leg + h + neck)
        pieces.append(rod((length * 0.4, 0.0, leg + h * 0.7), tip, head * 0.45))
        pieces.append(box(head * 1.7, head, head, (tip[0] + head * 0.4, 0.0, tip[2] - head * 0.4)))
        ear = taper(0.04, 0.06, between(rng, 0.08, 0.2), 0.03, 0.03)
        pieces += mirrored(move(ear, tip[0], head * 0.35, tip[2] + head * 0.55), "y")
        pieces.append(
            rod(
                (-length * 0.48, 0.0, leg + h * 0.85),
                (-length * 0.48 - 0.2, 0.0, leg + h * between(rng, 0.3, 1.3)),
                0.035,
            )
        )
        return join(*pieces)
    n = pick(rng, (6, 8, 8))
    tall, length = between(rng, 1.0, 1.8), between(rng, 0.8, 1.1)
    profile = [(0.0, 0.0), (0.16, 0.18), (0.2, 0.45), (0.12, 0.75), (0.05, 0.95)]
    body = stretch(lay(lathe([(r, -z * length) for r, z in reversed(profile)], n)), y=0.7, z=tall)
    tail_x, s = -0.92 * length, between(rng, 0.15, 0.28)
    tail = side_extrude(np.array([(0.0, -0.04), (0.0, 0.04), (-s, s), (-s * 0.7, 0.0), (-s, -s)]), 0.05)
    fin = side_extrude(np.array([(-0.15, 0.0), (0.15, 0.0), (-0.12, 0.22)]), 0.04)
    side = extrude(np.array([(0.0, 0.0), (0.14, 0.0), (-0.05, between(rng, 0.2, 0.5))]), 0.04)
    pieces = [body, move(tail, tail_x), move(fin, -0.45 * length, 0.0, 0.17 * tall)]
    return join(*pieces, *mirrored(move(side, -0.45 * length, 0.1, 0.0), "y"))
