"""What the reference pool does to features and targets before and after a model."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectKBest, f_classif, f_regression
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    PolynomialFeatures,
    QuantileTransformer,
    StandardScaler,
)


def signed_log(table: np.ndarray) -> np.ndarray:
    return np.sign(table) * np.log1p(np.abs(table))


def coded_columns(table: pd.DataFrame) -> list[str]:
    """Columns that look like codes: integers with 3 to 12 levels."""
    return [
        column
        for column in table.columns
        if 3 <= table[column].nunique() <= 12 and (table[column] % 1 == 0).all()
    ]


def changes_since_lag1(table: pd.DataFrame) -> pd.DataFrame:
    """Earlier lags as differences from the latest value."""
    earlier = [c for c in table.columns if c.startswith("lag") and c != "lag1"]
    return table.assign(**{column: table[column] - table["lag1"] for column in earlier})


class QuantileClipper(TransformerMixin, BaseEstimator):
    """Clips each column to its 5 % and 95 % quantiles in training."""

    def fit(self, features: pd.DataFrame, target: Any = None) -> "QuantileClipper":
        self.bounds_ = np.quantile(features, [0.05, 0.95], axis=0)
        return self

    def transform(self, features: pd.DataFrame) -> np.ndarray:
        return np.clip(np.asarray(features, dtype=float), *self.bounds_)


class TrimmedRegressor(RegressorMixin, BaseEstimator):
    """Learns without the largest 12 % of the training targets."""

    def __init__(self, regressor: Any = None) -> None:
        self.regressor = regressor

    def fit(self, features: pd.DataFrame, target: np.ndarray) -> "TrimmedRegressor":
        kept = target <= np.quantile(target, 0.88)
        self.regressor_ = clone(self.regressor).fit(features[kept], target[kept])
        return self

    def predict(self, features: pd.DataFrame) -> np.ndarray:
        return self.regressor_.predict(features)


class ChangeRegressor(RegressorMixin, BaseEstimator):
    """Predicts the change since `lag1` instead of the value."""

    def __init__(self, regressor: Any = None) -> None:
        self.regressor = regressor

    def fit(self, features: pd.DataFrame, target: np.ndarray) -> "ChangeRegressor":
        change = np.asarray(target) - features["lag1"].to_numpy()
        self.regressor_ = clone(self.regressor).fit(features, change)
        return self

    def predict(self, features: pd.DataFrame) -> np.ndarray:
        return self.regressor_.predict(features) + features["lag1"].to_numpy()


def preparations(classification: bool) -> dict[str, Callable[[], list[Any]]]:
    """Steps before the model, by name."""
    test = f_classif if classification else f_regression
    return {
        "raw": lambda: [],
        "scale": lambda: [StandardScaler()],
        "codes": lambda: [
            make_column_transformer(
                (OneHotEncoder(handle_unknown="ignore", sparse_output=False), coded_columns),
                remainder=StandardScaler(),
            )
        ],
        "quantiles": lambda: [QuantileTransformer(n_quantiles=50, output_distribution="normal")],
        "slog": lambda: [FunctionTransformer(signed_log), StandardScaler()],
        "clip": lambda: [QuantileClipper(), StandardScaler()],
        "pca": lambda: [StandardScaler(), PCA(0.9)],
        "whiten": lambda: [PCA(0.95, whiten=True)],
        "best8": lambda: [StandardScaler(), SelectKBest(test, k=8)],
        "clip best8": lambda: [QuantileClipper(), StandardScaler(), SelectKBest(test, k=8)],
        "squares": lambda: [
            StandardScaler(),
            SelectKBest(test, k=12),
            PolynomialFeatures(2, include_bias=False),
            StandardScaler(),
        ],
        "changes": lambda: [FunctionTransformer(changes_since_lag1), StandardScaler()],
    }
