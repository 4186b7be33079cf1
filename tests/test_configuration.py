"""The configuration: every part builds, and spells out its class's own defaults."""

from inspect import Parameter, signature
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from hydra.utils import get_class, instantiate
from omegaconf import OmegaConf

from recexplain.evaluation.cli import ENTRIES

CONF = Path(__file__).parent.parent / "conf"
PARTS = sorted(path for group in ("data", "explainer", "model", "recipe") for path in (CONF / group).glob("*.yaml"))
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


@pytest.mark.parametrize("path", PARTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_part_spells_out_its_own_defaults(path: Path) -> None:
    part = {str(name): value for name, value in OmegaConf.to_container(OmegaConf.load(path)).items()}
    parameters = signature(get_class(part.pop("_target_"))).parameters
    given_at_run_time = {"n_items"}  # of the data
    assert set(part) == set(parameters) - given_at_run_time
    for name, value in part.items():
        assert parameters[name].default in (value, Parameter.empty), name


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_entry_composes(entry: str) -> None:
    with initialize_config_module("recexplain.conf", version_base="1.3"):
        config = compose(entry)
    assert {"out", "seed", "limit"} <= set(config)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_composes_and_its_parts_build(experiment: str) -> None:
    with initialize_config_module("recexplain.conf", version_base="1.3"):
        config = compose("train", [f"experiment={experiment}"])
    assert instantiate(config.data).read
    assert instantiate(config.recipe).epochs >= 1
    assert instantiate(config.model, n_items=3).n_items == 3
