"""Which profiles a task has."""

from __future__ import annotations

import pytest

from tasks.engine import profiles
from tasks.engine.cli import task_names
from tasks.engine.errors import ConfigError


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("toy", ["smoke", "sample", "paper"]),  # the same data for all
        ("denoising", ["smoke", "sample", "paper", "train400"]),
        ("restoration", ["smoke", "sample", "train400"]),
        ("classification", ["smoke", "sample", "mnist", "paper"]),
        ("flow-sintel", ["smoke", "sample", "shapes", "paper"]),
    ],
)
def test_a_task_has_the_profiles_it_has_data_for(task: str, expected: list[str]) -> None:
    assert sorted(profiles.of(task)) == sorted(expected)
    assert all(profiles.check(profile, task) == profile for profile in expected)


def test_every_profile_belongs_to_a_task_and_every_task_has_the_smallest() -> None:
    found = {task: profiles.of(task) for task in task_names()}
    assert all(there[:2] == ["smoke", "sample"] for there in found.values())
    assert {profile for there in found.values() for profile in there} == set(profiles.names())


def test_another_profile_is_named_with_the_tasks_own() -> None:
    with pytest.raises(
        ConfigError, match=r"profile=mnist: toy has no such profile\. There are: smoke, sample, paper\.$"
    ):
        profiles.check("mnist", "toy")
    with pytest.raises(ConfigError, match="profile=papr: there is no such profile. Did you mean paper"):
        profiles.check("papr")
