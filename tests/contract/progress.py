# SPDX-License-Identifier: GPL-2.0-or-later
"""What a step is given to tell how far it is."""


def tell(fraction: float, text: str) -> None:
    """Demand a part of the whole: 0 to 1."""
    assert 0.0 <= fraction <= 1.0, text
