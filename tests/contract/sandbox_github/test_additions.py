"""What emulate lacks or answers wrongly, asked by PyGithub and by raw HTTP."""

from __future__ import annotations

import pathlib
import subprocess

import github
import pytest
import requests

from .conftest import ALICE, BOT, Place

pytestmark = pytest.mark.sandbox
MANIFEST = "apps/deploy.yaml"
DIFF = {"Accept": "application/vnd.github.diff"}


def test_reference_is_edited_and_deleted_by_its_own_address(place: Place) -> None:
    repository = place.connect()
    first = repository.get_branch("main").commit.sha
    ref = repository.create_git_ref("refs/heads/team/fix", first)
    second = place.push("main", {"x": b"1\n"}, token=ALICE)
    ref.edit(second)
    assert repository.get_git_ref("heads/team/fix").object.sha == second
    assert [found.ref for found in repository.get_git_matching_refs("heads/team/")] == ["refs/heads/team/fix"]
    repository.get_git_ref("heads/team/fix").delete()
    with pytest.raises(github.UnknownObjectException):
        repository.get_git_ref("heads/team/fix")


@pytest.mark.parametrize(("method", "body"), [("DELETE", None), ("PATCH", {"sha": "0" * 40})])
def test_missing_reference(place: Place, method: str, body: object) -> None:
    answer = place.ask(method, "/git/refs/heads/none", body)
    assert (answer.status_code, answer.json()["message"]) == (422, "Reference does not exist")


def test_statuses_of_a_commit(place: Place) -> None:
    commit = place.connect().get_branch("main").commit
    commit.create_status("pending", context="ci", description="begins")
    commit.create_status("success", context="lint")
    assert commit.get_combined_status().state == "pending"
    commit.create_status("success", context="ci")
    combined = commit.get_combined_status()
    assert (combined.state, combined.total_count) == ("success", 2)
    told = [(entry.context, entry.state, entry.creator.login) for entry in commit.get_statuses()]
    assert told == [("ci", "success", "selfheal-bot"), ("lint", "success", "selfheal-bot"), ("ci", "pending", "selfheal-bot")]
    by_branch = place.ask("GET", "/commits/main/statuses").json()
    assert len(by_branch) == 3


def test_status_of_nothing(place: Place) -> None:
    answer = place.ask("POST", f"/statuses/{'0' * 40}", {"state": "success"})
    assert (answer.status_code, answer.json()["message"]) == (422, f"No commit found for SHA: {'0' * 40}")
    head = place.ask("GET", "/git/ref/heads/main").json()["object"]["sha"]
    assert place.ask("POST", f"/statuses/{head}", {"state": "fine"}).status_code == 422


def test_deployments(place: Place) -> None:
    repository = place.connect()
    head = repository.get_branch("main").commit.sha
    made = repository.create_deployment(ref="main", environment="production", auto_merge=False, required_contexts=[])
    made.create_status("in_progress", description="applying")
    made.create_status("success")
    assert [entry.state for entry in made.get_statuses()] == ["success", "in_progress"]
    assert [entry.id for entry in repository.get_deployments(sha=head)] == [made.id]
    assert list(repository.get_deployments(environment="staging")) == []
    later = repository.create_deployment(ref=head, environment="production", auto_merge=False, required_contexts=[])
    later.create_status("success")
    assert repository.get_deployment(made.id).get_statuses()[0].state == "inactive"


def test_deployment_that_does_not_exist(place: Place) -> None:
    assert place.ask("GET", "/deployments/1").status_code == 404
    assert place.ask("GET", "/deployments/1/statuses").status_code == 404
    assert place.ask("POST", "/deployments/1/statuses", {"state": "success"}).status_code == 404
    assert place.ask("POST", "/deployments", {"ref": "none"}).status_code == 422


def test_list_comes_in_pages(place: Place) -> None:
    for number in range(3):
        place.ask("POST", "/deployments", {"ref": "main", "environment": f"e{number}"})
    first = place.ask("GET", "/deployments?per_page=2")
    assert [entry["environment"] for entry in first.json()] == ["e2", "e1"]
    following = place.ask("GET", "/" + first.links["next"]["url"].removeprefix(place.base))
    assert [entry["environment"] for entry in following.json()] == ["e0"]
    assert "next" not in following.links


def test_workflow_runs_of_a_commit(place: Place) -> None:
    for sha in ("a" * 40, "b" * 40):
        body = {"repository": place.name, "head_sha": sha, "status": "completed", "conclusion": "success"}
        requests.post(f"{place.base}/_sandbox/runs", json=body, timeout=10)
    found = place.ask("GET", f"/actions/runs?head_sha={'a' * 40}").json()
    assert (found["total_count"], found["workflow_runs"][0]["head_sha"]) == (1, "a" * 40)


def test_files_and_diff_follow_the_head(place: Place) -> None:
    number = place.open("fix", {MANIFEST: b"memory: 128Mi\n"})
    place.push("fix", {"new.yaml": b"a: 1\n", "README.md": None})
    pull = place.connect().get_pull(number)
    assert {entry.filename: entry.status for entry in pull.get_files()} == {
        MANIFEST: "modified", "new.yaml": "added", "README.md": "removed",
    }  # fmt: skip
    answer = place.ask("GET", f"/pulls/{number}", **DIFF)
    assert answer.headers["Content-Type"].startswith("application/vnd.github.diff")
    text = answer.text
    assert f"diff --git a/{MANIFEST} b/{MANIFEST}\n" in text
    assert f"--- a/{MANIFEST}\n+++ b/{MANIFEST}\n" in text
    assert "-memory: 64Mi\n+memory: 128Mi" in text
    assert "new file mode 100644" in text
    assert "deleted file mode 100644" in text
    assert place.ask("GET", "/compare/main...fix", **DIFF).text == text
    assert place.ask("GET", "/compare/main...fix").json()["files"]


def test_files_stay_after_the_merge(place: Place) -> None:
    number = place.open("fix", {MANIFEST: b"memory: 128Mi\n"})
    assert place.ask("PUT", f"/pulls/{number}/merge", {"merge_method": "merge"}).status_code == 200
    assert [entry["filename"] for entry in place.ask("GET", f"/pulls/{number}/files").json()] == [MANIFEST]


def test_diff_applies_with_git(place: Place, tmp_path: pathlib.Path) -> None:
    root = tmp_path
    (root / "apps").mkdir()
    (root / MANIFEST).write_bytes(b"memory: 64Mi\n")
    (root / "README.md").write_bytes(b"# gitops\n")
    number = place.open("fix", {MANIFEST: b"memory: 128Mi\n", "new.yaml": b"a: 1\n", "README.md": None})
    text = place.ask("GET", f"/pulls/{number}", token=BOT, **DIFF).content
    done = subprocess.run(["git", "apply", "-"], input=text, cwd=root, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (root / MANIFEST).read_bytes() == b"memory: 128Mi\n"
    assert (root / "new.yaml").read_bytes() == b"a: 1\n"
    assert not (root / "README.md").exists()
