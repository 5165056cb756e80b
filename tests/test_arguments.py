"""Values as templates, forms, JSON and upstream tasks make them: what Hedra gets, or what is wrong."""

from __future__ import annotations

import inspect
import json
import uuid
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hedra_provider import arguments
from hedra_provider.api import calls
from hedra_provider.api.errors import HedraValueError
from hedra_provider.exceptions import hedra_error
from hedra_provider.hooks import HedraHook
from hedra_provider.operators import (
    HedraAvatarVideoOperator,
    HedraCreditsCheckOperator,
    HedraDownloadOperator,
    HedraGenerateOperator,
    HedraUploadAssetOperator,
)
from hedra_provider.operators.avatar_request import REQUEST_ARGUMENTS
from hedra_provider.sensors import HedraCreditsSensor, HedraGenerationSensor
from tests.airflow_names import AirflowException, AirflowFailException
from tests.operators.helpers import avatar
from tests.tasks import TaskInstance, run, wait

if TYPE_CHECKING:
    from hedra_provider.testing import Sandbox

pytestmark = pytest.mark.hedra_sandbox(media=False)

PUBLIC = (
    HedraAvatarVideoOperator,
    HedraGenerateOperator,
    HedraUploadAssetOperator,
    HedraDownloadOperator,
    HedraCreditsCheckOperator,
    HedraGenerationSensor,
    HedraCreditsSensor,
)
UNKNOWN = "ABCDEF00-0000-4000-8000-00000000000F"
NOT_GIVEN = (None, "", "  ", "None", "null", "\n")


@pytest.fixture
def uploaded(hedra_sandbox: Sandbox, portrait: str, voice: str) -> dict[str, dict[str, Any]]:
    """What two upload tasks return."""
    return {
        name: run(HedraUploadAssetOperator(task_id=name, source=source))
        for name, source in (("image", portrait), ("audio", voice))
    }


@pytest.fixture
def voice_id(hedra_sandbox: Sandbox) -> str:
    with HedraHook().get_conn() as client:
        return str(client.run(calls.list_voices())[0].id)


def submit(sandbox: Sandbox, operator: Any, ti: TaskInstance | None = None) -> dict[str, Any]:
    """Run an operator; return the one request that Hedra got."""
    operator.wait_for_completion = False
    run(operator, ti)
    (row,) = sandbox.submissions
    return dict(row["request"])


@pytest.mark.parametrize("kind", PUBLIC)
def test_every_template_field_is_read(kind: Any):
    assert set(kind.arguments) == set(kind.template_fields)


def test_defaults_are_those_that_an_editor_shows():
    shown = inspect.signature(HedraAvatarVideoOperator.__init__).parameters
    for name, argument in REQUEST_ARGUMENTS.items():
        assert argument.default == shown[name].default, name
    for kind in (HedraGenerationSensor, HedraCreditsSensor):
        shown = inspect.signature(kind.__init__).parameters
        assert (kind.poll_seconds, kind.timeout_seconds) == (
            shown["poke_interval"].default,
            shown["timeout"].default,
        )


READ = [
    # argument, as it comes, where it is in the request, what it has to be there
    ("duration_ms", "2000", "generated_video_inputs.duration_ms", 2000),
    ("duration_ms", " 2000\n", "generated_video_inputs.duration_ms", 2000),
    ("duration_ms", "2000.0", "generated_video_inputs.duration_ms", 2000),
    ("duration_ms", 2000.0, "generated_video_inputs.duration_ms", 2000),
    ("duration_ms", Decimal("2000"), "generated_video_inputs.duration_ms", 2000),
    *(("duration_ms", value, "generated_video_inputs.duration_ms", None) for value in NOT_GIVEN),
    ("seed", "9007199254740993", "generated_video_inputs.seed", 9007199254740993),
    ("seed", "0", "generated_video_inputs.seed", 0),
    *(("seed", value, "generated_video_inputs.seed", None) for value in NOT_GIVEN),
    ("audio_start_ms", "-500", "audio_start_ms", -500),
    ("audio_start_ms", "None", "audio_start_ms", None),
    ("text_prompt", 42, "generated_video_inputs.text_prompt", "42"),
    *(
        ("text_prompt", value, "generated_video_inputs.text_prompt", "A person speaking to the camera")
        for value in NOT_GIVEN
    ),
    ("aspect_ratio", " 1:1 ", "generated_video_inputs.aspect_ratio", "1:1"),
    ("aspect_ratio", "None", "generated_video_inputs.aspect_ratio", "9:16"),
    ("resolution", "720p\n", "generated_video_inputs.resolution", "720p"),
    ("resolution", "", "generated_video_inputs.resolution", "720p"),
    ("model", " Avatar ", "model_slug", "together/hedra-avatar"),
    ("model", "None", "model_slug", "together/hedra-avatar"),
    ("name", 42, "name", "42"),
    ("name", "None", "name", None),
    ("workspace_id", "None", "workspace_id", None),
    ("extra_request", '{"generated_video_inputs": {"seed": 7}}', "generated_video_inputs.seed", 7),
    (
        "extra_request",
        {"generated_video_inputs": {"seed": "7"}, "batch_size": "1"},
        "generated_video_inputs.seed",
        7,
    ),
    (
        "extra_request",
        {"generated_video_inputs": {"resolution": "None"}},
        "generated_video_inputs.resolution",
        "540p",
    ),
    *(("extra_request", value, "generated_video_inputs.seed", None) for value in NOT_GIVEN),
]


@pytest.mark.parametrize(("name", "value", "place", "expected"), READ)
def test_converted_arguments_reach_hedra(
    hedra_sandbox: Sandbox,
    uploaded: dict[str, dict[str, Any]],
    name: str,
    value: Any,
    place: str,
    expected: Any,
):
    ids = {kind: facts["asset_id"] for kind, facts in uploaded.items()}
    request: Any = submit(hedra_sandbox, avatar(ids["image"], ids["audio"], **{name: value}))
    for part in place.split("."):
        request = request.get(part)
    assert request == expected


SPOKEN = [
    ("speed", "0.9", 0.9),
    ("speed", 1, 1.0),
    ("speed", "None", 1.0),
    ("stability", " 0.5 ", 0.5),
    ("stability", "", 1.0),
    ("language", "None", "auto"),
    ("language", " English", "English"),
    ("text", 42, "42"),
    ("text", " as it is ", " as it is "),
]


@pytest.mark.parametrize(("name", "value", "expected"), SPOKEN)
def test_what_is_spoken(
    hedra_sandbox: Sandbox, portrait: str, voice_id: str, name: str, value: Any, expected: Any
):
    changes = {"text": "Hello", "voice_id": f" {voice_id.upper()}\n", name: value}
    request = submit(hedra_sandbox, avatar(portrait, "None", **changes))
    assert request["audio_generation"][name] == expected
    assert request["audio_generation"]["voice_id"] == voice_id


FORMS = {
    "an id": lambda facts: facts["asset_id"],
    "an id in capitals with white space": lambda facts: f" {facts['asset_id'].upper()}\n",
    "a UUID": lambda facts: uuid.UUID(facts["asset_id"]),
    "a whole output": lambda facts: facts,
    "another dict": lambda facts: {"asset_id": facts["asset_id"].upper(), "more": 1},
}


@pytest.mark.parametrize("form", list(FORMS))
def test_an_asset_is_taken_in_every_form(
    hedra_sandbox: Sandbox, uploaded: dict[str, dict[str, Any]], form: str
):
    """`image=upload.output` is what a user writes first."""
    make = FORMS[form]
    expected = {kind: facts["asset_id"] for kind, facts in uploaded.items()}
    request = submit(hedra_sandbox, avatar(make(uploaded["image"]), make(uploaded["audio"])))
    assert (request["start_keyframe_id"], request["audio_id"]) == (expected["image"], expected["audio"])
    check = HedraCreditsCheckOperator(task_id="c", requests=[{"audio": make(uploaded["audio"])}])
    assert run(check)["requests"] == 1
    hedra_sandbox.reset()


def test_the_generate_operator_takes_whole_outputs_and_numbers_as_texts(
    hedra_sandbox: Sandbox, uploaded: dict[str, dict[str, Any]]
):
    body = {
        "type": "video",
        "model_slug": "together/hedra-avatar",
        "start_keyframe_id": uploaded["image"],
        "audio_id": uploaded["audio"]["asset_id"].upper(),
        "audio_start_ms": "None",
        "name": "",
        "generated_video_inputs": {
            "text_prompt": "A face",
            "aspect_ratio": "9:16",
            "resolution": "540p",
            "duration_ms": " 2000 ",
            "seed": "null",
            "enhance_prompt": "False",
        },
    }
    request = submit(hedra_sandbox, HedraGenerateOperator(task_id="g", request=body))
    inputs = request["generated_video_inputs"]
    assert request["start_keyframe_id"] == uploaded["image"]["asset_id"]
    assert request["audio_id"] == uploaded["audio"]["asset_id"]
    assert (inputs["duration_ms"], inputs["enhance_prompt"]) == (2000, False)
    assert not {"audio_start_ms", "name"} & request.keys()
    assert "seed" not in inputs
    assert arguments.request_body(json.dumps(body), "request") == arguments.request_body(body, "request")


WRONG = [
    ("duration_ms", "soon", "duration_ms: 'soon' is not a whole number of milliseconds"),
    ("duration_ms", "2000.5", "duration_ms: '2000.5' is not a whole number of milliseconds"),
    ("duration_ms", True, "duration_ms: True is not a whole number"),
    ("seed", "1e999", "seed: '1e999' is not a whole number"),
    ("speed", "fast", "speed: 'fast' is not a number"),
    ("speed", "1,5", "speed: '1,5' is not a number"),
    ("stability", float("nan"), "stability: nan is not a number"),
    ("max_credits", "many", "max_credits: 'many' is not a whole number of credits"),
    ("max_credits", "10.5", "max_credits: '10.5' is not a whole number of credits"),
    ("text_prompt", {"a": 1}, "text_prompt: {'a': 1} is not a text"),
    ("name", False, "name: False is not a text"),
    ("model", ["avatar"], "model: ['avatar'] is not a text"),
    ("image", 42, "image: 42 is not a path or URI"),
    ("image", {"uri": "s3://a/b"}, "image: the dict {'uri': 's3://a/b'} has no asset_id"),
    ("image", {"asset_id": None}, "image: the dict {'asset_id': None} has no asset_id yet"),
    ("image", "{'asset_id': 'x', 'type': 'image'}", 'Give output["asset_id"]'),
    ("audio", '{"asset_id": "x"}', 'Give output["asset_id"]'),
    ("audio", [UNKNOWN], "audio: ['ABCDEF"),
    ("audio", {"asset_id": "x"}, "audio: 'x' is not a UUID"),
    ("destination", {"uri": "s3://a/b"}, 'Give one key of that output, e.g. output["uri"]'),
    ("destination", "{'uri': 's3://a/b'}", 'Give one key of that output, e.g. output["uri"]'),
    ("destination", 42, "destination: 42 is not a path or URI"),
    ("destination", "None/a.mp4", "destination: 'None/a.mp4' can't be written to: it is relative"),
    ("extra_request", "{'seed': 1}", "extra_request: \"{'seed': 1}\" is not a dict"),
    ("extra_request", "[1]", "a template renders that by | tojson"),
    (
        "extra_request",
        {"generated_video_inputs": {"seed": "x"}},
        "extra_request.generated_video_inputs.seed: 'x' is",
    ),
    ("idempotency_key", {"a": 1}, "idempotency_key: {'a': 1} is not a text"),
    ("image", "None", "image is not given"),
]


@pytest.mark.parametrize(("name", "value", "says"), WRONG)
def test_an_error_names_argument_value_and_remedy(
    hedra_sandbox: Sandbox, portrait: str, voice: str, name: str, value: Any, says: str
):
    with pytest.raises(AirflowFailException) as raised:
        run(avatar(portrait, voice, **{name: value}))
    assert says in str(raised.value)
    assert isinstance(hedra_error(raised.value), HedraValueError)
    assert hedra_sandbox.ledger()["requests"] == []


def test_an_error_in_a_request_names_the_field(hedra_sandbox: Sandbox):
    for body, says in (
        (
            {"type": "video", "start_keyframe_id": "face.png"},
            "request.start_keyframe_id: 'face.png' is not a UUID",
        ),
        ({"type": "video", "audio_id": "{'asset_id': 'x'}"}, 'Give output["asset_id"]'),
        ({"type": "video", "reference_image_ids": ["x"]}, "request.reference_image_ids: 'x' is not a UUID"),
        ({"type": "video", "generated_video_inputs": {"duration_ms": "x"}}, "whole number of milliseconds"),
        ("{'type': 'video'}", "a template renders that by | tojson"),
        ("None", "request is not given"),
    ):
        with pytest.raises(AirflowFailException) as raised:
            run(HedraGenerateOperator(task_id="g", request=body))
        assert says in str(raised.value)
    assert hedra_sandbox.ledger()["requests"] == []


@pytest.mark.parametrize("value", NOT_GIVEN)
def test_an_empty_destination_stores_nothing(
    hedra_sandbox: Sandbox,
    uploaded: dict[str, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    value: Any,
):
    """In the hands of users it became a file called "None"."""
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    made = run(avatar(uploaded["image"], uploaded["audio"], destination=value))
    assert (made["status"], made["uri"]) == ("complete", None)
    assert sorted(tmp_path.iterdir()) == before
    fetch = HedraDownloadOperator(task_id="d", generation_id=made, destination=value)
    with pytest.raises(AirflowFailException, match="destination is not given"):
        run(fetch)
    # With nothing to store, a task need not wait.
    avatar("/a.png", "/a.wav", destination=value, wait_for_completion=False)


@pytest.mark.parametrize("value", NOT_GIVEN)
def test_an_empty_key_is_not_shared_by_all_runs(
    hedra_sandbox: Sandbox, uploaded: dict[str, dict[str, Any]], value: Any
):
    """`{{ params.key }}` of a form field that was left empty renders "None" in every run."""
    operators = [avatar(uploaded["image"], uploaded["audio"], idempotency_key=value) for _ in range(2)]
    ids = {run(one, TaskInstance(run_id=f"run {n}"))["generation_id"] for n, one in enumerate(operators)}
    assert len(ids) == len(hedra_sandbox.submissions) == 2
    avatar("/a.png", "/a.wav", idempotency_key=value, on_clear="new")


def test_white_space_around_a_key_does_not_change_it(
    hedra_sandbox: Sandbox, uploaded: dict[str, dict[str, Any]]
):
    for n, key in enumerate((42, "42", " 42\n")):
        run(avatar(uploaded["image"], uploaded["audio"], idempotency_key=key), TaskInstance(run_id=str(n)))
    assert len(hedra_sandbox.submissions) == 1


@pytest.mark.parametrize("field", ["max_credits", "workspace_id", "hedra_conn_id"])
@pytest.mark.parametrize("value", NOT_GIVEN)
def test_fields_that_were_left_empty(
    hedra_sandbox: Sandbox, uploaded: dict[str, dict[str, Any]], field: str, value: Any
):
    made = run(avatar(uploaded["image"], uploaded["audio"], **{field: value}))
    assert (made["status"], made["hedra_conn_id"], made["workspace_id"]) == (
        "complete",
        "hedra_default",
        None,
    )


def test_a_connection_with_white_space_around_it(hedra_sandbox: Sandbox, portrait: str):
    assert run(HedraUploadAssetOperator(task_id="u", source=portrait, hedra_conn_id=" hedra_default\n"))


def test_the_upload_operator(hedra_sandbox: Sandbox, portrait: str):
    made = run(
        HedraUploadAssetOperator(
            task_id="u", source=Path(portrait), asset_type=" Image\n", name="None", reuse="False"
        )
    )
    assert (made["type"], made["name"], made["reused"]) == ("image", "portrait.png", False)
    for changes, says in (
        ({"source": "None"}, "source is not given"),
        ({"source": made}, "is not a path or URI"),
        ({"source": portrait, "name": ["x"]}, "name: ['x'] is not a text"),
        ({"source": portrait, "asset_type": "picture"}, "asset_type"),
    ):
        with pytest.raises(AirflowFailException) as raised:
            run(HedraUploadAssetOperator(task_id="u", **changes))
        assert says in str(raised.value)


@pytest.mark.parametrize("form", ["an id", "capitals", "a whole output"])
def test_a_generation_is_taken_in_every_form(
    hedra_sandbox: Sandbox, uploaded: dict[str, dict[str, Any]], tmp_path: Path, form: str
):
    made = run(avatar(uploaded["image"], uploaded["audio"]))
    one = {
        "an id": made["generation_id"],
        "capitals": f" {made['generation_id'].upper()} ",
        "a whole output": made,
    }
    for mode in ({}, {"deferrable": "true"}):
        sensor = HedraGenerationSensor(task_id="w", generation_id=one[form], poke_interval="0.05", **mode)
        assert wait(sensor)["generation_id"] == made["generation_id"]
    fetch = HedraDownloadOperator(
        task_id="d", generation_id=one[form], asset_id="None", asset_type="", destination=f" {tmp_path}/out/ "
    )
    assert run(fetch)["uri"] == f"file://{tmp_path}/out/{made['generation_id']}.mp4"
    asset = {"an id": made["asset_id"], "capitals": made["asset_id"].upper(), "a whole output": made}
    fetch = HedraDownloadOperator(
        task_id="d",
        generation_id="None",
        asset_id=asset[form],
        asset_type="Video",
        destination=f"{tmp_path}/a.mp4",
    )
    assert run(fetch)["asset_id"] == made["asset_id"]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("{'generation_id': 'x'}", 'Give output["generation_id"]'),
        ({"asset_id": UNKNOWN}, 'Give an id, or the output of a task that has one: output["generation_id"]'),
        (["a", "b"], "Map the task over it: expand(generation_id=...)"),
        ("['a', 'b']", 'Give output["generation_id"]'),
        ("None", "generation_id"),
        (42, "generation_id: 42 is not a UUID"),
    ],
)
def test_an_invalid_generation_is_rejected(hedra_sandbox: Sandbox, tmp_path: Path, value: Any, says: str):
    tasks = [
        HedraGenerationSensor(task_id="w", generation_id=value),
        HedraGenerationSensor(task_id="w", generation_id=value, soft_fail=True),
        HedraDownloadOperator(task_id="d", generation_id=value, destination=f"{tmp_path}/a.mp4"),
    ]
    for task in tasks:
        with pytest.raises(AirflowFailException) as raised:
            wait(task)
        assert says in str(raised.value)
    assert hedra_sandbox.ledger()["requests"] == []


@pytest.mark.hedra_sandbox(workspaces={"team": 70})
def test_the_credits_sensor(hedra_sandbox: Sandbox):
    for minimum in ("70", " 70\n", 70.0, "70.0"):
        sensor = HedraCreditsSensor(task_id="w", minimum=minimum, workspace_id="None", poke_interval="0.05")
        assert wait(sensor)["minimum"] == 70
    for minimum, says in (
        ("None", "minimum is not given"),
        ("7.5", "minimum: '7.5' is not a whole number of credits"),
    ):
        with pytest.raises(AirflowFailException) as raised:
            wait(HedraCreditsSensor(task_id="w", minimum=minimum))
        assert says in str(raised.value)


def test_the_credits_check_reads_rows_as_their_operator_does(hedra_sandbox: Sandbox):
    rows = [
        {"text": "Hello. " * 20, "speed": "0.9", "duration_ms": "None", "audio": "", "resolution": " 540p "}
    ]
    plain = [{"text": "Hello. " * 20, "speed": 0.9, "resolution": "540p"}]
    expected = run(HedraCreditsCheckOperator(task_id="c", requests=plain))
    for value in (rows, json.dumps(rows), tuple(rows)):
        made = run(HedraCreditsCheckOperator(task_id="c", requests=value, max_credits="None"))
        assert made == expected
    inputs = {"resolution": "540p", "duration_ms": 2000}
    body = {"type": "video", "model_slug": "together/hedra-avatar", "generated_video_inputs": inputs}
    as_texts = {**body, "audio_id": "None", "generated_video_inputs": {**inputs, "duration_ms": " 2000\n"}}
    costs = [run(HedraCreditsCheckOperator(task_id="c", requests=[one]))["high"] for one in (body, as_texts)]
    assert costs[0] == costs[1]
    for value, says in (
        (rows[0], "requests: {"),
        ("None", "requests is not given"),
        (str(rows), "a template renders that by | tojson"),
        ([{"audio": "{'asset_id': 'x'}"}], 'Give output["asset_id"]'),
        ([{"text": "Hello", "speed": "fast"}], "requests[0]: speed: 'fast' is not a number"),
    ):
        with pytest.raises(AirflowFailException) as raised:
            run(HedraCreditsCheckOperator(task_id="c", requests=value))
        assert says in str(raised.value)


FLAGS = ("wait_for_completion", "deferrable", "validate", "reuse")


@pytest.mark.parametrize("name", FLAGS)
def test_a_flag_is_read_with_the_dag(name: str):
    """A text is true for Python, "False" too."""
    for value, expected in (
        ("False", False),
        (" true ", True),
        (0, False),
        ("1", True),
        ("off", False),
        (True, True),
    ):
        assert getattr(avatar("/a.png", "/a.wav", **{name: value}), name) is expected, value
    for value in NOT_GIVEN:
        default = name != "deferrable"
        assert getattr(avatar("/a.png", "/a.wav", **{name: value}), name) is default, value
    for value in ("maybe", 2, [], "{{ params.x }}"):
        with pytest.raises(HedraValueError, match=f"{name}: .* is not true or false"):
            avatar("/a.png", "/a.wav", **{name: value})
    with pytest.raises(HedraValueError, match="It takes no template"):
        avatar("/a.png", "/a.wav", **{name: "{{ params.x }}"})


@pytest.mark.parametrize(
    ("value", "expected"), [("30", 30.0), (" 2.5 ", 2.5), (timedelta(minutes=1), 60.0), (Decimal(9), 9.0)]
)
def test_times_are_read_with_the_dag(value: Any, expected: float):
    operator = avatar("/a.png", "/a.wav", poll_interval=value, timeout=value)
    assert (operator.poll_interval, operator.timeout) == (expected, expected)
    sensor = HedraGenerationSensor(task_id="w", generation_id=UNKNOWN, poke_interval=value, timeout=value)
    assert (sensor.poke_interval, sensor.timeout) == (expected, expected)


@pytest.mark.parametrize("value", [None, "None", ""])
def test_times_that_are_not_given_are_the_defaults(value: Any):
    operator = avatar("/a.png", "/a.wav", poll_interval=value, timeout=value)
    assert (operator.poll_interval, operator.timeout) == (15.0, 21_600.0)
    for kind, argument, expected in (
        (HedraGenerationSensor, {"generation_id": UNKNOWN}, (15.0, 21_600.0)),
        (HedraCreditsSensor, {"minimum": 1}, (300.0, 86_400.0)),
    ):
        sensor = kind(task_id="w", poke_interval=value, timeout=value, **argument)
        assert (sensor.poke_interval, sensor.timeout) == expected


def test_converting_a_result_again_gives_the_same_result(uploaded: dict[str, dict[str, Any]]):
    """A task that comes back from the triggerer reads its arguments once more."""
    operator = avatar(uploaded["image"], uploaded["audio"], seed="7", extra_request='{"batch_size": "2"}')
    operator.read_arguments()
    first = {name: getattr(operator, name) for name in operator.arguments}
    operator.read_arguments()
    assert {name: getattr(operator, name) for name in operator.arguments} == first


def test_a_value_that_is_no_value_of_json_is_rejected():
    for reader in (
        arguments.number,
        arguments.whole_number,
        arguments.seconds,
        arguments.text,
        arguments.rows,
    ):
        for value in (object(), b"1", float("inf"), True):
            with pytest.raises(HedraValueError, match=r"^x: "):
                reader(value, "x")


def test_a_deferred_task_reads_its_arguments_when_it_comes_back(
    hedra_sandbox: Sandbox, uploaded: dict[str, dict[str, Any]], tmp_path: Path
):
    def operator() -> HedraAvatarVideoOperator:
        return avatar(
            uploaded["image"], uploaded["audio"], destination=f" {tmp_path}/a.mp4\n", deferrable=True
        )

    from tests.tasks import TaskDeferred, context_of, fire

    ti = TaskInstance()
    with pytest.raises(TaskDeferred) as raised:
        operator().execute(context_of(ti))
    # Another process, with the arguments as the DAG has them.
    operator().execute_complete(context_of(ti), event=fire(raised.value.trigger))
    assert (tmp_path / "a.mp4").is_file()
    broken = avatar(uploaded["image"], uploaded["audio"], destination={"uri": "x"}, deferrable=True)
    with pytest.raises(AirflowException, match="destination"):
        broken.execute_complete(context_of(ti), event=fire(raised.value.trigger))
