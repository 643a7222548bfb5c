"""Triangles that lie over each other on the grid."""

from __future__ import annotations

import numpy as np
import pytest

from flashmesh_core.surface.overlap import first_over, lie_over

SQUARE = np.array([[0, 0, 9], [12, 0, 9], [12, 12, 9], [0, 12, 9]])
LOW = SQUARE[[0, 1, 2]]


def moved(triangle: np.ndarray, x: int, y: int, z: int) -> np.ndarray:
    """A triangle moved by so many bins."""
    return triangle + np.array([x, y, z])


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (LOW, True),
        (SQUARE[[0, 1, 3]], True),  # the same square, cut the other way: its middle lies on the cut
        (SQUARE[[0, 2, 3]], False),  # the other half
        (LOW[::-1], False),  # looks the other way
        (moved(LOW, 0, 0, 1), True),
        (moved(LOW, 0, 0, 2), False),
        (moved(LOW, 12, 0, 0), False),
        (np.array([[8, 2, 9], [10, 2, 9], [10, 4, 9]]), True),  # a small one inside
        (np.array([[2, 2, 9], [2, 2, 9], [2, 2, 9]]), False),  # no area
    ],
)
def test_two_triangles(other: np.ndarray, expected: bool) -> None:
    assert lie_over(*LOW.astype(np.int32), *other.astype(np.int32)) is expected
    assert lie_over(*other.astype(np.int32), *LOW.astype(np.int32)) is expected


def test_the_finest_grid_does_not_overflow() -> None:
    wide = SQUARE[[0, 1, 2]] * [341, 341, 1]
    assert lie_over(*wide, *wide)
    assert not lie_over(*wide, *moved(wide, 0, 0, 4000))


def test_the_first_face_over_each() -> None:
    faces = np.stack([SQUARE[[0, 2, 3]], LOW, LOW])
    others = np.stack([LOW, SQUARE[[0, 2, 3]], moved(LOW, 0, 0, 50)])
    assert first_over(faces, others).tolist() == [1, 0, 3]
    assert first_over(faces[:0], others).tolist() == [0, 0, 0]
