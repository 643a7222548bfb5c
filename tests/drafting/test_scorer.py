"""The scorer's weights on the disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flashmesh_core.drafting import scorer


def test_weights_of_other_features_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel trusts their number of rows."""
    with np.load(scorer.SCORER_FILE) as data:
        kept = dict(data)
    kept["hidden"] = kept["hidden"][:, :-1]
    np.savez(tmp_path / "fewer.npz", **kept)
    monkeypatch.setattr(scorer, "SCORER_FILE", tmp_path / "fewer.npz")
    with pytest.raises(ValueError, match=r"fewer\.npz must be fitted to 47 features, got 46; python training/fit_s"):
        scorer.load_scorer()
