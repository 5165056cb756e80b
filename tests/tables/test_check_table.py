"""Tables as people write them: which rows are read, and how every bad row is named. No Airflow runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hedra_provider.tables.reading import check_table, require_file

VOICES = [("11111111-1111-4111-8111-111111111111", "Ada"), ("22222222-2222-4222-8222-222222222222", "Lucía")]
SAME_NAME = ("33333333-3333-4333-8333-333333333333", "ada")
ASSET = "0D8F1E34-0000-4000-8000-00000000ABCD"
GOOD = {"name": "one", "text": "Hello", "voice": "Ada", "portrait": "portrait.jpg"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "portrait.jpg").touch()
    (tmp_path / "speech.wav").touch()
    return tmp_path


def check(folder: Path, content: str | bytes, voices: Any = VOICES) -> tuple[list[Any], list[str]]:
    data = content if isinstance(content, bytes) else content.encode()
    return check_table(data, voices, str(folder), require_file)


def check_rows(folder: Path, *rows: Any, voices: Any = VOICES) -> tuple[list[Any], list[str]]:
    """Check rows as a JSON array, which can say everything."""
    return check(folder, json.dumps(rows), voices)


@pytest.mark.parametrize(
    "content",
    [
        '\ufeffName;Text;Voice;Portrait;Owner\r\nélan;"Grüße; 🚀";Lucía;portrait.jpg;me\r\n\r\n',
        "name\ttext\tvoice\tportrait\nélan\tGrüße; 🚀\tLucía\tportrait.jpg\n",
        '{"name": "élan", "text": "Grüße; 🚀", "voice": "Lucía", "portrait": "portrait.jpg", "n": 7}\n\n',
        '[{"name": " élan ", "text": "Grüße; 🚀", "voice": "Luci\u0301a", "audio": null, '
        '"portrait": "portrait.jpg"}]',
    ],
    ids=["Excel's CSV", "tabs", "JSON lines", "JSON array"],
)
def test_tables_as_people_save_them(folder: Path, content: str):
    (row,), faults = check(folder, content)
    assert faults == []
    assert (row["name"], row["text"], row["language"], row["audio"]) == ("élan", "Grüße; 🚀", "auto", None)
    assert row["image"] == f"{folder}/portrait.jpg"
    assert row["voice_id"] == VOICES[1][0]


def test_a_row_may_name_assets_and_a_voice_by_its_id(folder: Path):
    rows, faults = check_rows(
        folder,
        {"name": "a", "audio": ASSET, "portrait": f" {ASSET} ", "voice": "ignored"},
        {**GOOD, "voice": VOICES[0][0].upper(), "language": " German "},
    )
    assert faults == []
    assert (rows[0]["audio"], rows[0]["image"], rows[0]["voice_id"]) == (ASSET.lower(), ASSET.lower(), None)
    assert (rows[1]["voice_id"], rows[1]["language"]) == (VOICES[0][0], "German")


def test_each_file_is_opened_once(folder: Path):
    opened: list[tuple[str, str]] = []
    table = json.dumps([{**GOOD, "name": f"n{number}"} for number in range(5)]).encode()
    rows, faults = check_table(table, VOICES, str(folder), lambda *file: opened.append(file))
    assert (len(rows), faults, opened) == (5, [], [(f"{folder}/portrait.jpg", "portrait")])


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a name that leads elsewhere": ({"name": "../../x"}, "name '../../x' is not a file name"),
    "no name": ({"name": ""}, "name '' is not a file name"),
    "Jinja in a name": ({"name": "{{ x }}"}, "name '{{ x }}' is not a file name"),
    "no text": ({"text": " "}, "text and audio are both missing"),
    "text and audio": ({"audio": "speech.wav"}, "text and audio are both given"),
    "an unknown voice": ({"voice": "Nobody"}, "voice 'Nobody' is unknown; the account has Ada, Lucía"),
    "no voice": ({"voice": ""}, "voice is missing; the account has Ada, Lucía"),
    "no portrait": ({"portrait": None}, "portrait is missing"),
    "a file that is not there": (
        {"portrait": "x.jpg"},
        "portrait: '{folder}/x.jpg' can't be opened on this worker ",
    ),
    "a folder": ({"portrait": "folder.jpg"}, "portrait: '{folder}/folder.jpg' can't be opened: "),
    "a recording as portrait": ({"portrait": "speech.wav"}, "portrait 'speech.wav' has no name of an image"),
    "a file of the worker": ({"portrait": "/etc/x.jpg"}, "portrait '/etc/x.jpg' is not a path below"),
    "a file above": ({"portrait": "../face.jpg"}, "portrait '../face.jpg' is not a path below"),
    "a file of another storage": (
        {"portrait": "s3://b/c.jpg"},
        "portrait 's3://b/c.jpg' is not a path below",
    ),
    "a NUL in the text": ({"text": "a\0b"}, "text holds a NUL (U+0000) at position 2"),
    "a NUL in a path": ({"portrait": "\0.jpg"}, "portrait holds a NUL (U+0000) at position 1"),
    "a lone surrogate in the text": (
        {"text": "ab\udc00"},
        "text holds a lone surrogate (U+DC00) at position 3",
    ),
    "a lone surrogate in the name": (
        {"name": "\ud83d"},
        "name holds a lone surrogate (U+D83D) at position 1",
    ),
    "a lone surrogate in the language": ({"language": "\udfff"}, "language holds a lone surrogate"),
    "a number for a text": ({"text": 1, "voice": 2}, "text, voice must be strings"),
}


def test_every_bad_row_is_named_at_once(folder: Path):
    (folder / "folder.jpg").mkdir()
    rows = [{**GOOD, "name": f"row-{number}", **change} for number, (change, _) in enumerate(BAD.values())]
    good, faults = check_rows(folder, *rows, {**GOOD, "name": "Twice"}, {**GOOD, "name": "twice"}, 7)
    expected = [
        f"row {number}: {fault.replace('{folder}', str(folder))}"
        for number, (_, fault) in enumerate(BAD.values(), 1)
    ]
    expected.append(f"row {len(BAD) + 2}: name 'twice' is taken by row {len(BAD) + 1}")
    expected.append(f"row {len(BAD) + 3}: it is not a JSON object")
    assert [fault[: len(start)] for fault, start in zip(faults, expected, strict=True)] == expected
    assert [row["name"] for row in good] == ["Twice"]
    # What is said can be printed, sent and stored: no raw NUL, no half of a character.
    said = "\n".join(faults)
    assert said.encode().decode() == said
    assert "\0" not in said


def test_all_faults_of_one_row_are_named(folder: Path):
    _, faults = check_rows(folder, {"name": "", "portrait": ""})
    assert [fault.partition(" ")[2][:10] for fault in faults] == ["1: name ''", "1: text an", "1: portrai"]


def test_a_name_that_two_voices_share_is_not_guessed(folder: Path):
    _, (fault,) = check_rows(folder, GOOD, voices=[*VOICES, SAME_NAME])
    assert "'Ada' is the name of several voices" in fault
    assert VOICES[0][0] in fault
    assert SAME_NAME[0] in fault


def test_a_long_list_of_voices_is_cut(folder: Path):
    voices = [(str(number), f"voice {number:03}") for number in range(100)]
    _, (fault,) = check_rows(folder, GOOD, voices=voices)
    assert fault.endswith("voice 039 and 60 more")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            "name,portrait,text,voice\na,portrait.jpg,Hello, world,Ada\n",
            "line 2: it has 5 cells, the first line has 4: put a text that has a comma",
        ),
        ('name,portrait,text,voice\n"a\nb",portrait.jpg,x,Ada\nc,portrait.jpg,x,Eve', "line 4: voice 'Eve'"),
        ('name,portrait,text,voice\na,portrait.jpg,x,Eve\n"a"b,c\n', "line 2: voice 'Eve'"),
        ('name,portrait,text,voice\na,portrait.jpg,x,Eve\n"a"b,c\n', "line 3: it can't be read"),
        ('name,portrait,text,voice\nb,portrait.jpg,"x,Ada\nc,d,e,f\n', "line 2: it can't be read"),
        ("name,portrait,text,voice\na,portrait.jpg,x\0y,Ada\n", "line 2: text holds a NUL"),
        ('{"name": "a"}\n{"name": \n[1]\n', "line 2: it is not JSON"),
        ('{"name": "a"}\n{"name": \n[1]\n', "line 3: it is not a JSON object"),
    ],
)
def test_a_bad_row_is_named_by_its_line(folder: Path, content: str, expected: str):
    _, faults = check(folder, content)
    assert [fault for fault in faults if fault.startswith(expected)], faults


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("title,picture\na,b\n", "must name the columns"),
        ("name,name,portrait\n", "must name the columns"),
        ("", "must name the columns"),
        ('"name,portrait\n', "its first line is not CSV"),
        ("[1,", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        (b"name,portrait\nGr\xfc\xdfe,b", r"it is not UTF-8 text \(line 2\); save it as UTF-8"),
        ("name,portrait\n".encode("utf-16"), "it is not UTF-8 text"),
    ],
)
def test_an_error_says_that_a_file_is_not_a_table(folder: Path, content: str | bytes, expected: str):
    with pytest.raises(ValueError, match=expected):
        check(folder, content)
