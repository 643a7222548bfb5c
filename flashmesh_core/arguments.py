"""Options of a generation as arguments of the command line: once, for all commands that take them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from flashmesh_core.drafters import AUTO_DRAFTER, DRAFTER_NAMES
from flashmesh_core.options import AUTO_CHOICES, DEFAULT_COVERAGE_GUIDANCE, DEFAULT_WIDTH, OPTIONS, check_options


def allowed(option: str) -> str:
    """The values that a generation option may have, in words."""
    return OPTIONS[option].describe().removesuffix(" or null")


def add_decoding_arguments(parser: argparse.ArgumentParser) -> None:
    """The engine, and what shapes a mesh: of every command that makes some."""
    add = parser.add_argument
    add("--checkpoint", default="nano", help="bundled name, folder or .safetensors (default: nano)")
    add("--device", default="auto", help="auto, cpu or cuda[:N] (default: auto)")
    candidates = f"meshes to make, {allowed('candidates')}; the one nearest the source stays (default: 1)"
    add("--candidates", type=int, default=1, help=candidates)
    default = OPTIONS["temperature"].default
    temperature = f"{allowed('temperature')}; 0 is greedy (default: {default})"
    add("--temperature", type=float, default=default, help=temperature)
    seed = f"{allowed('seed')}; the same seed gives the same mesh (default: 0)"
    add("--seed", type=int, default=0, help=seed)
    add("--no-surface", action="store_true", help="let vertices leave the input surface")
    manifold = "use a directed edge once (auto: as the source)"
    add("--manifold", choices=tuple(AUTO_CHOICES), default="auto", help=manifold)
    watertight = "close all that is open, openings of the source too; with --coverage-guidance 0 by a mask"
    add("--watertight", action="store_true", help=watertight)
    guidance = f"nats against faces off the uncovered surface, 0 is off (default: {DEFAULT_COVERAGE_GUIDANCE:g})"
    add("--coverage-guidance", "--guidance", type=float, default=DEFAULT_COVERAGE_GUIDANCE, help=guidance)


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """All options of the commands that make one mesh of each source, and where their report goes."""
    add_decoding_arguments(parser)
    add = parser.add_argument
    add("--keep-holes", action="store_true", help="leave the holes that decoding leaves")
    drafter = f"how tokens are guessed ahead; changes the time alone (default: auto, which is {AUTO_DRAFTER})"
    add("--drafter", choices=DRAFTER_NAMES, default="auto", help=drafter)
    width = f"tokens that a pass verifies at most, {allowed('width')} (default: {DEFAULT_WIDTH})"
    add("--width", type=int, default=DEFAULT_WIDTH, help=width)
    tolerance = f"bins a vertex may lie off the surface, {allowed('surface_tolerance')}"
    add("--surface-tolerance", type=int, help=tolerance)
    keep = "take vertices of the source alone, as they are (default: auto, where it has no more faces than are wanted)"
    add("--keep-vertices", choices=tuple(AUTO_CHOICES), default="auto", help=keep)
    flaws = "read the source as it is, with strays, pieces in the air, hidden parts, spikes, seams, ragged holes"
    add("--no-clean-up", action="store_true", help=flaws)
    add("--report", type=Path, help="write a JSON report here")


def decoding_options(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of Options that `add_decoding_arguments` stands for, not checked."""
    return {
        "temperature": args.temperature,
        "seed": args.seed,
        "surface": not args.no_surface,
        "manifold": AUTO_CHOICES[args.manifold],
        "watertight": args.watertight,
        "coverage_guidance": args.coverage_guidance,
    }


def engine_options(args: argparse.Namespace, **more: object) -> dict[str, Any]:
    """The keyword arguments of `Engine.generate` that `add_engine_arguments` stands for, and `more`; checked."""
    options = decoding_options(args) | {
        "candidates": args.candidates,
        "fill_holes": not args.keep_holes,
        "keep_vertices": AUTO_CHOICES[args.keep_vertices],
        "clean_up": not args.no_clean_up,
        "drafter": args.drafter,
        "width": args.width,
        "surface_tolerance": args.surface_tolerance,
    }
    return check_options({**options, **more})
