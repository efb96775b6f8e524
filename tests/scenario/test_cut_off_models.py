"""The operator dies whenever the model is asked by a certain agent: what the rules know is not lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.scenario.ports_wrapper import Crash
from tests.scenario.world import PlausibleModel, World, approve_when_asked

from selfheal import ports
from selfheal.api.incident import Phase


class DeadlyModel(PlausibleModel):
    """Ends the operator's process in each call for an answer of one type."""

    def __init__(self, deadly: str) -> None:
        super().__init__()
        self.deaths = 0
        self._deadly = deadly

    async def complete(self, messages: Sequence[Mapping[str, Any]], **more: Any) -> ports.ModelAnswer:
        if f"JSON object of the type {self._deadly}," in str(messages[0]["content"]):
            self.deaths += 1
            raise Crash
        return await super().complete(messages, **more)


async def test_a_target_that_the_text_names_is_found_although_the_operator_dies_with_its_agent() -> None:
    model = DeadlyModel("TriageAnswer")
    world = World(model=model)
    world.people.append(approve_when_asked)
    world.file_incident(targetRef=None, summary="checkout restarts again and again")
    await world.run_to_end()
    assert world.status.phase is Phase.INCIDENT_RESOLVED
    assert world.status.target is not None
    assert world.status.target.name == "checkout"
    assert model.deaths == 1, "it is asked once, and not again"
