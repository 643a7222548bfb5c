"""The wire format: round trips, and refusals that name what is wrong."""

from __future__ import annotations

import io
import json
import struct
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from flashmesh_core.__main__ import build_parser, main
from flashmesh_core.arguments import engine_options
from flashmesh_core.decode.engine import OPTIONS, Options
from flashmesh_core.service import protocol
from flashmesh_core.service.protocol import RequestError
from flashmesh_core.surface.reading import MAX_POINTS

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip
headers = st.dictionaries(st.text(max_size=10).filter(lambda key: key != "arrays"), json_values, max_size=5)
shapes = npst.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5)
arrays = st.dictionaries(
    st.text(max_size=8),
    npst.arrays(np.float32, shapes) | npst.arrays(np.int32, shapes),
    max_size=4,
)


def frame_of(header: object, body: bytes = b"", version: int = 1) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<4sHHII", b"FMSH", version, 0, len(text), len(body)) + text + body


@settings(max_examples=100, deadline=None)
@given(headers, arrays)
def test_a_frame_round_trips(header: dict, given_arrays: dict) -> None:
    frame = protocol.decode_frame(protocol.encode_frame(header, given_arrays))
    assert frame.header == header
    assert list(frame.arrays) == list(given_arrays)
    for name, array in given_arrays.items():
        assert frame.arrays[name].dtype == array.dtype
        assert frame.arrays[name].flags.writeable
        np.testing.assert_array_equal(frame.arrays[name], array)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(headers, arrays), max_size=4), st.integers(1, 7), st.integers(0, 10_000))
def test_a_stream_of_frames_is_read_in_any_pieces_and_never_past_its_end(frames: list, piece: int, cut: int) -> None:
    data = b"".join(protocol.encode_frame(*frame) for frame in frames)
    stream = io.BytesIO(data)

    def read(count: int) -> bytes:
        return stream.read(min(count, piece))

    for header, _ in frames:
        assert protocol.read_frame(read).header == header
    assert protocol.read_frame(read) is None
    if data:
        cut = 1 + cut % len(data)
        whole = {0, *np.cumsum([len(protocol.encode_frame(*frame)) for frame in frames]).tolist()}
        broken = io.BytesIO(data[: len(data) - cut])
        if len(data) - cut not in whole:
            with pytest.raises(RequestError, match="within a frame"):
                while protocol.read_frame(broken.read) is not None:
                    pass


@settings(max_examples=120, deadline=None)
@given(st.binary(max_size=60), headers, st.binary(max_size=30))
def test_garbage_is_refused_and_never_breaks_the_decoder(noise: bytes, header: dict, body: bytes) -> None:
    for data in (
        noise,
        frame_of(noise),
        frame_of({**header, "arrays": [["a", "float32", list(body)]]}, body),
    ):
        try:
            protocol.decode_request(data)
        except RequestError as error:
            assert error.status in (400, 413) and error.message
        else:
            pytest.fail("noise was taken for a request")


@settings(max_examples=30, deadline=None)
@given(
    npst.arrays(np.float32, st.tuples(st.integers(16, 40), st.just(3)), elements=st.floats(-1e6, 1e6, width=32)),
    st.booleans(),
    st.fixed_dictionaries(
        {},
        optional={
            "faces": st.none() | st.integers(1, 10_000),
            "seed": st.integers(0, 2**32 - 1),
            "temperature": st.floats(0, 2),
            "watertight": st.booleans(),
            "manifold": st.none() | st.booleans(),
            "candidates": st.integers(1, 16),
        },
    ),
)
def test_a_request_round_trips(points: np.ndarray, with_normals: bool, options: dict) -> None:
    normals = points[::-1] if with_normals else None
    request = protocol.decode_request(protocol.encode_request(points, normals, options))
    np.testing.assert_array_equal(request.points, points)
    assert request.options == options
    if with_normals:
        np.testing.assert_array_equal(request.normals, normals)
    else:
        assert request.normals is None


@settings(max_examples=50, deadline=None)
@given(st.data(), st.integers(3, 20), st.integers(1, 30))
def test_a_mesh_round_trips(data: st.DataObject, n_vertices: int, n_triangles: int) -> None:
    vertices = data.draw(npst.arrays(np.float32, (n_vertices, 3), elements=st.floats(-1e6, 1e6, width=32)))
    indices = st.integers(0, n_vertices - 1)
    triangles = data.draw(npst.arrays(np.dtype(data.draw(npst.integer_dtypes())), (n_triangles, 3), elements=indices))
    request = protocol.decode_request(protocol.encode_request(vertices, None, {"faces": 7}, triangles))
    np.testing.assert_array_equal(request.points, vertices)
    np.testing.assert_array_equal(request.triangles, triangles)
    assert (request.points.dtype, request.triangles.dtype) == (np.float32, np.int32)
    assert request.normals is None and request.options == {"faces": 7}


def test_the_engine_reads_the_largest_cloud() -> None:
    assert protocol.MAX_POINTS == MAX_POINTS and 2 * 3 * 4 * MAX_POINTS <= protocol.MAX_BODY_BYTES


def test_the_largest_mesh_fits_a_request() -> None:
    """Of as many triangles as there may be, no two of which share a vertex."""
    vertices = np.zeros((3 * protocol.MAX_TRIANGLES, 3), np.float32)
    triangles = np.arange(len(vertices), dtype=np.int32).reshape(-1, 3)
    data = protocol.encode_request(vertices, triangles=triangles)
    assert len(data) <= protocol.MAX_REQUEST_BYTES
    assert protocol.decode_request(data).triangles[-1, -1] == len(vertices) - 1


def test_a_frame_is_laid_out_as_documented() -> None:
    """A golden frame: what a client in another language would have to write."""
    data = protocol.encode_frame({"kind": "faces"}, {"faces": np.array([[1.0, 2.0]], np.float32)})
    header = b'{"kind":"faces","arrays":[["faces","float32",[1,2]]]}'
    assert data == struct.pack("<4sHHII", b"FMSH", 1, 0, len(header), 8) + header + struct.pack("<2f", 1.0, 2.0)


def test_numbers_that_are_not_finite_become_null() -> None:
    frame = protocol.decode_frame(protocol.encode_frame({"chamfer": float("nan"), "list": [np.float32("inf"), 1.5]}))
    assert frame.header == {"chamfer": None, "list": [None, 1.5]}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "at least 16 bytes"),
        (b"GET / HTTP/1.1\r\n", "must start with"),
        (frame_of({}, version=2), "protocol version must be 1, got 2"),
        (struct.pack("<4sHHII", b"FMSH", 1, 0, 70_000, 0), "65,536 bytes of header"),
        (frame_of({}) + b"x", "must have 18 bytes, got 19"),
        (frame_of(b"{'a': 1}"), "header must be JSON"),
        (frame_of(b"\xff\xfe"), "header must be JSON"),
        (frame_of(b'{"a": NaN}'), "NaN is not JSON"),
        (frame_of(b"[" * 60_000), "header must be JSON"),
        (frame_of([1]), "must be a JSON object"),
        (frame_of({"arrays": 7}), "arrays must be a list"),
        (frame_of({"arrays": [["points", "float64", [1]]]}, bytes(8)), "an entry of arrays must be"),
        (frame_of({"arrays": [["points", "float32", [-1]]]}), "an entry of arrays must be"),
        (frame_of({"arrays": [["points", "float32", [True]]]}, bytes(4)), "an entry of arrays must be"),
        (frame_of({"arrays": [["points", "float32", [0, 2**60, 2**60]]]}), "an entry of arrays must be"),
        (frame_of({"arrays": [["points", "float32", [2, 3]]]}, bytes(20)), "must fit the body"),
        (frame_of({"arrays": [["points", "float32", [1, 3]]]}, bytes(20)), "got 8 bytes more"),
    ],
)
def test_a_broken_frame_is_refused_with_a_reason(data: bytes, said: str) -> None:
    with pytest.raises(RequestError) as caught:
        protocol.decode_frame(data)
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("options", "field", "said"),
    [
        ({"faces": 0}, "faces", "faces must be an integer in [1, 10,000] or null, got 0"),
        ({"faces": 2.5}, "faces", "got 2.5"),
        ({"faces": True}, "faces", "got True"),
        ({"seed": None}, "seed", "seed must be an integer"),
        ({"temperature": float("nan")}, "temperature", "a number in [0, 2], got nan"),
        ({"temperature": "hot"}, "temperature", "got 'hot'"),
        ({"watertight": 1}, "watertight", "true or false, got 1"),
        ({"candidates": 17}, "candidates", "[1, 16], got 17"),
        ({"max_faces": np.int64(10_001)}, "max_faces", "in [1, 10,000] or null, got 10001"),
        ({"surface_tolerance": 1.5}, "surface_tolerance", "an integer in [0, 64] or null, got 1.5"),
        ({"checkpoint": ""}, "checkpoint", "1 to 256 characters"),
        ({"colour": 1}, "options", "options must be among faces, seed"),
    ],
)
def test_an_option_out_of_its_range_is_refused_by_name(options: dict, field: str, said: str) -> None:
    with pytest.raises(RequestError) as caught:
        protocol.check_options(options)
    assert caught.value.field == field and said in caught.value.message


@pytest.mark.parametrize("name", [option.name for option in fields(Options)])
def test_the_engine_checks_by_the_same_table(name: str) -> None:
    spec = OPTIONS[name]
    ends = (False, True) if spec.kind is bool else (spec.low, spec.high)
    for end in spec.choices or ends:
        for value in (end, np.asarray(end)[()]):
            taken = getattr(Options(**{name: value}), name)
            assert taken == end and type(taken) is spec.kind
    for wrong in (-1, 2**40, "1", [1]):
        with pytest.raises(ValueError) as caught:
            Options(**{name: wrong})
        assert str(caught.value) == f"{name} must be {spec.describe()}, got {wrong!r}"
    if spec.nullable:
        assert getattr(Options(**{name: None}), name) is None
    else:
        with pytest.raises(ValueError, match=f"{name} must be .*, got None"):
            Options(**{name: None})


def test_old_names_of_options_are_taken() -> None:
    assert protocol.check_options({"guidance": 3}) == {"coverage_guidance": 3.0}
    with pytest.raises(RequestError, match="coverage_guidance must be given once"):
        protocol.check_options({"guidance": 3, "coverage_guidance": 3})


@pytest.mark.parametrize("flag", ["--guidance", "--coverage-guidance"])
def test_old_names_are_flags_too(flag: str) -> None:
    given = build_parser().parse_args(["generate", "a.ply", "-o", "b.glb", flag, "3"])
    assert engine_options(given)["coverage_guidance"] == 3.0


def test_every_option_but_two_is_the_engines() -> None:
    assert OPTIONS.keys() - {option.name for option in fields(Options)} == {"candidates", "checkpoint", "deadline"}


def test_the_command_line_checks_before_it_loads_anything(capsys: pytest.CaptureFixture) -> None:
    arguments = ["generate", "no-such-file.obj", "-o", "out.obj", "--checkpoint", "no-such", "--faces", "0"]
    assert main(arguments) == 2
    assert capsys.readouterr().err == "error: faces must be an integer in [1, 10,000] or null, got 0\n"


@pytest.mark.parametrize(
    ("points", "normals", "said"),
    [
        (np.zeros((15, 3)), None, "points must have shape (N, 3) with N in [16, 2,000,000], got (15, 3)"),
        (np.zeros((2_000_001, 3)), None, "got (2000001, 3)"),
        (np.zeros((16, 2)), None, "got (16, 2)"),
        (np.full((16, 3), np.nan), None, "points must be finite in float32, got 16 rows"),
        (np.full((16, 3), 1e300), None, "points must be finite in float32, got 16 rows"),
        (np.zeros((16, 3)), np.zeros((17, 3)), "normals must have the shape of points (16, 3), got (17, 3)"),
        (np.zeros((16, 3)), np.full((16, 3), np.inf), "normals must be finite"),
        ([["a", "b", "c"]] * 16, None, "points must be numbers"),
    ],
)
def test_samples_out_of_their_limits_are_refused(points: np.ndarray, normals: np.ndarray, said: str) -> None:
    with pytest.raises(RequestError) as caught:
        protocol.encode_request(points, normals)
    assert said in caught.value.message and caught.value.field in ("points", "normals")


CORNERS = np.eye(3, dtype=np.float32)


@pytest.mark.parametrize(
    ("points", "triangles", "field", "said"),
    [
        (CORNERS[:2], [[0, 1, 1]], "points", "with N in [3, 24,000,000] where triangles are given, got (2, 3)"),
        (np.zeros((28_000_001, 3), np.float32), [[0, 1, 2]], "points", "got (28000001, 3)"),
        (CORNERS * np.nan, [[0, 1, 2]], "points", "points must be finite in float32, got 3 rows"),
        (CORNERS, np.zeros((0, 3), int), "triangles", "must have shape (T, 3) with T in [1, 8,000,000], got (0, 3)"),
        (CORNERS, np.zeros((8_000_001, 3), np.int32), "triangles", "got (8000001, 3)"),
        (CORNERS, [[0, 1, 2, 0]], "triangles", "got (1, 4)"),
        (CORNERS, [0, 1, 2], "triangles", "got (3,)"),
        (CORNERS, [[0, 1, 2], [0, 1]], "triangles", "integers of shape (T, 3), got [[0, 1, 2], [0, 1]]"),
        (CORNERS, [[0.0, 1.0, 2.0]], "triangles", "triangles must be integers, as int32, got float64"),
        (CORNERS, [[False, True, True]], "triangles", "got bool"),
        (CORNERS, [["a", "b", "c"]], "triangles", "triangles must be integers, as int32, got <U1"),
        (CORNERS, [[0, 1, -1]], "triangles", "triangles must be rows of points, in [0, 2], got -1"),
        (CORNERS, [[0, 1, 3]], "triangles", "in [0, 2], got 3"),
        (CORNERS, [[0, 1, 2**32]], "triangles", "in [0, 2], got 4294967296"),
    ],
)
def test_a_mesh_out_of_its_limits_is_refused(points: np.ndarray, triangles: object, field: str, said: str) -> None:
    with pytest.raises(RequestError) as caught:
        protocol.encode_request(points, triangles=triangles)
    assert caught.value.field == field and said in caught.value.message


@pytest.mark.parametrize(
    ("arrays", "field", "said"),
    [
        ({"normals": CORNERS}, "normals", "normals must be left out where triangles are given, got an array of shape"),
        ({"triangles": np.float32([[0, 1, 2]])}, "triangles", "must be integers, as int32, got float32"),
        ({"triangles": np.int32([[0, 1, 3]])}, "triangles", "in [0, 2], got 3"),
        ({"corners": CORNERS}, "header", "a request holds options, points, normals and triangles, got 'corners'"),
    ],
)
def test_what_another_client_may_send_is_refused(arrays: dict, field: str, said: str) -> None:
    whole = {"points": CORNERS, "triangles": np.int32([[0, 1, 2]])}
    assert protocol.decode_request(protocol.encode_frame({}, whole)).options == {}
    with pytest.raises(RequestError) as caught:
        protocol.decode_request(protocol.encode_frame({}, {**whole, **arrays}))
    assert caught.value.field == field and said in caught.value.message
