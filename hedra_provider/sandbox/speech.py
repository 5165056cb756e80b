"""Synthesises speech: a hum that follows a text. It needs no media library."""

from __future__ import annotations

import math
import wave
from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

CHARACTERS_PER_SECOND = 15
"""Speed of synthesised speech at ``speed=1.0``: about 170 English words a minute."""

SPEECH_RATE = 22_050
"""Sample rate of synthesised speech, in Hz."""

_NOTES_HZ = (220.0, 246.94, 261.63, 293.66, 329.63, 392.0, 440.0)


def speech_duration_ms(text: str, speed: float = 1.0) -> int:
    """Compute how long it takes to say a text.

    :param text: the text.
    :param speed: 0.7 to 1.2; default 1.0.
    :return: milliseconds, at least 500.
    """
    return max(500, round(len(text) * 1000 / (CHARACTERS_PER_SECOND * speed)))


def synthesise_speech(path: Path, text: str, duration_ms: int) -> None:
    """Write a WAV file (16 bit, mono) that hums a text: one soft note per syllable-sized piece, and silence
    for spaces.

    :param path: where to write.
    :param text: decides the melody; the same text always sounds the same.
    :param duration_ms: length of the file in milliseconds.
    """
    piece = SPEECH_RATE // 8
    notes = [_note(hertz, piece) for hertz in _NOTES_HZ]
    silence = bytes(2 * piece)
    left = SPEECH_RATE * duration_ms // 1000
    step = max(1, round(len(text) * piece / max(1, left)))
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(SPEECH_RATE)
        position = 0
        while left > 0:
            letters = text[position : position + step]
            chunk = notes[sum(map(ord, letters)) % len(notes)] if letters.strip() else silence
            taken = min(left, piece)
            sound.writeframes(chunk[: 2 * taken])
            left -= taken
            position += step


def _note(hertz: float, samples: int) -> bytes:
    def sample(index: int) -> int:
        swell = math.sin(math.pi * index / samples)
        return round(9000 * swell * math.sin(2 * math.pi * hertz * index / SPEECH_RATE))

    return array("h", map(sample, range(samples))).tobytes()
