"""References to named tuples of arrays, to pass to compiled functions.

A named tuple is passed by value: with dozens of arrays that costs microseconds a call and minutes of compilation. A
reference is one pointer to the same arrays, with the same attributes, so the functions do not know the difference.
"""

from __future__ import annotations

from numba import njit, types
from numba.experimental import structref

from flashmesh_core.state.layout import Surface, Table


class ReferenceType(types.StructRef):
    """The compiled type of a reference."""

    def preprocess_fields(self, fields: tuple) -> tuple:
        return tuple((name, types.unliteral(kind)) for name, kind in fields)


@structref.register
class _SurfaceType(ReferenceType):
    pass


@structref.register
class _TableType(ReferenceType):
    pass


class SurfaceReference(structref.StructRefProxy):
    """A `Surface` for compiled functions."""


class TableReference(structref.StructRefProxy):
    """A `Table` for compiled functions."""


structref.define_proxy(SurfaceReference, _SurfaceType, Surface._fields)
structref.define_proxy(TableReference, _TableType, Table._fields)


@njit(cache=True)
def refer_surface(surface: Surface) -> Surface:
    """The reference to a surface, a `SurfaceReference`: to a type checker it is a surface."""
    return SurfaceReference(*surface)


@njit(cache=True)
def refer_table(table: Table) -> Table:
    """The reference to a table, a `TableReference`."""
    return TableReference(*table)
