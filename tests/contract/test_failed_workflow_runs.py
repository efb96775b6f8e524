"""What a failed workflow run says, read from answers in the shapes that GitHub publishes (npm `@octokit/openapi`)."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, cast

import pytest
from hack.sandbox.github import install
from openapi_schema_validator import OAS30Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

from selfheal.adapters.github import delivery, session
from selfheal.api.policy import DeliveryStrategy
from selfheal.domain import errors, facts

REPO, SHA = "acme/gitops", "f" * 40
RUNS = "/repos/{owner}/{repo}/actions/runs"
JOBS = "/repos/{owner}/{repo}/actions/runs/{run_id}/jobs"
NOTES = "/repos/{owner}/{repo}/check-runs/{check_run_id}/annotations"
STATUSES = "/repos/{owner}/{repo}/deployments/{deployment_id}/statuses"
TOKEN = "ghp_" + "a1B2c3D4" * 4 + "e5F6"


class Published:
    """GitHub's own examples of answers, and whether one fits its schema."""

    def __init__(self) -> None:
        self.spec = json.loads(install.OPENAPI_FILE.read_text())
        resource = Resource.from_contents(self.spec, default_specification=DRAFT4)
        self.registry: Any = Registry().with_resource("urn:github", resource)

    def example(self, template: str) -> Any:
        examples = self._content(template)["examples"]
        found = self.spec["components"]["examples"][examples["default"]["$ref"].rpartition("/")[2]]
        return copy.deepcopy(found["value"])

    def check(self, template: str, answer: Any) -> Any:
        text = json.dumps(self._content(template)["schema"]).replace('"#/', '"urn:github#/')
        faults = [fault.message for fault in OAS30Validator(json.loads(text), registry=self.registry).iter_errors(answer)]
        assert faults == [], template
        return answer

    def _content(self, template: str) -> Any:
        return self.spec["paths"][template]["get"]["responses"]["200"]["content"]["application/json"]


@pytest.fixture(scope="module")
def published() -> Published:
    return Published()


class Api:
    """Answers by the end of the path; an error is raised."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers

    def pages(self, path: str, /, *, limit: int = 1000, key: str = "", **params: Any) -> Iterator[Any]:
        answer = self.answers[path.rpartition("/")[2]]
        if isinstance(answer, Exception):
            raise answer
        yield from answer[key] if key else answer


def read(runs: Any, jobs: Any, notes: Any) -> facts.DeliveryFacts:
    api = cast("session.Api", Api(runs=runs, jobs=jobs, annotations=notes))
    return delivery.read(api, REPO, SHA, DeliveryStrategy.ACTIONS)


def failed(published: Published) -> tuple[Any, Any, Any]:
    """The published examples, as they are where a step fails."""
    runs, jobs, notes = published.example(RUNS), published.example(JOBS), published.example(NOTES)
    runs["workflow_runs"][0] |= {"status": "completed", "conclusion": "failure", "name": "Deploy"}
    job = jobs["jobs"][0]
    job |= {"status": "completed", "conclusion": "failure", "name": "build"}
    job["created_at"] = job["started_at"]  # the example lacks what its own schema requires
    job["steps"][1] |= {"conclusion": "failure", "name": "Push image"}
    said = ["Process completed with exit code 1.", f"denied: requested access\nis refused, token {TOKEN}", "third", "fourth"]
    notes = [{**notes[0], "annotation_level": "failure", "message": text} for text in said]
    notes.append({**notes[0], "annotation_level": "warning", "message": "old Node"})
    return published.check(RUNS, runs), published.check(JOBS, jobs), published.check(NOTES, notes)


def test_job_step_and_first_errors_are_told_and_redacted(published: Published) -> None:
    found = read(*failed(published))
    assert found.state is facts.DeliveryState.FAILURE
    assert found.message.startswith("Deploy: failure; job build, step Push image: denied: requested access is refused, ")
    assert found.message.endswith(" | third")
    assert TOKEN not in found.message
    assert found.url


def test_a_job_without_words_is_named_with_what_the_runner_says(published: Published) -> None:
    runs, jobs, notes = failed(published)
    assert read(runs, jobs, notes[:1]).message.endswith("step Push image: Process completed with exit code 1.")
    assert read(runs, jobs, []).message.endswith("job build, step Push image")
    jobs["jobs"][0]["steps"] = []
    assert read(runs, jobs, []).message.endswith("job build")


@pytest.mark.parametrize("error", [errors.NotFound("gone"), errors.Transient("502"), errors.Forbidden("no right")])
def test_what_cannot_be_read_hides_no_failure(published: Published, error: errors.SelfHealError) -> None:
    runs, jobs, _ = failed(published)
    for found in (read(runs, error, []), read(runs, jobs, error)):
        assert (found.state, found.message) == (facts.DeliveryState.FAILURE, "Deploy: failure")


def test_a_run_that_is_well_reads_no_jobs(published: Published) -> None:
    runs, _, _ = failed(published)
    runs["workflow_runs"][0]["conclusion"] = "success"
    found = read(runs, AssertionError("not asked"), AssertionError("not asked"))
    assert found.state is facts.DeliveryState.SUCCESS


def test_deployments_in_their_published_shape(published: Published) -> None:
    deployments = published.check("/repos/{owner}/{repo}/deployments", published.example("/repos/{owner}/{repo}/deployments"))
    statuses = published.example(STATUSES)
    statuses[0] |= {"state": "failure", "log_url": "https://ci.example/9"}
    api = cast("session.Api", Api(deployments=deployments, statuses=published.check(STATUSES, statuses)))
    found = delivery.read(api, REPO, SHA, DeliveryStrategy.DEPLOYMENTS)
    assert (found.state, found.url) == (facts.DeliveryState.FAILURE, "https://ci.example/9")
    assert found.message == f"{deployments[0]['environment']}: failure"
