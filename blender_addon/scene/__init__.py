# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's objects to arrays and back, and the run that makes one grow."""
