"""The wire format between the engine service and its clients: standard library and numpy only.

Version 1. Both directions use one kind of frame (content type `application/x-flashmesh`), little-endian:

    offset  size  meaning
    0       4     magic "FMSH"
    4       2     version, 1
    6       2     reserved, 0
    8       4     H, bytes of the header (at most 65,536)
    12      4     B, bytes of the body
    16      H     header: one JSON object in UTF-8, without NaN or Infinity
    16 + H  B     body: the arrays of the header's "arrays", one after the other, C order, no padding

"arrays" lists [name, dtype, shape]; dtype is "float32" or "int32". The body of `POST /v1/generate` is one
frame that holds a surface, in one of two forms:

    a mesh   `points` (N, 3) float32, N from 3 to 24,000,000: its vertices; `triangles` (T, 3) int32, T from 1 to
             8,000,000: the rows of `points` at the corners of each, anticlockwise from outside; no `normals`
    a cloud  `points` (N, 3) float32, N from 16 to 2,000,000: samples of the surface; `normals` (N, 3) float32, if known

A mesh is the better one where there is one: the engine then takes as many samples as it needs, and knows what samples
cannot tell. The header may hold `options`, an object whose keys are those of `flashmesh_core.options.OPTIONS`; an
option left out has the engine's own default. The answer is a stream of frames, each an event with a `kind`:

    queued         first, always: `id`, `position` (generations ahead of this one)
    loading        only if a checkpoint has to be loaded: `checkpoint`
    compiling      after loading: the engine makes its compiled functions ready, which takes minutes the first time
    encoding       the engine reads the surface; `progress` events then carry `step` (such as clean, denoise, simplify)
                   and `share`, how much of it is done
    faces          array `faces` (k, 3, 3) float32, source scale; `candidate`, `n_faces` (total so far),
                   `n_tokens`, `seconds`
    progress       after a second without another event: `stage` (queued, loading, compiling, encoding,
                   decoding), `position`, `candidate`, `n_faces`, `n_tokens`, `seconds`
    candidate_end  if candidates > 1, for each: `candidate`, `end_reason`, `n_faces`, `n_tokens`, `seconds`
    end            last: the best `candidate`, its `end_reason` (eos, face_limit, cancelled), `n_faces`,
                   `n_vertices`, `n_tokens`, `seconds`, `tokens_per_second`, `tokens_per_pass`, `seed`,
                   `chamfer`, `hausdorff`, `gave_up_closure` (vertices that `watertight` left on an open
                   edge, or for which its mask left no place), `verdict` ("complete", or plain sentences on what is
                   worse than it should be), `repaired` (faces that the model did not write), `wanted` (faces, or
                   null), `open_edges`, `gap` and `excess` (largest distance from the source to the result and back,
                   over the source's longest side), `strays` (left out: points of a cloud on no
                   surface, pieces of a mesh far from the rest or hidden inside, its spikes), `gashes` (small
                   ragged holes of a mesh that were closed), and the welded mesh: arrays `vertices` (V, 3) float32 and
                   `face_indices` (F, 3) int32
    error          last, instead of `end`: `error` {`field`, `message`}, `status` (as it would be in HTTP; 504 where
                   the request's `deadline` has passed)

A stream that ends without `end` or `error` was broken off. Refusals: JSON {"error": {"field", "message"}}.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from flashmesh_core.errors import InputError
from flashmesh_core.options import check_options as _check_options

PROTOCOL_VERSION = 1
CONTENT_TYPE = "application/x-flashmesh"
GENERATION_HEADER = "x-flashmesh-generation"  # response header of /v1/generate: the id to cancel by
TOKEN_VARIABLE = "FLASHMESH_TOKEN"  # environment variable that hands the bearer token to the service

MIN_POINTS, MAX_POINTS = 16, 2_000_000  # of a cloud, as many as the engine reads
MAX_TRIANGLES = 8_000_000
MIN_VERTICES, MAX_VERTICES = 3, 3 * MAX_TRIANGLES  # of a mesh: at most, no two triangles share one
MAX_HEADER_BYTES = 65_536
MAX_FIELD = 80  # characters of the name in a refusal
MAX_BODY_BYTES = (MAX_VERTICES + MAX_TRIANGLES) * 3 * 4  # of one frame, either direction: the largest mesh, 384 MB

_PREFIX = struct.Struct("<4sHHII")
PREFIX_BYTES = _PREFIX.size
MAX_REQUEST_BYTES = PREFIX_BYTES + MAX_HEADER_BYTES + MAX_BODY_BYTES
_MAGIC = b"FMSH"
_DTYPES = {"float32": np.dtype("<f4"), "int32": np.dtype("<i4")}
_SURFACE = {"points", "normals", "triangles"}  # arrays of a request


def cut(message: str, limit: int = 2_000) -> str:
    """The message in at most `limit` characters, and what its length was."""
    if len(message) <= limit:
        return message
    ending = f" ... ({len(message):,} characters in all)"
    return message[: limit - len(ending)] + ending


class RequestError(InputError):
    """A message that is refused: what is wrong, in which field, and the HTTP status that says so."""

    def __init__(self, message: str, field: str | None = None, status: int = 400) -> None:
        super().__init__(message, field)
        self.status = status

    def to_json(self) -> dict[str, Any]:
        """The body of the refusal: {"error": {"field", "message"}}; a long message is cut, so that it fits a frame."""
        field = None if self.field is None else self.field[:MAX_FIELD]
        return {"error": {"field": field, "message": cut(self.message)}}


class EngineError(Exception):
    """What a client's user is told: a sentence, the option or array it is about, the HTTP status if any."""

    def __init__(self, message: str, field: str | None = None, status: int | None = None) -> None:
        super().__init__(message)
        self.message, self.field, self.status = message, field, status


@dataclass(frozen=True, eq=False)
class Frame:
    """One decoded frame: the JSON header without its "arrays", and the arrays by name (owned, writable)."""

    header: dict[str, Any]
    arrays: dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class GenerationRequest:
    """What a client asks for: a surface and options.

    `points` (N, 3) float32 are samples of it, with `normals` alike or None; or, with `triangles`, its vertices.
    """

    points: np.ndarray
    normals: np.ndarray | None
    options: dict[str, Any]
    triangles: np.ndarray | None = None  # (T, 3) int32, rows of `points`


def encode_frame(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> bytes:
    """One frame as bytes. Arrays become float32, or int32 where they hold integers.

    Numbers of the header that are not finite become null. Raises RequestError if a part is over its limit.
    """
    layout: list[list[Any]] = []
    parts: list[bytes] = []
    for name, array in (arrays or {}).items():
        dtype = "int32" if np.issubdtype(np.asarray(array).dtype, np.integer) else "float32"
        packed = np.ascontiguousarray(array, dtype=_DTYPES[dtype])
        layout.append([name, dtype, list(np.shape(array))])
        parts.append(packed.tobytes())
    text = json.dumps(_finite({**header, "arrays": layout}), allow_nan=False, separators=(",", ":"))
    head, body = text.encode("utf-8"), b"".join(parts)
    _check_lengths(len(head), len(body))
    return _PREFIX.pack(_MAGIC, PROTOCOL_VERSION, 0, len(head), len(body)) + head + body


def decode_prefix(data: bytes | bytearray) -> tuple[int, int]:
    """The lengths (header, body) in bytes that the first 16 bytes of a frame announce."""
    if len(data) < PREFIX_BYTES:
        raise RequestError(f"a frame must have at least {PREFIX_BYTES} bytes, got {len(data)}")
    magic, version, reserved, head, body = _PREFIX.unpack_from(data)
    if magic != _MAGIC or reserved != 0:
        raise RequestError(f"a frame must start with {_MAGIC!r}, got {bytes(data[:8])!r}")
    if version != PROTOCOL_VERSION:
        raise RequestError(f"protocol version must be {PROTOCOL_VERSION}, got {version}", field="version")
    _check_lengths(head, body)
    return head, body


def decode_frame(data: bytes | bytearray) -> Frame:
    """A whole frame, no byte more or less. Raises RequestError that says what is wrong with it."""
    head, body = decode_prefix(data)
    if len(data) != PREFIX_BYTES + head + body:
        raise RequestError(f"the frame must have {PREFIX_BYTES + head + body} bytes, got {len(data)}")
    header = _parse_header(bytes(data[PREFIX_BYTES : PREFIX_BYTES + head]))
    layout = header.pop("arrays", [])
    if not isinstance(layout, list):
        raise RequestError(f"arrays must be a list, got {layout!r:.80}", field="arrays")
    arrays: dict[str, np.ndarray] = {}
    offset, end = PREFIX_BYTES + head, len(data)
    for entry in layout:
        name, dtype, shape = _parse_array_entry(entry)
        count = math.prod(shape)
        if name in arrays or offset + count * dtype.itemsize > end:
            raise RequestError(f"array {name!r:.80} must fit the body once, got {entry!r:.80}", field="arrays")
        native = dtype.newbyteorder("=")
        arrays[name] = np.frombuffer(data, dtype, count, offset).reshape(shape).astype(native, copy=True)
        offset += count * dtype.itemsize
    if offset != end:
        raise RequestError(f"arrays must fill the body, got {end - offset} bytes more", field="arrays")
    return Frame(header, arrays)


def read_frame(read: Callable[[int], bytes]) -> Frame | None:
    """The next frame of a stream, or None where the stream ends between two frames.

    `read(n)` gives at most n bytes, none at the end. Raises RequestError if it ends within a frame.
    """
    prefix = _read_exactly(read, PREFIX_BYTES, may_end=True)
    if not prefix:
        return None
    head, body = decode_prefix(prefix)
    rest = _read_exactly(read, head + body)
    return decode_frame(prefix + rest)


def encode_request(
    points: np.ndarray,
    normals: np.ndarray | None = None,
    options: Mapping[str, Any] | None = None,
    triangles: np.ndarray | None = None,
) -> bytes:
    """The body of `POST /v1/generate`; raises RequestError as `decode_request` would for the same request."""
    given = {"points": points, "normals": normals, "triangles": triangles}
    arrays = _check_surface({name: array for name, array in given.items() if array is not None})
    return encode_frame({"options": check_options(options or {})}, arrays)


def decode_request(data: bytes | bytearray) -> GenerationRequest:
    """The body of `POST /v1/generate` to a checked request. Raises RequestError that names the field."""
    frame = decode_frame(data)
    unknown = [*(frame.header.keys() - {"options"}), *(frame.arrays.keys() - _SURFACE)]
    if unknown:
        allowed = "options, points, normals and triangles"
        raise RequestError(f"a request holds {allowed}, got {unknown[0]!r:.80}", field="header")
    arrays = _check_surface(frame.arrays)
    options = frame.header.get("options", {})
    if not isinstance(options, dict):
        raise RequestError(f"options must be an object, got {options!r:.80}", field="options")
    return GenerationRequest(arrays["points"], arrays.get("normals"), check_options(options), arrays.get("triangles"))


def check_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options in their types. Raises RequestError for an unknown name or a value out of its range."""
    try:
        return _check_options(options)
    except InputError as error:
        raise RequestError(error.message, error.field) from None


def check_samples(name: str, array: np.ndarray, like: np.ndarray | None = None) -> np.ndarray:
    """`array` as finite float32 (N, 3), N in [16, 500000] and as in `like`; else a RequestError."""
    values = _check_positions(name, array, MIN_POINTS, MAX_POINTS)
    if like is not None and values.shape != like.shape:
        raise RequestError(f"{name} must have the shape of points {like.shape}, got {values.shape}", field=name)
    return values


def check_triangles(array: np.ndarray, n_points: int) -> np.ndarray:
    """`array` as int32 (T, 3), T in [1, 4000000], of integers in [0, n_points - 1]; else a RequestError."""
    name = "triangles"
    try:
        values = np.asarray(array)
    except ValueError:  # rows of different lengths
        raise RequestError(f"{name} must be integers of shape (T, 3), got {array!r:.80}", field=name) from None
    if values.ndim != 2 or values.shape[1] != 3 or not 1 <= values.shape[0] <= MAX_TRIANGLES:
        allowed = f"(T, 3) with T in [1, {MAX_TRIANGLES:,}]"
        raise RequestError(f"{name} must have shape {allowed}, got {values.shape}", field=name)
    if not np.issubdtype(values.dtype, np.integer):  # float32 cannot tell 16,777,216 from the number after it
        raise RequestError(f"{name} must be integers, as int32, got {values.dtype}", field=name)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= n_points:
        wrong = low if low < 0 else high
        raise RequestError(f"{name} must be rows of points, in [0, {n_points - 1:,}], got {wrong}", field=name)
    return values.astype(np.int32, copy=False)


def _check_surface(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of a request, named as in `_SURFACE`, in their types. Raises RequestError that names the field."""
    if "points" not in arrays:
        raise RequestError("points must be given as an array of shape (N, 3)", field="points")
    if "triangles" in arrays:
        if "normals" in arrays:
            given = np.shape(arrays["normals"])
            message = f"normals must be left out where triangles are given, got an array of shape {given}"
            raise RequestError(message, field="normals")
        vertices = _check_positions("points", arrays["points"], MIN_VERTICES, MAX_VERTICES, "where triangles are given")
        return {"points": vertices, "triangles": check_triangles(arrays["triangles"], len(vertices))}
    checked = {"points": check_samples("points", arrays["points"])}
    if "normals" in arrays:
        checked["normals"] = check_samples("normals", arrays["normals"], like=checked["points"])
    return checked


def _check_positions(name: str, array: np.ndarray, least: int, most: int, where: str = "") -> np.ndarray:
    """`array` as finite float32 (N, 3), N in [least, most]; else a RequestError. `where` says when that is so."""
    try:
        with np.errstate(over="ignore"):
            values = np.asarray(array).astype(np.float32, copy=False)
    except (TypeError, ValueError):
        raise RequestError(f"{name} must be numbers of shape (N, 3), got {array!r:.80}", field=name) from None
    if values.ndim != 2 or values.shape[1] != 3 or not least <= values.shape[0] <= most:
        allowed = f"(N, 3) with N in [{least}, {most:,}]" + (f" {where}" if where else "")
        raise RequestError(f"{name} must have shape {allowed}, got {values.shape}", field=name)
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).any(axis=1).sum())
        raise RequestError(f"{name} must be finite in float32, got {bad} rows that are not", field=name)
    return values


def _check_lengths(head: int, body: int) -> None:
    if head > MAX_HEADER_BYTES or body > MAX_BODY_BYTES:
        allowed = f"{MAX_HEADER_BYTES:,} bytes of header and {MAX_BODY_BYTES:,} of body"
        raise RequestError(f"a frame may have {allowed}, got {head:,} and {body:,}", status=413)


def _finite(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def _parse_header(data: bytes) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        header = json.loads(data.decode("utf-8"), parse_constant=refuse)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise RequestError(f"the header must be JSON in UTF-8: {error!s:.120}", field="header") from None
    if not isinstance(header, dict):
        raise RequestError(f"the header must be a JSON object, got {header!r:.80}", field="header")
    return header


def _parse_array_entry(entry: Any) -> tuple[str, np.dtype, tuple[int, ...]]:
    if isinstance(entry, list) and len(entry) == 3:
        name, dtype, shape = entry
        known = isinstance(name, str) and isinstance(dtype, str) and dtype in _DTYPES
        sizes = isinstance(shape, list) and len(shape) <= 4 and all(type(n) is int and n >= 0 for n in shape)
        if known and sizes and math.prod(max(n, 1) for n in shape) <= MAX_BODY_BYTES:
            return name, _DTYPES[dtype], tuple(shape)
    allowed = "[name, 'float32' or 'int32', [sizes]]"
    raise RequestError(f"an entry of arrays must be {allowed}, got {entry!r:.80}", field="arrays")


def _read_exactly(read: Callable[[int], bytes], count: int, may_end: bool = False) -> bytes:
    parts: list[bytes] = []
    missing = count
    while missing > 0:
        part = read(missing)
        if not part:
            break
        parts.append(part)
        missing -= len(part)
    if missing and (parts or not may_end):
        raise RequestError(f"the stream must not end within a frame, got {count - missing} of {count} bytes")
    return b"".join(parts)
