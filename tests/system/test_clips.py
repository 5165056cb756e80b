"""The example that makes a clip of each row of a table, by ``dag.test()`` against the sandbox."""

from __future__ import annotations

import csv
import io
import json
import runpy
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS

from benchmarks.bench_batch import Plan, run_batch
from tests.system.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hedra_provider.testing import Sandbox

pytestmark = pytest.mark.skipif(
    not AIRFLOW_V_3_1_PLUS,
    reason="on Airflow 3.0 the manifest lacks why rows failed, and dag.test() lacks files",
)

NAME = "hedra_clips_from_table"
COLUMNS = ("name", "text", "audio", "voice", "language", "portrait")
PASSWORD = "{{ conn.hedra_default.password }}"
REFUSED = {"type": "MODERATION_FAILED", "reason_code": "MODERATION_LIKENESS", "message": "a face"}
ROWS = [
    {
        "name": "one",
        "text": "Good morning",
        "voice": "Ada",
        "language": "English",
        "portrait": "portrait.jpg",
    },
    {"name": "two", "text": "Guten Morgen", "voice": "jonas", "portrait": "faces/two.jpg"},
    {"name": "three", "audio": "speech.wav", "portrait": "portrait.jpg"},
]


class Clips:
    """A table with its inputs, the DAG over it, and what the sandbox saw of it."""

    def __init__(self, hedra: Sandbox, run_dag: Callable[..., Any], folder: Path) -> None:
        self.hedra, self.folder, self._run_dag = hedra, folder, run_dag
        self.table, self.destination = folder / "clips.csv", folder / "out"
        (folder / "faces").mkdir()
        for source, target in (("portrait.jpg", "portrait.jpg"), ("speech.wav", "speech.wav")):
            shutil.copy(ROOT / "dags" / "include" / source, folder / target)
        # Another file, so another asset.
        (folder / "faces" / "two.jpg").write_bytes((folder / "portrait.jpg").read_bytes() + b"\0")
        self.write(ROWS)

    def write(self, rows: list[dict[str, str]]) -> None:
        out = io.StringIO(newline="")
        writer = csv.DictWriter(out, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(rows)
        self.table.write_text(out.getvalue(), "utf-8", newline="")

    def run(self, **conf: Any) -> Any:
        """Run the DAG; return its run's state."""
        usual = {"table": str(self.table), "destination": str(self.destination), "resolution": "540p"}
        self.last = self._run_dag(f"{NAME}.py", NAME, **{**usual, **conf})
        return str(self.last.state)

    def states(self, task_id: str) -> list[str]:
        found = [ti for ti in self.last.get_task_instances() if ti.task_id == task_id]
        return [str(ti.state) for ti in sorted(found, key=lambda ti: ti.map_index)]

    def manifest(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.destination / "manifest.json").read_text("utf-8"))
        return found

    def outcomes(self) -> dict[str, str]:
        return {clip["name"]: clip["status"] for clip in self.manifest()["clips"]}

    def paid(self) -> list[str]:
        """The names that the results of the submits have, in order."""
        return sorted(row["request"]["name"] for row in self.hedra.submissions)


@pytest.fixture
def clips(hedra_sandbox: Sandbox, run_dag: Callable[..., Any], tmp_path: Path) -> Clips:
    return Clips(hedra_sandbox, run_dag, tmp_path)


@pytest.fixture(scope="module")
def read_table() -> Callable[[str, str], list[dict[str, Any]]]:
    """The task's function, without Airflow around it."""
    return runpy.run_path(str(ROOT / "dags" / f"{NAME}.py"))["read_table"].function


def is_video(path: Path) -> bool:
    return path.read_bytes()[4:8] == b"ftyp"


def test_the_table_that_comes_with_it(clips: Clips):
    assert clips.run(table=str(ROOT / "dags" / "include" / "clips.csv")) == "success"
    assert clips.manifest()["done"] == len(clips.paid()) == 4


def test_each_row_gets_its_own(clips: Clips):
    assert clips.run() == "success"
    asked = {row["request"]["name"]: row["request"] for row in clips.hedra.submissions}
    one, two, three = (asked[name] for name in ("one", "two", "three"))
    assert (one["audio_generation"]["text"], one["audio_generation"]["language"]) == (
        "Good morning",
        "English",
    )
    assert (two["audio_generation"]["text"], two["audio_generation"]["language"]) == ("Guten Morgen", "auto")
    assert one["audio_generation"]["voice_id"] != two["audio_generation"]["voice_id"]
    assert three["audio_id"]
    assert "audio_generation" not in three
    assert one["start_keyframe_id"] == three["start_keyframe_id"] != two["start_keyframe_id"]
    # Two portraits and a recording, whatever the number of rows.
    assert len(clips.hedra.requests("POST", "/assets/{id}/upload")) == 3
    assert all(is_video(clips.destination / f"{name}.mp4") for name in ("one", "two", "three"))
    manifest = clips.manifest()
    assert (manifest["done"], manifest["failed"]) == (3, 0)
    assert [clip["row"] for clip in manifest["clips"]] == ["line 2", "line 3", "line 4"]
    assert [clip["generation"]["uri"] for clip in manifest["clips"]] == [
        f"file://{clips.destination}/{name}.mp4" for name in ("one", "two", "three")
    ]


def test_a_failed_row_leaves_the_others_alone_and_is_made_by_the_next_run(clips: Clips):
    clips.hedra.faults({"on": "POST /generations", "skip": 1, "times": 1, "generation_error": REFUSED})
    assert clips.run() == "failed"
    assert sorted(clips.states("clip.video")) == ["failed", "success", "success"]
    assert clips.states("write_manifest") == ["success"]
    manifest = clips.manifest()
    (failed,) = [clip for clip in manifest["clips"] if clip["status"] == "failed"]
    assert "MODERATION_LIKENESS" in failed["error"]
    assert failed["generation"]["status"] == "error"
    assert len(manifest["clips"]) == 3
    assert not (clips.destination / f"{failed['name']}.mp4").exists()

    assert clips.run() == "success"
    assert clips.paid() == sorted(["one", "three", "two", failed["name"]])
    assert set(clips.outcomes().values()) == {"done"}


def test_a_row_that_is_never_submitted_says_why(clips: Clips):
    refusal = {"detail": "Not today"}
    clips.hedra.faults({"on": "POST /generations", "times": 1, "status": 400, "body": refusal})
    assert clips.run() == "failed"
    (failed,) = [clip for clip in clips.manifest()["clips"] if clip["status"] == "failed"]
    assert "Not today" in failed["error"]
    assert failed["generation"] is None


def test_again_only_what_was_edited_is_paid_and_what_is_gone_is_fetched(clips: Clips):
    assert clips.run() == "success"
    clips.write([ROWS[2], {**ROWS[0], "text": "Good evening"}, ROWS[1]])
    (clips.destination / "two.mp4").unlink()
    assert clips.run() == "success"
    assert clips.paid() == ["one", "one", "three", "two"]
    assert clips.hedra.submissions[-1]["request"]["audio_generation"]["text"] == "Good evening"
    assert is_video(clips.destination / "two.mp4")
    assert clips.run(destination=f"{clips.folder}/elsewhere/") == "success"
    there = {path.name for path in (clips.folder / "elsewhere").iterdir()}
    assert there == {"one.mp4", "two.mp4", "three.mp4", "manifest.json"}
    assert clips.paid() == ["one", "one", "three", "two"]


def test_a_budget_is_for_what_is_still_to_be_made(clips: Clips):
    assert clips.run(max_credits=1) == "failed"
    assert clips.states("check_budget") == ["failed"]
    assert not clips.destination.exists()
    assert clips.hedra.submissions == []

    assert clips.run() == "success"
    first = clips.manifest()
    clips.write([*ROWS, {**ROWS[0], "name": "four"}])
    assert clips.run(max_credits=1) == "failed"
    assert clips.manifest() == first
    clips.write(ROWS)
    assert clips.run(max_credits=1) == "success"
    assert clips.paid() == ["one", "three", "two"]


def test_foreign_text_is_spoken_as_it_is(clips: Clips):
    texts = [PASSWORD, 'She said "hi",\nthen left; 🚀 Grüße', "=1+1 {% raw %} ${HOME} \\n"]
    clips.write([{**ROWS[0], "name": f"text-{number}", "text": text} for number, text in enumerate(texts)])
    assert clips.run() == "success"
    spoken = [row["request"]["audio_generation"]["text"] for row in clips.hedra.submissions]
    assert sorted(spoken) == sorted(texts)
    assert [clip["request"]["text"] for clip in clips.manifest()["clips"]] == texts


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "excel.csv",
            '\ufeffName;Text;Voice;Portrait;Owner\r\nélan;"Grüße; 🚀";Lucía;portrait.jpg;me\r\n\r\n',
        ),
        (
            "lines.jsonl",
            '{"name": "élan", "text": "Grüße; 🚀", "voice": "Lucía", "portrait": "portrait.jpg", "n": 7}\n\n',
        ),
        (
            "array.json",
            '[{"name": "élan", "text": "Grüße; 🚀", "voice": "Luci\u0301a", "audio": null, '
            '"portrait": "portrait.jpg"}]',
        ),
    ],
)
def test_tables_as_people_save_them(clips: Clips, read_table: Any, name: str, content: str):
    table = clips.folder / name
    table.write_text(content, "utf-8", newline="")
    (row,) = read_table(str(table), "")
    assert (row["name"], row["text"], row["language"]) == ("élan", "Grüße; 🚀", "auto")
    assert row["image"] == f"{clips.folder}/portrait.jpg"
    assert row["voice_id"]


def test_inputs_may_lie_elsewhere(clips: Clips, read_table: Any):
    assert read_table(str(clips.table), f"{clips.folder}/faces/../")[2]["audio"].endswith("/speech.wav")
    with pytest.raises(AirflowFailException, match="is not there"):
        read_table(str(clips.table), f"{clips.folder}/faces")


def test_all_of_it_on_object_storage(clips: Clips):
    import fsspec
    from airflow.sdk.io import attach

    storage = fsspec.filesystem("memory")
    attach(protocol="memory", fs=storage)
    for path in ("clips.csv", "portrait.jpg", "speech.wav", "faces/two.jpg"):
        storage.pipe(f"/shop/{path}", (clips.folder / path).read_bytes())
    assert clips.run(table="memory://shop/clips.csv", destination="memory://shop/out") == "success"
    assert json.loads(storage.cat("/shop/out/manifest.json"))["done"] == 3
    assert storage.cat("/shop/out/one.mp4")[4:8] == b"ftyp"


def test_rows_that_name_assets_need_no_upload(clips: Clips):
    assert clips.run() == "success"
    known = clips.manifest()["clips"][2]["request"]
    clips.write(
        [
            {**ROWS[0], "name": "four", "portrait": known["image"]},
            {"name": "five", "audio": known["audio"], "portrait": known["image"]},
        ]
    )
    assert clips.run() == "success"
    assert clips.states("upload") == ["skipped"]
    assert clips.paid() == ["five", "four", "one", "three", "two"]


BAD = {
    "a name that leads elsewhere": ({"name": "../../x"}, "line 2: name '../../x'"),
    "no name": ({"name": ""}, "line 2: name ''"),
    "Jinja in a name": ({"name": PASSWORD}, "line 2: name '{{"),
    "no text": ({"text": " "}, "line 2: text is missing, and so is audio"),
    "text and audio": ({"audio": "speech.wav"}, "line 2: text and audio are both given"),
    "an unknown voice": ({"voice": "Nobody"}, "line 2: voice 'Nobody' is none of Ada"),
    "no voice": ({"voice": ""}, "line 2: voice '' is none of Ada"),
    "no portrait": ({"portrait": ""}, "line 2: portrait is missing"),
    "a portrait that is not there": (
        {"portrait": "nobody.jpg"},
        "line 2: portrait 'nobody.jpg' is not there",
    ),
    "a portrait that is a recording": (
        {"portrait": "speech.wav"},
        "line 2: portrait 'speech.wav' is no image",
    ),
    "a file of the worker": (
        {"portrait": "/etc/passwd.jpg"},
        "line 2: portrait '/etc/passwd.jpg' is no path",
    ),
    "a file above": ({"portrait": "../face.jpg"}, "line 2: portrait '../face.jpg' is no path"),
    "a file of another storage": ({"portrait": "s3://a@b/c.jpg"}, "line 2: portrait 's3://a@b/c.jpg' is no"),
}


def test_all_bad_rows_are_named_at_once(clips: Clips, read_table: Any):
    rows = [{**ROWS[0], "name": f"row-{number}", **change} for number, (change, _) in enumerate(BAD.values())]
    clips.write([*rows, {**ROWS[0], "name": "Twice"}, {**ROWS[0], "name": "twice"}])
    with pytest.raises(AirflowFailException) as error:
        read_table(str(clips.table), "")
    head, *said = str(error.value).splitlines()
    assert "nothing was uploaded or spent" in head
    expected = [
        start.replace("line 2:", f"line {number + 2}:") for number, (_, start) in enumerate(BAD.values())
    ]
    expected.append(f"line {len(BAD) + 3}: name 'twice' is that of line {len(BAD) + 2}")
    assert [line[: len(start)] for line, start in zip(said, expected, strict=True)] == expected


def test_bad_rows_end_the_run_before_anything_is_sent(clips: Clips):
    clips.write([ROWS[0], {**ROWS[1], "voice": "Nobody"}])
    assert clips.run() == "failed"
    assert {row["path"] for row in clips.hedra.ledger()["requests"]} == {"/voices"}
    assert clips.states("write_manifest") == ["failed"]
    assert not clips.destination.exists()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            "name,portrait,text,voice\na,portrait.jpg,Hello, world,Ada\n",
            "line 2: has 5 cells, the first line 4",
        ),
        ('name,portrait,text,voice\n"a\nb",portrait.jpg,x,Ada\nc,portrait.jpg,x,Eve', "line 4: voice 'Eve'"),
        ("title,picture\na,b\n", "must name the columns"),
        ("name,name,portrait\n", "must name the columns"),
        ("name,portrait,text,voice\n", "It has no rows"),
        ("", "must name the columns"),
        ('name,portrait\n"a"b,c\n', "can't be read"),
        ('{"name": "a"}\n{"name": \n[1]\n', "line 2: is not JSON"),
        ('{"name": "a"}\n{"name": \n[1]\n', "line 3: is not an object"),
        ('[{"name": 1}, 2]', "row 1: name must be strings"),
        ("[1,", "can't be read"),
        (b"name,portrait\nGr\xfc\xdfe,b", "can't be read"),
        (None, "can't be read"),
    ],
)
def test_what_is_no_table(clips: Clips, read_table: Any, content: str | bytes | None, expected: str):
    if content is None:
        clips.table.unlink()
    else:
        clips.table.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(AirflowFailException) as error:
        read_table(str(clips.table), "")
    assert expected in str(error.value)


def test_thirty_clips_in_a_real_airflow_on_a_slow_plan(tmp_path: Path):
    plan = Plan(clips=30, rate=5, max_parallel=10, seconds=10)
    batch = run_batch(plan, tmp_path, patience_seconds=480)
    assert (batch.state, batch.done, batch.paid_twice) == ("success", 30, 0), batch
    # A whole tick is the poll interval, 15 s.
    assert batch.above_rate_seconds <= 15, batch
