"""What the module of a family of formats finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fractions import Fraction


@dataclass
class Played:
    """
    What one family of formats finds.

    :param seconds: What a decoder plays.
    :param at_most: The same with all that encoders add; never less than ``seconds``.
    """

    seconds: Fraction
    at_most: Fraction
