"""Procedural low-poly shapes: the default training data, which needs no files.

`random_shape(rng)` draws one of `SHAPE_KINDS`; every shape is a triangle mesh as an artist would leave it:
separate closed parts that touch or overlap, or one welded skin, wound outward, z up, in arbitrary units.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from flashmesh_core.mesh.canonical import Mesh

from .procedural import buildings, furniture, machines, nature, solids, vessels
from .procedural.dice import between, chance, pick, whole
from .procedural.primitives import box, join, move, stretch, turn

MIN_FACES = 12

_BUILDERS: dict[str, tuple[Callable[[np.random.Generator], Mesh], float]] = {
    "box": (solids.cuboid, 1.5),
    "prism": (solids.solid_prism, 1.0),
    "pyramid": (solids.pyramid, 1.0),
    "wedge": (solids.wedge, 1.0),
    "ball": (solids.ball, 0.8),
    "ring": (solids.ring, 1.0),
    "emblem": (solids.emblem, 1.2),
    "stack": (solids.stack, 0.8),
    "box_modelled": (solids.box_modelled, 3.0),
    "terrain": (solids.terrain, 0.6),
    "cards": (solids.polygon_card, 0.3),
    "table": (furniture.table, 1.5),
    "chair": (furniture.chair, 1.5),
    "stool": (furniture.stool, 1.0),
    "shelf": (furniture.shelf, 1.0),
    "cabinet": (furniture.cabinet, 1.0),
    "bed": (furniture.bed, 0.8),
    "sofa": (furniture.sofa, 0.8),
    "lamp": (furniture.lamp, 1.0),
    "crate": (furniture.crate, 1.0),
    "figure": (furniture.figure, 1.0),
    "house": (buildings.house, 2.0),
    "tower": (buildings.tower, 1.2),
    "castle": (buildings.castle, 0.8),
    "fence": (buildings.fence, 1.0),
    "stairs": (buildings.stairs, 1.0),
    "arch": (buildings.arch, 1.0),
    "temple": (buildings.temple, 0.6),
    "column": (buildings.column, 0.8),
    "well": (buildings.well, 0.6),
    "windmill": (buildings.windmill, 0.8),
    "vault": (buildings.tunnel, 0.8),
    "vase": (vessels.vase, 1.0),
    "bottle": (vessels.bottle, 1.0),
    "cup": (vessels.cup, 1.0),
    "bell": (vessels.bell, 0.8),
    "chess": (vessels.chess, 0.6),
    "wheel": (vessels.wheel, 0.8),
    "gear": (vessels.gear, 0.8),
    "pipe": (vessels.pipe, 0.8),
    "ornament": (vessels.ornament, 0.6),
    "dessert": (vessels.table_setting, 0.6),
    "frame": (vessels.frame, 0.8),
    "car": (machines.car, 1.5),
    "cart": (machines.cart, 1.0),
    "boat": (machines.boat, 1.0),
    "plane": (machines.plane, 1.0),
    "sword": (machines.sword, 1.0),
    "tool": (machines.tool, 1.0),
    "rock": (nature.rock, 1.0),
    "tree": (nature.tree, 1.5),
    "mushroom": (nature.mushroom, 0.8),
    "animal": (nature.animal, 1.2),
    "machine": (machines.machine, 1.0),
}

_GROUP = "group"  # a few shapes side by side, as in a prop set
_GROUP_WEIGHT = 4.0

SHAPE_KINDS: tuple[str, ...] = (*_BUILDERS, _GROUP)
OPEN_KINDS: frozenset[str] = frozenset({"terrain", "cards"})  # surfaces with a border; all others are closed

_CUMULATIVE = np.cumsum([*(weight for _, weight in _BUILDERS.values()), _GROUP_WEIGHT])
_SIMPLE = ("box", "prism", "pyramid", "wedge")  # kinds that fit the smallest face limits
_PATIENCE = 12  # draws over all kinds before only the simple ones are tried
_SOLID = tuple(kind for kind in _BUILDERS if kind not in OPEN_KINDS)


def _group(rng: np.random.Generator) -> Mesh:
    """Two to four shapes on one ground, scaled to like size, in a row or a square; some on a slab."""
    count = whole(rng, 2, 4)
    kinds = [pick(rng, _SOLID) for _ in range(count)]
    if chance(rng, 0.3):
        kinds = kinds[:1] * count
    per_row = count if chance(rng, 0.5) else 2
    pieces: list[Mesh] = []
    x = y = depth = 0.0
    for k, kind in enumerate(kinds):
        mesh = _BUILDERS[kind][0](rng)
        low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
        size = between(rng, 0.6, 1.0) / float((high - low).max())
        mesh = turn(stretch(mesh, size, size, size), np.pi / 2.0 * whole(rng, 0, 3))
        low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
        if k and k % per_row == 0:
            x, y = 0.0, y + depth + 0.15
        gap = between(rng, 0.06, 0.3)
        pieces.append(move(mesh, x - low[0], y - low[1], -low[2]))
        x, depth = x + float(high[0] - low[0]) + gap, max(depth, float(high[1] - low[1]))
    if chance(rng, 0.3):
        both = np.concatenate([p.vertices for p in pieces])
        low, high = both.min(axis=0), both.max(axis=0)
        slab = box(high[0] - low[0] + 0.1, high[1] - low[1] + 0.1, 0.08)
        pieces.append(move(slab, (low[0] + high[0]) / 2.0, (low[1] + high[1]) / 2.0, -0.08))
    return join(*pieces)


def make_shape(kind: str, rng: np.random.Generator) -> Mesh:
    """A random shape of one of `SHAPE_KINDS`: z up, arbitrary size, about 6 to 1,000 faces.

    Raises ValueError for an unknown kind.
    """
    if kind == _GROUP:
        mesh = _group(rng)
    elif kind in _BUILDERS:
        mesh = _BUILDERS[kind][0](rng)
    else:
        raise ValueError(f"kind must be one of {', '.join(SHAPE_KINDS)}, got {kind!r}")
    # Primitives share cached face arrays; a caller gets its own.
    return Mesh(np.ascontiguousarray(mesh.vertices), np.array(mesh.faces, dtype=np.int64, order="C"))


def random_shape(rng: np.random.Generator, max_faces: int = 800) -> Mesh:
    """A random shape of a random kind with 12 to `max_faces` faces.

    The same generator state gives the same shape. Raises ValueError if `max_faces` is below 12.
    """
    if max_faces < MIN_FACES:
        raise ValueError(f"max_faces must be at least {MIN_FACES}, got {max_faces}")
    attempts = 0
    while True:
        index = int(np.searchsorted(_CUMULATIVE, rng.random() * _CUMULATIVE[-1], side="right"))
        kind = SHAPE_KINDS[index] if attempts < _PATIENCE else pick(rng, _SIMPLE)
        mesh = make_shape(kind, rng)
        attempts += 1
        if MIN_FACES <= len(mesh.faces) <= max_faces:
            return mesh
