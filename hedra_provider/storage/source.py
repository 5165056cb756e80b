"""Open and check the user's files before anything is sent to Hedra."""

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

    :param source: Its path or URI.
    :param file: Its content.
    :param asset_type: ``image``, ``audio`` or ``video``.
    :param sha256: The hash of its content, in hex.
    :param duration_ms: Its length when a decoder plays it, in milliseconds; None if it can't be measured.
    :param at_most_ms: The same with the encoder's padding at both ends, in milliseconds; Hedra may bill it.
    """

    source: str
    file: SizedFile
    asset_type: str
    sha256: str
    duration_ms: int | None
    at_most_ms: int | None

    @property
    def size(self) -> int:
        """Its length in bytes."""
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
    Open a file to upload, and check it before anything is sent.

    :param source: A local path, or a URI that ObjectStoragePath opens.
    :param param: The operator's parameter for this file, for messages.
    :param asset_type: The type that it must have; by default any, detected from its content, then its name.
    :param name: The name at Hedra; by default that of the file.
    :param slot: The limits of the model's input; None by default: none are checked.
    :param cropped: Whether the request uses only a part of the file, which may be too long then. False by
        default.
    :return: The file.
    :raises HedraValueError: If it can't be opened, is empty, has a wrong type, exceeds a limit, or is an
        image that is cut.
    :raises HedraTransferError: If reading it failed. This is retryable.
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
            raise _rejected(param, f"{shown(source)} is empty")
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
    from hedra_provider.api.values import require_json

    require_json(name, "name")
    if name and len(name) > MAX_NAME_LENGTH:
        raise _rejected("name", f"{shown(name)} has {len(name)} characters; the limit is {MAX_NAME_LENGTH}")


def _sendable(file_name: str) -> str:
    """Return a file's name as valid text: a name on a disk may have bytes that are not UTF-8."""
    return file_name.encode("utf-8", "replace").decode()[-MAX_NAME_LENGTH:]


def _check_limits(
    slot: Slot, param: str, source: str, size: int, length: Duration | None, *, cropped: bool
) -> None:
    """Compare a file with the limits of the model."""
    from hedra_provider.api.redaction import shown

    if slot.max_file_size_bytes and size > slot.max_file_size_bytes:
        raise _rejected(
            param,
            f"{shown(source)} has {size} bytes; the model accepts at most {slot.max_file_size_bytes}",
        )
    if length is None:
        return
    if slot.min_duration_ms and length.at_most_ms < slot.min_duration_ms:
        raise _rejected(
            param,
            f"{shown(source)} plays {length.at_most_ms} ms; "
            f"the model accepts at least {slot.min_duration_ms} ms",
        )
    if slot.longest_ms and not cropped and length.played_ms > slot.longest_ms:
        raise _rejected(
            param,
            f"{shown(source)} plays {length.played_ms} ms; "
            f"the model accepts at most {slot.max_duration_ms} ms",
        )


def _check_image(file: BinaryIO, size: int, mime: str, param: str, source: str, slot: Slot | None) -> None:
    """Reject an image that is cut or exceeds a limit; warn about one that Hedra may reject or change."""
    from hedra_provider.api.redaction import shown
    from hedra_provider.media.image_limits import image_warnings, require_image
    from hedra_provider.media.images import inspect_image

    facts = inspect_image(file, size, mime)
    require_image(facts, source, param=param, slot=slot)
    warnings = image_warnings(facts, mime)
    if warnings:
        log.warning("%s: %s %s.", param, shown(source), "; it ".join(warnings))


def _version(file: BinaryIO) -> tuple[int, int] | None:
    """Return the size and change time of a local file; None for another file."""
    try:
        facts = os.fstat(file.fileno())
    except (OSError, AttributeError):
        # Object storage reads one version of an object, and raises an error when it is replaced.
        return None
    return facts.st_size, facts.st_mtime_ns


def _same(file: BinaryIO, before: tuple[int, int] | None) -> Callable[[], bool]:
    return lambda: _version(file) == before


def _rejected(param: str, what: str) -> Exception:
    from hedra_provider.api.errors import HedraValueError

    return HedraValueError(f"{param}: {what}.", param=param, remedy="Nothing was sent.")
