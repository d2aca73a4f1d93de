"""What holds for the settings of a campaign's costs, wherever they are kept."""

from __future__ import annotations

from typing import Any

import pytest

from store.settings_sections import CostSettings
from strategy.errors import ConfigError
from tests.setting_cases import Case


def test_what_is_not_set_has_its_default(case: Case) -> None:
    cost = case.settings.cost()
    assert cost == CostSettings()
    assert cost.monthly_cost_limit == 10.0
    assert cost.spot_min_discount_perc == 0.4
    assert cost.max_runtime_hours == 6
    assert cost.max_wait_hours == 24
    assert cost.launch_window_hours == 8
    assert cost.spot_instance_type[0] == "ml.c5.xlarge"


def test_every_setting_can_be_set(case: Case) -> None:
    values: dict[str, Any] = {
        "monthly_cost_limit": 25.5,
        "spot_min_discount_perc": 0.6,
        "spot_instance_type": ["ml.m5.xlarge"],
        "max_runtime_hours": 2,
        "max_wait_hours": 3.5,
        "launch_window_hours": 4,
    }
    assert set(values) == set(CostSettings.model_fields)
    case.write(values)
    assert case.settings.cost() == CostSettings(
        monthly_cost_limit=25.5,
        spot_min_discount_perc=0.6,
        spot_instance_type=("ml.m5.xlarge",),
        max_runtime_hours=2.0,
        max_wait_hours=3.5,
        launch_window_hours=4.0,
    )


def test_a_change_is_seen_by_the_next_read(case: Case) -> None:
    case.write({"monthly_cost_limit": 1})
    assert case.settings.cost().monthly_cost_limit == 1.0
    case.write({"monthly_cost_limit": 2})
    assert case.settings.cost().monthly_cost_limit == 2.0


@pytest.mark.parametrize(
    "written",
    [
        ["c5.xlarge", "ml.m5.xlarge"],
        '["c5.xlarge", "m5.xlarge"]',
        "['c5.xlarge', 'm5.xlarge']",
        "c5.xlarge,m5.xlarge",
        " c5.xlarge , m5.xlarge, ",
    ],
)
def test_ec2_names_in_any_list_become_those_of_sagemaker(case: Case, written: Any) -> None:
    case.write({"spot_instance_type": written})
    assert case.settings.cost().spot_instance_type == ("ml.c5.xlarge", "ml.m5.xlarge")


def test_the_document_s_own_list_is_refused_for_the_two_that_do_not_train(case: Case) -> None:
    """c6i.large and c6a.2xlarge are EC2 types that SageMaker does not train on."""
    own = "['c6i.large', 'c5.xlarge', 'c6a.2xlarge', 'm6i.large', 'm5.xlarge']"
    case.write({"spot_instance_type": own})
    with pytest.raises(ConfigError) as raised:
        case.settings.cost()
    assert f"{case.prefix}spot_instance_type" in str(raised.value)
    assert "'c6i.large'" in str(raised.value)
    assert "'c6a.2xlarge'" in str(raised.value)
    assert "'c5.xlarge'" not in str(raised.value)


def test_the_default_instance_types_are_all_for_training(case: Case) -> None:
    default = CostSettings().spot_instance_type
    case.write({"spot_instance_type": list(default)})
    assert case.settings.cost().spot_instance_type == default


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("monthly_cost_limit", -0.01, ">= 0"),
        ("monthly_cost_limit", "ten", "number"),
        ("monthly_cost_limit", True, "number"),
        ("monthly_cost_limit", float("nan"), "finite"),
        ("monthly_cost_limit", float("inf"), "finite"),
        ("spot_min_discount_perc", 95, "<= 1"),
        ("spot_min_discount_perc", -0.1, ">= 0"),
        ("spot_instance_type", [], "at least 1"),
        ("spot_instance_type", ",", "at least 1"),
        ("spot_instance_type", ["xyz"], "'xyz'"),
        ("max_runtime_hours", 0, "> 0"),
        ("max_runtime_hours", 121, "<= 120"),
        ("max_wait_hours", 241, "<= 240"),
        ("launch_window_hours", 25, "<= 24"),
        ("launch_window_hours", 0, "> 0"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(
    case: Case, key: str, value: Any, allowed: str
) -> None:
    case.write({key: value})
    with pytest.raises(ConfigError) as raised:
        case.settings.cost()
    assert f"{case.prefix}{key}" in str(raised.value)
    assert allowed in str(raised.value)


def test_a_wait_that_is_shorter_than_the_runtime_is_refused(case: Case) -> None:
    case.write({"max_runtime_hours": 25})
    with pytest.raises(ConfigError, match="max_wait_hours 24 lies below max_runtime_hours 25"):
        case.settings.cost()


def test_an_unknown_setting_is_refused_by_name(case: Case) -> None:
    case.write({"monthly_cost_limt": 20})
    with pytest.raises(ConfigError) as raised:
        case.settings.cost()
    assert f"{case.prefix}monthly_cost_limt: unknown key" in str(raised.value)


def test_all_that_is_wrong_is_told_at_once(case: Case) -> None:
    case.write({"monthly_cost_limit": -1, "launch_window_hours": 99})
    with pytest.raises(ConfigError, match=r"(?s)monthly_cost_limit.*launch_window_hours"):
        case.settings.cost()


def test_settings_do_not_change_once_read(case: Case) -> None:
    with pytest.raises(ValueError, match="frozen"):
        case.settings.cost().monthly_cost_limit = 1000.0
