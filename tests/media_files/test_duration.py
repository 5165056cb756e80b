"""How long a file plays, compared with the output of a decoder (PyAV)."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedra_provider.media.duration import Duration, measure_duration
from hedra_provider.media.media_type import detect_media_type, read_head
from tests.media import wav
from tests.media_files.samples import decoded_ms, encoded, filmed, id3, wav_of

SILENT_TAIL = b"TAG" + bytes(125)
CBR = {"rate": 44_100, "bit_rate": 64_000}
VORBIS = {"layout": "stereo", "coding": (("strict", "experimental"),)}
BARE = (("write_xing", "0"), ("id3v2_version", "0"))
FRAGMENTED = (("movflags", "frag_keyframe+empty_moov"), ("frag_duration", "500000"))


def measured(content: bytes, name: str = "a.mp3", kind: str = "audio") -> Duration | None:
    """Measure a file as an upload does."""
    file = io.BytesIO(content)
    mime = detect_media_type(read_head(file), name, param="audio", asset_type=kind)[1]
    found = measure_duration(file, len(content), mime)
    assert file.tell() == 0
    return found


def mp3(**options: object) -> bytes:
    return encoded("mp3", "libmp3lame", **options)  # type: ignore[arg-type]


def patched(content: bytes, name: bytes, change: bytes, *, at: int) -> bytes:
    """Return a file with other bytes behind a name that is in it once."""
    place = content.index(name) + len(name) + at
    return content[:place] + change + content[place + len(change) :]


def without_total(flac: bytes) -> bytes:
    """Return a FLAC without its number of samples, as encoders that write to a pipe leave it."""
    return flac[:21] + bytes([flac[21] & 0xF0]) + bytes(4) + flac[26:]


def with_picture(opus: bytes) -> bytes:
    """Return an Ogg file whose second packet, its tags, has two megabytes."""
    second = opus.index(b"OggS", 4)
    third = opus.index(b"OggS", second + 4)
    serial, pages, tags = opus[14:18], b"", b"OpusTags" + bytes(2_000_000)
    for number, start in enumerate(range(0, len(tags), 255 * 255)):
        body = tags[start : start + 255 * 255]
        table = b"\xff" * (len(body) // 255) + (bytes([len(body) % 255]) if len(body) < 255 * 255 else b"")
        head = b"OggS\0" + bytes([1 if number else 0]) + bytes(8) + serial + struct.pack("<I", number + 1)
        page = head + bytes(4) + bytes([len(table)]) + table + body
        pages += page[:22] + struct.pack("<I", ogg_checksum(page)) + page[26:]
    return opus[:second] + pages + opus[third:]


def ogg_checksum(page: bytes) -> int:
    value = 0
    for byte in page:
        value = value << 8 & 0xFFFFFFFF ^ CRC32[value >> 24 ^ byte]
    return value


def crc32_of(byte: int) -> int:
    value = byte << 24
    for _ in range(8):
        value = value << 1 & 0xFFFFFFFF ^ (0x04C11DB7 if value >> 31 else 0)
    return value


CRC32 = [crc32_of(byte) for byte in range(256)]

SOUND: dict[str, Callable[[], bytes]] = {
    "MP3, constant bit rate": lambda: mp3(**CBR),
    "MP3, variable bit rate": lambda: mp3(rate=44_100, coding=(("q", "4"),)),
    "MP3 without a Xing header": lambda: mp3(options=BARE),
    "MP3, joined": lambda: mp3(**CBR) + mp3(options=BARE, **CBR),
    "MP3, joined of many parts with tags": lambda: (mp3(seconds=0.5) + SILENT_TAIL) * 8,
    "MP3, joined of two rates": lambda: mp3(**CBR) + mp3(rate=22_050),
    "MP3 behind a tag of megabytes": lambda: id3(3_000_000) + mp3(**CBR),
    "MP3 behind junk": lambda: bytes(range(1, 200)) * 9 + mp3(**CBR),
    "MP3 behind zeros": lambda: bytes(5000) + mp3(**CBR),
    "MP3, mono, 22 kHz": lambda: mp3(rate=22_050),
    "MP3, stereo": lambda: mp3(layout="stereo"),
    "MP3, MPEG-2": lambda: mp3(rate=16_000),
    "MP3, MPEG-2.5": lambda: mp3(rate=8_000),
    "MP3, cut": lambda: mp3(**CBR)[:9000],
    "MP2": lambda: encoded("mp2", "mp2"),
    "AAC": lambda: encoded("adts", "aac"),
    "AAC behind a tag": lambda: id3(9000) + encoded("adts", "aac"),
    "AAC, joined": lambda: encoded("adts", "aac") * 2,
    "AAC, 22 kHz": lambda: encoded("adts", "aac", rate=22_050),
    "M4A, moov at the end": lambda: encoded("ipod", "aac"),
    "M4A, moov at the start": lambda: encoded("ipod", "aac", options=(("movflags", "faststart"),)),
    "M4A, in fragments": lambda: encoded("ipod", "aac", options=FRAGMENTED),
    "M4A, ALAC": lambda: encoded("ipod", "alac"),
    "QuickTime, PCM": lambda: encoded("mov", "pcm_s16le"),
    "WAV": lambda: wav(2.0),
    "WAV, 24 bits": lambda: encoded("wav", "pcm_s24le"),
    "WAV, float": lambda: encoded("wav", "pcm_f32le"),
    "WAV, extensible": lambda: encoded("wav", "pcm_s16le", layout="5.1"),
    "WAV, RF64": lambda: encoded("wav", "pcm_s16le", options=(("rf64", "always"),)),
    "WAV, µ-law": lambda: encoded("wav", "pcm_mulaw"),
    "WAV, A-law": lambda: encoded("wav", "pcm_alaw"),
    "WAV, IMA ADPCM": lambda: encoded("wav", "adpcm_ima_wav"),
    "WAV, Microsoft ADPCM": lambda: encoded("wav", "adpcm_ms"),
    "WAV with MP3 in it": lambda: encoded("wav", "libmp3lame"),
    "WAV whose sizes are 0": lambda: wav_of(claims=0),
    "WAV whose sizes are 0xFFFFFFFF": lambda: wav_of(claims=0xFFFFFFFF),
    "WAV written to a pipe": lambda: encoded("wav", "pcm_s16le", seekable=False),
    "WAV, cut": lambda: wav_of()[:9000],
    "WAV with megabytes before the sound": lambda: wav_of(
        chunks=b"LIST" + struct.pack("<I", 6 << 20) + bytes(6 << 20)
    ),
    "WAV with a chunk behind the sound": lambda: wav_of(behind=b"LIST\4\0\0\0abcd"),
    "FLAC": lambda: encoded("flac", "flac"),
    "FLAC with a total of 0": lambda: without_total(encoded("flac", "flac")),
    "FLAC written to a pipe": lambda: encoded("flac", "flac", seekable=False),
    "FLAC behind a tag": lambda: id3(9000) + encoded("flac", "flac"),
    "FLAC in Ogg": lambda: encoded("ogg", "flac"),
    "FLAC in Matroska": lambda: encoded("matroska", "flac"),
    "Opus": lambda: encoded("ogg", "libopus"),
    "Opus, packets of 60 ms": lambda: encoded("ogg", "libopus", coding=(("frame_duration", "60"),)),
    "Opus, chained": lambda: encoded("ogg", "libopus") * 3,
    "Vorbis": lambda: encoded("ogg", "vorbis", **VORBIS),
    "Vorbis, chained": lambda: encoded("ogg", "vorbis", **VORBIS) * 3,
    "Opus with a picture of megabytes in its tags": lambda: with_picture(encoded("ogg", "libopus")),
    "Opus, cut": lambda: encoded("ogg", "libopus", seconds=4.0)[:-3000],
    "WebM, Opus": lambda: encoded("webm", "libopus"),
    "WebM, Vorbis": lambda: encoded("webm", "vorbis", **VORBIS),
    "WebM, live": lambda: encoded("webm", "libopus", options=(("live", "1"),), seekable=False),
    "WebM, cut": lambda: encoded("webm", "libopus")[:9000],
    "Matroska, AAC": lambda: encoded("matroska", "aac"),
    "Matroska, MP3": lambda: encoded("matroska", "libmp3lame"),
    "Matroska, PCM": lambda: encoded("matroska", "pcm_s16le"),
    "CAF": lambda: encoded("caf", "pcm_s16be"),
    "CAF, ALAC": lambda: encoded("caf", "alac"),
    "CAF, µ-law": lambda: encoded("caf", "pcm_mulaw"),
    "AIFF": lambda: encoded("aiff", "pcm_s16be"),
    "AIFF-C, µ-law": lambda: encoded("aiff", "pcm_mulaw"),
    "AU": lambda: encoded("au", "pcm_s16be"),
    "AU, µ-law": lambda: encoded("au", "pcm_mulaw"),
    "AU whose size is 0xFFFFFFFF": lambda: patched(
        encoded("au", "pcm_s16be"), b".snd", b"\xff\xff\xff\xff", at=4
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", SOUND)
def test_a_file_is_as_long_as_a_decoder_plays_it(what: str):
    """Within 0.1 s, and never less: `max_credits` must not let through what costs more."""
    content = SOUND[what]()
    found = measured(content)
    assert found is not None
    played = decoded_ms(content)
    assert played - 0.001 <= found.played_ms <= played + 100
    assert found.played_ms <= found.at_most_ms <= found.played_ms * 1.1 + 500


@pytest.mark.parametrize(
    ("content", "padding_ms"),
    [
        (lambda: encoded("ipod", "aac"), 21),
        (lambda: mp3(**CBR), 25),
        (lambda: mp3(rate=8_000), 69),
        (lambda: encoded("ogg", "libopus"), 6),
    ],
)
def test_what_an_encoder_adds_is_in_the_upper_bound(content: Callable[[], bytes], padding_ms: int):
    """A player that does not cut it off, and so perhaps Hedra, takes it for sound."""
    found = measured(content())
    assert found is not None
    assert found.at_most_ms >= 2000 + padding_ms


NOT_KNOWN: dict[str, Callable[[], bytes]] = {
    "MP3 in free format": lambda: b"\xff\xfb\x00\xc4" * 400,
    "MP3 with much that is no frame": lambda: mp3(**CBR) + bytes(range(1, 250)) * 400 + mp3(**CBR),
    "M4A, cut": lambda: encoded("ipod", "aac", options=(("movflags", "faststart"),))[:-500],
    "M4A without moov": lambda: encoded("ipod", "aac")[:-900],
    "FLAC, cut": lambda: encoded("flac", "flac")[:-500],
    "Matroska, AC-3": lambda: encoded("matroska", "ac3"),
    "WebM, joined": lambda: encoded("webm", "libopus") * 2,
    "WAV of an unknown coding": lambda: wav_of().replace(b"\x10\0\0\0\1\0", b"\x10\0\0\0\x61\x01"),
    "WMA": lambda: encoded("asf", "wmav2", bit_rate=64_000),
    "MPEG-TS": lambda: encoded("mpegts", "aac"),
}


@pytest.mark.parametrize("what", NOT_KNOWN)
def test_what_can_not_be_counted_is_not_known(what: str):
    """Not a guess: the caller compares it with the longest that the model accepts."""
    assert measured(NOT_KNOWN[what]()) is None


def test_samples_behind_a_header_that_claims_too_few_are_in_the_upper_bound():
    """A WAV whose header was written once, when half a second was there: players differ."""
    found = measured(wav_of(data=b"\x80" * 16_000, claims=8000))
    assert found == Duration(500, 1000)


def test_a_table_that_claims_packets_of_one_sample_is_not_believed():
    """Players that go by the packets play two seconds; FFmpeg, which goes by the edit list too, a moment."""
    found = measured(patched(encoded("ipod", "aac"), b"stts", struct.pack(">I", 1), at=12))
    assert found is not None
    assert found.played_ms >= 2000


def test_a_whole_wav_has_one_length():
    assert measured(wav(60.0, rate=100)) == Duration(60_000, 60_000)


@pytest.mark.parametrize(
    ("container", "codec"),
    [("mp4", "mpeg4"), ("mov", "mpeg4"), ("matroska", "mpeg4"), ("webm", "libvpx")],
)
def test_a_video_is_as_long_as_its_pictures(container: str, codec: str):
    found = measured(filmed(container, codec), "a.mp4", "video")
    assert found is not None
    assert 2000 <= found.played_ms <= 2100


@pytest.mark.parametrize(("head", "sizes"), [(b"#!AMR\n", (0x3C, 32)), (b"#!AMR-WB\n", (0x14, 33))])
def test_amr_has_frames_of_20_ms(head: bytes, sizes: tuple[int, int]):
    frame = bytes([sizes[0]]).ljust(sizes[1], b"\1")
    assert measured(head + frame * 50) == Duration(1000, 1000)


STARTS = [
    *(b"", wav_of()[:44], b"ID3\4\0\0\0\0\0\1", b"\xff\xfb\x90\xc4", b"\xff\xf1\x50\x80\x02\x1f\xfc"),
    *(
        b"OggS\0\2" + bytes(20),
        b"fLaC\0\0\0\x22",
        b"\0\0\0\x18ftypM4A ",
        b"\0\0\0\x08moov",
        b".snd\0\0\0\x18",
    ),
    *(b"\x1aE\xdf\xa3\x80", b"caff\0\1\0\0desc", b"FORM\0\0\0\0AIFFCOMM", b"#!AMR\n"),
]
ENDS = st.just(1.0) | st.floats(0, 1)
MIMES = ["mpeg", "aac", "amr", "flac", "wav", "aiff", "basic", "x-caf", "ogg", "mp4", "webm"]


@given(st.binary(max_size=400), st.sampled_from(STARTS), st.sampled_from(MIMES))
def test_no_content_breaks_it(rest: bytes, start: bytes, mime: str):
    content = start + rest
    file = io.BytesIO(content)
    found = measure_duration(file, len(content), f"audio/{mime}")
    assert found is None or 0 < found.played_ms <= found.at_most_ms
    assert file.tell() == 0


DAMAGED = {
    "MP3, constant bit rate": "mpeg",
    "AAC": "aac",
    "M4A, moov at the start": "mp4",
    "M4A, in fragments": "mp4",
    "FLAC": "flac",
    "Opus": "ogg",
    "Vorbis": "ogg",
    "WebM, Opus": "webm",
    "CAF": "x-caf",
    "AIFF": "aiff",
    "AU": "basic",
    "WAV": "wav",
}


@pytest.mark.parametrize("what", DAMAGED)
def test_damage_breaks_nothing(what: str):
    whole, mime = SOUND[what](), f"audio/{DAMAGED[what]}"
    places = st.integers(0, min(len(whole) - 1, 3000))

    @settings(max_examples=40)
    @given(st.lists(st.tuples(places, st.integers(0, 255)), max_size=8), ENDS)
    def check(changes: list[tuple[int, int]], end: float) -> None:
        content = bytearray(whole)
        for place, value in changes:
            content[place] = value
        content = content[: int(len(content) * end)]
        found = measure_duration(io.BytesIO(bytes(content)), len(content), mime)
        assert found is None or 0 < found.played_ms <= found.at_most_ms

    check()


class Endless(io.RawIOBase):
    """A file that claims to be long, repeats itself for ever, and counts what is read of it."""

    def __init__(self, start: bytes, again: bytes = b"\0") -> None:
        self.start, self.again, self.at, self.reads, self.total = start, again, 0, 0, 0

    def read(self, size: int = -1) -> bytes:
        self.reads += 1
        self.total += size
        head = self.start[self.at : self.at + size]
        phase = max(0, self.at - len(self.start)) % len(self.again)
        tail = (self.again[phase:] + self.again * (size // len(self.again) + 1))[: size - len(head)]
        self.at += size
        return head + tail

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = offset
        return offset

    def tell(self) -> int:
        return self.at


HOSTILE = {
    "frames that never come": ("mpeg", b"\xff\xfb\x90\x00", b"\0"),
    "a chunk of a gigabyte": ("wav", b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<I", 1 << 30), b"\0"),
    "pages that never come": ("ogg", encoded("ogg", "libopus", seconds=0.5), b"\0"),
    "frames of FLAC that never come": ("flac", encoded("flac", "flac", seconds=0.5), b"\0"),
    "boxes of nothing": ("mp4", b"\0\0\0\x18ftypM4A " + bytes(12), b"\0\0\0\x08free"),
    "a box of a table that is too long": ("mp4", b"\0\0\0\x08moov\0\0\0\x08trak\x7f\0\0\0stts", b"\0"),
    "elements of nothing": ("webm", b"\x1aE\xdf\xa3\x80", b"\xec\x80"),
    "chunks of nothing": ("aiff", b"FORM\0\0\0\0AIFF", b"ANNO\0\0\0\0"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_file_that_never_ends_is_given_up(what: str, monkeypatch: pytest.MonkeyPatch):
    """A terabyte of nothing is not read to its end, nor a gigabyte at once."""
    monkeypatch.setattr("hedra_provider.media.reader.MAX_STEPS", 50_000)
    mime, start, again = HOSTILE[what]
    file = Endless(start, again)
    assert measure_duration(file, 1 << 40, f"audio/{mime}") is None  # type: ignore[arg-type]
    assert file.total <= 70 << 20
    assert file.reads <= 300


def test_ten_minutes_are_read_in_few_large_blocks():
    """Thousands of small reads would be thousands of requests to an object storage."""
    ten_minutes = mp3(options=BARE, **CBR)[:-500] * 300
    file = Endless(ten_minutes)
    found = measure_duration(file, len(ten_minutes), "audio/mpeg")  # type: ignore[arg-type]
    assert found is not None
    assert found.played_ms > 570_000
    assert file.reads <= len(ten_minutes) // (128 * 1024)
