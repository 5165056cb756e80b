"""A voice is found by its id, its name or its labels; an error lists the voices there are."""

from __future__ import annotations

from typing import Any

import pytest

from hedra_provider.api.errors import HedraValueError
from hedra_provider.api.responses import Voice as VoiceAnswer
from hedra_provider.records import Voice
from hedra_provider.service.languages import same_language
from hedra_provider.service.voices import find_voice

V3 = "voice_0f7b6a52-9c1d-4b53-8a43-6a1f2c3d4e5f"
V2 = "0f7b6a52-9c1d-4b53-8a43-6a1f2c3d4e5f"


def voice(
    voice_id: str, name: str | None, language: str = "English", gender: str = "female", **labels: str
) -> Voice:
    return Voice(id=voice_id, name=name, labels={"language": language, "gender": gender, **labels})


NOVA = voice(V3, "Nova", accent="British")
ERIK = voice("voice_2", "Erik", "German", "male")
GRETA = voice("voice_3", "Greta", "de-DE")
ADA = voice("voice_4", "Ada", accent="American")
VOICES = [NOVA, ERIK, GRETA, ADA]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (V3, NOVA),
        (V3.upper(), NOVA),
        ("Nova", NOVA),
        ("  nOVA\n", NOVA),
        ({"language": "German", "gender": "female"}, GRETA),
        ({"language": "german", "gender": " Female "}, GRETA),
        ({"language": "de", "gender": "male"}, ERIK),
        ({"Language": "de-AT", "Gender": "MALE"}, ERIK),
        ({"name": "ada"}, ADA),
        ({"name": "Ada", "language": "en", "gender": None}, ADA),
        ({"accent": "british"}, NOVA),
        ({"id": "VOICE_4"}, ADA),
    ],
)
def test_a_voice_is_found(wanted: Any, found: Voice):
    assert find_voice(wanted, VOICES) is found


def test_the_labels_of_a_v2_voice_are_found():
    answer = VoiceAnswer.model_validate(
        {
            "id": V2,
            "name": "Nova",
            "asset": {
                "labels": [{"name": "language", "value": "English"}, {"name": "gender", "value": "female"}]
            },
        }
    )
    one = Voice(id=answer.id, name=answer.name, labels=answer.labels)
    for wanted in (V2, "nova", {"language": "en", "gender": "female"}):
        assert find_voice(wanted, [one, ERIK]) is one


def rejected(wanted: Any, voices: list[Voice] = VOICES) -> str:
    with pytest.raises(HedraValueError) as raised:
        find_voice(wanted, voices)
    assert raised.value.param == "voice"
    assert "Nothing was submitted" in str(raised.value)
    return raised.value.message


def test_an_unknown_name_lists_the_closest_voices_first():
    assert rejected("Novah") == (
        "voice: no voice has the name or the id 'Novah'. There are: "
        "Nova (English, female), Ada (English, female), Greta (de-DE, female), Erik (German, male)."
    )


@pytest.mark.parametrize(
    ("wanted", "voices", "says"),
    [
        (V2, VOICES, "is a voice of API v2; the connection's key is for API v3."),
        (V3, [Voice(id=V2, name="Nova")], "is a voice of API v3; the connection's key is for API v2."),
    ],
)
def test_the_id_of_the_other_version_is_named(wanted: str, voices: list[Voice], says: str):
    assert rejected(wanted, voices).endswith(says)


def test_labels_that_no_voice_has_list_the_closest_voices_first():
    message = rejected({"language": "de", "gender": "male", "name": "Otto"})
    assert "There are: Erik (German, male), Greta (de-DE, female)" in message


def test_labels_of_several_voices_list_these_only():
    message = rejected({"language": "en"})
    assert message.startswith("voice: 2 voices have the labels")
    assert message.endswith(": Nova (English, female), Ada (English, female).")


def test_two_voices_of_one_name_are_listed_with_their_ids():
    other = voice("voice_9", "NOVA")
    assert rejected("Nova", [NOVA, other, ERIK]).endswith(
        "2 voices have the name 'Nova': Nova (English, female), NOVA (English, female)."
    )
    same = voice("voice_9", "Nova")
    assert rejected("Nova", [NOVA, same]).endswith(
        f": Nova (English, female) {V3}, Nova (English, female) voice_9."
    )


def test_a_label_that_no_voice_has_names_those_there_are():
    with pytest.raises(HedraValueError, match="no voice has the label 'mood'") as raised:
        find_voice({"mood": "happy"}, VOICES)
    assert "Labels are accent, gender, id, language, name." in str(raised.value)


def test_of_hundreds_of_voices_twenty_are_listed():
    many = [voice(f"voice_{n}", f"Voice {n}") for n in range(300)]
    message = rejected("Zoe", many)
    assert message.count("(English, female)") == 20
    assert message.endswith("and 280 more.")


@pytest.mark.parametrize("wanted", ["", "  ", {}, {"language": ""}, {"language": None}])
def test_nothing_is_no_voice(wanted: Any):
    rejected(wanted)


def test_without_any_voice_the_key_is_named():
    assert rejected("Nova", []) == "voice: no voice has the name or the id 'Nova': this key has no voices."
    rejected({"language": "de"}, [])


def test_what_hedra_says_of_a_voice_is_one_bounded_line():
    evil = Voice(id="voice_1", name="A\n\x1b[31mB" * 400, labels={"language": "x" * 900, "gender": ""})
    message = rejected("Nova", [evil, Voice(id="voice_2")])
    assert "\n" not in message
    assert "\x1b" not in message
    assert len(message) < 400
    assert "voice_2" in message


@pytest.mark.parametrize(
    "same", ["German", "german", " GERMAN ", "de", "DE", "de-DE", "de_at", "German (Austria)"]
)
def test_names_and_codes_of_a_language_are_one(same: str):
    assert same_language(same) == "de"


def test_other_languages_stay_apart():
    assert len({same_language(one) for one in ("English", "fr", "Klingon", "Chinese", "ja", "tlh")}) == 6
    assert same_language("Mandarin") == same_language("zh-CN") == "zh"
    assert same_language("Klingon") == same_language(" klingon")
