"""Models as folders in Hugging Face's format, looked at without loading them."""

import hashlib
import json
import shutil
from pathlib import Path

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
# What two models must share for one to continue the other's training.
ARCHITECTURE = (
    "model_type",
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
)


def model_folder(name: str | Path) -> Path:
    """The folder of a model or of a checkpoint; raises a one-line error when it holds no model."""
    folder = Path(name)
    if (folder / "model").is_dir():
        folder = folder / "model"
    if not (folder / "config.json").is_file() or not any((folder / w).is_file() for w in WEIGHTS):
        raise FileNotFoundError(
            f"model: {folder} is not a Hugging Face model folder (config.json and "
            f"model.safetensors expected); give a folder made by the base_model or train_rl step"
        )
    return folder


def fetch_model(source: str, revision: str | None, folder: Path) -> None:
    """Copy a model from a local folder, or from the Hugging Face hub at a pinned revision."""
    if Path(source).is_dir():
        shutil.copytree(model_folder(source), folder, dirs_exist_ok=True)
        return
    if source.startswith((".", "/")) or revision is None:
        raise FileNotFoundError(
            f"base_model.source: {source} is no local folder; a Hugging Face id needs "
            f"base_model.revision, the commit to use"
        )
    from huggingface_hub import snapshot_download  # only those who fetch pay for the import

    snapshot_download(source, revision=revision, local_dir=folder)
    model_folder(folder)


def model_digest(folder: Path) -> str:
    """Short digest of the weights: the name under which a policy appears in trajectories."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as weights:
            digest.update(hashlib.file_digest(weights, "sha256").digest())
    return digest.hexdigest()[:16]


def check_same_architecture(folder: Path, other: Path) -> None:
    """Raise unless two model folders hold models of one shape."""
    one, two = (json.loads((place / "config.json").read_text()) for place in (folder, other))
    for key in ARCHITECTURE:
        if one.get(key) != two.get(key):
            raise ValueError(
                f"{folder / 'config.json'}: {key} is {one.get(key)}, but {two.get(key)} in "
                f"{other}: continue a checkpoint with the base model that it started from"
            )
