"""References to named tuples of arrays, to pass to compiled functions.

A named tuple is passed by value: with dozens of arrays that costs microseconds a call and minutes of compilation. A
reference is one pointer to the same arrays, with the same attributes, so the functions do not know the difference.

Compiled code counts who holds an array, by an atomic instruction whenever an array is read from a tuple or handed on:
that was more than half of the time of functions that do little else. Neither a reference nor its arrays are counted;
`Reference` keeps them alive for as long as it lives itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, typeof, types
from numba.core import cgutils
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    NativeValue,
    infer_getattr,
    intrinsic,
    lower_getattr_generic,
    models,
    register_model,
    unbox,
)

from flashmesh_core import kernel_cache

kernel_cache.install()

__all__ = ["NO_REFCOUNT", "Reference", "njit", "njit_no_refcount", "refer"]

NO_REFCOUNT: Any = {"cache": True, "_nrt": False}


def njit_no_refcount(function: Callable) -> Any:
    """Compile a function that makes no arrays; it does not count who holds those that it is given either."""
    return njit(**NO_REFCOUNT)(function)


class _ReferenceType(types.Type):
    """The compiled type of a reference, with the tuple's fields."""

    def __init__(self, names: tuple[str, ...], kinds: tuple[types.Type, ...]) -> None:
        self.names, self.payload = names, types.Tuple(kinds)
        super().__init__(f"Reference({', '.join(f'{name}: {kind}' for name, kind in zip(names, kinds, strict=True))})")


@register_model(_ReferenceType)
class _ReferenceModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: _ReferenceType) -> None:
        super().__init__(manager, kind, cgutils.voidptr_t)


@infer_getattr
class _Attributes(AttributeTemplate):
    key = _ReferenceType

    def _resolve(self, kind: Any, name: str) -> Any:
        return kind.payload[kind.names.index(name)] if name in kind.names else None

    generic_resolve: Any = _resolve


@lower_getattr_generic(_ReferenceType)
def _read(context, builder, kind, pointer, name):
    payload = builder.bitcast(pointer, context.get_value_type(kind.payload).as_pointer())
    return builder.load(cgutils.gep_inbounds(builder, payload, 0, kind.names.index(name)))


@unbox(_ReferenceType)
def _unbox(kind, reference, c):
    address = c.pyapi.object_getattr_string(reference, "address")
    pointer = c.pyapi.long_as_voidptr(address)
    c.pyapi.decref(address)
    return NativeValue(pointer, is_error=cgutils.is_not_null(c.builder, c.pyapi.err_occurred()))


def _uncounted(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """An array, or each array of a tuple, without its counter; anything else as it is."""
    if isinstance(kind, types.Array):
        array = context.make_array(kind)(context, builder, value=value)
        array.meminfo = cgutils.get_null_value(array.meminfo.type)
        array.parent = cgutils.get_null_value(array.parent.type)
        return array._getvalue()
    if isinstance(kind, types.BaseTuple):
        kinds: Any = kind
        parts = [_uncounted(context, builder, part, builder.extract_value(value, k)) for k, part in enumerate(kinds)]
        return context.make_tuple(builder, kind, parts)
    return value


def _size_code(typing, values):
    """The bytes that `store` writes."""

    def size(context, builder, signature, arguments):
        number = context.get_abi_sizeof(context.get_value_type(types.Tuple(values.types)))
        return context.get_constant(types.intp, number)

    return types.intp(values), size


def _store_code(typing, values, memory):
    """Write the fields of a named tuple, their arrays uncounted, to `memory` (N,) uint8."""
    plain = types.Tuple(values.types)

    def write(context, builder, signature, arguments):
        parts = [builder.extract_value(arguments[0], at) for at in range(len(values.types))]
        packed = _uncounted(context, builder, plain, context.make_tuple(builder, plain, parts))
        data = context.make_array(memory)(context, builder, value=arguments[1]).data
        builder.store(packed, builder.bitcast(data, packed.type.as_pointer()))
        return context.get_dummy_value()

    return types.none(values, memory), write


size_of: Any = intrinsic(_size_code)
store: Any = intrinsic(_store_code)


@njit(cache=True)
def _pack(values: Any) -> np.ndarray:
    memory = np.empty(size_of(values), dtype=np.uint8)
    store(values, memory)
    return memory


_reference_types: dict[Any, _ReferenceType] = {}  # by what `_signature` makes of the values


def _signature(value: Any) -> Any:
    """All that the compiled type of a value follows from; numba asks a hundred times as long."""
    if isinstance(value, tuple):
        return type(value), *map(_signature, value)
    if isinstance(value, np.ndarray):
        return type(value), value.dtype, value.ndim, value.flags.num
    return type(value)


class Reference:
    """A named tuple for compiled functions; opaque to Python."""

    def __init__(self, values: Any) -> None:
        signature = _signature(values)
        if signature not in _reference_types:
            kind = typeof(values)
            fields = tuple(types.unliteral(part) for part in kind.types)
            _reference_types[signature] = _ReferenceType(kind.fields, fields)
        self._numba_type_ = _reference_types[signature]
        self._held = values, _pack(values)
        self.address: int = self._held[1].ctypes.data


def refer(values: Any) -> Any:
    """The `Reference` to a named tuple: the same attributes, to compiled functions."""
    return Reference(values)
