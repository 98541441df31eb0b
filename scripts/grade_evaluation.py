"""Judge stored evaluation episodes under today's rules, without playing them again.

Every stored submission is graded anew on both halves of the answers. What an agent was told when
it played stays as it was: turns.csv holds it, and grading.json counts where it differs from today.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import tyro

from agent.competitions.loading import public_digest
from agent.core.errors import one_line_errors
from agent.core.timing import Stopwatch
from agent.core.trajectories import read_facts, read_trajectories
from agent.evaluation.files import write_csv, write_json
from agent.grading import count_changes, regrade, score_episodes, turn_rows
from agent.rollout import EnvironmentSettings, Scoring, judged_half, open_competitions


@dataclass(frozen=True)
class Arguments:
    episodes: Path
    """episodes.parquet of an evaluation"""
    output_dir: Path
    """folder that receives scores.csv, turns.csv and grading.json"""
    told: Scoring = "halves"
    """environment.scoring: the answers behind the scores that agents are told"""
    scoring: Scoring = "halves"
    """evaluation.scoring: the answers that judge"""
    competitions_dir: Path = Path("results/competitions")
    """folder of prepared competitions"""
    policy: str = "trained"
    """how the scores name this policy: base or trained"""
    seed: int = 0
    """the run that the scores belong to"""
    iteration: int = 0
    """PPO updates that the model went through"""
    timing: Path | None = None
    """file for the record of where the time went"""


def main(arguments: Arguments) -> None:
    stopwatch = Stopwatch("grade_evaluation", str(arguments.output_dir))
    folder, output = arguments.competitions_dir, arguments.output_dir
    with stopwatch.phase("grade"):
        played = read_trajectories(arguments.episodes)
        names = sorted({trajectory.competition for trajectory in played})
        _check_public_files(arguments.episodes, folder, names)
        told_half = EnvironmentSettings("native", arguments.told).told
        told, judged = (
            dict(zip(names, open_competitions(folder, names, half), strict=True))
            for half in (told_half, judged_half(arguments.scoring))
        )
        graded = [regrade(one, told[one.competition]) for one in played]
        origin = (arguments.policy, arguments.seed, arguments.iteration)
        scores = score_episodes(graded, judged, *origin)
        changes = count_changes(played, graded)
    with stopwatch.phase("write"):
        write_csv(output / "turns.csv", turn_rows(played, *origin, "evaluation"))
        write_csv(output / "scores.csv", scores)
        write_json(output / "grading.json", asdict(changes))
    stopwatch.write(arguments.timing)
    print(f"{len(played)} episodes, mean score {scores['score'].mean():.3f}, in {output}")
    if changes.told_otherwise:
        print(
            f"{changes.told_otherwise} of {changes.submissions} submissions were told another "
            "score when they were played; play again if agents are to see today's"
        )


def _check_public_files(episodes: Path, folder: Path, names: Sequence[str]) -> None:
    """Submissions answer the files that their agent saw; others would judge something else."""
    shown = json.loads(read_facts(episodes).get("public_files", "{}"))
    for name in names:
        if shown.get(name) != public_digest(folder / name):
            raise ValueError(
                f"{episodes}: {name} had other public files when it was played; "
                "delete the file and run the workflow again to play it anew"
            )


if __name__ == "__main__":
    with one_line_errors():
        main(tyro.cli(Arguments, description=__doc__))
