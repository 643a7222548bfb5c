"""References to named tuples of arrays, to pass to compiled functions.

A named tuple is passed by value: with dozens of arrays that costs microseconds a call and minutes of compilation. A
reference is one pointer to the same arrays, with the same attributes, so the functions do not know the difference.
"""

from __future__ import annotations

from typing import Any

from numba import njit, types
from numba.experimental import structref
from numba.extending import overload


@structref.register
class _ReferenceType(types.StructRef):
    """The compiled type of a reference, with the tuple's fields."""

    def preprocess_fields(self, fields: tuple) -> tuple:
        return tuple((name, types.unliteral(kind)) for name, kind in fields)


class Reference(structref.StructRefProxy):
    """A named tuple for compiled functions; opaque to Python."""


structref.define_boxing(_ReferenceType, Reference)


def _copied(values):
    raise NotImplementedError("only for compiled code")


@overload(_copied)
def _copied_by_field(values):
    fields = values.fields
    lines = [f"    reference.{name} = values.{name}" for name in fields]
    code = "\n".join(["def copy(values):", "    reference = new(kind)", *lines, "    return reference"])
    scope = {"new": structref.new, "kind": _ReferenceType(tuple(zip(fields, values.types, strict=True)))}
    exec(code, scope)  # as numba's own constructors of such structures are made
    return scope["copy"]


@njit(cache=True)
def refer(values: Any) -> Any:
    """The `Reference` to a named tuple."""
    return _copied(values)
