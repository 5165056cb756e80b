"""Compare an image with what a model takes, and say how to convert it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hedra_provider.api.errors import HedraValueError
from hedra_provider.api.redaction import shown
from hedra_provider.media.images import USUAL

if TYPE_CHECKING:
    from hedra_provider.api.responses import Slot
    from hedra_provider.media.images import ImageFacts


def require_image(facts: ImageFacts, source: str, *, param: str, slot: Slot | None) -> None:
    """
    Refuse an image that is cut, or whose sides the model does not take.

    :param facts: What the file says of itself.
    :param source: Its path or URI, for messages.
    :param param: The parameter that named it, for messages.
    :param slot: What the model takes, None where that is not compared.
    :raises HedraValueError: With the reason and how to convert the image.
    """
    if facts.is_cut:
        raise HedraValueError(
            f"{param}: {shown(source)} is cut: the file ends before the image does.",
            param=param,
            remedy="Copy or export the file again. Nothing was sent.",
        )
    if slot is None or not facts.width or not facts.height:
        return
    least, most = slot.min_dimension_px or 0, slot.max_dimension_px or 0
    if min(facts.width, facts.height) < least:
        wrong, geometry = f"{least} at the least", f"{least}x{least}^"
    elif most and max(facts.width, facts.height) > most:
        wrong, geometry = f"{most} at the most", f"{most}x{most}>"
    else:
        return
    pixels = f"{facts.width} x {facts.height} pixels"
    raise HedraValueError(
        f"{param}: {shown(source)} has {pixels}; the model takes {wrong} on each side.",
        param=param,
        remedy=f"Scale it, e.g. by ImageMagick: magick INPUT -resize '{geometry}' OUTPUT. Nothing was sent.",
    )


def image_warnings(facts: ImageFacts, mime: str) -> list[str]:
    """
    Return what Hedra may do with an image that is unusual, and how to convert it.

    Hedra publishes neither which types of image nor which colours it takes: so such an image is sent.

    :param mime: The type of the image.
    :return: Sentences that go on after the name of the file.
    """
    found = []
    if mime not in USUAL:
        found.append(f"is {mime}, which Hedra may not take; convert it: magick INPUT OUTPUT.png")
    if facts.is_animated:
        found.append(
            "holds several pictures, of which Hedra may take any; take one: magick 'INPUT[0]' OUTPUT.png"
        )
    if facts.is_turned:
        found.append(
            "is turned by its EXIF orientation, which Hedra may ignore; turn the pixels: "
            "magick INPUT -auto-orient OUTPUT"
        )
    if facts.is_cmyk:
        found.append(
            "has CMYK colours, which Hedra may not take or may change; convert them: "
            "magick INPUT -colorspace sRGB OUTPUT"
        )
    if facts.is_deep:
        found.append(
            "has more than 8 bits for each colour, which Hedra may not take; convert it: "
            "magick INPUT -depth 8 OUTPUT"
        )
    return found
