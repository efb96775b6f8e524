"""What a tool returned is searched for credentials before it is cut."""

from __future__ import annotations

import base64
import json
import time

import pytest
import yaml

from selfheal import redaction
from selfheal.adapters.mcp import results

VALUE = "c2VjcmV0LXZhbHVl"
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {
        "name": "db",
        "annotations": {redaction.LAST_APPLIED: json.dumps({"kind": "Secret", "data": {"blob": VALUE}})},
    },
    "data": {"blob": VALUE, "long": f"{VALUE}\n{VALUE}\n"},
    "type": "Opaque",
}
DEPLOYMENT = {
    "kind": "Deployment",
    "metadata": {"annotations": {redaction.LAST_APPLIED: json.dumps({"spec": {"args": [VALUE]}})}},
}
MANY = [{"kind": "ConfigMap", "metadata": {"name": "a"}}, SECRET]


@pytest.mark.parametrize(
    "text",
    [
        yaml.safe_dump(SECRET),
        yaml.safe_dump(SECRET, default_flow_style=True),
        yaml.safe_dump(SECRET, sort_keys=False, default_style="'"),
        yaml.safe_dump(MANY),
        yaml.safe_dump_all(MANY),
        json.dumps(SECRET),
        json.dumps(SECRET, indent=2),
        json.dumps({"kind": "SecretList", "items": [SECRET]}),
        json.dumps({"description": yaml.safe_dump(SECRET)}),
        json.dumps({"description": json.dumps(SECRET)}, indent=2),
        yaml.safe_dump({"stringData": SECRET["data"], "kind": "Secret"}),
        json.dumps({"description": yaml.safe_dump({"stringData": SECRET["data"], "kind": "Secret"})}),
        json.dumps({"kind": "Secret", "data": {"a": json.dumps({"b": {"c": VALUE}})}}),
        json.dumps(json.dumps({"kind": "Secret", "data": {"a": json.dumps({"b": {"c": VALUE}}), "z": VALUE}})),
        yaml.safe_dump(DEPLOYMENT),
        yaml.safe_dump(DEPLOYMENT, width=20),
        yaml.safe_dump(DEPLOYMENT, default_style='"'),
        f'{redaction.LAST_APPLIED}: "{{\\"args\\":[\\"{VALUE}\\"]}}\\n"\nkind: Pod\n',
        json.dumps({"description": yaml.safe_dump(DEPLOYMENT, width=20)}),
        json.dumps(DEPLOYMENT),
        json.dumps({"description": json.dumps(DEPLOYMENT)}),
    ],
)
def test_neither_data_of_a_secret_nor_a_last_applied_copy_is_shown(text: str) -> None:
    assert VALUE in text.replace("\\", "")
    clean = results.clean(text)
    assert VALUE not in clean
    assert results.clean(clean) == clean


def test_data_of_other_objects_stays() -> None:
    text = yaml.safe_dump({"kind": "ConfigMap", "data": {"log-level": "debug"}})
    assert results.clean(text) == text
    clean = results.clean(json.dumps([SECRET, {"kind": "ConfigMap", "data": 1, "name": "after"}]))
    assert "after" in clean
    assert "ConfigMap" in results.clean(yaml.safe_dump_all([DEPLOYMENT, {"kind": "ConfigMap"}]))
    events = "- InvolvedObject:\n    Kind: Secret\n    Name: db\n  Message: not found\n"
    assert results.clean(events) == events


@pytest.mark.parametrize("text", ["MY*API*KEY=abcDEF123ghi", "see sk*live*abcDEF123ghiJKL456 there", "github*pat*11ABCDEF0abcDEF123ghiJKL"])
def test_a_credential_whose_underscores_became_emphasis_goes(text: str) -> None:
    assert "DEF123ghi" not in results.clean(text)
    assert "DEF123ghi" not in results.clean(text.replace("*", "_"))


def test_products_stay_products() -> None:
    assert results.clean("limit = 2*3*4") == "limit = 2*3*4"


@pytest.mark.parametrize("before", range(0, 60, 7))
def test_a_credential_at_the_cut_leaves_no_part(before: int) -> None:
    token = "ghp_" + "Zq7" * 12
    half = results.MAX_TEXT_BYTES // 2
    text = "x " * ((half - before) // 2) + token + " y" * half
    clean = results.clean(text)
    assert len(clean.encode()) <= results.MAX_TEXT_BYTES
    assert "Zq7" not in clean


def test_a_private_key_whose_head_is_cut_off_goes_whole() -> None:
    lines = base64.encodebytes(bytes(range(256)) * 8).decode()
    key = f"-----BEGIN RSA PRIVATE KEY-----\n{lines}-----END RSA PRIVATE KEY-----\n"
    text = "a\n" * 40_000 + key + "the end " * 2000
    assert lines.splitlines()[-1] not in results.clean(text)
    assert results.clean(text).endswith("the end ")


@pytest.mark.parametrize(
    "text",
    ["data:\n " * 10_000, "kind: Secret\n" + "\\n data: " * 8000, "kind: Secret" + "data: {" * 9000, "-----END " * 7000,
     "kind: Secret\ndata:" + "\n  a: b" * 9000, " " * 64_000 + "kind: Secret", "kind: Secret" + "\n" * 60_000],
)  # fmt: skip
def test_no_text_takes_long(text: str) -> None:
    started = time.perf_counter()
    assert len(results.clean(text).encode()) <= results.MAX_TEXT_BYTES
    assert time.perf_counter() - started < 2
