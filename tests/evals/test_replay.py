"""What a real small model said about real incidents, replayed: it may help, never harm, and never overspend.

The answers are those of `recorded.json` (made by `make record`); each belongs to the hash of the request that the
operator's own prompts, schemas and adapter build from the stored evidence. A request without an answer fails.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.evals import __main__ as evals
from tests.evals import crews, incidents, wire

from selfheal.api.policy import GuardsSpec
from selfheal.diagnosis.evidence import ItemKind
from selfheal.remediation import propose
from selfheal.remediation.edits import Refusal

STORED = {one.name: one for one in incidents.load_all()}
RECORDED: dict[str, Any] = json.loads(evals.SUMMARY.read_text())
BY_MODEL = sorted(name for name, one in STORED.items() if one.by_model)


async def replay(name: str) -> crews.Evaluation:
    """Ask the agents again, with the recorded answers in the model's place."""
    answers = wire.Replayer(wire.load(name))
    evaluator = crews.Evaluator(url="http://model.invalid/v1", model=RECORDED["model"], transport=answers)
    found = await evaluator.evaluate(STORED[name], stages=RECORDED["incidents"][name]["stages"])
    await evaluator.close()
    assert not answers.missing, f"{name}: {len(answers.missing)} requests have no recorded answer: run `make record`"
    unused = set(wire.load(name)) - answers.used
    assert not unused, f"{name}: {len(unused)} recorded answers are asked for no more: run `make record`"
    return found


@pytest.mark.parametrize("name", sorted(STORED))
async def test_a_model_never_makes_a_diagnosis_worse_and_stays_inside_its_budget(name: str) -> None:
    found = await replay(name)
    assert not found.worse, f"rules had it right; with the model: {found.cause}"
    assert found.within_budget
    assert not found.wrong_target
    assert evals.shape(found) | {"seconds": 0} == {
        key: 0 if key == "seconds" else value
        for key, value in RECORDED["incidents"][name].items()
        if key != "stages"
    }


def test_there_are_enough_incidents_whose_cause_no_rule_can_know() -> None:
    assert len(BY_MODEL) >= 5
    assert not [name for name in BY_MODEL if STORED[name].proposals]


@pytest.mark.parametrize("name", BY_MODEL)
async def test_a_cause_that_only_an_agent_can_find_is_found_or_handed_over(name: str) -> None:
    """A refusal to fix is what the engine hands over with; a wrong guess must never lead to an edit."""
    found, stored = await replay(name), STORED[name]
    assert found.class_right or found.handed_over
    assert "fix" not in found.asked
    assert stored.best is not None
    live = next(stored.bundle.of(ItemKind.OBJECT)).value
    source = propose.find_source(stored.files, path="", manifest=live, namespace=stored.bundle.namespace)
    with pytest.raises(Refusal) as refused:
        propose.propose(stored.best, bundle=stored.bundle, source=source, files=stored.files, guards=GuardsSpec())
    assert refused.value.reason == "NeedsPerson"
    assert "A person has to: 1. kubectl" in refused.value.message


@pytest.mark.parametrize("name", evals.WHOLE)
async def test_all_five_agents_answer_what_the_operator_can_use(name: str) -> None:
    found = await replay(name)
    assert set(found.asked) == set(crews.ALL_STAGES)
    assert found.usage.model_calls >= len(crews.ALL_STAGES)


async def test_a_request_that_was_never_recorded_fails() -> None:
    answers = wire.Replayer({})
    evaluator = crews.Evaluator(url="http://model.invalid/v1", model="other", transport=answers)
    found = await evaluator.evaluate(STORED[BY_MODEL[0]])
    await evaluator.close()
    assert answers.missing
    assert found.degraded
