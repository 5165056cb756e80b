"""Languages by name and by code: ``German``, ``de`` and ``de-AT`` are one.

Speech takes names on v2 (SupportedLanguage: ``German``, ``Chinese,Yue``) and codes on v3 (``de``).
"""

from __future__ import annotations

import re

_NAMES = {
    "af": "Afrikaans",
    "ar": "Arabic",
    "as": "Assamese",
    "az": "Azerbaijani",
    "be": "Belarusian",
    "bg": "Bulgarian",
    "bn": "Bengali",
    "bs": "Bosnian",
    "ca": "Catalan",
    "cs": "Czech",
    "cy": "Welsh",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "et": "Estonian",
    "fa": "Persian",
    "fi": "Finnish",
    "fil": "Filipino",
    "fr": "French",
    "ga": "Irish",
    "gl": "Galician",
    "gu": "Gujarati",
    "ha": "Hausa",
    "he": "Hebrew",
    "hi": "Hindi",
    "hr": "Croatian",
    "hu": "Hungarian",
    "hy": "Armenian",
    "id": "Indonesian",
    "is": "Icelandic",
    "it": "Italian",
    "ja": "Japanese",
    "jv": "Javanese",
    "ka": "Georgian",
    "kk": "Kazakh",
    "kn": "Kannada",
    "ko": "Korean",
    "ky": "Kyrgyz",
    "lb": "Luxembourgish",
    "ln": "Lingala",
    "lt": "Lithuanian",
    "lv": "Latvian",
    "mk": "Macedonian",
    "ml": "Malayalam",
    "mr": "Marathi",
    "ms": "Malay",
    "ne": "Nepali",
    "nl": "Dutch",
    "nn": "Nynorsk",
    "no": "Norwegian",
    "pa": "Punjabi",
    "pl": "Polish",
    "ps": "Pashto",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sd": "Sindhi",
    "sk": "Slovak",
    "sl": "Slovenian",
    "so": "Somali",
    "sr": "Serbian",
    "sv": "Swedish",
    "sw": "Swahili",
    "ta": "Tamil",
    "te": "Telugu",
    "th": "Thai",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "ur": "Urdu",
    "vi": "Vietnamese",
    "yue": "Chinese,Yue",
    "zh": "Chinese",
}
"""English names by code of ISO 639, as v2 writes those that it has."""

_CODES = {name.casefold(): code for code, name in _NAMES.items()} | {
    "cantonese": "yue",
    "chinese (cantonese)": "yue",
    "mandarin": "zh",
    "mandarin chinese": "zh",
    "cmn": "zh",
    "farsi": "fa",
    "tagalog": "fil",
    "tl": "fil",
    "norwegian bokmål": "no",
    "nb": "no",
}
_TAG = re.compile(r"([a-z]{2,3})(?:[-_][a-z0-9]+)*")
_REGION = re.compile(r"\s*[(,].*")


def same_language(text: str) -> str:
    """
    Return a text that is the same for all names and codes of a language.

    :param text: A name (``German``, ``English (US)``) or a code (``de``, ``de-AT``), in any case.
    :return: The code of ISO 639; for a language that is not known here, the text in lower case.
    """
    folded = " ".join(text.casefold().split())
    plain = _REGION.sub("", folded)
    known = _CODES.get(folded) or _CODES.get(plain)
    if known:
        return known
    tag = _TAG.fullmatch(folded)
    return _CODES.get(tag[1], tag[1]) if tag else plain


def language_code(language: str) -> str:
    """
    Return a language as v3 takes it for speech.

    :param language: A name, e.g. ``German``, becomes its code; a code, ``auto`` and a language that is not
        known here stay as they are.
    """
    given = language.strip()
    code = same_language(given)
    return given if _TAG.fullmatch(given.casefold()) or code not in _NAMES else code


def language_name(language: str) -> str:
    """
    Return a language as v2 takes it for speech.

    :param language: A code, e.g. ``de``, becomes its name; ``auto`` and a language that is not known here
        stay as they are.
    """
    given = language.strip()
    return _NAMES.get(same_language(given), given)
