# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's preferences as Blender keeps them; engine/settings.py has their defaults."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, StringProperty

from flashmesh_core.options import MAX_FACES

from ..engine.settings import DEFAULTS, PACKAGE
from . import preferences_page

PRESET_ITEMS = (
    ("DRAFT", "Draft", "Ends at the wanted number of faces, complete or not", 0),
    ("STANDARD", "Standard", "One mesh, written to its end", 1),
    ("BEST_OF_4", "Best of 4", "Four meshes, of which the one nearest the source stays: about four times the work", 2),
)


class FlashMeshPreferences(bpy.types.AddonPreferences):
    """What `get_preferences` gives where the add-on is installed."""

    bl_idname = PACKAGE

    backend: EnumProperty(
        name="Engine",
        description="Where meshes are generated",
        items=(
            ("LOCAL", "Local process", "A process on this computer, started on first use; Blender stays responsive"),
            ("IN_PROCESS", "Inside Blender", "In Blender's own Python, which must have torch"),
            ("ADDRESS", "Address", "An engine that runs already, on this computer or another"),
        ),
        default=DEFAULTS.backend,
    )
    engine_python: StringProperty(
        name="Python",
        description="Python program that runs the engine. Empty: the one that Install has made",
        subtype="FILE_PATH",
        default=DEFAULTS.engine_python,
    )
    address: StringProperty(
        name="Address",
        description="Of the engine, as in 127.0.0.1:8000 or http://workstation:8000",
        default=DEFAULTS.address,
    )
    token: StringProperty(
        name="Token",
        description="The engine's bearer token. Kept in Blender's preferences file as it is",
        subtype="PASSWORD",
        default=DEFAULTS.token,
    )
    device: EnumProperty(
        name="Device",
        description="What the engine computes on",
        items=(
            ("AUTO", "Automatic", "The graphics card if the engine can use one, else the processor"),
            ("CPU", "Processor", "Works everywhere"),
            ("CUDA", "NVIDIA graphics card", "Needs the CUDA build of torch"),
        ),
        default=DEFAULTS.device,
    )
    checkpoint: StringProperty(
        name="Model",
        description="What the engine has learned: the name of a bundled one, a folder, or a .safetensors file",
        default=DEFAULTS.checkpoint,
    )
    idle_minutes: IntProperty(
        name="Free memory after (minutes)",
        description="Minutes without work after which the engine gives back its memory. 0: never",
        min=0,
        max=24 * 60,
        default=DEFAULTS.idle_minutes,
    )
    keep_ready: BoolProperty(
        name="Get ready with the panel",
        description="Start the engine as soon as its panel is seen, so that the first mesh need not wait for it",
        default=DEFAULTS.keep_ready,
    )
    on_cancel: EnumProperty(
        name="On cancel",
        description="What happens to an unfinished mesh",
        items=(
            ("REMOVE", "Remove", "The unfinished mesh is removed; what was there before is shown and selected again"),
            ("KEEP", "Keep", "The faces that are there stay"),
        ),
        default=DEFAULTS.on_cancel,
    )
    faces: IntProperty(
        name="Faces",
        description="About how many faces a new mesh shall have",
        min=1,
        max=MAX_FACES,
        default=DEFAULTS.faces,
    )
    preset: EnumProperty(
        name="Detail",
        description="How much effort goes into a mesh",
        items=PRESET_ITEMS,
        default=DEFAULTS.preset,
    )
    hide_source: BoolProperty(
        name="Hide the source",
        description="Hide the object that a mesh was made from",
        default=DEFAULTS.hide_source,
    )

    seconds_per_face: FloatProperty(default=DEFAULTS.seconds_per_face, options={"HIDDEN"})

    def draw(self, context: bpy.types.Context) -> None:
        """The page in Blender's preferences."""
        preferences_page.draw(self.layout, self)


def register() -> None:
    """Registers the preferences."""
    bpy.utils.register_class(FlashMeshPreferences)


def unregister() -> None:
    """Undoes register."""
    bpy.utils.unregister_class(FlashMeshPreferences)
