"""Compare an image with the limits of a model, and name the command that converts it."""

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
    Reject an image that is cut, or too small or too large for the model.

    :param facts: The facts of the image, from :func:`hedra_provider.media.images.inspect_image`.
    :param source: Its path or URI, for messages.
    :param param: The operator's parameter for this file, for messages.
    :param slot: The limits of the model's input; None if they are not checked.
    :raises HedraValueError: If it is rejected; the remedy names the command that converts it.
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
        wrong, geometry = f"at least {least}", f"{least}x{least}^"
    elif most and max(facts.width, facts.height) > most:
        wrong, geometry = f"at most {most}", f"{most}x{most}>"
    else:
        return
    pixels = f"{facts.width} x {facts.height} pixels"
    raise HedraValueError(
        f"{param}: {shown(source)} has {pixels}; the model accepts {wrong} on each side.",
        param=param,
        remedy=f"Scale it, e.g. by ImageMagick: magick INPUT -resize '{geometry}' OUTPUT. Nothing was sent.",
    )


def image_warnings(facts: ImageFacts, mime: str) -> list[str]:
    """
    Return warnings about an unusual image, with the commands that convert it.

    Hedra does not publish which types and colours of images it accepts, so an unusual image is sent.

    :param facts: The facts of the image.
    :param mime: The type of the image.
    :return: Texts that continue a sentence after the name of the file; empty for a usual image.
    """
    found = []
    if mime not in USUAL:
        found.append(f"is {mime}, which Hedra may reject; convert it: magick INPUT OUTPUT.png")
    if facts.is_animated:
        found.append(
            "holds several pictures, and Hedra may use any; extract one: magick 'INPUT[0]' OUTPUT.png"
        )
    if facts.is_rotated:
        found.append(
            "is rotated by its EXIF orientation, which Hedra may ignore; rotate the pixels: "
            "magick INPUT -auto-orient OUTPUT"
        )
    if facts.is_cmyk:
        found.append(
            "has CMYK colours, which Hedra may reject or change; convert them: "
            "magick INPUT -colorspace sRGB OUTPUT"
        )
    if facts.is_deep:
        found.append(
            "has more than 8 bits per colour, which Hedra may reject; convert it: "
            "magick INPUT -depth 8 OUTPUT"
        )
    return found
