"""Languages by name and by code: ``German``, ``de`` and ``de-AT`` are one."""

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
    "zh": "Chinese",
}
"""English names by code of ISO 639: the languages that speech models of Hedra document, and close ones."""

_CODES = {name.casefold(): code for code, name in _NAMES.items()} | {
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
    if plain in _CODES:
        return _CODES[plain]
    tag = _TAG.fullmatch(folded)
    return _CODES.get(tag[1], tag[1]) if tag else plain
