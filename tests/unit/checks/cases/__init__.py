# SPDX-License-Identifier: GPL-2.0-or-later
"""What each check finds on a machine that deserves it: one table for each file of xenable/checks."""
