"""The real data sets that ship inside scikit-learn and statsmodels, with where they come from.

Tables are read from the installed packages directly: importing `sklearn.datasets` costs over a
second of CPU, more than everything else a preparation does.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

PATCH = 7  # pixels on each side of a square photo patch
PIXELS = [f"p{row}{column}" for row in range(PATCH) for column in range(PATCH)]


@dataclass(frozen=True, slots=True)
class DataSet:
    """A table as shipped, and what its own module says about it (one line each)."""

    name: str
    about: str
    source: str
    copyright: str
    table: pd.DataFrame


def load_data_set(name: str) -> DataSet:
    """Read one data set; `name` is a key of `SCIKIT_LEARN` or a module of statsmodels.datasets."""
    reader = SCIKIT_LEARN.get(name)
    return reader(name) if reader else _from_statsmodels(name)


def one_line(text: str) -> str:
    """Collapse white space; a text without a single letter ("???") says nothing."""
    line = re.sub(r"\s+", " ", text).strip()
    return line if re.search("[A-Za-z]", line) else "not stated"


def _from_statsmodels(name: str) -> DataSet:
    module = import_module(f"statsmodels.datasets.{name}")
    return DataSet(
        name=name,
        about=one_line(module.DESCRSHORT),
        source=one_line(module.SOURCE),
        copyright=one_line(module.COPYRIGHT),
        table=module.load_pandas().data,
    )


def _scikit_learn_file(folder: str, file: str) -> Path:
    package = find_spec("sklearn")  # finds the folder without importing
    if package is None or package.origin is None:
        raise ModuleNotFoundError("scikit-learn ships the data sets: install it")
    return Path(package.origin).parent / "datasets" / folder / file


def _described(name: str, file: str, source: str, table: pd.DataFrame) -> DataSet:
    """A scikit-learn table; `source` starts the paragraph of its DESCR that tells the origin."""
    descr = _scikit_learn_file("descr", file).read_text(encoding="utf-8")
    paragraphs = descr.split("\n\n")
    return DataSet(
        name=name,
        about=one_line(paragraphs[1].strip().splitlines()[0]),
        source=one_line(next(p for p in paragraphs if p.startswith(source))),
        copyright="not stated",
        table=table,
    )


def _iris(name: str) -> DataSet:
    columns = ["sepal_length", "sepal_width", "petal_length", "petal_width", "species"]
    table = pd.read_csv(_scikit_learn_file("data", "iris.csv"), skiprows=1, names=columns)
    return _described(name, "iris.rst", "The famous Iris database", table)


def _wine(name: str) -> DataSet:
    columns = (
        "alcohol malic_acid ash alcalinity_of_ash magnesium total_phenols flavanoids "
        "nonflavanoid_phenols proanthocyanins color_intensity hue od280_od315 proline cultivator"
    ).split()
    table = pd.read_csv(_scikit_learn_file("data", "wine_data.csv"), skiprows=1, names=columns)
    return _described(name, "wine_data.rst", "This is a copy of UCI", table)


def _breast_cancer(name: str) -> DataSet:
    measures = (
        "radius texture perimeter area smoothness compactness concavity concave_points "
        "symmetry fractal_dimension"
    ).split()
    columns = [f"{kind}_{m}" for kind in ("mean", "error", "worst") for m in measures]
    table = pd.read_csv(
        _scikit_learn_file("data", "breast_cancer.csv"), skiprows=1, names=[*columns, "benign"]
    )
    return _described(name, "breast_cancer.rst", "This is a copy of UCI", table)


def _digits(name: str) -> DataSet:
    columns = [f"p{row}{column}" for row in range(8) for column in range(8)]
    table = pd.read_csv(
        _scikit_learn_file("data", "digits.csv.gz"), names=[*columns, "digit"], compression="gzip"
    ).astype(int)
    return _described(name, "digits.rst", "This is a copy of the test set", table)


def _diabetes(name: str) -> DataSet:
    columns = "age sex bmi bp s1 s2 s3 s4 s5 s6".split()
    table = pd.read_csv(
        _scikit_learn_file("data", "diabetes_data_raw.csv.gz"),
        sep=" ",
        names=columns,
        compression="gzip",
    )
    target = pd.read_csv(
        _scikit_learn_file("data", "diabetes_target.csv.gz"),
        names=["progression"],
        compression="gzip",
    )
    return _described(name, "diabetes.rst", "Source URL:", table.join(target))


def _photo(name: str) -> DataSet:
    """Grey patches on a grid: they never overlap, so no patch shows another one's hidden pixel."""
    from sklearn.datasets import load_sample_image  # worth its second for photographs alone

    file = f"{name.removeprefix('photo_')}.jpg"
    grey = np.asarray(load_sample_image(file)).mean(axis=2).round()
    rows, columns = grey.shape[0] // PATCH, grey.shape[1] // PATCH
    cut = grey[: rows * PATCH, : columns * PATCH].reshape(rows, PATCH, columns, PATCH)
    patches = cut.transpose(0, 2, 1, 3).reshape(rows * columns, PATCH * PATCH)
    table = pd.DataFrame(patches, columns=PIXELS)
    table["patch_column"] = np.tile(np.arange(columns), rows)
    readme = _scikit_learn_file("images", "README.txt").read_text(encoding="utf-8")
    licence = readme.split("Image: ")[1 if file == "china.jpg" else 2]
    return DataSet(
        name=name,
        about=f"Grey 7 x 7 patches of the sample photograph {file}.",
        source=one_line(" ".join(re.findall(r"Retrieved.*|\[3\] http.*", licence))),
        copyright=one_line(" ".join(re.findall(r"Released.*|Attribution.*|\[1\] h.*", licence))),
        table=table,
    )


SCIKIT_LEARN: dict[str, Callable[[str], DataSet]] = {
    "iris": _iris,
    "wine": _wine,
    "breast_cancer": _breast_cancer,
    "digits": _digits,
    "diabetes": _diabetes,
    "photo_china": _photo,
    "photo_flower": _photo,
}
