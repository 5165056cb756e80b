"""Pictures as people have them: rendered as they are displayed, or rejected before anything is charged."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from hedra_provider.testing import Sandbox
from tests.sandbox import recordings
from tests.sandbox.conftest import Client, portrait_bytes, wav_bytes
from tests.sandbox.test_media import first_picture
from tests.sandbox.test_recordings import upload

if TYPE_CHECKING:
    from pathlib import Path

SIZE = (90, 160)
RED, GREEN = (200, 30, 20), (20, 200, 40)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def plain(color: tuple[int, int, int] = GREEN, size: tuple[int, int] = SIZE) -> Image.Image:
    return Image.new("RGB", size, color)


def transparent_palette() -> bytes:
    """A palette whose transparent entry is red, with a picture of nothing else."""
    image = Image.new("P", SIZE, 0)
    image.putpalette([*RED, *GREEN])
    return saved(image, "PNG", transparency=0)


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(plain(size=(160, 90)), "JPEG", exif=exif)


# Data, and the colour in the middle of the video.
RENDERED = {
    "rotated by EXIF": (rotated(), GREEN),
    "CMYK": (saved(plain().convert("CMYK"), "JPEG"), GREEN),
    "16 bits of grey": (saved(Image.new("I;16", SIZE, 40_000), "PNG"), (156, 156, 156)),
    "grey with alpha": (saved(Image.new("LA", SIZE, (0, 0)), "PNG"), (255, 255, 255)),
    "transparent": (saved(Image.new("RGBA", SIZE, (*RED, 0)), "PNG"), (255, 255, 255)),
    "transparent palette": (transparent_palette(), (255, 255, 255)),
    "one bit": (saved(Image.new("1", SIZE, 1), "PNG"), (255, 255, 255)),
    "animated GIF": (saved(plain(), "GIF", save_all=True, append_images=[plain(RED)]), GREEN),
    "animated WebP": (
        saved(plain(), "WEBP", save_all=True, append_images=[plain(RED)], lossless=True),
        GREEN,
    ),
    "animated PNG": (saved(plain(), "PNG", save_all=True, append_images=[plain(RED)]), GREEN),
    "TIFF": (saved(plain(), "TIFF", compression="tiff_lzw"), GREEN),
    "BMP": (saved(plain(), "BMP"), GREEN),
    "as small as it may be": (saved(plain(size=(64, 64)), "PNG"), GREEN),
    "as tall as it may be": (saved(plain(size=(64, 8192)), "PNG"), GREEN),
}


@pytest.mark.parametrize("name", RENDERED)
def test_is_rendered_as_it_is_displayed(hedra: Client, name: str) -> None:
    data, color = RENDERED[name]
    asset = upload(hedra, data, "image").json()
    if name == "rotated by EXIF":
        assert (asset["asset"]["width"], asset["asset"]["height"]) == SIZE
    status = hedra.make(seconds=0.2, start_keyframe_id=asset["id"])
    assert status["status"] == "complete", status["error"]
    middle = first_picture(hedra.download(status["download_url"]).content).getpixel((270, 480))
    assert middle == pytest.approx(color, abs=12)


@pytest.mark.parametrize("size", [(1, 1), (63, 400), (64, 8193)])
def test_a_size_that_the_model_does_not_take_costs_nothing(hedra: Client, size: tuple[int, int]) -> None:
    image = hedra.asset("image", saved(plain(size=size), "PNG"))
    answer = hedra.submit(start_keyframe_id=image)
    assert (answer.status_code, f"{size[0]}x{size[1]}" in answer.text) == (400, True)
    assert hedra.sandbox.submissions == []


def test_a_picture_of_too_many_pixels_is_not_decoded(hedra: Client) -> None:
    answer = upload(hedra, saved(Image.new("1", (8192, 8200)), "PNG"), "image")
    assert (answer.status_code, "8192x8200" in answer.text) == (422, True)


NOISE = Image.effect_noise((40, 60), 50).convert("RGB")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
def test_a_truncated_picture_is_rejected_at_the_upload(hedra: Client, kind: str, share: float) -> None:
    data = saved(NOISE, kind)
    assert upload(hedra, data, "image").status_code == 200
    answer = upload(hedra, data[: int(len(data) * share)], "image")
    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["body", "file"])


@pytest.mark.parametrize(
    "data",
    [
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n",
        b'<svg xmlns="http://www.w3.org/2000/svg" width="90" height="160"/>',
        b"\0\0\0\x18ftypheic\0\0\0\0heicmif1" + bytes(200),
        wav_bytes(0.1),
    ],
)
def test_what_is_no_photograph_is_rejected_at_the_upload(hedra: Client, data: bytes) -> None:
    """EPS too: Pillow would start another program to read it."""
    assert upload(hedra, data, "image").status_code == 422


def test_no_answer_shows_a_path_of_the_sandbox(tmp_path: Path) -> None:
    """Neither of its temporary files nor of its state file."""
    broken = [
        b"x", b"x" * 5000, portrait_bytes()[:300], portrait_bytes(kind="JPEG")[:300], wav_bytes(0.2)[:40],
        recordings.mp3()[:50], b"\0\0\0\x20ftypisom" + bytes(40), b"#EXTM3U\nvoice.wav\n",
        b"OggS" + bytes(60), b"fLaC" + bytes(60), b"GIF89a" + bytes(9), b"RIFF\4\0\0\0WEBP",
        b"II*\0\xff\xff\xff\0",
    ]  # fmt: skip
    answers: list[str] = []
    with Sandbox(state=tmp_path / "state.json") as sandbox:
        hedra = Client(sandbox)
        for data in broken:
            answers += [upload(hedra, data, kind).text for kind in ("image", "audio", "video")]
            created = hedra.post("/assets", json={"name": "x", "type": "video"}).json()
            answers.append(hedra.http.put(created["upload_url"], content=data).text)
        request = hedra.request()
        # A file that vanishes is the one case in which an accepted generation cannot be made.
        for file in (tmp_path / "state.json.files").iterdir():
            file.unlink()
        generation_id = hedra.submit(request).json()["id"]
        status = hedra.status(generation_id)
        assert (status["status"], status["error"]["type"]) == ("error", "INTERNAL")
        answers += [json.dumps(status), hedra.get("/generations").text, json.dumps(sandbox.ledger())]
    for text in answers:
        assert str(tmp_path) not in text
        assert "part-" not in text
        assert ".json" not in text
    assert len(answers) == len(broken) * 4 + 3
