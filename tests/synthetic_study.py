"""A small invented study: the tables and files that evaluation reads, from a seed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agent.evaluation.inputs import ACTIONS, OUTCOMES

ITERATIONS = (2, 4, 6)
TASKS = ("regression", "classification")
DATA_SETS = {"train": ("wine", "iris"), "held_out": ("heart", "star98", "fair", "engel", "anes96")}
MACHINE = {"host": "here", "cpu": "A processor", "gpus": []}
YARDSTICKS = {
    "dummy": 0.08,
    "random_program": 0.35,
    "fixed_portfolio": 0.82,
    "best_fixed_program": 0.78,
    "base_best_of_n": 0.47,
}


def competitions(group: str) -> list[tuple[str, str, str]]:
    """(competition, data set, task type): two competitions per data set."""
    return [
        (f"{data_set}_{task[:5]}", data_set, task)
        for data_set in DATA_SETS[group]
        for task in TASKS
    ]


def synthetic_scores(seed: int, runs: int = 5, episodes: int = 4) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    played = [("base", 0, 0.4, episodes, group) for group in DATA_SETS]
    played += [("trained", at, 0.4 + 0.05 * at, episodes, "held_out") for at in ITERATIONS]
    played += [("trained", ITERATIONS[-1], 0.75, episodes, "train")]
    rows = [
        _episode(rng, policy, run, iteration, group, competition, episode, level)
        for policy, iteration, level, count, group in played
        for run in range(runs)
        for competition in competitions(group)
        for episode in range(count)
    ]
    rows += [
        _yardstick(rng, policy, competition, level)
        for policy, level in YARDSTICKS.items()
        for competition in competitions("held_out")
    ]
    return pd.DataFrame(rows).sample(frac=1.0, random_state=seed)


def _episode(
    rng: np.random.Generator,
    policy: str,
    run: int,
    iteration: int,
    group: str,
    competition: tuple[str, str, str],
    episode: int,
    level: float,
) -> dict[str, Any]:
    executions = int(rng.integers(1, 5))
    valid = int(rng.binomial(executions, 0.5 + 0.4 * (policy == "trained")))
    ease = 0.12 * (sum(map(ord, competition[0])) % 5 - 2)
    best = float(np.clip(level + ease + rng.normal(0, 0.15), 0, 1)) if valid else 0.0
    return {
        "policy": policy,
        "seed": run,
        "iteration": iteration,
        "group": group,
        "competition": competition[0],
        "data_set": competition[1],
        "task_type": competition[2],
        "episode": episode,
        "score": best,
        "first_score": best * rng.choice([0.0, 0.6, 1.0]),
        "last_score": best * 0.9 if valid else np.nan,
        "feedback_score": min(1.0, best * 1.05) if valid else np.nan,
        "raw_score": best * 10 if valid else np.nan,
        "executions": executions,
        "valid_submissions": valid,
        "turns": executions + 1,
        "stop_reason": "max_turns",
    }


def _yardstick(
    rng: np.random.Generator, policy: str, competition: tuple[str, str, str], level: float
) -> dict[str, Any]:
    name, data_set, task_type = competition
    score = float(np.clip(level + rng.normal(0, 0.05), 0, 1))
    return {
        "policy": policy,
        "seed": 0,
        "iteration": 0,
        "group": "held_out",
        "competition": name,
        "data_set": data_set,
        "task_type": task_type,
        "episode": 0,
        "score": score,
        "executions": 2,
    }


def synthetic_turns(seed: int, runs: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for run in range(runs):
        for iteration in range(1, ITERATIONS[-1] + 1):
            rows += _turns(rng, "trained", run, iteration, "train", "training")
        rows += _turns(rng, "base", run, 0, "held_out", "evaluation")
        rows += _turns(rng, "trained", run, ITERATIONS[-1], "held_out", "evaluation")
    return pd.DataFrame(rows)


def _turns(
    rng: np.random.Generator, policy: str, run: int, iteration: int, group: str, source: str
) -> list[dict[str, Any]]:
    skill = iteration / ITERATIONS[-1]
    actions = np.array([2.0, 1.0, 3 + 5 * skill, 0.6, 0.3, 2 * (1 - skill) + 0.1])
    outcomes = np.array([3 + 5 * skill, 1.0, 0.5, 0.2, 3 * (1 - skill) + 0.3, 0.4, 0.8])
    rows = []
    for episode in range(20):
        for turn in range(4):
            rows.append(
                {
                    "policy": policy,
                    "seed": run,
                    "iteration": iteration,
                    "group": group,
                    "competition": competitions(group)[episode % len(competitions(group))][0],
                    "episode": episode,
                    "turn": turn,
                    "action": rng.choice(ACTIONS, p=actions / actions.sum()),
                    "outcome": rng.choice(OUTCOMES, p=outcomes / outcomes.sum()),
                    "position_score": np.nan,
                    "hack_attempts": int(episode == 7 and turn == 3),
                    "sandbox": "namespaces (seccomp)",
                    "source": source,
                }
            )
    return rows


def synthetic_metrics(seed: int, runs: int = 5) -> list[dict[str, float]]:
    rng = np.random.default_rng(seed)
    records = []
    for run in range(runs):
        for iteration in range(1, ITERATIONS[-1] + 1):
            rise = 1 - np.exp(-iteration / 3)
            records.append(
                {
                    "seed": run,
                    "iteration": iteration,
                    "approx_kl": float(rng.gamma(4, 0.002)),
                    "clip_fraction": float(rng.beta(2, 12)),
                    "entropy": float(0.9 - 0.5 * rise + rng.normal(0, 0.03)),
                    "explained_variance": float(rise - 0.2 + rng.normal(0, 0.05)),
                    "policy_loss": float(rng.normal(0, 0.01)),
                    "value_loss": float(rng.gamma(3, 0.02)),
                    "reference_kl": float(0.2 * rise),
                    "gradient_norm": float(rng.gamma(8, 0.1)),
                    "mean_return": float(-0.1 + 0.6 * rise + rng.normal(0, 0.05)),
                    "mean_best_position": float(0.4 + 0.35 * rise + rng.normal(0, 0.03)),
                    "valid_rate": float(0.5 + 0.4 * rise + rng.normal(0, 0.02)),
                    "episodes": 100.0,
                    "executions_per_episode": 2.5,
                    "sampled_tokens": 9000.0 + 1000.0 * run,
                }
            )
    return records


def synthetic_timings() -> list[dict[str, Any]]:
    """Two cores, one after the other with short gaps; the second session starts an hour later."""
    rules = (
        "prepare_competition",
        "base_model",
        "trajectories",
        "ppo_update",
        "evaluate_policy",
        "collect_scores",
        "compare_policies",
        "plot_learning_curves",
    )
    records = []
    clock = [1000.0, 1000.5]
    for position in range(48):
        core = position % 2
        length = 3.0 + (position * 7) % 11
        start = clock[core] + 0.4 + (3600.0 if position in (24, 25) else 0.0)
        clock[core] = start + length
        records.append(
            {
                "rule": rules[position % len(rules)],
                "job": f"job{position}",
                "started": start,
                "ended": start + length,
                "seconds": {
                    "import": 1.0,
                    "generate": 0.4 * length,
                    "execute": 0.2 * length,
                    "write": 0.05,
                },
                "peak_rss_gib": 0.5 + 0.1 * (position % 4),
                "cores": 1,
                "gpus": 0,
                "machine": MACHINE,
            }
        )
    return records


def write_study(folder: Path, seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    synthetic_scores(seed).to_csv(folder / "scores.csv", index=False)
    synthetic_turns(seed).to_csv(folder / "turns.csv", index=False)
    for record in synthetic_metrics(seed):
        path = folder / f"seed{record['seed']}" / f"iteration{record['iteration']}" / "metrics.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record))
    for record in synthetic_timings():
        path = folder / "timing" / f"{record['job']}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(record))
