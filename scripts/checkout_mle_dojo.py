"""Have MLE-Dojo at its pinned commit: clone it, or verify the folder that is there."""

from pathlib import Path

import tyro

from agent.core.errors import one_line_errors
from agent.core.files import write_text
from agent.wrappers.mledojo_checkout import checkout


def main(repository: str, commit: str, checkout_dir: Path, stamp: Path) -> None:
    """Clone or verify a checkout; nothing is installed.

    Args:
        repository: address of MLE-Dojo's git repository, or a local folder that holds a clone.
        commit: the whole hash of the commit.
        checkout_dir: where the checkout belongs; a folder that is there is verified, not changed.
        stamp: file to write the commit into once the checkout is right.
    """
    checkout(repository, commit, checkout_dir)
    write_text(stamp, f"{commit}\n")


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
