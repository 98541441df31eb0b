"""A study with variants, run for real: what is shared is made once, and a variant's numbers are
those of a study that is configured like it and has no variants."""

import re
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import yaml
from checkout import SMOKE, copy_repository, run
from scipy.stats import trim_mean

VARIANTS = {
    "long_steps": {"ppo": {"learning_rate": 0.1}},  # differs in learning only, and unlearns all
    "single_turn": {"episode": {"max_turns": 1}},  # differs in what is played, from the start
}
SMALL = {
    "base_model": {"gate_episodes": 2},
    "training": {"iterations": 1, "episodes": 8, "shards": 1},
    "evaluation": {"episodes": 2, "curve_iterations": [], "train_episodes": 0},
}
# The jobs of a study that shares nothing but its competitions.
OWN = {"base_model": 1, "generate_trajectories": 1, "train_rl": 1}
EVALUATION = ("note_conditions", "evaluate", "grade_evaluation")
OWN |= dict.fromkeys(EVALUATION, 2)
Made = tuple[Path, Counter[str]]


def make(folder: Path, study: str, target: str, **changes: dict) -> Counter[str]:
    """Make a target of a study smaller than the miniature one; how often each rule ran."""
    config = yaml.safe_load((folder / SMOKE).read_text())
    table = pd.read_csv(folder / config["competitions"], sep="\t")
    table = table[~table["data_set"].isin(["iris", "star98"])]
    table.drop_duplicates("data_set").to_csv(folder / "four.tsv", sep="\t", index=False)
    config |= {"study": study, "competitions": "four.tsv"}
    for section, values in [*SMALL.items(), *changes.items()]:
        config[section] |= values
    (folder / f"{study}.yaml").write_text(yaml.safe_dump(config))
    where = (f"results/{study}/{target}", "--configfile", f"{study}.yaml")
    done = run(folder, "snakemake", "--cores", "2", *where)
    assert done.returncode == 0, done.stderr[-4000:]
    return Counter(re.findall(r"^(?:local)?rule (\w+):$", done.stderr, re.MULTILINE))


def trained(study: Path) -> dict[str, bytes]:
    """What became of the update: metrics, weights, and what they score."""
    patterns = (
        "evaluation/seed0/iteration1/held_out/*.csv",
        "seed0/iteration1/metrics.json",
        "seed0/iteration1/checkpoint/**/*.safetensors",
    )
    found = [path for pattern in patterns for path in study.glob(pattern)]
    return {str(path.relative_to(study)): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = copy_repository(tmp_path_factory.mktemp("repository"))
    return folder, make(folder, "whole", "tables/variants.csv", variants=VARIANTS)


def test_what_variants_share_is_made_once(made: Made) -> None:
    folder, jobs = made
    shared = {"prepare_competition": 4, "compare_variants": 1}
    learning = {f"long_steps__{rule}": 1 for rule in ("train_rl", *EVALUATION)}
    everything = {f"single_turn__{rule}": count for rule, count in OWN.items()}
    assert jobs == {**shared, **OWN, **learning, **everything}
    own = folder / "results/whole/variants/long_steps"
    assert not (own / "base_model").exists() and not list(own.glob("**/shard*.parquet"))


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_what_a_study_of_its_own_would_be(made: Made, name: str) -> None:
    folder = made[0]
    alone = f"alone_{name}"
    jobs = make(folder, alone, "evaluation/seed0/iteration1/held_out/scores.csv", **VARIANTS[name])
    assert jobs == OWN | dict.fromkeys(EVALUATION, 1)
    expected = trained(folder / "results" / alone)
    found = trained(folder / f"results/whole/variants/{name}")
    assert len(expected) == 4 and found == expected
    weights = "seed0/iteration1/checkpoint/model/model.safetensors"
    assert found[weights] != trained(folder / "results/whole")[weights]


def test_the_table_has_each_variant_beside_the_study(made: Made) -> None:
    root = made[0] / "results/whole"
    table = pd.read_csv(root / "tables/variants.csv", keep_default_na=False).set_index("variant")
    assert table["changes"].to_dict() == {
        "as configured": "",
        "long_steps": "ppo.learning_rate=0.1",
        "single_turn": "episode.max_turns=1",
    }
    own = {"as configured": root, **{name: root / f"variants/{name}" for name in VARIANTS}}
    base = own | {"long_steps": root}  # the other one plays a base model of its own
    scores = {name: iqm(folder, 1) for name, folder in own.items()}
    assert scores["as configured"] > scores["long_steps"]
    for name, score in scores.items():
        row = table.loc[name]
        assert (row["n_runs"], row["n_competitions"]) == (1, 2)
        assert float(row["score"]) == pytest.approx(score, abs=1e-9)
        assert float(row["gain"]) == pytest.approx(score - iqm(base[name], 0), abs=1e-9)
        if name in VARIANTS:
            difference = score - scores["as configured"]
            assert float(row["difference"]) == pytest.approx(difference, abs=1e-9)


def iqm(study: Path, iteration: int) -> float:
    scores = pd.read_csv(study / f"evaluation/seed0/iteration{iteration}/held_out/scores.csv")
    return float(trim_mean(scores.groupby("competition")["score"].mean(), 0.25))
