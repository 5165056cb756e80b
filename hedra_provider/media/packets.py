"""How long one packet of a codec plays, by the packet itself: Opus, Vorbis, FLAC, Speex, MP3, AAC, PCM."""

from __future__ import annotations

from abc import ABC, abstractmethod

from hedra_provider.media.flac import flac_frame
from hedra_provider.media.frames import mpeg_frame
from hedra_provider.media.reader import NotMeasurableError

HEAD_BYTES = 24
"""How many bytes of a packet are needed to know how long it plays."""

_OPUS_RATE = 48_000
# Milliseconds of a frame, times ten, for the upper five bits of a packet's first byte.
_OPUS_TENTHS = (*(100, 200, 400, 600) * 3, *(100, 200) * 2, *(25, 50, 100, 200) * 4)


class Codec(ABC):
    """
    Counts the samples of a stream's packets.

    :param rate: Samples a second.
    :param delay: Samples at the start that decoders cut off.
    """

    def __init__(self, rate: int, delay: int = 0) -> None:
        if rate <= 0:
            raise NotMeasurableError("no sample rate")
        self.rate = rate
        self.delay = delay

    @abstractmethod
    def samples(self, packet: bytes, size: int) -> int:
        """
        Return the samples of a packet.

        :param packet: Its first :data:`HEAD_BYTES` bytes at least, or all where it is shorter.
        :param size: Its length in bytes.
        """


class Opus(Codec):
    """
    Opus.

    :param head: The ``OpusHead`` packet.
    """

    def __init__(self, head: bytes) -> None:
        super().__init__(_OPUS_RATE, int.from_bytes(head[10:12], "little"))

    def samples(self, packet: bytes, size: int) -> int:
        """Return the samples by the packet's first two bytes (RFC 6716, 3.1)."""
        if not packet:
            return 0
        code = packet[0] & 3
        frames = (1, 2, 2)[code] if code < 3 else (packet[1] & 63 if len(packet) > 1 else 0)
        return frames * _OPUS_TENTHS[packet[0] >> 3] * _OPUS_RATE // 10_000


class Vorbis(Codec):
    """
    Vorbis, whose packets overlap: one plays a quarter of its own block and a quarter of the one before.

    :param head: The identification packet.
    :param setup: The setup packet.
    """

    def __init__(self, head: bytes, setup: bytes) -> None:
        super().__init__(int.from_bytes(head[12:16], "little"))
        self._blocks = (1 << (head[28] & 15), 1 << (head[28] >> 4))
        self._long_modes = _vorbis_modes(setup)
        self._before = 0
        self.first_block = 0

    def samples(self, packet: bytes, size: int) -> int:
        """Return the samples by the mode that the packet's first byte names."""
        if not packet or packet[0] & 1:
            return 0
        mode = packet[0] >> 1 & ((1 << (len(self._long_modes) - 1).bit_length()) - 1)
        if mode >= len(self._long_modes):
            return 0
        block = self._blocks[self._long_modes[mode]]
        before, self._before = self._before, block
        self.first_block = self.first_block or block
        return (before + block) // 4 if before else 0


class Flac(Codec):
    """
    FLAC: each packet is a frame.

    :param rate: Samples a second.
    """

    def samples(self, packet: bytes, size: int) -> int:
        """Return the samples by the header of the frame."""
        frame = flac_frame(packet)
        return frame.samples if frame else 0


class Mpeg(Codec):
    """MP3: each packet is a frame."""

    def samples(self, packet: bytes, size: int) -> int:
        """Return the samples by the header of the frame."""
        frame = mpeg_frame(int.from_bytes(packet[:4]))
        return frame.samples * self.rate // frame.rate if frame else 0


class Fixed(Codec):
    """
    A codec whose packets all hold the same number of samples, such as AAC.

    :param per_packet: Samples of a packet.
    """

    def __init__(self, rate: int, per_packet: int) -> None:
        super().__init__(rate)
        self._per_packet = per_packet

    def samples(self, packet: bytes, size: int) -> int:
        """Return the samples of any packet."""
        return self._per_packet


class Pcm(Codec):
    """
    Samples that are not compressed.

    :param frame_bytes: Bytes of one sample of all channels.
    """

    def __init__(self, rate: int, frame_bytes: int) -> None:
        super().__init__(rate)
        if frame_bytes <= 0:
            raise NotMeasurableError("no sample size")
        self._frame_bytes = frame_bytes

    def samples(self, packet: bytes, size: int) -> int:
        """Return the samples by the packet's size."""
        return -(-size // self._frame_bytes)


def _vorbis_modes(setup: bytes) -> list[int]:
    """
    Return for each mode whether its blocks are long (1) or short (0).

    The modes end the setup packet, behind code books that are long to read: so they are read from its end. A
    mode has 41 bits: its block, 16 and 16 bits that are zero, and the number of a mapping. Six bits before
    the first mode count the modes.
    """
    bits = int.from_bytes(setup, "little")
    at = bits.bit_length() - 1
    modes: list[int] = []
    found: list[int] = []
    while at > 47 and len(modes) < 64:
        mode = bits >> (at - 41) & ((1 << 41) - 1)
        if mode >> 1 & 0xFFFFFFFF or mode >> 33 > 63:
            break
        at -= 41
        modes.insert(0, mode & 1)
        if bits >> (at - 6) & 63 == len(modes) - 1:
            found = list(modes)
    if not found:
        raise NotMeasurableError("the modes of a Vorbis stream are not found")
    return found
