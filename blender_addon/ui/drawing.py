# SPDX-License-Identifier: GPL-3.0-or-later
"""Text as panels show it: wrapped, times and distances in words, and what is said of a result."""

from __future__ import annotations

import re
import textwrap

import bpy

from ..scene.figures import FAULTS, Result
from ..scene.session import Run
from ..translations import tr

END_REASONS = {
    "face_limit": "Cut off at the number of faces",
    "cancelled": "Unfinished: cancelled",
}


def progress_text(run: Run) -> str:
    """What the bar of a run says: how far it is, in words."""
    progress = run.progress
    if run.cancelling:
        return tr("Cancelling")
    if progress.stage == "decoding":
        return tr("{faces} of {wanted} faces", faces=f"{progress.faces:,}", wanted=f"{progress.wanted:,}")
    if not progress.step_text:
        return tr(progress.text)
    return tr("{step}, {percent} %", step=tr(progress.step_text), percent=f"{100.0 * progress.factor:.0f}")


def summary(result: Result) -> str:
    """One line about a result, for the status bar."""
    parts = [faces_text(result), quads_text(result), open_text(result), *source_texts(result)]
    parts += [fault_text(fault) for fault in result.faults]
    return f"{result.name}: " + ", ".join(part[:1].lower() + part[1:] for part in parts if part)


def fault_text(said: str) -> str:
    """What the engine finds wrong, in the language of the interface; as it is where it is none of FAULTS."""
    for text in FAULTS:
        found = re.fullmatch(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[\\d.,%]+)", re.escape(text)), said)
        if found:
            return tr(text, **found.groupdict())
    return said


def source_texts(result: Result) -> list[str]:
    """What was repaired, left out and closed, in words."""
    texts = (repaired_text(result), strays_text(result), gashes_text(result))
    return [text for text in texts if text]


def faces_text(result: Result) -> str:
    """The faces of those wanted, as triangles, which is what they were before pairs became quads; and the time."""
    values = {"faces": f"{result.triangles:,}", "wanted": f"{result.wanted:,}"}
    if result.seconds is None:
        return tr("{faces} faces of {wanted} wanted", **values)
    return tr("{faces} faces of {wanted} wanted in {seconds} s", **values, seconds=f"{result.seconds:.1f}")


def quads_text(result: Result) -> str:
    """What became of the triangles where pairs of them were joined, or ''."""
    if result.triangles == result.faces:
        return ""
    values = {"quads": f"{result.quads:,}", "triangles": f"{result.faces - result.quads:,}"}
    return tr("joined to {quads} quads and {triangles} triangles", **values)


def open_text(result: Result) -> str:
    """Whether a result is closed, in words."""
    if result.watertight:
        return tr("watertight")
    count = f"{result.open_edges:,}"
    if result.gave_up_closure:
        return tr("{count} open edges that could not be closed", count=count)
    return tr("1 open edge") if result.open_edges == 1 else tr("{count} open edges", count=count)


def repaired_text(result: Result) -> str:
    """How many faces were repaired, or ''."""
    if not result.repaired:
        return ""
    count = f"{result.repaired:,}"
    return tr("1 face repaired") if count == "1" else tr("{count} faces repaired", count=count)


def strays_text(result: Result) -> str:
    """How many points of a cloud, or pieces and spikes of a mesh, were left out, or ''."""
    if not result.strays:
        return ""
    count = f"{result.strays:,}"
    return tr("1 stray left out") if count == "1" else tr("{count} strays left out", count=count)


def gashes_text(result: Result) -> str:
    """How many small ragged holes of the source were closed, or ''."""
    if not result.gashes:
        return ""
    count = f"{result.gashes:,}"
    return tr("1 gash closed") if count == "1" else tr("{count} gashes closed", count=count)


def share(part: float) -> str:
    """A distance in shares of the object's size, in words."""
    return f"{100.0 * part:.{1 if part >= 0.01 else 2}f} %"


def duration(seconds: float) -> str:
    """A time in words, as "40 s" or "3 min"."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def draw_text(layout: bpy.types.UILayout, context: bpy.types.Context, text: str, icon: str) -> None:
    """Text, translated already, over as many lines as the region's width asks for; nothing where it is empty."""
    scale = context.preferences.system.ui_scale
    width = context.region.width if context.region is not None else 240
    lines = textwrap.wrap(text[:1].upper() + text[1:], max(20, int((width / scale - 60) / 6.5)))
    column = layout.column(align=True)
    column.scale_y = 0.8
    for number, line in enumerate(lines):
        column.label(text=line, icon="BLANK1" if number and icon != "NONE" else icon, translate=False)
