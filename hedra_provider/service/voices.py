"""Find a voice by its id, its name or its labels, before anything is spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

from hedra_provider.api.errors import HedraValueError
from hedra_provider.api.redaction import clean, shown
from hedra_provider.api.values import is_uuid
from hedra_provider.service.languages import same_language

if TYPE_CHECKING:
    from hedra_provider.records import Voice

_LISTED = 20
"""Voices that an error lists. Hedra has hundreds."""

_V3_PREFIX = "voice_"

_REMEDY = (
    'Give a name ("Nova"), an id, or labels ({"language": "German", "gender": "female"}) that only one voice '
    "has. Nothing was submitted."
)


def find_voice(wanted: str | Mapping[str, Any], voices: Sequence[Voice], *, param: str = "voice") -> Voice:
    """
    Return the one voice that is wanted.

    Names and labels are compared without regard to case and white space, languages by name or code.

    :param wanted: An id, a name, or labels, e.g. ``{"language": "German", "gender": "female"}``; ``name`` and
        ``id`` count as labels.
    :param voices: The voices that Hedra has for this key and model.
    :param param: The name of the argument, for messages. Default: ``voice``.
    :raises HedraValueError: If no voice fits, or several do. It lists them, the closest ones first.
    """
    if isinstance(wanted, Mapping):
        return _by_labels(wanted, voices, param)
    text = _folded(wanted)
    if not text:
        raise HedraValueError(f"{param} is empty.", param=param, remedy=_REMEDY)
    for voice in voices:
        if voice.id.casefold() == text:
            return voice
    named = [voice for voice in voices if _folded(voice.name) == text]
    if len(named) == 1:
        return named[0]
    if named:
        raise _several(f"{param}: {len(named)} voices have the name {shown(wanted)}", named, param)
    _reject_other_version(text, voices, param)
    closest = sorted(voices, key=lambda voice: -_likeness(text, voice))
    raise _none(f"{param}: no voice has the name or the id {shown(wanted)}", closest, param)


def _reject_other_version(text: str, voices: Sequence[Voice], param: str) -> None:
    """Reject the id of a voice of the other version of the API: v2 has UUIDs, v3 ``voice_...``."""
    is_v2, is_v3 = is_uuid(text), text.startswith(_V3_PREFIX)
    here_v3 = any(voice.id.startswith(_V3_PREFIX) for voice in voices)
    if voices and ((is_v2 and here_v3) or (is_v3 and not here_v3)):
        mine, other = ("v3", "v2") if here_v3 else ("v2", "v3")
        raise HedraValueError(
            f"{param}: {shown(text)} is a voice of API {other}; the connection's key is for API {mine}.",
            param=param,
            remedy="Give the name of the voice: it works with both kinds of key. Nothing was submitted.",
        )


def _by_labels(wanted: Mapping[str, Any], voices: Sequence[Voice], param: str) -> Voice:
    labels = {_folded(name): value for name, value in wanted.items() if value is not None and _folded(value)}
    if not labels:
        raise HedraValueError(f"{param}: {shown(dict(wanted))} has no labels.", param=param, remedy=_REMEDY)
    known = {"id", "name"} | {_folded(name) for voice in voices for name in voice.labels}
    unknown = sorted(labels.keys() - known)
    if unknown and voices:
        raise HedraValueError(
            f"{param}: no voice has the label {', '.join(map(shown, unknown))}.",
            param=param,
            remedy=f"Labels are {', '.join(clean(name) for name in sorted(known)[:_LISTED])}. "
            "Nothing was submitted.",
        )
    fitting = [(sum(_fits(voice, *label) for label in labels.items()), voice) for voice in voices]
    found = [voice for count, voice in fitting if count == len(labels)]
    if len(found) == 1:
        return found[0]
    if found:
        raise _several(f"{param}: {len(found)} voices have the labels {shown(dict(wanted))}", found, param)
    closest = [voice for _, voice in sorted(fitting, key=lambda pair: -pair[0])]
    raise _none(f"{param}: no voice has the labels {shown(dict(wanted))}", closest, param)


def _fits(voice: Voice, label: str, value: Any) -> bool:
    if label == "id":
        return voice.id.casefold() == _folded(value)
    if label == "name":
        return _folded(voice.name) == _folded(value)
    has = next((given for name, given in voice.labels.items() if _folded(name) == label), None)
    if has is None:
        return False
    if label == "language":
        return same_language(has) == same_language(str(value))
    return _folded(has) == _folded(value)


def _folded(value: Any) -> str:
    return "" if value is None else " ".join(str(value).casefold().split())


def _likeness(text: str, voice: Voice) -> float:
    name = _folded(voice.name)
    # "Nova" is meant by "Nova - calm": a part is closer than any other likeness.
    return (text in name) + SequenceMatcher(None, text, name).ratio()


def _none(message: str, closest: Sequence[Voice], param: str) -> HedraValueError:
    if not closest:
        return HedraValueError(
            f"{message}: this key has no voices.",
            param=param,
            remedy="Check the key and the speech model. Nothing was submitted.",
        )
    return HedraValueError(f"{message}. There are: {_listed(closest)}.", param=param, remedy=_REMEDY)


def _several(message: str, found: Sequence[Voice], param: str) -> HedraValueError:
    return HedraValueError(f"{message}: {_listed(found)}.", param=param, remedy=_REMEDY)


def _listed(voices: Sequence[Voice]) -> str:
    described = [_described(voice) for voice in voices]
    # An id takes much room: it is shown where name and labels are not enough.
    texts = [
        text if described.count(text) == 1 else f"{text} {clean(voice.id)}"
        for text, voice in zip(described[:_LISTED], voices, strict=False)
    ]
    more = len(voices) - _LISTED
    return ", ".join(texts) + (f", and {more} more" if more > 0 else "")


def _described(voice: Voice) -> str:
    labels = {_folded(name): value for name, value in voice.labels.items()}
    shown_labels = [clean(labels[name], max_length=40) for name in ("language", "gender") if labels.get(name)]
    name = clean(voice.name, max_length=60) if voice.name else clean(voice.id)
    return f"{name} ({', '.join(shown_labels)})" if shown_labels else name
