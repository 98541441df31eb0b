"""Send one iteration's metrics to Weights & Biases; a run's iterations share one W&B run.

WANDB_MODE=offline writes to disk alone, where there is no network; `wandb sync` sends it later.
"""

import json
from pathlib import Path

import tyro

from agent.core.errors import one_line_errors
from agent.core.files import write_text


def main(
    metrics: Path, project: str, study: str, seed: int, iteration: int, folder: Path, output: Path
) -> None:
    """Publish the metrics of one update.

    Args:
        metrics: metrics.json of the iteration.
        project: W&B project.
        study: name of the study; groups its runs.
        seed: the run.
        iteration: number of the update; iterations must be published in order.
        folder: where W&B keeps its files.
        output: JSON to write, saying which W&B run received the metrics.
    """
    import wandb

    folder.mkdir(parents=True, exist_ok=True)
    run = wandb.init(
        project=project,
        group=study,
        name=f"{study}-seed{seed}",
        id=f"{study}-seed{seed}",
        resume="allow",
        dir=folder,
        settings=wandb.Settings(silent=True, console="off"),
    )
    run.log(json.loads(metrics.read_text()), step=iteration)
    run.finish()
    write_text(output, json.dumps({"run": run.id, "url": run.url}) + "\n")


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
