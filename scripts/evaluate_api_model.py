"""Let a model behind an OpenAI-compatible API play the held-out competitions, as a yardstick.

Its episodes are stored with every submission; `scripts/grade_evaluation.py` judges them, as often
as the rules of judging change, and nobody pays for them twice.
"""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro

from agent.competitions.loading import public_digest
from agent.core.base_agent import Policy
from agent.core.competition import Competition
from agent.core.errors import one_line_errors
from agent.core.files import write_text
from agent.core.settings import read_config, section
from agent.core.timing import Stopwatch
from agent.core.trajectories import write_trajectories
from agent.rollout import (
    EnvironmentSettings,
    EpisodeSettings,
    deal_competitions,
    episode_keys,
    find_competitions,
    journal_beside,
    open_competitions,
    open_sandbox,
    play,
)
from agent.sandbox.opening import SandboxSettings
from agent.wrappers.api_policy import ApiModel, ApiPolicy, total_usage
from agent.wrappers.mledojo_agents import PROMPTS, UpstreamAgents


@dataclass(frozen=True)
class Arguments:
    config: str
    """YAML file, or inline JSON: episode, environment, sandbox, api_model (the one to ask) and, for
    an agent of MLE-Dojo's, mle_dojo"""
    output_dir: Path
    """folder that receives episodes.parquet and usage.json"""
    temperature: float
    """sampling temperature"""
    max_new_tokens: int
    """of one answer"""
    num_episodes: int = 5
    """episodes per competition"""
    competitions_dir: Path = Path("results/competitions")
    """folder of prepared competitions"""
    competitions: tuple[str, ...] = ()
    """names to play; all prepared held-out competitions when none is given"""
    workers: int = 1
    """programs that run at the same time"""
    timing: Path | None = None
    """file for the record of where the time went"""


def main(arguments: Arguments) -> None:
    stopwatch = Stopwatch("evaluate_api_model", str(arguments.output_dir))
    config = read_config(arguments.config)
    environment = section(config, "environment", EnvironmentSettings)
    folder, output = arguments.competitions_dir, arguments.output_dir
    names = arguments.competitions or find_competitions(folder, "held_out")
    folders = [folder / name for name in names]
    usage, file = output / ".usage.jsonl", output / "episodes.parquet"
    model = ApiPolicy(
        section(config, "api_model", ApiModel),
        arguments.temperature,
        arguments.max_new_tokens,
        usage,
    )
    # What is said is text: fenced blocks can be read from any model, whatever its own calls are.
    episode = replace(section(config, "episode", EpisodeSettings), action_format="block")
    keys = episode_keys(0, 0, 0, arguments.num_episodes * len(names))
    with ExitStack() as opened:
        limits = section(config, "sandbox", SandboxSettings)
        sandbox = opened.enter_context(open_sandbox(limits, environment.engine, folders))
        known = open_competitions(folder, names, environment.told)
        # Not the budget: who raises it goes on.
        asked = {**config, "api_model": config["api_model"] | {"token_budget": None}}
        settled = [asked, len(keys), arguments.temperature, arguments.max_new_tokens]
        journal = opened.enter_context(journal_beside(file, model.name, folders, settled))
        dealt = deal_competitions(known, len(keys), 0)
        policy: Policy = model
        if config["api_model"]["agent"] != "ours":
            policy = opened.enter_context(_upstream_agents(config, model, known, episode, limits))
            episode = _upstream_episode(episode, known)
        played = play(policy, dealt, keys, sandbox, episode, arguments.workers, stopwatch, journal)
        with stopwatch.phase("write"):
            shown = {name: public_digest(folder / name) for name in names}
            write_trajectories(file, played, facts={"public_files": json.dumps(shown)})
            spent = total_usage(usage)
            write_text(output / "usage.json", json.dumps(spent, indent=1) + "\n")
            journal.discard()
            usage.unlink()
    stopwatch.write(arguments.timing)
    print(f"{len(keys)} episodes in {file}, {spent}")


def _upstream_agents(
    config: dict[str, Any],
    model: ApiPolicy,
    known: Sequence[Competition],
    episode: EpisodeSettings,
    sandbox: SandboxSettings,
) -> UpstreamAgents:
    """MLE-Dojo's agent that `model` is to drive."""
    agent = config["api_model"]["agent"]
    if not config.get("mle_dojo"):
        raise ValueError(f"mle_dojo: missing, but {agent} is MLE-Dojo's: say where its checkout is")
    if config["environment"]["engine"] != "native":
        raise ValueError(f"environment.engine: only native confines what {agent} runs: set it")
    public = {competition.name: competition.public for competition in known}
    checkout = Path(config["mle_dojo"]["checkout"])
    return UpstreamAgents(agent, model, checkout, public, sandbox.seconds, episode.seconds)


def _upstream_episode(episode: EpisodeSettings, known: Sequence[Competition]) -> EpisodeSettings:
    """The MLE agent reads descriptions as answers to a question, which must not be cut."""
    longest = max(len(competition.description) for competition in known)
    return replace(
        episode,
        prompts=str(PROMPTS),
        action_format="tool_call",
        output_characters=max(longest, episode.output_characters),
    )


if __name__ == "__main__":
    with one_line_errors():
        main(tyro.cli(Arguments, description=__doc__))
