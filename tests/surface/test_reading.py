"""What reading a mesh tells while it lasts."""

from __future__ import annotations

import pytest

from flashmesh_core.surface.reading import read_surface
from tests.surface.shapes import sphere


def test_cleaning_up_tells_how_far_it_is_and_may_be_cancelled() -> None:
    told: list[tuple[str, float]] = []
    read_surface(sphere(120, 60), faces=100, progress=lambda *step: told.append(step))
    shares = [share for stage, share in told if stage == "clean"]
    assert shares[0] == 0.0 and len(shares) >= 6 and shares == sorted(set(shares)) and shares[-1] < 1.0
    assert [stage for stage, _ in told[len(shares) - 1 : len(shares) + 1]] == ["clean", "denoise"]

    def cancel(stage: str, share: float) -> None:
        if share > 0.0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_surface(sphere(120, 60), faces=100, progress=cancel)
