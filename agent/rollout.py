"""Putting an episode's parts together: competitions, sandbox, prompts and a policy."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from agent.competitions.loading import embedded_metric, load_competition
from agent.core.actions import ActionFormat
from agent.core.base_agent import Policy
from agent.core.competition import Competition, Half, Metric
from agent.core.environment import CompetitionEnvironment, Environment, Grader, ProgramRunner, grade
from agent.core.episode import EpisodeKey, EpisodeLimits
from agent.core.journal import Journal
from agent.core.play import Rollout, play_episodes
from agent.core.progress import shown_progress
from agent.core.prompts import PromptManager
from agent.core.records import Trajectory
from agent.core.stopping import stop_on_warning
from agent.core.timing import Stopwatch
from agent.sandbox.executions import read_executions, write_executions
from agent.sandbox.helped import HelpedRunner
from agent.sandbox.opening import SandboxSettings, large_entries, open_runner
from agent.sandbox.remembering import RememberingGrader, RememberingRunner
from agent.sandbox.runner import ProgramLimits
from agent.training.teacher import Teacher, TeacherSettings, draw_attempts, read_task
from agent.wrappers.mledojo_environment import CONFINEMENT, UpstreamEnvironment, UpstreamLimits
from agent.wrappers.mledojo_metrics import UpstreamMetric, load_metric
from agent.wrappers.scripted_policy import ScriptedPolicy

Engine = Literal["native", "upstream"]
Scoring = Literal["halves", "upstream"]


@dataclass(frozen=True, slots=True)
class EpisodeSettings:
    prompts: str
    action_format: ActionFormat
    max_turns: int
    scored_submissions: int
    output_characters: int
    seconds: float


@dataclass(frozen=True, slots=True)
class EnvironmentSettings:
    engine: Engine
    scoring: Scoring

    @property
    def told(self) -> Half:
        """The answers behind the scores that an agent is told."""
        return "feedback" if self.scoring == "halves" else "both"


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Where programs run and their submissions are graded."""

    runner: ProgramRunner
    grader: Grader
    limits: ProgramLimits
    engine: Engine


@contextmanager
def open_sandbox(
    settings: SandboxSettings,
    engine: Engine,
    competitions: Sequence[Path],
    earlier: Sequence[Path] = (),
    places: int = 1,
    offers: Path | None = None,
) -> Iterator[Sandbox]:
    """Start the fork server; it imports its libraries while the caller loads a model.

    competitions: folders of the prepared competitions that may be played here.
    places, offers: how many programs run here at a time, and the folder by which helpers on other
        machines find the rest; without one all run here.

    Programs found in the files of `earlier` executions are not run again.
    """
    shared = [path for folder in competitions for path in large_entries(folder / "data/public")]
    with ExitStack() as opened:
        own = opened.enter_context(open_runner(settings, shared))
        runner: ProgramRunner = own
        if offers is not None:
            helped = HelpedRunner(own, places, settings, shared, offers)
            runner = opened.enter_context(helped)
        if settings.remember_programs:
            files = [read_executions(path, _conditions(settings)) for path in earlier]
            known = {key: execution for file in files for key, execution in file.items()}
            remembering = RememberingRunner(runner, known)
            yield Sandbox(remembering, RememberingGrader(), own.limits, engine)
        else:
            yield Sandbox(runner, grade, own.limits, engine)


def save_executions(path: Path | None, sandbox: Sandbox, settings: SandboxSettings) -> None:
    """Write what was executed in this sandbox and not before; nothing when it does not remember."""
    if path is not None:
        runner = sandbox.runner
        new = runner.new if isinstance(runner, RememberingRunner) else {}
        write_executions(path, new, _conditions(settings))


def _conditions(settings: SandboxSettings) -> str:
    return json.dumps(asdict(settings), sort_keys=True)


def open_competition(folder: Path, half: Half) -> Competition:
    """A prepared competition, embedded or MLE-Dojo's, with the metric that it names."""
    return load_competition(folder, half, _find_metric)


def _find_metric(facts: dict[str, Any]) -> Metric:
    if "mle_dojo_checkout" in facts:
        return load_metric(Path(facts["mle_dojo_checkout"]), facts["name"])
    return embedded_metric(facts)


def judged_half(scoring: Scoring) -> Half:
    """The answers behind the scores that evaluation reports."""
    return "final" if scoring == "halves" else "both"


def open_competitions(folder: Path, names: Sequence[str], half: Half) -> list[Competition]:
    return [open_competition(folder / name, half) for name in names]


def episode_keys(seed: int, iteration: int, shard: int, episodes: int) -> list[EpisodeKey]:
    return [EpisodeKey(seed, iteration, shard, episode) for episode in range(episodes)]


def journal_beside(output: Path, model: str, folders: Sequence[Path], settings: object) -> Journal:
    """A job's journal; the workflow does not know it, and so removes it with no failed output.

    settings: all that the episodes depend on beside the model and the competitions in `folders`.
    """
    facts = [(folder / "competition.json").read_text() for folder in folders]
    conditions = json.dumps([model, facts, settings], sort_keys=True, default=str)
    return Journal(output.with_name(f".{output.name}.journal"), conditions)


def deal_competitions(
    competitions: Sequence[Competition], episodes: int, first: int
) -> list[Competition]:
    """One competition per episode, in turn, so that every one is played equally often.

    Shards and iterations continue the round where the last one stopped: pass as `first` how many
    episodes were dealt before.
    """
    return [competitions[(first + episode) % len(competitions)] for episode in range(episodes)]


def play(
    policy: Policy,
    competitions: Sequence[Competition],
    keys: Sequence[EpisodeKey],
    sandbox: Sandbox,
    settings: EpisodeSettings,
    workers: int,
    stopwatch: Stopwatch,
    journal: Journal | None = None,
) -> list[Trajectory]:
    """Play one episode per competition given (repeat a competition to play it more often).

    journal: open, where finished turns are kept: a job that was killed goes on from there.
    """
    executed_before = stopwatch.seconds.get("execute", 0.0)
    with ExitStack() as opened:
        rollout = Rollout(
            policy,
            PromptManager(settings.prompts, settings.action_format),
            EpisodeLimits(settings.max_turns, settings.output_characters, settings.seconds),
            workers,
            sandbox.runner.confinement if sandbox.engine == "native" else CONFINEMENT,
            stopwatch,
            journal,
            opened.enter_context(stop_on_warning()),
            opened.enter_context(shown_progress(settings.max_turns * len(keys))),
        )
        environments = _environments(competitions, sandbox, settings.scored_submissions)
        trajectories = play_episodes(rollout, opened.enter_context(environments), keys)
    turns = [turn for trajectory in trajectories for turn in trajectory.turns]
    graded = sum(turn.grade_seconds for turn in turns)
    worked = graded + sum(turn.execute_seconds for turn in turns)
    executed = stopwatch.seconds.get("execute", 0.0) - executed_before
    stopwatch.move("execute", "grade", executed * graded / worked if worked else 0.0)
    return trajectories


@contextmanager
def _environments(
    competitions: Sequence[Competition], sandbox: Sandbox, scored_submissions: int
) -> Iterator[Sequence[Environment]]:
    """One for each episode, of the engine that the configuration asks for."""
    if sandbox.engine == "native":
        yield [
            CompetitionEnvironment(competition, sandbox.runner, sandbox.grader, scored_submissions)
            for competition in competitions
        ]
        return
    limits = UpstreamLimits(
        sandbox.limits.seconds, -(-sandbox.limits.memory_mb // 1024), sandbox.limits.output_kb
    )
    with ExitStack() as opened:
        yield [
            opened.enter_context(
                UpstreamEnvironment(competition, _checkout(competition), limits, scored_submissions)
            )
            for competition in competitions
        ]


def _checkout(competition: Competition) -> Path:
    if not isinstance(competition.metric, UpstreamMetric):
        raise ValueError(
            f"environment.engine: upstream plays MLE-Dojo's own competitions, which "
            f"{competition.name} is not; set it to native"
        )
    return competition.metric.checkout


def play_teacher(
    competitions: Sequence[Competition],
    episodes: int,
    teacher: TeacherSettings,
    seed: int,
    sandbox: Sandbox,
    settings: EpisodeSettings,
    workers: int,
    stopwatch: Stopwatch,
) -> list[Trajectory]:
    """Written episodes for the warm start: each competition played equally often by its teacher."""
    share = -(-episodes // len(competitions))
    trajectories = []
    for number, competition in enumerate(competitions):
        rng = np.random.default_rng((seed, number))
        attempts = draw_attempts(read_task(competition.description), teacher, rng)
        trajectories += play(
            ScriptedPolicy("teacher", Teacher(attempts, teacher)),
            [competition] * share,
            episode_keys(seed, 0, number, share),
            sandbox,
            settings,
            workers,
            stopwatch,
        )
    return trajectories


def find_competitions(folder: Path, group: str) -> list[str]:
    """Names of the prepared competitions of one group, sorted."""
    facts = [json.loads(path.read_text()) for path in folder.glob("*/competition.json")]
    names = sorted(fact["name"] for fact in facts if fact["group"] == group)
    if not names:
        raise FileNotFoundError(
            f"{folder}: no prepared {group} competition; run the prepare_competition step first"
        )
    return names
