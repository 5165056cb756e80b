"""Opens pictures as they are displayed: upright, in RGB, the first frame of an animation, on white."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hedra_provider.sandbox.media import Unreadable, reason

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000")
"""What Pillow may open. Others of its readers start programs (EPS) or are no formats of photographs."""

MAX_PIXELS = 8192 * 8192
"""Largest picture that is decoded, in pixels: about 200 MB of memory, and the largest portrait of a model."""


def open_picture(path: Path) -> Image.Image:
    """Decode a picture.

    :param path: the file.
    :return: the picture in RGB. EXIF orientation is applied, transparency is put on white, 16 bits become 8.
    :raises Unreadable: if Pillow cannot decode all of it, or if it has more than :data:`MAX_PIXELS`.
    """
    import PIL
    from PIL import Image, ImageOps

    # A Pillow that was built from source may lack some.
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]
    try:
        with Image.open(path, formats=formats) as image:
            if image.width * image.height > MAX_PIXELS:
                size = f"{image.width}x{image.height}"
                raise Unreadable(
                    f"The image is {size} pixels large; at most {MAX_PIXELS} pixels are decoded."
                )
            image.load()
            return _rgb(ImageOps.exif_transpose(image))
    except Unreadable:
        raise
    except PIL.UnidentifiedImageError:
        raise Unreadable(f"The file is not a readable image ({', '.join(formats)}).") from None
    except OSError as error:
        # Pillow's message for a picture that breaks off names no path; that of the operating system does.
        why = reason(error) if error.errno else str(error)
        raise Unreadable(f"The file is not a readable image: {why}") from None
    except Exception as error:  # noqa: BLE001  Pillow raises many kinds of errors for damaged files
        raise Unreadable(f"The file is not a readable image: {reason(error)}") from None


def _rgb(image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode.startswith("I"):
        # 16 bits of grey; "I" is how Pillow also holds them. convert() would clip them to white.
        return image.convert("I").point(lambda value: value / 256).convert("L").convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(ground, image).convert("RGB")
    return image.convert("RGB")
