"""Images: the facts that are read without decoding, compared with Pillow's files."""

from __future__ import annotations

import io
import logging
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hedra_provider.media.image_limits import image_warnings
from hedra_provider.media.images import ImageFacts, inspect_image
from hedra_provider.storage.source import open_media
from tests.airflow_names import AirflowFailException
from tests.media import png
from tests.media_files.samples import painted
from tests.operators.helpers import avatar
from tests.tasks import run

if TYPE_CHECKING:
    from hedra_provider.testing import Sandbox


def facts_of(content: bytes, mime: str) -> ImageFacts:
    file = io.BytesIO(content)
    found = inspect_image(file, len(content), mime)
    assert file.tell() == 0
    return found


def several(kind: str) -> bytes:
    frames = [Image.new("RGB", (64, 80), colour) for colour in ("red", "green", "blue")]
    target = io.BytesIO()
    frames[0].save(target, kind, save_all=True, append_images=frames[1:])
    return target.getvalue()


def turned(kind: str) -> bytes:
    exif = Image.Exif()
    exif[274] = 6
    return painted(kind, exif=exif)


KINDS = {
    "image/jpeg": ("JPEG", {}),
    "image/png": ("PNG", {}),
    "image/gif": ("GIF", {}),
    "image/webp": ("WEBP", {}),
    "image/bmp": ("BMP", {}),
    "image/tiff": ("TIFF", {}),
    "image/avif": ("AVIF", {}),
}
VARIANTS = [
    *((mime, kind, options) for mime, (kind, options) in KINDS.items()),
    ("image/jpeg", "JPEG", {"progressive": True}),
    ("image/webp", "WEBP", {"lossless": True}),
    ("image/tiff", "TIFF", {"compression": "tiff_lzw"}),
]


@pytest.mark.parametrize(("mime", "kind", "options"), VARIANTS)
def test_a_plain_image_is_whole_and_has_its_size(mime: str, kind: str, options: dict[str, Any]):
    facts = facts_of(painted(kind, **options), mime)
    assert (facts.width, facts.height) == (64, 80)
    assert facts == ImageFacts(width=64, height=80, frames=facts.frames)


@pytest.mark.parametrize(("mime", "kind", "options"), VARIANTS)
@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9, 0.98])
def test_a_cut_image_is_noticed(mime: str, kind: str, options: dict[str, Any], keep: float):
    content = painted(kind, size=(128, 160), **options)
    assert facts_of(content[: int(len(content) * keep)], mime).is_cut


@pytest.mark.parametrize("mime", ["image/jpeg", "image/png", "image/gif"])
def test_an_image_without_its_end_is_cut(mime: str):
    content = painted(KINDS[mime][0])
    assert facts_of(content[:-2], mime).is_cut
    assert not facts_of(content + b"\0" * 100 + b"trailer of a camera", mime).is_cut


@pytest.mark.parametrize(
    ("content", "mime", "fact"),
    [
        (lambda: turned("JPEG"), "image/jpeg", "is_rotated"),
        (lambda: turned("PNG"), "image/png", "is_rotated"),
        (lambda: turned("WEBP"), "image/webp", "is_rotated"),
        (lambda: turned("TIFF"), "image/tiff", "is_rotated"),
        (lambda: painted("JPEG", mode="CMYK"), "image/jpeg", "is_cmyk"),
        (lambda: painted("TIFF", mode="CMYK"), "image/tiff", "is_cmyk"),
        (lambda: painted("PNG", mode="I;16"), "image/png", "is_deep"),
        (lambda: painted("TIFF", mode="I;16"), "image/tiff", "is_deep"),
        (lambda: several("GIF"), "image/gif", "is_animated"),
        (lambda: several("PNG"), "image/png", "is_animated"),
        (lambda: several("WEBP"), "image/webp", "is_animated"),
        (lambda: several("TIFF"), "image/tiff", "is_animated"),
        (lambda: several("AVIF"), "image/avif", "is_animated"),
    ],
)
def test_a_warning_names_the_command_that_converts_the_image(content: Any, mime: str, fact: str):
    facts = facts_of(content(), mime)
    assert getattr(facts, fact)
    assert not facts.is_cut
    names = ("is_rotated", "is_cmyk", "is_deep", "is_animated")
    assert [name for name in names if getattr(facts, name)] == [fact]
    assert all("magick" in warning for warning in image_warnings(facts, mime))


def test_heic_has_the_size_of_its_largest_part():
    """Pillow does not write HEIC; this is how an iPhone's is built: tiles, and the image they make."""
    sizes = b"".join(b"\0\0\0\x14ispe" + struct.pack(">III", 0, *size) for size in ((512, 512), (4032, 3024)))
    inner = bytes(4) + sizes + b"\0\0\0\x09irot\3"
    meta = struct.pack(">I", 8 + len(inner)) + b"meta" + inner
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + meta + struct.pack(">I", 108) + b"mdat" + bytes(100)
    facts = facts_of(heic, "image/heic")
    assert facts == ImageFacts(width=4032, height=3024, is_rotated=True)
    assert facts_of(heic[:-1], "image/heic").is_cut


@pytest.mark.parametrize("mime", KINDS)
def test_damage_breaks_nothing(mime: str):
    whole = painted(KINDS[mime][0])

    @settings(max_examples=40)
    @given(st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), max_size=8))
    def check(changes: list[tuple[int, int]]) -> None:
        content = bytearray(whole)
        for place, value in changes:
            content[place] = value
        facts_of(bytes(content), mime)

    check()


@pytest.mark.parametrize(
    ("size", "says"),
    [
        ((32, 32), "has 32 x 32 pixels; the model accepts at least 64 on each side.*magick INPUT -resize"),
        ((100, 20), "has 100 x 20 pixels; the model accepts at least 64"),
        ((9000, 64), "has 9000 x 64 pixels; the model accepts at most 8192 on each side"),
    ],
)
def test_an_image_beyond_the_models_limits_is_rejected_before_it_is_sent(
    hedra_sandbox: Sandbox, tmp_path: Path, voice: str, size: tuple[int, int], says: str
):
    path = tmp_path / "portrait.png"
    path.write_bytes(png(*size))
    with pytest.raises(AirflowFailException, match=rf"image: '.*portrait\.png' {says}.*Nothing was sent"):
        run(avatar(str(path), voice))
    assert hedra_sandbox.requests("POST") == []


def test_a_cut_portrait_is_rejected_before_it_is_sent(hedra_sandbox: Sandbox, tmp_path: Path, voice: str):
    path = tmp_path / "portrait.jpg"
    path.write_bytes(painted("JPEG")[:-50])
    with pytest.raises(AirflowFailException, match=r"portrait\.jpg' is cut: the file ends before"):
        run(avatar(str(path), voice, validate=False))
    assert hedra_sandbox.requests("POST") == []


def test_an_unusual_image_is_warned_of_once_and_sent(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = tmp_path / "portrait.tiff"
    path.write_bytes(painted("TIFF", mode="CMYK"))
    with caplog.at_level(logging.WARNING), open_media(str(path), param="image", asset_type="image"):
        pass
    (line,) = [
        record.getMessage() for record in caplog.records if record.name == "hedra_provider.storage.source"
    ]
    assert "is image/tiff, which Hedra may reject" in line
    assert "has CMYK colours" in line
    path.write_bytes(painted("JPEG"))
    caplog.clear()
    with caplog.at_level(logging.WARNING), open_media(str(path), param="image", asset_type="image"):
        pass
    assert not caplog.records
