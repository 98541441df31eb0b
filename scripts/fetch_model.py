"""Fetch a model from the Hugging Face hub at a pinned revision."""

from pathlib import Path

import tyro

from agent.core.errors import one_line_errors
from agent.core.files import unfinished
from agent.core.model_folder import fetch_model


def main(source: str, revision: str, output_dir: Path) -> None:
    """Fetch a model whole, or leave nothing.

    Args:
        source: the model's Hugging Face id, or a local folder to copy.
        revision: the commit to fetch.
        output_dir: folder that becomes the model's.
    """
    with unfinished(output_dir) as partial:
        fetch_model(source, revision, partial)


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
