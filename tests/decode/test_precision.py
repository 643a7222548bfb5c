"""Which numbers an engine multiplies."""

from __future__ import annotations

import pytest

from flashmesh_core.config import preset
from flashmesh_core.decode.engine import Engine
from flashmesh_core.errors import InputError
from flashmesh_core.model.hourglass import Hourglass


def test_int16_is_refused_where_no_kernel_multiplies_it() -> None:
    elsewhere = Hourglass(preset("debug")).to("meta")
    with pytest.raises(InputError, match="precision must not be 'int16' but on a CPU, got it on meta") as caught:
        Engine(elsewhere, "debug", "int16")
    assert caught.value.field == "precision"


@pytest.mark.parametrize("precision", ["bf16", "int16", "float32", "torch"])
def test_an_engine_says_what_it_multiplies(precision: str) -> None:
    engine = Engine(Hourglass(preset("debug")), "debug", precision)
    assert engine.arithmetic == {"torch": "float32"}.get(precision, precision)
