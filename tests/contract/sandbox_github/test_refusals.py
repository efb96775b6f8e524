"""What GitHub refuses and emulate would not; status and words as GitHub's."""

from __future__ import annotations

import pytest
import requests

from .conftest import ALICE, READER, Place

pytestmark = pytest.mark.sandbox
MANIFEST = "apps/deploy.yaml"


def test_unknown_token(place: Place) -> None:
    answer = place.ask("GET", "", token="stolen")
    assert (answer.status_code, answer.json()["message"]) == (401, "Bad credentials")


def test_reader_may_read_but_not_write(place: Place) -> None:
    assert place.ask("GET", "", token=READER).status_code == 200
    answer = place.ask("POST", "/issues", {"title": "x"}, token=READER)
    assert answer.status_code == 403
    assert answer.json()["message"].startswith("Resource not accessible")


def test_missing_repository(place: Place) -> None:
    assert place.ask("GET", "//repos/acme/none").status_code == 404
    assert place.ask("GET", "//repos/acme/none/deployments").status_code == 404
    assert place.ask("DELETE", "//repos/acme/none/git/refs/heads/x").status_code == 404
    assert place.ask("POST", "//repos/acme/none/git/refs", {"ref": "refs/heads/x", "sha": "0" * 40}).status_code == 404


def test_body_that_is_no_json(place: Place) -> None:
    answer = requests.post(
        f"{place.base}/repos/{place.name}/issues",
        data="{",
        headers={"Authorization": f"Bearer {ALICE}"},
        timeout=10,
    )
    assert (answer.status_code, answer.json()["message"]) == (400, "Problems parsing JSON")


def test_second_pull_request_of_a_branch(place: Place) -> None:
    place.open("fix", {MANIFEST: b"memory: 128Mi\n"})
    answer = place.ask("POST", "/pulls", {"title": "Again", "head": "fix", "base": "main"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["message"] == "A pull request already exists for acme:fix."


@pytest.mark.parametrize(("field", "body"), [("head", {"head": "none", "base": "main"}), ("base", {"head": "fix", "base": "none"})])
def test_pull_request_of_a_missing_branch(place: Place, field: str, body: dict[str, str]) -> None:
    place.branch("fix", {MANIFEST: b"memory: 128Mi\n"})
    answer = place.ask("POST", "/pulls", {"title": "Fix", **body})
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"resource": "PullRequest", "field": field, "code": "invalid"}]


def test_existing_branch(place: Place) -> None:
    start = place.branch("fix", {MANIFEST: b"memory: 128Mi\n"})
    answer = place.ask("POST", "/git/refs", {"ref": "refs/heads/fix", "sha": start})
    assert (answer.status_code, answer.json()["message"]) == (422, "Reference already exists")


def test_own_approval(place: Place) -> None:
    number = place.open("fix", {MANIFEST: b"memory: 128Mi\n"})
    answer = place.ask("POST", f"/pulls/{number}/reviews", {"event": "APPROVE"})
    assert answer.status_code == 422
    assert answer.json()["errors"] == ["Can not approve your own pull request"]
    assert place.ask("POST", f"/pulls/{number}/reviews", {"event": "APPROVE"}, token=ALICE).status_code == 200


def test_merge_of_a_head_that_moved(place: Place) -> None:
    number = place.open("fix", {MANIFEST: b"memory: 128Mi\n"})
    seen = place.ask("GET", f"/pulls/{number}").json()["head"]["sha"]
    place.push("fix", {MANIFEST: b"memory: 256Mi\n"})
    answer = place.ask("PUT", f"/pulls/{number}/merge", {"sha": seen})
    assert (answer.status_code, answer.json()["message"]) == (409, "Head branch was modified. Review and try the merge again.")


def test_conflict_is_seen_and_not_merged(place: Place) -> None:
    number = place.open("fix", {MANIFEST: b"memory: 128Mi\n"})
    assert place.ask("GET", f"/pulls/{number}").json()["mergeable"] is True
    place.push("main", {MANIFEST: b"memory: 32Mi\n"}, token=ALICE)
    shown = place.ask("GET", f"/pulls/{number}").json()
    assert (shown["mergeable"], shown["mergeable_state"]) == (False, "dirty")
    answer = place.ask("PUT", f"/pulls/{number}/merge", {})
    assert (answer.status_code, answer.json()["message"]) == (405, "Pull Request is not mergeable")
    assert place.ask("GET", f"/pulls/{number}").json()["merged"] is False


def test_merge_keeps_what_reached_the_base_meanwhile(place: Place) -> None:
    number = place.open("fix", {MANIFEST: b"memory: 128Mi\n"})
    place.push("main", {"other.yaml": b"a: 1\n"}, token=ALICE)
    assert place.ask("PUT", f"/pulls/{number}/merge", {"merge_method": "squash"}).status_code == 200
    names = {entry["path"] for entry in place.ask("GET", "/git/trees/main?recursive=1").json()["tree"]}
    assert {MANIFEST, "other.yaml"} <= names
    assert place.ask("PUT", f"/pulls/{number}/merge", {}).status_code == 405


def test_protected_branch_waits_for_review_and_check(place: Place) -> None:
    protection = {
        "required_status_checks": {"strict": False, "contexts": ["ci"]},
        "enforce_admins": True,
        "required_pull_request_reviews": {"required_approving_review_count": 1},
        "restrictions": None,
    }
    made = place.ask("PUT", "/branches/main/protection", protection, token="sandbox-owner-token")
    assert made.status_code == 200, made.text
    number = place.open("fix", {MANIFEST: b"memory: 128Mi\n"})
    head = place.ask("GET", f"/pulls/{number}").json()["head"]["sha"]
    first = place.ask("PUT", f"/pulls/{number}/merge", {})
    assert (first.status_code, first.json()["message"]) == (405, 'Required status check "ci" is expected.')
    place.ask("POST", f"/statuses/{head}", {"state": "success", "context": "ci"}, token=ALICE)
    second = place.ask("PUT", f"/pulls/{number}/merge", {})
    assert second.status_code == 405
    assert "approving review is required" in second.json()["message"]
    place.ask("POST", f"/pulls/{number}/reviews", {"event": "APPROVE"}, token=ALICE)
    assert place.ask("PUT", f"/pulls/{number}/merge", {}).status_code == 200
