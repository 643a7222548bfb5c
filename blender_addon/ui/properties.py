# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a run: once as the panel's settings, kept with the scene, once as the operator's properties."""

from __future__ import annotations

from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, PointerProperty, StringProperty

from flashmesh_core.drafters import DRAFTERS
from flashmesh_core.options import MAX_FACES, OPTIONS

from ..engine import settings
from ..engine.request import RunSettings
from .preferences import PRESET_ITEMS

DRAFTER_ITEMS = (
    ("auto", "Automatic", "What is fastest with the checkpoint"),
    *((name, drafter.label, drafter.summary) for name, drafter in DRAFTERS.items()),
)
SYMMETRY_ITEMS = (
    ("NONE", "Off", "The whole object is made"),
    ("X", "X", "The half at positive X is made, and mirrored"),
    ("Y", "Y", "The half at positive Y is made, and mirrored"),
    ("Z", "Z", "The half at positive Z is made, and mirrored"),
)
TARGET_ITEMS = (
    ("COUNT", "Number", "A number of faces"),
    ("SHARE", "Share", "A share of the faces of the source, counted as triangles"),
)
KEEP_ITEMS = (
    ("AUTO", "Where It Has Few Faces", "On where the source has no more faces than are wanted"),
    ("ON", "On", "All vertices are some of the source's; it is read as it is, with its noise"),
    ("OFF", "Off", "Vertices are put where the surface of the source asks for them"),
)
SIZE_ITEMS = tuple((str(size), f"{size}", "", size) for size in (256, 512, 1024, 2048, 4096))
MAX_SEED = 2**31 - 1  # of an IntProperty; the engine takes more
_DEFAULTS = RunSettings()


def option_properties(**common: Any) -> dict[str, Any]:
    """All options by name, for the annotations of a class; `common` goes to each."""
    groups = (_size_options, _shape_options, _end_options, _drafting_options)
    return {name: made for group in groups for name, made in group(common).items()}


def _size_options(common: dict[str, Any]) -> dict[str, Any]:
    d = _DEFAULTS
    # fmt: off
    return {
        "target": EnumProperty(
            name="Target", description="How the size of the new mesh is given", items=TARGET_ITEMS, default=d.target,
            **common),
        "faces": IntProperty(
            name="Faces", description="About how many faces the new mesh shall have",
            min=1, max=MAX_FACES, default=d.faces, **common),
        "share": FloatProperty(
            name="Share", description="How many faces the new mesh shall have for each 100 triangles of the source",
            min=0.01, max=100.0, soft_min=1.0, default=d.share, step=100, precision=1, subtype="PERCENTAGE", **common),
        "preset": EnumProperty(
            name="Detail", description="How much effort goes into a mesh", items=PRESET_ITEMS, default=1, **common),
        "seed": IntProperty(
            name="Seed", description="Another number gives another mesh of the same object, the same one the same mesh",
            min=0, max=MAX_SEED, default=d.seed, **common),
        "temperature": FloatProperty(
            name="Variation", description="0 gives the surest mesh; more lets seeds differ more, with more mistakes",
            min=0.0, max=2.0, default=d.temperature, step=5, precision=2, **common),
    }
    # fmt: on


def _shape_options(common: dict[str, Any]) -> dict[str, Any]:
    d = _DEFAULTS
    # fmt: off
    return {
        "watertight": BoolProperty(
            name="Watertight", description="Close every opening, those of the source too, as for a print",
            default=d.watertight, **common),
        "keep_to_surface": BoolProperty(
            name="Keep to Surface", description="Put no vertex away from the surface of the source",
            default=d.keep_to_surface, **common),
        "keep_vertices": EnumProperty(
            name="Keep Vertices", description="Take vertices of the source alone, exactly where they are",
            items=KEEP_ITEMS, default=d.keep_vertices, **common),
        "symmetry": EnumProperty(
            name="Symmetry", description="Make one half and mirror it at the object's own axis",
            items=SYMMETRY_ITEMS, default=d.symmetry, **common),
        "selected_only": BoolProperty(
            name="Selected Faces Only", description="Make the selected faces anew, and weld them to the other ones",
            default=d.selected_only, **common),
        "density": StringProperty(
            name="Denser Where", description="A vertex group of the source: where it is painted, more faces are made",
            default=d.density, **common),
    }
    # fmt: on


def _end_options(common: dict[str, Any]) -> dict[str, Any]:
    d = _DEFAULTS
    # fmt: off
    return {
        "snap": BoolProperty(
            name="Snap to Source", description="At the end, move every vertex exactly onto the surface of the source",
            default=d.snap, **common),
        "quads": BoolProperty(
            name="Triangles to Quads",
            description="At the end, join triangles that lie beside each other to faces of four corners",
            default=d.quads, **common),
        "hard_edges": BoolProperty(
            name="Keep Hard Edges",
            description="Mark edges sharp where the source has sharp edges or creases, and seams where it has seams",
            default=d.hard_edges, **common),
        "clean_up": BoolProperty(
            name="Clean Up Source",
            description="Leave out strays, pieces in the air, hidden parts, spikes; close seams and ragged holes",
            default=d.clean_up, **common),
        "fill_holes": BoolProperty(
            name="Fill Holes", description="At the end, cover what the new mesh left bare, and close its holes",
            default=d.fill_holes, **common),
        "transfer_uvs": BoolProperty(
            name="UV Map",
            description="Take the UV map of the source, cut at its islands; unwrap anew where it has none",
            default=d.transfer_uvs, **common),
        "hide_source": BoolProperty(
            name="Hide Source", description="Hide the source in viewport and renders once its new mesh is there",
            default=d.hide_source, **common),
        "keep_earlier": BoolProperty(
            name="Keep Earlier Results",
            description="Keep the earlier results of this object to choose from, instead of replacing the last one",
            default=d.keep_earlier, **common),
    }
    # fmt: on


def _drafting_options(common: dict[str, Any]) -> dict[str, Any]:
    d = _DEFAULTS
    # fmt: off
    return {
        "drafter": EnumProperty(
            name="Drafting", description="How the engine guesses ahead. It changes the speed, not the mesh",
            items=DRAFTER_ITEMS, default=d.drafter, **common),
        "width": IntProperty(
            name="Width", description="How many guesses the engine checks at once. It changes the speed, not the mesh",
            min=int(OPTIONS["width"].low), max=int(OPTIONS["width"].high), default=d.width, **common),
    }
    # fmt: on


def _with_default(name: str) -> dict[str, Any]:
    """Accessors of a setting that is the preferences' until the artist sets it, as text in `<name>_set`."""

    def read(self: bpy.types.PropertyGroup) -> str:
        text = getattr(self, f"{name}_set")
        return text if text else str(getattr(settings.get_preferences(), name))

    def write(self: bpy.types.PropertyGroup, text: str) -> None:
        setattr(self, f"{name}_set", text)

    return {"read": read, "write": write}


_FACES, _PRESET, _HIDE = (_with_default(name) for name in ("faces", "preset", "hide_source"))
_PRESETS = [item[0] for item in PRESET_ITEMS]


def _panel_properties() -> dict[str, Any]:
    made = option_properties()
    made["faces"] = IntProperty(
        name="Faces",
        description="About how many faces the new mesh shall have",
        min=1,
        max=MAX_FACES,
        get=lambda self: int(_FACES["read"](self)),
        set=lambda self, value: _FACES["write"](self, str(value)),
    )
    made["preset"] = EnumProperty(
        name="Detail",
        description="How much effort goes into a mesh",
        items=PRESET_ITEMS,
        get=lambda self: _PRESETS.index(_PRESET["read"](self)),
        set=lambda self, value: _PRESET["write"](self, _PRESETS[value]),
    )
    made["hide_source"] = BoolProperty(
        name="Hide Source",
        description="Hide the source in viewport and renders once its new mesh is there",
        get=lambda self: _HIDE["read"](self) == "True",
        set=lambda self, value: _HIDE["write"](self, str(bool(value))),
    )
    made["bake_size"] = EnumProperty(
        name="Image Size",
        description="Pixels of each side of the images that are baked",
        items=SIZE_ITEMS,
        default=1024,
    )
    for name in ("faces", "preset", "hide_source"):
        made[f"{name}_set"] = StringProperty(options={"HIDDEN"})
    return made


class FlashMeshSettings(bpy.types.PropertyGroup):
    """`scene.flashmesh`: what the panel shows."""

    __annotations__ = _panel_properties()


def run_settings(operator: bpy.types.Operator, context: bpy.types.Context) -> RunSettings:
    """The options of a run: those that the operator was given, the others as the panel has them."""
    panel, given = context.scene.flashmesh, operator.properties
    names = option_properties()
    values = {name: getattr(given if given.is_property_set(name) else panel, name) for name in names}
    if given.is_property_set("faces") and not given.is_property_set("target"):
        values["target"] = "COUNT"  # who gives a number means it
    return RunSettings(**values, keep_unfinished=settings.get_preferences(context).on_cancel == "KEEP")


def register() -> None:
    """Registers the settings."""
    bpy.utils.register_class(FlashMeshSettings)
    bpy.types.Scene.flashmesh = PointerProperty(type=FlashMeshSettings)


def unregister() -> None:
    """Undoes register."""
    del bpy.types.Scene.flashmesh
    bpy.utils.unregister_class(FlashMeshSettings)
