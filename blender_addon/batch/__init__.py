# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of batch_generate.py; not in the zip."""
