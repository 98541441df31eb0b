"""A small study on disk for the trajectory browser, some of whose episodes are hostile."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from checkout import ROOT, run
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from agent.core.records import Message, Trajectory, Turn
from agent.core.trajectories import write_trajectories
from agent.grading import SCORE_COLUMNS

COMPETITIONS = ("engel-mae-outliers", "iris-auc-unit-errors", "wine-macro-f1-unit-errors")
EPISODES = 6  # of each evaluation, dealt in turn
REWARDS = {
    "unparsable_penalty": 0.1,
    "failure_penalty": 0.05,
    "nothing_valid_penalty": 0.1,
    "milestone_credit": 0.0,
    "placement": "turn",
}
MEGABYTE = "x" * 1_000_000
ANSWERS = {"told": "the feedback half", "judging": "the final half"}
ATTACKS = (
    "</script><script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'><svg onload='window.hacked = 1'>",
    '"); window.hacked = 1; ("',
    "</style></pre><iframe srcdoc='<script>parent.hacked = 1</script>'></iframe>",
    "${window.hacked = 1} {{script}} <!-- ]]> javascript:window.hacked=1",
)
# Reversed, hidden, spelt in invisible tags, ending lines where JavaScript once ended strings.
TRICKS = "safe\u202e)(tixe\u202c \u200bzero\u00ad \U000e0041\u2028\x1b[31m e\u0301 \U0001f600 中文"


def byte_tokenizer(file: Path) -> Tokenizer:
    """One token per byte: every other character is cut into pieces that are none."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate(alphabet)}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<|end|>", special=True)])
    file.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(file))
    return tokenizer


def program(line: str) -> str:
    return f"```execute_code\nimport pandas as pd\n{line}\n```"


def turn(text: str, position: float | None, outcome: str = "ok", **changes: object) -> Turn:
    made = Turn(
        action="execute_code",
        text=text,
        outcome=outcome,
        error="" if outcome == "ok" else "ValueError",
        observation=f"position: {position}",
        raw_score=None if position is None else 10 * position,
        position_score=position,
        submission=None if position is None else b"id,target\n",
        generate_seconds=0.5,
        execute_seconds=0.25,
        grade_seconds=0.125,
        hack_attempts=(),
        first_token=0,
        last_token=0,
    )
    return replace(made, **changes)


def episode(tokenizer: Tokenizer, turns: Sequence[Turn], **changes: object) -> Trajectory:
    """The turns as a model would have sampled them, behind three tokens of prompt each."""
    ids: list[int] = []
    mask: list[int] = []
    placed: list[Turn] = []
    messages = [Message("system", "compete"), Message("user", "predict the target")]
    for made in turns:
        sampled = [*tokenizer.encode(made.text).ids, tokenizer.token_to_id("<|end|>")]
        first = len(ids) + 3
        ids += [0, 0, 0, *sampled]
        mask += [0, 0, 0, *([1] * len(sampled))]
        placed.append(replace(made, first_token=first, last_token=len(ids)))
        messages += [Message("assistant", made.text), Message("user", made.observation)]
    logprobs = np.where(mask, -(np.arange(len(ids)) % 7) / 4, 0).astype(np.float32)
    whole = Trajectory(
        competition=COMPETITIONS[0],
        group="held_out",
        policy="0123456789abcdef",
        seed=1000,
        iteration=0,
        shard=0,
        episode=0,
        messages=tuple(messages),
        turns=tuple(placed),
        token_ids=np.int32(ids),
        action_mask=np.int8(mask),
        logprobs=logprobs,
        temperature=0.5,
        stop_reason="max_turns",
        sandbox="namespaces",
    )
    return replace(whole, **changes)


def as_text(made: Trajectory) -> Trajectory:
    """The episode as a model behind an API plays it: without tokens."""
    nothing = made.token_ids[:0]
    turns = tuple(replace(turn, first_token=0, last_token=0) for turn in made.turns)
    lists = {"token_ids": nothing, "action_mask": nothing, "logprobs": nothing}
    return replace(made, turns=turns, **lists)


def write_evaluation(
    folder: Path, tokenizer: Tokenizer, seed: int, iteration: int, policy: str
) -> None:
    """Better with updates, on one competition less so; some first programs of the base crash."""
    played, rows = [], []
    for number in range(EPISODES):
        position = round(0.1 + 0.05 * number + 0.2 * iteration, 2)
        name = COMPETITIONS[number % 3]
        crashes = policy == "base" and number % 3 == 0
        first = turn(program("model = 'first'"), None if crashes else 0.05)
        if crashes:
            first = replace(first, outcome="crashed", error="KeyError", submission=None)
        second = turn(program(f"model = '{policy} {number}'"), position)
        changes = {"competition": name, "episode": number, "iteration": iteration}
        made = episode(tokenizer, [first, second], **changes)
        played.append(as_text(made) if policy == "large" else made)
        row = {
            "policy": policy,
            "seed": seed,
            "iteration": iteration,
            "group": "held_out",
            "competition": name,
            "episode": number,
            "score": position + 0.01 - 0.05 * (policy == "trained" and number % 3 == 2),
            "first_score": 0.0,
            "executions": 2,
            "valid_submissions": 2 - crashes,
        }
        rows.append(row)
    folder.mkdir(parents=True)
    write_trajectories(folder / "episodes.parquet", played, {})
    write_scores(folder / "scores.csv", rows)


def hostile_turns() -> list[Turn]:
    attack = "\n".join(ATTACKS)
    return [
        turn(program(attack), None, "crashed", error=ATTACKS[0], observation=attack),
        turn(TRICKS, None, "unparsable", action="invalid", observation=TRICKS),
        turn(program(f"x = '{MEGABYTE}'"), None, "timed_out", observation=MEGABYTE),
        turn(program("steal()"), 0.9, hack_attempts=(f"network: {ATTACKS[1]}", "answers: opened")),
    ]


def write_study(folder: Path) -> None:
    tokenizer = byte_tokenizer(folder / "base_model/tokenizer.json")
    for seed in (0, 1):
        for iteration in (0, 2):
            place = folder / f"evaluation/seed{seed}/iteration{iteration}/held_out"
            policy = "trained" if iteration else "base"
            write_evaluation(place, tokenizer, seed, iteration, policy)
    write_evaluation(folder / "evaluation/api/large", tokenizer, 0, 0, "large")
    origin = {"group": "train", "seed": 0}
    good = turn(program("model = 'trained on'"), 0.5)
    for iteration in (1, 2):
        shard = folder / f"seed0/iteration{iteration}/trajectories/shard0.parquet"
        played = [
            episode(tokenizer, [good], **origin, iteration=iteration, episode=number)
            for number in range(4)
        ]
        if iteration == 2:
            played.append(episode(tokenizer, hostile_turns(), **origin, iteration=2, episode=4))
        write_trajectories(shard, played, {})
    rows = [
        {"policy": policy, "group": "held_out", "competition": name, "score": 0.3}
        for policy in ("dummy", "fixed_portfolio")
        for name in COMPETITIONS
    ]
    origin = {"seed": 0, "iteration": 0, "episode": 0}
    write_scores(folder / "evaluation/yardsticks.csv", [row | origin for row in rows])


def write_scores(path: Path, rows: list[dict[str, object]]) -> None:
    """As evaluation writes them; what the page does not read is left empty."""
    pd.DataFrame(rows).reindex(columns=SCORE_COLUMNS).to_csv(path, index=False)


def build(study: Path, page: Path, *options: str) -> str:
    """Run the script as the rule does; returns what it says, or the error it ends with."""
    evaluations = sorted((study / "evaluation").glob("seed*/iteration*/held_out"))
    shards = sorted(study.glob("seed*/iteration*/trajectories/*.parquet"))
    command = [
        "python scripts/build_trajectory_browser.py --evaluations".split(),
        map(str, evaluations),
        ["--api-models", str(study / "evaluation/api/large")],
        ["--shards", *map(str, shards)],
        ["--yardsticks", str(study / "evaluation/yardsticks.csv")],
        ["--tokenizer", str(study / "base_model/tokenizer.json")],
        [
            "--config",
            json.dumps({"rewards": REWARDS}),
            "--study",
            "made-up",
            "--output-dir",
            str(page),
        ],
        options,
    ]
    done = run(ROOT, *(word for words in command for word in words))
    return done.stdout if done.returncode == 0 else done.stderr
