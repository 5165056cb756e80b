"""Files of the user's on their way to Hedra: opened, read once, judged before anything is sent."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from hedra_provider.storage import errors_of_reading, open_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hedra_provider.api.responses import Slot
    from hedra_provider.api.sized_file import SizedFile
    from hedra_provider.media.duration import Duration

log = logging.getLogger(__name__)

MAX_NAME_LENGTH = 255


@dataclass(frozen=True)
class SourceFile:
    """
    A file that is ready to be sent.

    :param source: The path or URI it was opened by.
    :param file: Its content.
    :param asset_type: ``image``, ``audio`` or ``video``.
    :param sha256: The hash of its content, in hex.
    :param duration_ms: How long a decoder plays it, in milliseconds; None where that can't be measured.
    :param at_most_ms: The same with what its encoder added at both ends, which Hedra may bill too.
    """

    source: str
    file: SizedFile
    asset_type: str
    sha256: str
    duration_ms: int | None
    at_most_ms: int | None

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.file.size


@contextmanager
def open_media(
    source: str,
    *,
    param: str,
    asset_type: str | None = None,
    name: str | None = None,
    slot: Slot | None = None,
    cropped: bool = False,
) -> Iterator[SourceFile]:
    """
    Open a file to upload, and refuse what can't be right while nothing was sent.

    :param source: A local path, or a URI that ObjectStoragePath opens.
    :param param: The operator's parameter that named it, for messages.
    :param asset_type: What it has to be; by default what its content says, then its name.
    :param name: The name it is sent under; by default the file's.
    :param slot: What the model takes.
    :param cropped: Whether the request takes only a part of it: it may be longer than the model takes then.
    :raises HedraValueError: If it can't be opened, is empty, is not what is needed, or is a cut image.
    :raises HedraTransferError: If reading it failed in a way that may pass.
    """
    from hedra_provider.api.redaction import shown
    from hedra_provider.api.sized_file import SizedFile
    from hedra_provider.media.duration import measure_duration
    from hedra_provider.media.media_type import detect_media_type, read_head
    from hedra_provider.transfer.upload import digest

    _require_name(name)
    with open_source(source, param) as (file, file_name):
        before = _version(file)
        with errors_of_reading(f"{param}: {shown(source)}"):
            sha256, size = digest(file)
            head = read_head(file)
        if size == 0:
            raise _refused(param, f"{shown(source)} is empty")
        kind, mime = detect_media_type(head, file_name, param=param, asset_type=asset_type)
        length = None if kind == "image" else measure_duration(file, size, mime)
        if kind == "image":
            _check_image(file, size, mime, param, source, slot)
        if slot is not None:
            _check_limits(slot, param, source, size, length, cropped=cropped)
        same = _same(file, before)
        yield SourceFile(
            source,
            SizedFile(file, size, name or _sendable(file_name), mime, unchanged=same),
            kind,
            sha256,
            length.played_ms if length else None,
            length.at_most_ms if length else None,
        )


def _require_name(name: str | None) -> None:
    from hedra_provider.api.redaction import shown
    from hedra_provider.api.requests import require_json

    require_json(name, "name")
    if name and len(name) > MAX_NAME_LENGTH:
        raise _refused("name", f"{shown(name)} has {len(name)} characters; {MAX_NAME_LENGTH} at the most")


def _sendable(file_name: str) -> str:
    """Return a file's name; where the disk has one that is no text, what can be said of it."""
    return file_name.encode("utf-8", "replace").decode()[-MAX_NAME_LENGTH:]


def _check_limits(
    slot: Slot, param: str, source: str, size: int, length: Duration | None, *, cropped: bool
) -> None:
    """Compare a file with what the model takes."""
    from hedra_provider.api.redaction import shown
    from hedra_provider.submission.pricing import GRACE_SECONDS

    if slot.max_file_size_bytes and size > slot.max_file_size_bytes:
        raise _refused(
            param, f"{shown(source)} has {size} bytes; the model takes {slot.max_file_size_bytes} at the most"
        )
    if length is None:
        return
    if slot.min_duration_ms and length.at_most_ms < slot.min_duration_ms:
        raise _refused(
            param,
            f"{shown(source)} plays {length.at_most_ms} ms; "
            f"the model takes {slot.min_duration_ms} at the least",
        )
    grace_ms = GRACE_SECONDS * 1000
    if slot.max_duration_ms and not cropped and length.played_ms > slot.max_duration_ms + grace_ms:
        raise _refused(
            param,
            f"{shown(source)} plays {length.played_ms} ms; "
            f"the model takes {slot.max_duration_ms} at the most",
        )


def _check_image(file: BinaryIO, size: int, mime: str, param: str, source: str, slot: Slot | None) -> None:
    """Refuse an image that can't be right; warn of one that Hedra may refuse or change."""
    from hedra_provider.api.redaction import shown
    from hedra_provider.media.image_limits import image_warnings, require_image
    from hedra_provider.media.images import inspect_image

    facts = inspect_image(file, size, mime)
    require_image(facts, source, param=param, slot=slot)
    warnings = image_warnings(facts, mime)
    if warnings:
        log.warning("%s: %s %s.", param, shown(source), "; it ".join(warnings))


def _version(file: BinaryIO) -> tuple[int, int] | None:
    """Return what changes when a file of this machine is written to, None for another file."""
    try:
        facts = os.fstat(file.fileno())
    except (OSError, AttributeError):
        # Object storage reads one version of an object, and says so when it is gone.
        return None
    return facts.st_size, facts.st_mtime_ns


def _same(file: BinaryIO, before: tuple[int, int] | None) -> Callable[[], bool]:
    return lambda: _version(file) == before


def _refused(param: str, what: str) -> Exception:
    from hedra_provider.api.errors import HedraValueError

    return HedraValueError(f"{param}: {what}.", param=param, remedy="Nothing was sent.")
