"""Furniture and household things, built of touching closed parts as artists do."""

from __future__ import annotations

import math

import numpy as np

from flashmesh_core.mesh.canonical import Mesh

from .dice import between, chance, pick, sides, whole
from .primitives import (
    box,
    join,
    lathe,
    lay,
    mirrored,
    move,
    ngon,
    prism,
    rectangle,
    rod,
    sphere,
    stacked,
    stand,
    stretch,
    taper,
    turn,
)

Rng = np.random.Generator


def _legs(rng: Rng, width: float, depth: float, height: float) -> list[Mesh]:
    """Four legs under a top of `width` by `depth`: square, tapered, round or splayed, some with rails."""
    t = between(rng, 0.03, 0.06)
    x, y = width / 2.0 - t * between(rng, 0.6, 1.6), depth / 2.0 - t * between(rng, 0.6, 1.6)
    style = whole(rng, 0, 3)
    if style == 0:
        leg = box(2 * t, 2 * t, height, (x, y, 0.0))
    elif style == 1:
        leg = taper(1.2 * t, 1.2 * t, height, 2 * t, 2 * t, (x, y, 0.0))
    elif style == 2:
        leg = move(prism(pick(rng, (6, 8)), t, height, top=between(rng, 0.8, 1.4)), x, y)
    else:
        leg = rod((x * 1.12, y * 1.12, 0.0), (x * 0.9, y * 0.9, height), t, pick(rng, (4, 4, 6)))
    legs = [m for side in mirrored(leg, "x") for m in mirrored(side, "y")]
    if style < 2 and chance(rng, 0.35):
        z = height * between(rng, 0.15, 0.4)
        legs += mirrored(box(t, 2 * y, 1.5 * t, (x, 0.0, z)), "x")
        if chance(rng, 0.5):
            legs.append(box(2 * x, t, 1.5 * t, (0.0, 0.0, z)))
    return legs


def _slab(rng: Rng, width: float, depth: float, thick: float, z: float) -> Mesh:
    """A board: square-edged, with cut corners or with a bevelled upper edge."""
    style = whole(rng, 0, 3)
    if style <= 1:
        return box(width, depth, thick, (0.0, 0.0, z))
    if style == 2:
        return stacked(rectangle(width, depth, min(width, depth) * 0.15), [(z, 1.0), (z + thick, 1.0)])
    return taper(width * 0.94, depth * 0.94, thick, width, depth, (0.0, 0.0, z))


def table(rng: Rng) -> Mesh:
    """A dining, coffee or pedestal table, round or rectangular, or a desk with drawers."""
    w, d, h = between(rng, 0.7, 1.4), between(rng, 0.5, 0.9), between(rng, 0.35, 0.85)
    thick = between(rng, 0.04, 0.09)
    if chance(rng, 0.3):
        n = sides(rng)
        foot, stem = between(rng, 0.2, 0.35), between(rng, 0.04, 0.09)
        top = prism(n, d * 0.7, thick, z=h)
        post = lathe([(foot, 0.0), (foot, 0.04), (stem, 0.1), (stem, h)], n)
        if chance(rng, 0.4):
            feet = [rod((0.0, 0.0, 0.16), (foot * 1.3, 0.0, 0.02), 0.04)]
            post = join(prism(n, stem, h), *(turn(feet[0], 2.1 * k) for k in range(3)))
        return join(top, post)
    pieces = [_slab(rng, w, d, thick, h), *_legs(rng, w, d, h)]
    if chance(rng, 0.4):
        pieces.append(box(w * 0.82, d * 0.8, 0.07, (0.0, 0.0, h - 0.07)))
    elif chance(rng, 0.3):
        block = box(w * 0.28, d * 0.85, h * 0.6, (w * 0.28, 0.0, h * 0.4))
        drawers = [box(w * 0.24, 0.04, h * 0.22, (w * 0.28, -d * 0.43, h * (0.44 + 0.28 * k))) for k in range(2)]
        pieces += [block, *drawers]
    return join(*pieces)


def _back(rng: Rng, width: float, depth: float, z: float, height: float) -> list[Mesh]:
    """A chair back of the given size standing at the rear (+y) edge: solid, slatted or barred."""
    y, t = depth / 2.0 - 0.03, between(rng, 0.04, 0.06)
    style = whole(rng, 0, 2)
    if style == 0:
        top = width * between(rng, 0.75, 1.0)
        return [taper(width, t, height, top, t, (0.0, y, z))]
    posts = mirrored(box(t, t, height, (width / 2.0 - t / 2.0, y, z)), "x")
    inner = width - 2 * t
    if style == 1:
        count = whole(rng, 2, 4)
        gap = height / (count + 0.4)
        return posts + [box(inner, t * 0.7, gap * 0.55, (0.0, y, z + gap * (k + 0.75))) for k in range(count)]
    count = whole(rng, 2, 4)
    bars = [box(t * 0.8, t * 0.8, height - t, (inner * ((k + 1) / (count + 1) - 0.5), y, z)) for k in range(count)]
    return [*posts, *bars, box(inner, t, t * 1.4, (0.0, y, z + height - t * 1.4))]


def chair(rng: Rng) -> Mesh:
    """A chair, with or without arms, on four legs or a swivel foot."""
    w, d, h = between(rng, 0.42, 0.6), between(rng, 0.42, 0.58), between(rng, 0.38, 0.55)
    seat = between(rng, 0.04, 0.09)
    pieces = [_slab(rng, w, d, seat, h), *_back(rng, w, d, h + seat, between(rng, 0.35, 0.75))]
    if chance(rng, 0.2):
        spoke = rod((0.0, 0.0, 0.09), (w * 0.55, 0.0, 0.03), 0.03)
        pieces += [prism(6, 0.04, h - 0.03, z=0.03), *(turn(spoke, 2 * math.pi * k / 5) for k in range(5))]
    else:
        pieces += _legs(rng, w, d, h)
    if chance(rng, 0.35):
        rise, t = between(rng, 0.15, 0.25), 0.05
        arm = join(
            box(t, d * 0.9, t * 0.8, (w / 2.0, 0.0, h + seat + rise)),
            box(t * 0.8, t * 0.8, rise + seat, (w / 2.0, -d * 0.36, h)),
        )
        pieces += mirrored(arm, "x")
    return join(*pieces)


def stool(rng: Rng) -> Mesh:
    """A stool or bench."""
    h, thick = between(rng, 0.35, 0.8), between(rng, 0.05, 0.1)
    if chance(rng, 0.5):
        n, r, count = sides(rng), between(rng, 0.2, 0.32), whole(rng, 3, 4)
        leg = rod((r * 1.1, 0.0, 0.0), (r * 0.65, 0.0, h), between(rng, 0.03, 0.045), pick(rng, (4, 6)))
        pieces = [
            prism(n, r, thick, z=h),
            *(turn(leg, 2 * math.pi * (k + 0.5) / count) for k in range(count)),
        ]
        return join(*pieces)
    w, d = between(rng, 0.9, 1.6), between(rng, 0.3, 0.45)
    pieces = [_slab(rng, w, d, thick, h)]
    if chance(rng, 0.5):
        pieces += mirrored(box(0.07, d * 0.85, h, (w * 0.36, 0.0, 0.0)), "x")
        pieces.append(box(w * 0.72, 0.05, 0.1, (0.0, 0.0, h * 0.45)))
    else:
        pieces += _legs(rng, w, d, h)
    if chance(rng, 0.4):
        pieces += _back(rng, w, d, h + thick, between(rng, 0.3, 0.5))
    return join(*pieces)


def shelf(rng: Rng) -> Mesh:
    """A bookcase with boards, an optional back, and sometimes books."""
    w, d, h, t = between(rng, 0.5, 1.1), between(rng, 0.22, 0.4), between(rng, 0.7, 1.6), 0.05
    count = whole(rng, 2, 5)
    pieces = mirrored(box(t, d, h, ((w - t) / 2.0, 0.0, 0.0)), "x")
    levels = [0.04 + (h - t - 0.04) * k / count for k in range(count + 1)]
    pieces += [box(w - 2 * t, d * 0.97, t, (0.0, 0.0, z)) for z in levels]
    if chance(rng, 0.6):
        pieces.append(box(w - 2 * t, 0.04, h - 0.1, (0.0, d / 2.0 - 0.025, 0.05)))
    if chance(rng, 0.35):
        gap = (h - t) / count - t
        for z in levels[:-1]:
            x = -w / 2.0 + t + 0.02
            while x < w / 2.0 - t - 0.15 and chance(rng, 0.75):
                b = between(rng, 0.05, 0.12)
                pieces.append(box(b, d * 0.7, gap * between(rng, 0.55, 0.9), (x + b / 2.0, -0.02, z + t)))
                x += b + 0.01
    return join(*pieces)


def cabinet(rng: Rng) -> Mesh:
    """A cupboard, chest of drawers or oven: a body with doors or drawers and handles."""
    w, d, h = between(rng, 0.5, 1.2), between(rng, 0.35, 0.6), between(rng, 0.5, 1.5)
    foot = between(rng, 0.05, 0.15)
    pieces = [box(w, d, h, (0.0, 0.0, foot))]
    if chance(rng, 0.5):
        pieces += [
            box(0.07, 0.07, foot, (sx * (w / 2 - 0.06), sy * (d / 2 - 0.06), 0.0)) for sx in (-1, 1) for sy in (-1, 1)
        ]
    else:
        pieces.append(box(w * 0.9, d * 0.9, foot))
    if chance(rng, 0.4):
        pieces.append(box(w * 1.06, d * 1.06, 0.05, (0.0, 0.0, foot + h)))
    columns, rows = whole(rng, 1, 2), whole(rng, 1, 4)
    cw, ch = w / columns, h / rows
    knob = box(cw * 0.3, 0.04, 0.035) if rows > 1 else box(0.035, 0.04, ch * 0.25)
    for c in range(columns):
        for r in range(rows):
            x, z = -w / 2.0 + cw * (c + 0.5), foot + ch * (r + 0.5)
            pieces.append(box(cw * 0.86, 0.05, ch * 0.84, (x, -d / 2.0 - 0.01, z - ch * 0.42)))
            shift = 0.0 if rows > 1 else cw * 0.3 * (1 if c == 0 else -1)
            pieces.append(move(knob, x + shift, -d / 2.0 - 0.05, z))
    return join(*pieces)


def bed(rng: Rng) -> Mesh:
    """A bed with boards, mattress, pillows, or two storeys of it."""
    w, d, z = between(rng, 0.6, 1.1), between(rng, 1.2, 1.5), between(rng, 0.1, 0.25)
    t, mattress = 0.07, between(rng, 0.1, 0.2)
    body = [
        box(w, d, 0.1, (0.0, 0.0, z)),
        stacked(
            rectangle(w * 0.95, d * 0.95),
            [(z + 0.1, 1.0), (z + 0.1 + mattress * 0.7, 1.0), (z + 0.1 + mattress, 0.93)],
        ),
    ]
    top = z + 0.1 + mattress
    count = 2 if w > 0.85 else 1
    for k in range(count):
        x = (k - (count - 1) / 2.0) * w * 0.46
        body.append(taper(w * 0.4, 0.24, 0.09, w * 0.33, 0.17, (x, d / 2.0 - 0.2, top - 0.01)))
    if chance(rng, 0.2):
        storey = join(*body)
        rise = between(rng, 0.6, 0.8)
        posts = [box(t, t, rise + top + 0.1, (s * (w + t) / 2, q * (d - t) / 2, 0.0)) for s in (-1, 1) for q in (-1, 1)]
        return join(storey, move(storey, z=rise), *posts)
    head, foot = between(rng, 0.25, 0.6), between(rng, 0.0, 0.2)
    body.append(box(w + t, t, z + 0.1 + head, (0.0, (d + t) / 2.0, 0.0)))
    body.append(box(w + t, t, z + 0.1 + foot, (0.0, -(d + t) / 2.0, 0.0)))
    return join(*body)


def sofa(rng: Rng) -> Mesh:
    """An armchair or sofa with cushions."""
    seats, d = whole(rng, 1, 3), between(rng, 0.7, 0.9)
    w, base, arm = 0.55 * seats, between(rng, 0.2, 0.32), between(rng, 0.12, 0.2)
    rise, back = between(rng, 0.15, 0.3), between(rng, 0.4, 0.6)
    pieces = [
        box(w, d - 0.18, base, (0.0, -0.09, 0.06)),
        box(w + 2 * arm, 0.18, base + back, (0.0, d / 2.0 - 0.09, 0.06)),
    ]
    pieces += mirrored(
        taper(arm, d - 0.18, base + rise, arm * between(rng, 0.8, 1.0), d - 0.18, ((w + arm) / 2.0, -0.09, 0.06)),
        "x",
    )
    for k in range(seats):
        x = (k - (seats - 1) / 2.0) * 0.55
        pieces.append(taper(0.53, d - 0.2, 0.13, 0.48, d - 0.26, (x, -0.09, base + 0.06)))
        if chance(rng, 0.6):
            pieces.append(taper(0.52, 0.14, back * 0.75, 0.46, 0.1, (x, d / 2.0 - 0.24, base + 0.15)))
    pieces += [box(0.07, 0.07, 0.06, (s * (w / 2), q * d * 0.38, 0.0)) for s in (-1, 1) for q in (-1, 1)]
    return join(*pieces)


def lamp(rng: Rng) -> Mesh:
    """A table or floor lamp, or a street lantern."""
    n, h = sides(rng), between(rng, 0.5, 1.5)
    foot, shade, t = between(rng, 0.14, 0.25), between(rng, 0.18, 0.32), between(rng, 0.02, 0.035)
    style = whole(rng, 0, 2)
    if style == 0:
        body = [(0.0, 0.0), (foot, 0.0), (foot, 0.05), (t, 0.09), (t, h)]
        if chance(rng, 0.5):
            body = [
                (0.0, 0.0),
                (foot * 0.7, 0.0),
                (foot, h * 0.25),
                (foot * 0.6, h * 0.55),
                (t, h * 0.7),
                (t, h),
            ]
        top, rise = between(rng, 0.4, 0.85), between(rng, 0.2, 0.35)
        skin = lathe([(shade, h - 0.06), (shade * top, h - 0.06 + rise)], n)
        return join(lathe([*body, (0.0, h)], max(n - 2, 5)), skin)
    if style == 1:
        reach = between(rng, 0.25, 0.5)
        parts = [prism(n, foot, 0.06), rod((0.0, 0.0, 0.06), (0.0, 0.0, h), t * 1.3, 6)]
        parts.append(rod((0.0, 0.0, h - 0.02), (reach, 0.0, h + 0.1), t * 1.2, 4))
        return join(*parts, move(lathe([(0.14, 0.0), (0.06, 0.16), (0.0, 0.17)], n), reach, 0.0, h - 0.04))
    glass = stacked(ngon(pick(rng, (4, 6)), 0.1), [(h, 1.0), (h + 0.25, 1.5)])
    roof = prism(pick(rng, (4, 6)), 0.2, 0.14, top=0.2, z=h + 0.25)
    return join(prism(8, foot * 0.8, 0.1, top=0.6), prism(6, t * 1.4, h - 0.1, z=0.1), glass, roof)


def crate(rng: Rng) -> Mesh:
    """A wooden crate, a treasure chest or a barrel."""
    style = whole(rng, 0, 2)
    if style == 0:
        x, t = between(rng, 0.6, 1.0), between(rng, 0.06, 0.1)
        z = x * between(rng, 0.7, 1.1)
        inner = box(x - t, x - t, z - t, (0.0, 0.0, t / 2.0))
        posts = [box(t, t, z, (s * (x - t) / 2, q * (x - t) / 2, 0.0)) for s in (-1, 1) for q in (-1, 1)]
        rails = [box(x - 2 * t, t, t, (0.0, q * (x - t) / 2, k * (z - t))) for q in (-1, 1) for k in (0, 1)]
        rails += [box(t, x - 2 * t, t, (q * (x - t) / 2, 0.0, k * (z - t))) for q in (-1, 1) for k in (0, 1)]
        return join(inner, *posts, *rails)
    if style == 1:
        w, d, h = between(rng, 0.7, 1.0), between(rng, 0.4, 0.6), between(rng, 0.25, 0.4)
        n = whole(rng, 4, 8)
        angle = np.linspace(0.0, math.pi, n + 1)
        lid_outline = np.stack([d / 2.0 * np.cos(angle), 0.7 * d / 2.0 * np.sin(angle)], axis=1)
        ring = np.concatenate([lid_outline, np.zeros((n + 1, 1))], axis=1)
        solid = Mesh(*_flat_loft(ring, w))
        bands = [box(0.07, d + 0.05, h + 0.01, (s * w * 0.3, 0.0, 0.0)) for s in (-1, 1)]
        lid = move(lay(solid), -w / 2.0, 0.0, h)
        return join(box(w, d, h), lid, *bands, box(0.12, 0.06, 0.14, (0.0, -d / 2.0, h - 0.07)))
    n, r, h = sides(rng), between(rng, 0.25, 0.35), between(rng, 0.7, 1.0)
    bulge = between(rng, 1.1, 1.3)
    barrel = lathe([(r, 0.0), (r * bulge, h * 0.33), (r * bulge, h * 0.67), (r, h)], n)
    if chance(rng, 0.4):
        inset = [(r, h), (r * 0.85, h), (r * 0.85, h - 0.05), (0.0, h - 0.05)]
        barrel = lathe([(0.0, 0.0), (r, 0.0), (r * bulge, h * 0.33), (r * bulge, h * 0.67), *inset], n)
    return move(stand(barrel), z=r * bulge) if chance(rng, 0.2) else barrel


def _flat_loft(ring: np.ndarray, length: float) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and faces of a convex ring (N, 3) in xy swept up z by `length`."""
    solid = stacked(ring[:, :2], [(0.0, 1.0), (length, 1.0)])
    return solid.vertices, solid.faces


def figure(rng: Rng) -> Mesh:
    """A blocky person or robot."""
    n = pick(rng, (4, 4, 6, 8))
    leg, torso, head = between(rng, 0.3, 0.5), between(rng, 0.3, 0.45), between(rng, 0.11, 0.18)
    w, d, spread = between(rng, 0.28, 0.42), between(rng, 0.15, 0.24), between(rng, 0.0, 0.3)
    t = between(rng, 0.05, 0.075)
    limbs = [box(2 * t, d * 0.9, leg, (w * 0.27, 0.0, 0.0))]
    if chance(rng, 0.6):
        limbs.append(box(2.1 * t, d * 1.3, 0.07, (w * 0.27, -d * 0.2, 0.0)))
    shoulder = leg + torso - 0.06
    limbs.append(rod((w / 2 + t * 0.6, 0.0, shoulder), (w / 2 + t + spread, 0.0, leg - 0.05 + spread * 0.6), t, n))
    body = taper(w * between(rng, 0.7, 1.0), d * 0.9, torso, w, d, (0.0, 0.0, leg))
    skull = (
        stretch(sphere(8, 5, head), z=1.1) if chance(rng, 0.4) else box(1.6 * head, 1.6 * head, 2 * head, (0, 0, -head))
    )
    pieces = [body, move(skull, z=leg + torso + head * 1.02)]
    for limb in limbs:
        pieces += mirrored(limb, "x")
    return join(*pieces)
