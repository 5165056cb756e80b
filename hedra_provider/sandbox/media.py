"""What the sandbox knows about a media file, and the errors for a file that it cannot read."""

from __future__ import annotations

from dataclasses import dataclass


class Unreadable(Exception):
    """The file is not a medium of its asset type. The message names no path."""


class MissingMediaLibraries(Exception):
    """PyAV or Pillow is not installed."""


@dataclass(frozen=True)
class Facts:
    """Size and length of a media file.

    :param width: displayed width in pixels; default 0, for a file without pictures.
    :param height: displayed height in pixels; default 0, for a file without pictures.
    :param duration_ms: playing time in milliseconds; default 0, for a picture.
    """

    width: int = 0
    height: int = 0
    duration_ms: int = 0


def require_libraries() -> None:
    """Import PyAV and Pillow.

    :raises MissingMediaLibraries: if one of them is missing; the message names the package to install.
    """
    try:
        import av  # noqa: F401
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise MissingMediaLibraries(
            f"{error.name or 'PyAV or Pillow'} is not installed, and the sandbox needs it to make real "
            "videos. Install airflow-provider-hedra[sandbox], or start with --no-media for placeholder files."
        ) from error


def reason(error: BaseException) -> str:
    """Describe an error in words that can leave the sandbox: without the path that many errors carry.

    :param error: an error of the operating system or of a media library.
    """
    return getattr(error, "strerror", None) or type(error).__name__
