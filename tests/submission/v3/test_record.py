"""The record as it is stored: readable by earlier and later versions, without a secret in clear."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from hedra_provider.submission.identity import account_namespace
from hedra_provider.submission.v3.keys import idempotency_key, owner_fingerprint
from hedra_provider.submission.v3.record import BodyCipher, Intent, Send, TryRecord, digest_of

GOLDEN = json.loads((Path(__file__).parent / "golden" / "keys.json").read_text())
BODY = b'{"input":{"audio":{"source":"url","url":"https://files.invalid/handle-secret"}}}'
INTENT = Intent(
    step="job",
    n=0,
    idempotency_key="key",
    place="header",
    model="hedra-avatar",
    fingerprint="request",
    attempt_group="group",
    owner="owner",
    began_at=1.5,
    digest=digest_of(BODY),
    sends=(Send(began_at=1.5, outcome="unknown"),),
)
RECORD = TryRecord(key="dag\0run", try_id="1", attempt_group="group", intents=(INTENT,))


def test_a_record_survives_its_text():
    assert TryRecord.from_json(RECORD.to_json()) == RECORD


def test_fields_of_a_later_version_are_ignored():
    text = json.loads(RECORD.to_json())
    text |= {"version": 7, "later": 1}
    text["intents"][0] |= {"later": {"deep": []}}
    text["intents"][0]["sends"][0]["later"] = True
    found = TryRecord.from_json(json.dumps(text))
    assert (found.intents, found.version) == (RECORD.intents, 7)


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"intents": [3]}', "{", '{"key": "k"}'])
def test_what_is_no_record_is_an_error(text):
    with pytest.raises(ValueError, match=r"no record|Expecting"):
        TryRecord.from_json(text)


def test_a_body_is_readable_with_its_api_key_alone():
    cipher = BodyCipher("id:secret")
    hidden = cipher.encrypt(BODY)
    assert "handle-secret" not in hidden
    assert cipher.decrypt(hidden, digest_of(BODY)) == BODY
    assert BodyCipher("id:rotated").decrypt(hidden, digest_of(BODY)) is None
    assert cipher.decrypt(hidden, digest_of(b"another")) is None
    assert cipher.decrypt(None, digest_of(BODY)) is None
    assert cipher.decrypt("no token", digest_of(BODY)) is None


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: row["what"])
def test_the_scheme_of_the_keys_stays_as_it_is(row):
    """A retry by a later version of the provider must send the key of the first attempt."""
    namespace = account_namespace(row["api_key"], row["id_namespace"])
    assert idempotency_key(namespace, row["key"], row["step"], row["n"]) == row["idempotency_key"]


def test_steps_numbers_and_keys_have_different_idempotency_keys():
    space = uuid.UUID(int=1)
    keys = {
        idempotency_key(space, key, step, n)
        for key in ("a", "b")
        for step in ("speech", "avatar", "job")
        for n in range(3)
    }
    assert len(keys) == 18


def test_an_owner_is_the_id_part_of_the_key():
    assert owner_fingerprint("id:secret") == owner_fingerprint("id:another")
    assert owner_fingerprint("id:secret") != owner_fingerprint("other:secret")
