"""What an adapter is told: from the environment, checked, named where it is wrong."""

from __future__ import annotations

import pytest
from mmreward_client import InvalidInput
from mmreward_client.adapters.adapter_settings import AdapterSettings, read_settings


def test_an_empty_environment_is_a_service_on_this_machine():
    """Every setting has a default, and an empty variable is none."""
    found = read_settings({"MMREWARD_KIND": "", "OTHER": "x"})
    assert found == AdapterSettings()
    assert found.client_options()["urls"] == ["http://127.0.0.1:8000"]
    assert found.pin == "first"
    assert not found.needs_groups


def test_values_reach_the_client():
    """Replicas, key, times and pin are what the client is made with."""
    found = read_settings(
        {
            "MMREWARD_URL": "http://a:1, http://b:2",
            "MMREWARD_API_KEY": "secret",
            "MMREWARD_TIMEOUT_S": "30",
            "MMREWARD_SILENCE_TIMEOUT_S": "20",
            "MMREWARD_PROCESS_GROUP_TIMEOUT_S": "60",
            "MMREWARD_PIN": "none",
            "MMREWARD_KIND": "judge",
            "MMREWARD_COMPARISONS": "3",
            "MMREWARD_CRITIQUES": "2",
            "MMREWARD_SEED": "5",
        }
    )
    options = found.client_options()
    assert options["urls"] == ["http://a:1", "http://b:2"]
    assert (options["api_key"], options["timeout_s"]) == ("secret", 30)
    assert (options["process_group_timeout_s"], options["pin"]) == (60, None)
    assert options["silence_timeout_s"] == 20
    assert found.comparisons == 3
    assert found.sampling() == {"critiques": 2, "seed": 5}
    assert found.needs_groups
    assert "secret" not in repr(found)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KIND", "jury"),
        ("CRITIQUES", "0"),
        ("TIMEOUT_S", "soon"),
        ("SILENCE_TIMEOUT_S", "inf"),
        ("ON_FAILURE", "zero"),
        ("GROUP_SIZE", "1"),
        ("COMPARISONS", "some"),
    ],
)
def test_a_wrong_value_is_named_and_not_shown(name, value):
    """The variable stands in the message, its value does not: it may be a key."""
    with pytest.raises(InvalidInput, match=f"MMREWARD_{name}") as caught:
        read_settings({f"MMREWARD_{name}": value, "MMREWARD_API_KEY": "secret"})
    assert value not in str(caught.value).replace("greater than 0", "").replace("or equal to 2", "")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "variables",
    [{"KIND": "judge", "MODE": "none"}, {"CRITIQUES": "2", "TEMPERATURE": "0"}],
)
def test_settings_that_do_not_fit_together(variables):
    """A judge without its judgement, several equal critiques."""
    with pytest.raises(InvalidInput, match=r"MMREWARD_(MODE|TEMPERATURE)"):
        read_settings({f"MMREWARD_{name}": value for name, value in variables.items()})
