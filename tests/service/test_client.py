"""What the client does by itself: the forms of an address, refusals before anything is sent, errors to show."""

from __future__ import annotations

import numpy as np
import pytest

from flashmesh_core.service.client import EngineClient, EngineError, normalize_address

from .conftest import TOKEN, RunningService


def test_the_client_refuses_what_the_service_would(running: RunningService, points: np.ndarray) -> None:
    with pytest.raises(EngineError, match="points must be finite") as caught:
        running.client.generate(points * np.nan)
    assert caught.value.field == "points"
    with pytest.raises(EngineError, match=r"triangles must be rows of points, in \[0, 63\], got 64") as caught:
        running.client.generate(points, triangles=np.array([[0, 1, 64]]))
    assert caught.value.field == "triangles"
    with pytest.raises(EngineError, match="faces must be an integer in") as caught:
        running.client.generate(points, faces=0)
    assert caught.value.field == "faces"


def test_a_wrong_token_is_an_error_to_show(running: RunningService) -> None:
    with pytest.raises(EngineError, match="bearer token is missing or wrong") as caught:
        EngineClient(running.address, "nonsense").health()
    assert caught.value.status == 401


@pytest.mark.parametrize(
    "form", ["{a}", "{a}/", "127.0.0.1:{p}", " localhost:{p} ", "HTTP://127.0.0.1:{p}", "{p}", ":{p}"]
)
def test_any_form_of_the_address_reaches_it_and_no_proxy_is_asked(
    running: RunningService, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    address = form.format(a=running.address, p=running.port)
    assert EngineClient(address, TOKEN).health()["state"] == "idle"


@pytest.mark.parametrize(
    ("given", "base"),
    [("[::1]:80", "http://[::1]:80"), ("gpu-box:8000/", "http://gpu-box:8000"), (8000, "http://127.0.0.1:8000"),
     ("https://host", "https://host"), ("0.0.0.0:80", "http://127.0.0.1:80")],
)  # fmt: skip
def test_addresses_are_normalised(given: object, base: str) -> None:
    assert normalize_address(given) == base


@pytest.mark.parametrize("given", ["", "http://", "ftp://host", "host:port", "host/path", "u:p@host", "host?x", "a b"])
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(EngineError, match="address must look like"):
        normalize_address(given)
