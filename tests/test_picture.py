"""The software renderer: shading, hidden surfaces, flipped faces, frames, and sheets of pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flashmesh_core import picture
from flashmesh_core.picture import fit_frame, picture_grid, render_mesh, render_points, visible_faces

CUBE = np.array([(x, y, z) for z in (0, 1) for y in (0, 1) for x in (0, 1)], dtype=float) - 0.5
QUADS = ((0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (1, 3, 7, 5), (3, 2, 6, 7), (2, 0, 4, 6))
CUBE_FACES = np.array([t for a, b, c, d in QUADS for t in ((a, b, c), (a, c, d))])


def shades(image: np.ndarray, least: int = 500) -> list[tuple[int, ...]]:
    """The colours that cover at least `least` pixels."""
    colors, counts = np.unique(image.reshape(-1, 3), axis=0, return_counts=True)
    return [tuple(int(v) for v in color) for color, count in zip(colors, counts, strict=True) if count >= least]


def covered(image: np.ndarray) -> np.ndarray:
    """Where (H, W) a picture shows something other than the background."""
    empty = render_mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=int), size=image.shape[1::-1])
    return (image != empty).any(axis=2)


def test_a_lit_cube_shows_three_faces_of_different_brightness() -> None:
    image = render_mesh(CUBE, CUBE_FACES, wireframe=False)
    ground = set(shades(render_mesh(CUBE[:0], CUBE_FACES[:0])))
    faces = [color for color in shades(image, 4000) if color not in ground]
    assert len(faces) == 3
    brightness = sorted(sum(color) for color in faces)
    assert brightness[1] - brightness[0] > 40 and brightness[2] - brightness[1] > 40
    rows = {sum(color): float(np.nonzero((image == color).all(axis=2))[0].mean()) for color in faces}
    assert min(rows, key=rows.__getitem__) == brightness[-1], "the top is the brightest"


def test_the_near_triangle_hides_the_far_one_in_either_order() -> None:
    near = np.array([(2, 2, 5), (18, 2, 5), (2, 18, 5)], dtype=np.float32)
    far = np.array([(0, 0, 1), (20, 0, 1), (0, 20, 1)], dtype=np.float32)
    for triangles, front in (((near, far), 0), ((far, near), 1)):
        winner = visible_faces(np.stack(triangles), 20, 20)
        assert winner[5, 5] == front
        assert winner[0, 0] == 1 - front
        assert winner[19, 19] == -1


def test_crossing_triangles_each_show_where_they_are_nearer() -> None:
    left = np.array([(0, 0, 10), (20, 0, -10), (0, 20, 10)], dtype=np.float32)
    right = left * (1, 1, -1)
    winner = visible_faces(np.stack([left, right]).astype(np.float32), 20, 20)
    assert winner[2, 3] == 0
    assert winner[2, 15] == 1


def test_neighbouring_triangles_leave_no_gap_and_cover_each_pixel_once() -> None:
    rng = np.random.default_rng(0)
    corner = np.array([(0, 0, 0), (40, 0, 0), (40, 40, 0), (0, 40, 0)], dtype=np.float32)
    for _ in range(20):
        middle = np.array([*rng.uniform(5, 35, 2), 0.0], dtype=np.float32)
        fan = np.stack([np.stack([middle, corner[k], corner[(k + 1) % 4]]) for k in range(4)])
        assert (visible_faces(fan, 40, 40) >= 0).all()
        _, _, _, count = picture._spans(fan, 40, 40)
        assert int(count.sum()) == 1600


def test_depth_agrees_with_a_slow_rasteriser() -> None:
    rng = np.random.default_rng(3)
    triangles = rng.uniform(-5, 35, (30, 3, 3)).astype(np.float32)
    winner = visible_faces(triangles, 30, 30)
    wrong = 0
    for row in range(30):
        for column in range(30):
            best, chosen = -np.inf, -1
            for k, (a, b, c) in enumerate(triangles.astype(float)):
                matrix = np.array([[a[0], b[0], c[0]], [a[1], b[1], c[1]], [1.0, 1.0, 1.0]])
                weights = np.linalg.solve(matrix, (column + 0.5, row + 0.5, 1.0))
                depth = float(weights @ (a[2], b[2], c[2]))
                if (weights >= 0).all() and depth > best:
                    best, chosen = depth, k
            wrong += chosen != winner[row, column]
    assert wrong <= 2


def test_a_hidden_cube_does_not_show() -> None:
    faces = np.concatenate([CUBE_FACES, CUBE_FACES + 8])
    inside = np.concatenate([CUBE, CUBE * 0.5])
    np.testing.assert_array_equal(render_mesh(inside, faces), render_mesh(CUBE, CUBE_FACES))


def test_flipped_faces_are_red() -> None:
    right = render_mesh(CUBE, CUBE_FACES).astype(int)
    flipped = render_mesh(CUBE, CUBE_FACES[:, ::-1]).astype(int)
    center = (slice(120, 240), slice(120, 240))
    assert (flipped[center][..., 0] - flipped[center][..., 2]).mean() > 40
    assert abs((right[center][..., 0] - right[center][..., 2]).mean()) < 30


def test_the_wireframe_darkens_edges_only() -> None:
    plain = render_mesh(CUBE, CUBE_FACES, wireframe=False).astype(int)
    wired = render_mesh(CUBE, CUBE_FACES).astype(int)
    changed = (plain != wired).any(axis=2)
    assert 0.005 < changed.mean() < 0.06
    assert (wired <= plain).all()
    assert wired[changed].sum(axis=1).min() < 200


def test_a_frame_is_honoured() -> None:
    frame = fit_frame(CUBE)
    whole = covered(render_mesh(CUBE, CUBE_FACES, frame=frame))
    small = covered(render_mesh(CUBE * 0.5, CUBE_FACES, frame=frame))
    assert small.sum() / whole.sum() == pytest.approx(0.25, abs=0.02)
    assert covered(render_mesh(CUBE * 0.5, CUBE_FACES)).sum() == pytest.approx(whole.sum(), rel=0.02)
    np.testing.assert_array_equal(
        render_mesh(CUBE * 7.0 + 3.0, CUBE_FACES, frame=(frame[0] * 7.0 + 3.0, frame[1] * 7.0)),
        render_mesh(CUBE, CUBE_FACES, frame=frame),
    )
    raised = covered(render_mesh(CUBE * 0.5 + (0, 0, 0.2), CUBE_FACES, frame=frame))
    assert np.nonzero(raised)[0].mean() < np.nonzero(small)[0].mean() - 10


def test_a_whole_unit_cube_fits_its_normalisation_frame() -> None:
    for size in ((200, 200), (300, 150), (120, 240)):
        shown = covered(render_mesh(CUBE, CUBE_FACES, frame=(np.zeros(3), 1.0), size=size))
        assert shown.shape == size[::-1]
        border = np.concatenate([shown[0], shown[-1], shown[:, 0], shown[:, -1]])
        assert shown.any() and not border.any()


def test_far_corners_outside_the_picture_are_clipped() -> None:
    image = render_mesh(CUBE * 50.0, CUBE_FACES, frame=(np.zeros(3), 1.0), size=(64, 48))
    assert covered(image).all()
    away = render_mesh(CUBE + 1000.0, CUBE_FACES, frame=(np.zeros(3), 1.0), size=(64, 48))
    assert not covered(away).any()


def test_empty_and_degenerate_meshes_render() -> None:
    empty = render_mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=int), size=(50, 40))
    assert empty.shape == (40, 50, 3) and empty.dtype == np.uint8
    np.testing.assert_array_equal(render_mesh(CUBE, np.zeros((0, 3), dtype=int), size=(50, 40)), empty)
    np.testing.assert_array_equal(render_mesh([], [], size=(50, 40)), empty)
    same = render_mesh(np.zeros((3, 3)), np.array([[0, 1, 2]]), size=(50, 40))
    assert same.shape == (40, 50, 3)
    assert render_points(np.zeros((0, 3)), size=(50, 40)).shape == (40, 50, 3)


def test_points_show_where_they_are_and_fade_at_the_back() -> None:
    frame = (np.zeros(3), 1.0)
    one = covered(render_points(np.zeros((1, 3)), frame=frame, size=(101, 101)))
    assert np.argwhere(one).mean(axis=0) == pytest.approx((50, 50), abs=1.0)
    toward = picture._view_axes()[2]
    front = render_points(np.zeros((1, 3)), toward[None], frame=frame, radius=5.0).astype(int)
    back = render_points(np.zeros((1, 3)), -toward[None], frame=frame, radius=5.0).astype(int)
    assert back[180, 180].sum() > front[180, 180].sum() + 100
    pair = np.stack([toward * 0.3, -toward * 0.3])
    both = render_points(pair, np.stack([toward, -toward]), frame=frame, radius=5.0)
    np.testing.assert_array_equal(both[180, 180], front[180, 180])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": (0, 10)}, r"size must be \(width, height\) with each in \[1, 4096\], got \(0, 10\)"),
        ({"frame": (np.zeros(3), 0.0)}, "frame's scale must be finite and above 0, got 0.0"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        render_mesh(CUBE, CUBE_FACES, **arguments)


def test_wrong_meshes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"faces must hold indices in \[0, 7\]"):
        render_mesh(CUBE, CUBE_FACES + 1)
    with pytest.raises(ValueError, match="vertices must be finite"):
        render_mesh(CUBE * np.nan, CUBE_FACES)


def test_a_grid_holds_its_cells_and_leaves_no_partial_file(tmp_path: Path) -> None:
    red = np.full((30, 40, 3), (200, 10, 10), dtype=np.uint8)
    blue = np.full((20, 40, 3), (10, 10, 200), dtype=np.uint8)
    target = tmp_path / "new" / "sheet.png"
    picture_grid([[red, blue], [["two", "lines"], blue]], target, header=["source", "result"])
    sheet = np.asarray(Image.open(target).convert("RGB"))
    assert (sheet == (200, 10, 10)).all(axis=2).sum() == 1200
    assert (sheet == (10, 10, 200)).all(axis=2).sum() == 1600
    assert (sheet.sum(axis=2) < 300).any(), "the text is dark"
    assert [path.name for path in target.parent.iterdir()] == ["sheet.png"]
    before = target.read_bytes()
    with pytest.raises(ValueError, match="at least one cell"):
        picture_grid([], target)
    with pytest.raises(ValueError, match=r"a picture cell must be \(H, W, 3\) uint8"):
        picture_grid([[np.zeros((4, 4))]], target)
    assert target.read_bytes() == before


def test_a_title_and_long_text_fit(tmp_path: Path) -> None:
    picture_grid([["short"]], tmp_path / "a.png", header="a title much longer than the only cell below it")
    picture_grid([["short"]], tmp_path / "b.png", header="x")
    wide, narrow = (Image.open(tmp_path / name).width for name in ("a.png", "b.png"))
    assert wide > narrow + 200
