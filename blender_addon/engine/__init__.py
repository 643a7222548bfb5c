# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine: chosen, installed, started, asked, ended."""
