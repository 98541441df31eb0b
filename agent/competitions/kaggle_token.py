"""The user's Kaggle token, of either kind, where Kaggle's own programs look for it."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path

SETTINGS = "https://www.kaggle.com/settings"


def authorization(environment: Mapping[str, str], home: Path) -> str:
    """What the header `Authorization` says to Kaggle; never printed.

    The environment comes before the files, an API token before a user with a key
    (https://github.com/Kaggle/kaggle-api/blob/main/docs/README.md#authentication).
    Raises FileNotFoundError when there is none.
    """
    folder = Path(environment.get("KAGGLE_CONFIG_DIR") or home / ".kaggle")
    new, old = folder / "access_token", folder / "kaggle.json"
    user, key = environment.get("KAGGLE_USERNAME", ""), environment.get("KAGGLE_KEY", "")
    if token := environment.get("KAGGLE_API_TOKEN", ""):
        return f"Bearer {token}"
    if user and key:
        return _basic(user, key)
    if new.is_file() and (token := new.read_text(encoding="utf-8").strip()):
        return f"Bearer {token}"
    if old.is_file():
        return _basic(*_read_key(old))
    raise FileNotFoundError(
        f"{new}: no Kaggle token: create one at {SETTINGS} and keep it in this file or in "
        "KAGGLE_API_TOKEN; kaggle.json, or KAGGLE_USERNAME and KAGGLE_KEY, serve as well"
    )


def _basic(user: str, key: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{key}'.encode()).decode()}"


def _read_key(file: Path) -> tuple[str, str]:
    try:
        token = json.loads(file.read_text(encoding="utf-8"))
        return str(token["username"]), str(token["key"])
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{file}: holds no username and key: download the file anew") from None
