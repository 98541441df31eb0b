"""An invented study as the paper kit sees it, under any configuration that is shipped."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from checkout import ROOT
from docutils import nodes
from docutils.core import publish_doctree
from snakemake.utils import update_config
from synthetic_study import synthetic_scores, synthetic_turns
from variations import variants

from agent.core.settings import read_config
from agent.evaluation.comparison import compare_competitions, compare_policies
from agent.evaluation.headline import headline
from agent.evaluation.paper import Study
from agent.evaluation.tables import results_table
from agent.evaluation.writing import fill, groups_of

TIMING = {
    "wall_seconds": 90.0,
    "useful_time_share": 0.8,
    "named_share": 0.97,
    "peak_memory_gib": 1.5,
}
SUMMARY = TIMING | {
    "cores": 2,
    "jobs": 9,
    "core_seconds": 180.0,
    "busy_core_seconds": 720.0,
    "gpu_seconds": 0.0,
    "machines": {"count": 1, "cpus": ["A processor @ 2 GHz"], "gpus": []},
}
MADE = {
    "commit": "fedcba9876543210fedcba9876543210fedcba98",
    "dirty": False,
    "repository": "https://example.org/study",
    "config_sha256": "0123456789abcdef",
    "unknown": {},
}
DEFAULT = "config/config.yaml"


def study_of(scores: pd.DataFrame, planned: tuple[int, ...] = ()) -> Study:
    """These scores under the default configuration, compared as the workflow does."""
    statistics = compare_policies(scores, 50, 0, planned)
    competitions = compare_competitions(scores, 50, 0, planned)
    return Study(
        read_config(str(ROOT / DEFAULT)),
        headline(statistics, competitions, synthetic_turns(0), TIMING),
        results_table(statistics),
        pd.read_csv(ROOT / "config/competitions.tsv", sep="\t", comment="#"),
        {"learning_curves": "Two runs & 95 % of it.", "time_split": "Where time went."},
        SUMMARY,
    )


def synthetic_study() -> Study:
    """One whose training was worth a lot."""
    return study_of(synthetic_scores(0))


def shipped(path: str, variant: str = "") -> dict[str, Any]:
    """A configuration in its folder, whole, or one of its variants."""
    config = read_config(str(ROOT / DEFAULT))
    update_config(config, read_config(str(ROOT / path)))
    return variants(config)[f"{variant}__"] if variant else config


def configured(study: Study, config: dict[str, Any]) -> Study:
    table = pd.read_csv(ROOT / config["competitions"], sep="\t", comment="#")
    return replace(study, config=config, competitions=table)


def told(study: Study, **numbers: Any) -> Study:
    """The study with other numbers in its headline."""
    return replace(study, headline=dict(study.headline) | numbers)


def first_page(used: Study, **made: object) -> nodes.document:
    page = fill(
        "first_page.rst",
        config=used.config,
        n=used.headline,
        time=used.time,
        cost={"tokens": 12345.0, "programs": 67.0},
        groups=groups_of(used.competitions),
        kit=Path("results/some/paper"),
        browser=Path("results/some/trajectory_browser"),
        made=MADE | made,
    )
    return publish_doctree(page, settings_overrides={"halt_level": 2, "report_level": 2})
