"""Pictures of meshes and point clouds in plain numpy: a z-buffer, flat shading and a readable wireframe.

No window system and no OpenGL. The view is orthographic, three-quarter from above, z up.
Pillow is needed only for `picture_grid`, and is imported there.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flashmesh_core.files import write_atomic
from flashmesh_core.mesh.canonical import check_faces, check_points

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

Frame = tuple[np.ndarray, float]  # the source position in the middle of the picture; source units per unit box
Cell = np.ndarray | str | Sequence[str]

SUPERSAMPLE = 2
MAX_SIDE = 4096  # pixels
UNIT_BOX_SPAN = 1.62  # unit-box lengths across the shorter side of a picture: a whole unit box fits
_AZIMUTH, _ELEVATION = math.radians(-52.0), math.radians(28.0)
_BASE = np.array((0.84, 0.87, 0.92), dtype=np.float32)
_BACK = np.array((0.93, 0.42, 0.38), dtype=np.float32)  # the inside of a face, so that flipped faces show
_POINT = np.array((0.36, 0.50, 0.74), dtype=np.float32)
_WIRE = np.array((0.10, 0.12, 0.16), dtype=np.float32)
_SKY, _GROUND = np.array((0.975, 0.98, 0.985)), np.array((0.87, 0.885, 0.905))
_KEY, _FILL = (-0.50, 0.70, 0.62), (0.80, 0.10, 0.35)  # light directions: right, up, toward the viewer


def _view_axes() -> np.ndarray:
    """Rows: the picture's right, up and toward-the-viewer directions in world space."""
    ca, sa, ce, se = math.cos(_AZIMUTH), math.sin(_AZIMUTH), math.cos(_ELEVATION), math.sin(_ELEVATION)
    return np.array([(-sa, ca, 0.0), (-se * ca, -se * sa, ce), (ce * ca, ce * sa, se)])


def fit_frame(vertices: np.ndarray, size: tuple[int, int] = (360, 360)) -> Frame:
    """The frame in which `vertices` (N, 3) nearly fill a picture of `size` (width, height)."""
    if len(vertices) == 0:
        return np.zeros(3), 1.0
    projected = check_points("vertices", vertices) @ _view_axes().T
    low, high = projected.min(axis=0), projected.max(axis=0)
    span = (high - low)[:2] * min(size) / np.asarray(size, dtype=np.float64)
    scale = float(span.max()) * 1.12 / UNIT_BOX_SPAN
    return (low + high) / 2.0 @ _view_axes(), scale if scale > 0.0 else 1.0


def _check_size(size: tuple[int, int]) -> tuple[int, int]:
    width, height = (int(v) for v in size)
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise ValueError(f"size must be (width, height) with each in [1, {MAX_SIDE}], got {tuple(size)}")
    return width, height


def _to_screen(points: np.ndarray, size: tuple[int, int], frame: Frame | None) -> np.ndarray:
    """Source positions (N, 3) to supersampled pixels (N, 3): x right, y down, z to the viewer; float32."""
    center, scale = fit_frame(points, size) if frame is None else frame
    if not (math.isfinite(scale) and scale > 0.0):
        raise ValueError(f"frame's scale must be finite and above 0, got {scale}")
    width, height = size
    pixels = min(size) * SUPERSAMPLE / (UNIT_BOX_SPAN * scale)
    screen = (points - np.asarray(center, dtype=np.float64)) @ _view_axes().T * pixels
    screen = screen * (1.0, -1.0, 1.0) + (width * SUPERSAMPLE / 2.0, height * SUPERSAMPLE / 2.0, 0.0)
    return screen.astype(np.float32)


def _to_bytes(color: np.ndarray) -> np.ndarray:
    """Colours in [0, 1], clipped, as uint8."""
    return (np.clip(color, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def _background(width: int, height: int) -> np.ndarray:
    """A soft vertical gradient (H, W, 3) uint8 at supersampled resolution."""
    t = np.linspace(0.0, 1.0, height * SUPERSAMPLE)[:, None, None] ** 1.5
    rows = _to_bytes(_SKY * (1.0 - t) + _GROUND * t)
    return np.repeat(rows, width * SUPERSAMPLE, axis=1)


def _finish(image: np.ndarray) -> np.ndarray:
    """The average of the supersamples of a uint8 picture."""
    s = SUPERSAMPLE
    total = np.zeros((image.shape[0] // s, image.shape[1] // s, 3), dtype=np.uint16)
    for i in range(s):
        for j in range(s):
            total += image[i::s, j::s]
    return ((total + s * s // 2) // (s * s)).astype(np.uint8)


def _light(normals: np.ndarray) -> np.ndarray:
    """Brightness (N,) of unit normals (N, 3) in view axes that already face the viewer."""
    key, fill = (np.array(v) / np.linalg.norm(v) for v in (_KEY, _FILL))
    lit = 0.40 + 0.62 * np.clip(normals @ key, 0.0, None) + 0.16 * np.clip(normals @ fill, 0.0, None)
    return np.minimum(lit, 1.08)


# ---------------------------------------------------------------- the z-buffer


def _spans(triangles: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Cut screen triangles (F, 3, 3) into pixel rows: triangle index, row, first column, count."""
    y = triangles[:, :, 1]
    top = np.clip(np.ceil(y.min(axis=1) - 0.5), 0, height).astype(np.int64)
    stop = np.clip(np.ceil(y.max(axis=1) - 0.5), 0, height).astype(np.int64)
    rows = np.maximum(stop - top, 0)
    index = np.repeat(np.arange(len(triangles)), rows)
    row = np.arange(len(index)) - np.repeat(np.cumsum(rows) - rows, rows) + top[index]
    center = (row + 0.5).astype(np.float32)
    left, right = np.full(len(index), np.inf, np.float32), np.full(len(index), -np.inf, np.float32)
    for k in range(3):
        a, b = triangles[:, k], triangles[:, (k + 1) % 3]
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = (b[:, 0] - a[:, 0]) / (b[:, 1] - a[:, 1])
        low, high = np.minimum(a[:, 1], b[:, 1])[index], np.maximum(a[:, 1], b[:, 1])[index]
        x = a[index, 0] + (center - a[index, 1]) * slope[index]
        crosses = (center >= low) & (center < high)
        left = np.where(crosses, np.minimum(left, x), left)
        right = np.where(crosses, np.maximum(right, x), right)
    found = np.isfinite(left) & np.isfinite(right)
    first = np.clip(np.ceil(np.where(found, left, 0.0) - 0.5), 0, width).astype(np.int64)
    count = np.clip(np.ceil(np.where(found, right, 0.0) - 0.5), 0, width).astype(np.int64) - first
    keep = count > 0
    return index[keep], row[keep], first[keep], count[keep]


def _plane(triangles: np.ndarray) -> np.ndarray:
    """Depth as a x + b y + c over the screen, (F, 3); edge-on triangles take their nearest corner's."""
    e1, e2 = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    det = e1[:, 0] * e2[:, 1] - e1[:, 1] * e2[:, 0]
    safe = np.where(np.abs(det) > 1e-6, det, np.inf)
    a = (e1[:, 2] * e2[:, 1] - e2[:, 2] * e1[:, 1]) / safe
    b = (e2[:, 2] * e1[:, 0] - e1[:, 2] * e2[:, 0]) / safe
    origin = triangles[:, 0]
    c = origin[:, 2] - a * origin[:, 0] - b * origin[:, 1]
    return np.stack([a, b, np.where(np.isinf(safe), triangles[:, :, 2].max(axis=1), c)], axis=1)


def visible_faces(triangles: np.ndarray, width: int, height: int) -> np.ndarray:
    """The index of the nearest screen triangle (F, 3, 3) at each pixel: (height, width) int64, -1 if none."""
    index, row, first, count = _spans(triangles, width, height)
    plane = _plane(triangles.astype(np.float64))[index]
    start = (plane[:, 0] * (first + 0.5) + plane[:, 1] * (row + 0.5) + plane[:, 2]).astype(np.float32)
    before = (np.cumsum(count) - count).astype(np.int32)
    span = np.repeat(np.arange(len(index), dtype=np.int32), count)
    offset = np.arange(len(span), dtype=np.int32) - before[span]
    depth = start[span] + plane[:, 0].astype(np.float32)[span] * offset.astype(np.float32)
    pixel = (row * width + first).astype(np.int32)[span] + offset
    nearest = np.full(width * height, -np.inf, dtype=np.float32)
    np.maximum.at(nearest, pixel, depth)
    winner = np.full(width * height, -1, dtype=np.int64)
    wins = np.flatnonzero(depth == nearest[pixel])
    winner[pixel[wins]] = index[span[wins]]
    return winner.reshape(height, width)


def _wire_cover(triangles: np.ndarray, face: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How dark the wireframe is, 0 to 1, at pixels (x, y) (N,) that show triangle `face` (N,).

    Each face draws the inner half of its own edges, so the lines need no depth test of their own; they
    fade where faces are too small for lines to be told apart.
    """
    start, stop = triangles[:, :, :2], triangles[:, [1, 2, 0], :2]
    edge = stop - start
    length = np.sqrt((edge**2).sum(axis=2)) + 1e-6
    area = np.abs(edge[:, 0, 0] * edge[:, 1, 1] - edge[:, 0, 1] * edge[:, 1, 0])
    strength = np.clip(area / length.sum(axis=1) / 5.0, 0.12, 0.9).astype(np.float32)
    line = np.stack([-edge[:, :, 1], edge[:, :, 0]], axis=2) / length[:, :, None]
    shift = -(line * start).sum(axis=2)
    distance = np.full(len(face), np.inf, dtype=np.float32)
    for k in range(3):
        a, b, c = line[:, k, 0][face], line[:, k, 1][face], shift[:, k][face]
        np.minimum(distance, np.abs(a * x + b * y + c), out=distance)
    return np.clip(1.6 - distance, 0.0, 1.0) * strength[face]


def render_mesh(
    vertices: np.ndarray,
    faces: np.ndarray,
    *,
    size: tuple[int, int] = (360, 360),
    frame: Frame | None = None,
    wireframe: bool = True,
) -> np.ndarray:
    """A picture (height, width, 3) uint8 of a mesh: `vertices` (V, 3), `faces` (F, 3).

    `size` is (width, height) in pixels. `frame` is (center (3,), scale): the source position in the middle,
    and the length whose cube just fits; the same frame shows two meshes alike. By default the mesh fills the
    picture. The insides of faces are reddish, so flipped faces show.
    Raises ValueError for wrong shapes, indices out of range, or a size outside [1, 4096].
    """
    width, height = _check_size(size)
    vertices = check_points("vertices", np.asarray(vertices).reshape(-1, 3), minimum=0)
    faces = check_faces("faces", np.asarray(faces).reshape(-1, 3), len(vertices)) if np.size(faces) else faces
    image = _background(width, height)
    if np.size(faces) == 0:
        return _finish(image)
    triangles = _to_screen(vertices, (width, height), frame)[faces]
    winner = visible_faces(triangles, width * SUPERSAMPLE, height * SUPERSAMPLE)
    e1, e2 = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    normals = np.cross(e2, e1) * (1.0, -1.0, 1.0)  # the screen's y points down: back to a right-handed frame
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
    back = normals[:, 2] < 0.0
    normals[back] *= -1.0
    color = (np.where(back[:, None], _BACK, _BASE) * _light(normals)[:, None]).astype(np.float32)
    pixel = np.flatnonzero(winner >= 0)
    face = winner.ravel()[pixel]
    flat = image.reshape(-1, 3)
    flat[pixel] = _to_bytes(color)[face]
    if wireframe:
        y, x = np.divmod(pixel.astype(np.int32), np.int32(width * SUPERSAMPLE))
        cover = _wire_cover(triangles, face, x + np.float32(0.5), y + np.float32(0.5))
        on_line = cover > 0.0
        mixed = color[face[on_line]]
        mixed += (_WIRE - mixed) * cover[on_line, None]
        flat[pixel[on_line]] = _to_bytes(mixed)
    return _finish(image)


def render_points(
    points: np.ndarray,
    normals: np.ndarray | None = None,
    *,
    size: tuple[int, int] = (360, 360),
    frame: Frame | None = None,
    radius: float = 1.6,
) -> np.ndarray:
    """A picture (height, width, 3) uint8 of a point cloud (N, 3) as discs of `radius` pixels.

    Shaded by `normals` (N, 3) where given (those that face away are pale), else by depth. `frame` as in
    `render_mesh`.
    """
    width, height = _check_size(size)
    points = check_points("points", np.asarray(points).reshape(-1, 3), minimum=0)
    image = _background(width, height)
    if len(points) == 0:
        return _finish(image)
    screen = _to_screen(points, (width, height), frame)
    if normals is None:
        near = (screen[:, 2] - screen[:, 2].min()) / (np.ptp(screen[:, 2]) + 1e-6)
        color = _POINT * (1.35 - 0.75 * near)[:, None]
    else:
        facing = check_points("normals", normals, minimum=len(points)) @ _view_axes().T
        facing /= np.linalg.norm(facing, axis=1, keepdims=True) + 1e-12
        back = facing[:, 2] < 0.0
        color = _POINT * _light(np.where(back[:, None], -facing, facing))[:, None]
        color[back] = 0.8 * _SKY + 0.2 * color[back]
    r = max(1.0, radius * SUPERSAMPLE)
    reach = np.arange(-math.floor(r), math.floor(r) + 1)
    dy, dx = (v.ravel() for v in np.meshgrid(reach, reach, indexing="ij"))
    dx, dy = dx[dx**2 + dy**2 <= r * r], dy[dx**2 + dy**2 <= r * r]
    x = np.floor(screen[:, :1]).astype(np.int64) + dx
    y = np.floor(screen[:, 1:2]).astype(np.int64) + dy
    owner = np.broadcast_to(np.arange(len(points))[:, None], x.shape)
    inside = (x >= 0) & (x < width * SUPERSAMPLE) & (y >= 0) & (y < height * SUPERSAMPLE)
    order = np.argsort(screen[owner[inside], 2], kind="stable")  # painter's order: the nearest is written last
    image[y[inside][order], x[inside][order]] = _to_bytes(color)[owner[inside][order]]
    return _finish(image)


# ---------------------------------------------------------------- sheets of pictures


def _font(size: int) -> FreeTypeFont | ImageFont:
    from PIL import ImageFont

    try:
        return ImageFont.load_default(size=size)
    except (TypeError, OSError):  # Pillow before 10.1, or built without FreeType
        return ImageFont.load_default()


def _text_cell(text: str | Sequence[str], size: int = 15) -> np.ndarray:
    """Lines of text as an image (H, W, 3) uint8, dark on white."""
    from PIL import Image, ImageDraw

    lines = text.split("\n") if isinstance(text, str) else [str(line) for line in text]
    font: Any = _font(size)
    width = max([math.ceil(font.getlength(line)) for line in lines] + [1])
    step = math.ceil(size * 1.45)
    image = Image.new("RGB", (width + 20, step * len(lines) + 12), "white")
    draw = ImageDraw.Draw(image)
    for k, line in enumerate(lines):
        draw.text((10, 6 + k * step), line, fill=(38, 42, 50), font=font)
    return np.asarray(image)


def _cell_image(cell: Cell) -> np.ndarray:
    if not isinstance(cell, np.ndarray):
        return _text_cell(cell)
    if cell.ndim != 3 or cell.shape[2] != 3 or cell.dtype != np.uint8:
        raise ValueError(f"a picture cell must be (H, W, 3) uint8, got {cell.shape} {cell.dtype}")
    return cell


def picture_grid(rows: Sequence[Sequence[Cell]], path: str | os.PathLike[str], *, header: Cell | None = None) -> None:
    """Write a PNG of `rows` of cells, each an image (H, W, 3) uint8, a string, or a list of text lines.

    `header` is a title, or a list of strings, one above each column. The file appears whole or not at all.
    Raises ValueError if there is no cell.
    """
    from PIL import Image

    grid = [[_cell_image(cell) for cell in row] for row in rows]
    title = None
    if isinstance(header, (list, tuple)):
        grid.insert(0, [_text_cell(label) for label in header])
    elif header is not None:
        title = _cell_image(header)
    columns = max((len(row) for row in grid), default=0)
    if columns == 0:
        raise ValueError("rows must hold at least one cell, got none")
    gap = 6
    widths = [max([row[c].shape[1] for row in grid if c < len(row)], default=0) for c in range(columns)]
    heights = [max([cell.shape[0] for cell in row], default=0) for row in grid]
    top = 0 if title is None else title.shape[0] + gap
    total_w = max(sum(widths) + gap * (columns + 1), 0 if title is None else title.shape[1])
    sheet = np.full((top + sum(heights) + gap * (len(grid) + 1), total_w, 3), 255, dtype=np.uint8)
    if title is not None:
        sheet[: title.shape[0], : title.shape[1]] = title
    y = top + gap
    for row, height in zip(grid, heights, strict=True):
        x = gap
        for cell, width in zip(row, widths, strict=False):
            sheet[y : y + cell.shape[0], x : x + cell.shape[1]] = cell
            x += width + gap
        y += height + gap
    encoded = io.BytesIO()
    Image.fromarray(sheet).save(encoded, format="PNG")
    write_atomic(path, encoded.getvalue())
