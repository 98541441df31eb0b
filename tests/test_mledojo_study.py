"""A study of MLE-Dojo's own competitions from archives to the report's tables; needs a checkout.

The data are made up, since Kaggle's need an account, and described as the tiny model is used to.
"""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from api_provider import SAMPLE, answer, served_provider
from checkout import ROOT, configure, copy_repository, run, snakemake
from kaggle_archive import write_zip

from agent.core.trajectories import read_trajectories

CHECKOUT = Path(os.environ.get("MLE_DOJO_CHECKOUT", ROOT / "MLE-Dojo/checkout")).resolve()
pytestmark = pytest.mark.skipif(
    not CHECKOUT.is_dir(), reason="no MLE-Dojo checkout; MLE_DOJO_CHECKOUT may name one"
)
SERIES = "tabular-playground-series"
GROUPS = {"jan-2021": "train", "mar-2021": "train", "feb-2021": "held_out", "nov-2021": "held_out"}
CLASSIFICATION = ("mar-2021", "nov-2021")
FACTS = {
    True: (
        "task: binary classification\nmetric: area under the ROC curve (higher is better)",
        "submission: id,target (probability of class 1)",
    ),
    False: (
        "task: regression\nmetric: root mean squared error (lower is better)",
        "submission: id,target (value)",
    ),
}


def members(month: str) -> dict[str, str]:
    """One task's files in DSBench's archive, with something to learn."""
    rng = np.random.default_rng(len(month))
    table = pd.DataFrame(rng.normal(size=(300, 4)), columns=[f"cont{i}" for i in range(4)])
    value = 8 + table["cont0"] - table["cont1"] + rng.normal(scale=0.5, size=len(table))
    binary = month in CLASSIFICATION
    table["target"] = (value > 8).astype(int) if binary else value
    table.insert(0, "id", range(len(table)))
    train, test = table[:200], table[200:]
    what, form = FACTS[binary]
    sizes = "condition: 60 added columns carry no signal\nrows: many\ncolumns: few"
    place, slug = "data/data_resplit", f"{SERIES}-{month}"
    return {
        f"{place}/{slug}/train.csv": train.to_csv(index=False),
        f"{place}/{slug}/test.csv": test.drop(columns="target").to_csv(index=False),
        f"{place}/{slug}/sample_submission.csv": test[["id"]]
        .assign(target=0.5)
        .to_csv(index=False),
        f"data/answers/{slug}/test_answer.csv": test[["id", "target"]].to_csv(index=False),
        f"data/task/{slug}.txt": f"# {slug}\n{what}\n{sizes}\n{form}\n\nMade up.\n",
    }


@contextmanager
def models_for_its_agents() -> Iterator[list[dict[str, object]]]:
    """What MLE-Dojo's own agents are driven by, each says what its agent reads."""
    says = {
        "mle_agent": json.dumps({"action": "execute_code", "params": {"code": SAMPLE}}),
        "aide": f"The sample will do.\n```python\n{SAMPLE}\n```",
    }
    with ExitStack() as opened:
        models: list[dict[str, object]] = []
        for agent, text in says.items():
            provider = opened.enter_context(served_provider())
            provider.replies = [(200, {}, answer(text))]
            model = {"name": f"{agent}_m", "url": provider.url, "model": "m", "key_variable": None}
            models.append(model | {"token_budget": 10**6, "options": {}, "agent": agent})
        yield models


def test_a_study_of_mle_dojos_competitions_runs_from_archives_to_tables(tmp_path: Path) -> None:
    folder = copy_repository(tmp_path)
    write_zip(
        folder / "archives/dsbench.zip", {k: v for m in GROUPS for k, v in members(m).items()}
    )
    table = pd.read_csv(folder / "config/smoke_competitions.tsv", sep="\t")
    rows = [(f"{SERIES}-{m}", group, f"{SERIES}-{m}", "Tabular") for m, group in GROUPS.items()]
    own = pd.DataFrame(rows, columns=["competition", "group", "data_set", "task_type"])
    # The base model is made on embedded competitions; the judgement is on MLE-Dojo's alone.
    pd.concat([table[table["group"] == "train"], own]).to_csv(
        folder / "table.tsv", sep="\t", index=False
    )
    commit = run(CHECKOUT, "git", "rev-parse", "HEAD").stdout.strip()

    checkout = {"checkout": "MLE-Dojo/checkout", "repository": str(CHECKOUT), "commit": commit}
    configure(folder, "competitions", "table.tsv")
    configure(folder, "mle_dojo", checkout | {"archives": "archives", "drop_leaking_columns": True})
    with models_for_its_agents() as models:
        configure(folder, "evaluation.api_models", models)
        done = snakemake(folder, "--cores", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    scores = pd.read_csv(folder / "results/smoke/scores.csv")
    asked = {f"{SERIES}-{month}" for month, group in GROUPS.items() if group == "held_out"}
    for policy in ("base", "trained", "dummy", "base_best_of_n", "mle_agent_m", "aide_m"):
        assert asked <= set(scores.loc[scores["policy"] == policy, "competition"])
    shards = sorted((folder / "results/smoke").glob("seed0/iteration*/trajectories/*.parquet"))
    played = [t for shard in shards for t in read_trajectories(shard)]
    own_turns = [turn for t in played if t.competition.startswith(SERIES) for turn in t.turns]
    assert any(turn.position_score is not None for turn in own_turns)
    audits = pd.read_csv(folder / "results/smoke/tables/audits.csv")
    assert audits.loc[audits["competition"].isin(asked), "critical"].eq(0).all()
    benchmark = pd.read_csv(folder / "results/smoke/tables/benchmark.csv")
    assert {"measured", "quoted"} <= set(benchmark["source"])
    agents = benchmark["policy"].isin(["base", "trained"])
    assert benchmark.loc[agents, "Overall_medal_rate"].between(0, 100).all()
