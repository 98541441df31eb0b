"""The models of the reference pool: from hopeless to hard to beat, all cheap.

Nothing here chooses by the competition's metric. Models that look inside their training rows
(LassoCV, stacking) optimise their own loss.
"""

from collections.abc import Callable
from typing import Any

from sklearn import linear_model as lm
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis as LDA
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis as QDA
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

Factory = Callable[[], Any]

TREES = 60
SEEDED: dict[str, Any] = {"random_state": 0}


def scaled_target(regressor: Any) -> TransformedTargetRegressor:
    return TransformedTargetRegressor(regressor, transformer=StandardScaler())


def calibrated(classifier: Any) -> CalibratedClassifierCV:
    return CalibratedClassifierCV(classifier, cv=3, ensemble=False)


def logistic(C: float = 1.0, **options: Any) -> lm.LogisticRegression:
    return lm.LogisticRegression(C=C, max_iter=300, **options)


def hist_boosting(classification: bool, **options: Any) -> Any:
    model = HistGradientBoostingClassifier if classification else HistGradientBoostingRegressor
    return model(early_stopping=False, **options, **SEEDED)


def _classifier_team() -> list[tuple[str, Any]]:
    trees = ExtraTreesClassifier(40, min_samples_leaf=3, **SEEDED)
    return [("linear", logistic()), ("trees", trees), ("near", KNeighborsClassifier(15))]


def _tree_classifiers() -> list[tuple[str, Any]]:
    return [
        ("forest", RandomForestClassifier(30, min_samples_leaf=3, **SEEDED)),
        ("extra", ExtraTreesClassifier(30, min_samples_leaf=2, **SEEDED)),
        ("boost", hist_boosting(True, max_iter=30, max_leaf_nodes=5)),
    ]


def _regressor_team() -> list[tuple[str, Any]]:
    trees = ExtraTreesRegressor(40, min_samples_leaf=3, **SEEDED)
    return [("linear", lm.Ridge(3)), ("trees", trees), ("near", KNeighborsRegressor(15))]


CLASSIFIERS: dict[str, Factory] = {
    "logistic-0.01": lambda: logistic(0.01),
    "logistic-0.1": lambda: logistic(0.1),
    "logistic-1": lambda: logistic(1),
    "logistic-10": lambda: logistic(10),
    "logistic-balanced": lambda: logistic(0.1, class_weight="balanced"),
    "logistic-l1": lambda: lm.LogisticRegression(
        C=0.3, l1_ratio=1, solver="saga", max_iter=200, **SEEDED
    ),
    "logistic-cv": lambda: lm.LogisticRegressionCV(
        Cs=[0.003, 0.03, 0.3, 3], cv=3, max_iter=200, scoring="neg_log_loss", l1_ratios=(0,),
        use_legacy_attributes=False,
    ),
    "lda": lambda: LDA(),
    "lda-shrunk": lambda: LDA(solver="lsqr", shrinkage="auto"),
    "qda": lambda: QDA(reg_param=0.2),
    "bayes": lambda: GaussianNB(),
    "bayes-calibrated": lambda: calibrated(GaussianNB()),
    "near-5": lambda: KNeighborsClassifier(5, weights="distance"),
    "near-15": lambda: KNeighborsClassifier(15),
    "near-40": lambda: KNeighborsClassifier(40),
    "svm-0.5": lambda: calibrated(SVC(C=0.5)),
    "svm-3": lambda: calibrated(SVC(C=3)),
    "svm-30": lambda: calibrated(SVC(C=30)),
    "svm-balanced": lambda: calibrated(SVC(C=3, class_weight="balanced")),
    "tree-1": lambda: DecisionTreeClassifier(max_depth=1, **SEEDED),
    "tree-3": lambda: DecisionTreeClassifier(max_depth=3, **SEEDED),
    "tree-6": lambda: DecisionTreeClassifier(max_depth=6, **SEEDED),
    "tree": lambda: DecisionTreeClassifier(**SEEDED),
    "forest": lambda: RandomForestClassifier(TREES, **SEEDED),
    "forest-5": lambda: RandomForestClassifier(TREES, min_samples_leaf=5, **SEEDED),
    "forest-15": lambda: RandomForestClassifier(TREES, min_samples_leaf=15, **SEEDED),
    "forest-balanced": lambda: RandomForestClassifier(
        TREES, min_samples_leaf=5, class_weight="balanced", **SEEDED
    ),
    "forest-log": lambda: RandomForestClassifier(TREES, max_features="log2", **SEEDED),
    "forest-calibrated": lambda: calibrated(RandomForestClassifier(40, **SEEDED)),
    "extra": lambda: ExtraTreesClassifier(TREES, **SEEDED),
    "extra-5": lambda: ExtraTreesClassifier(TREES, min_samples_leaf=5, **SEEDED),
    "extra-15": lambda: ExtraTreesClassifier(TREES, min_samples_leaf=15, **SEEDED),
    "extra-all": lambda: ExtraTreesClassifier(TREES, max_features=None, **SEEDED),
    "extra-half": lambda: ExtraTreesClassifier(
        TREES, max_features=0.5, min_samples_leaf=3, **SEEDED
    ),
    "extra-balanced": lambda: ExtraTreesClassifier(
        TREES, min_samples_leaf=5, class_weight="balanced", **SEEDED
    ),
    "extra-calibrated": lambda: calibrated(ExtraTreesClassifier(40, **SEEDED)),
    "bagged-trees": lambda: BaggingClassifier(
        DecisionTreeClassifier(max_depth=5), 40, max_samples=0.6, **SEEDED
    ),
    "bagged-logistic": lambda: BaggingClassifier(logistic(), 15, max_features=0.5, **SEEDED),
    "boost": lambda: hist_boosting(True, max_iter=40, max_leaf_nodes=7, min_samples_leaf=5),
    "boost-slow": lambda: hist_boosting(
        True, learning_rate=0.04, max_iter=60, max_leaf_nodes=4, l2_regularization=5
    ),
    "boost-balanced": lambda: hist_boosting(
        True, max_iter=40, max_leaf_nodes=5, min_samples_leaf=10, class_weight="balanced"
    ),
    "stumps": lambda: GradientBoostingClassifier(
        n_estimators=50, max_depth=1, subsample=0.7, **SEEDED
    ),
    "boost-3": lambda: GradientBoostingClassifier(
        n_estimators=40, max_depth=3, subsample=0.7, max_features=0.5, **SEEDED
    ),
    "adaboost": lambda: AdaBoostClassifier(n_estimators=40, **SEEDED),
    "mlp": lambda: MLPClassifier(hidden_layer_sizes=(32,), alpha=0.1, max_iter=100, **SEEDED),
    "mlp-strict": lambda: MLPClassifier(hidden_layer_sizes=(16,), alpha=3, max_iter=100, **SEEDED),
    "vote": lambda: VotingClassifier(
        [
            ("linear", logistic(0.3)),
            ("trees", ExtraTreesClassifier(40, min_samples_leaf=2, **SEEDED)),
            ("boost", hist_boosting(True, max_iter=30, max_leaf_nodes=5)),
        ],
        voting="soft",
    ),
    "vote-forest": lambda: VotingClassifier(
        [
            ("linear", logistic(0.1)),
            ("trees", RandomForestClassifier(40, min_samples_leaf=5, **SEEDED)),
        ],
        voting="soft",
    ),
    "vote-svm": lambda: VotingClassifier(
        [("linear", logistic()), ("svm", calibrated(SVC(C=3)))], voting="soft"
    ),
    "vote-balanced": lambda: VotingClassifier(
        [
            ("linear", logistic(0.1, class_weight="balanced")),
            ("trees", RandomForestClassifier(
                40, min_samples_leaf=5, class_weight="balanced", **SEEDED)),
        ],
        voting="soft",
    ),
    "stack": lambda: StackingClassifier(
        _classifier_team(), final_estimator=logistic(0.5), cv=3
    ),
    "stack-balanced": lambda: StackingClassifier(
        _classifier_team(), final_estimator=logistic(0.5, class_weight="balanced"), cv=3
    ),
    "vote-trees": lambda: VotingClassifier(_tree_classifiers(), voting="soft"),
    "stack-trees": lambda: StackingClassifier(
        _tree_classifiers(), final_estimator=logistic(0.5), cv=3
    ),
    "prior": lambda: DummyClassifier(),
    "uniform": lambda: DummyClassifier(strategy="uniform", **SEEDED),
}  # fmt: skip

REGRESSORS: dict[str, Factory] = {
    "ols": lambda: lm.LinearRegression(),
    "ridge-0.1": lambda: lm.Ridge(0.1),
    "ridge-3": lambda: lm.Ridge(3),
    "ridge-30": lambda: lm.Ridge(30),
    "ridge-300": lambda: lm.Ridge(300),
    "lasso": lambda: lm.LassoCV(cv=4, max_iter=2000),
    "elastic": lambda: lm.ElasticNetCV(l1_ratio=0.5, cv=4, max_iter=2000),
    "bayes": lambda: lm.BayesianRidge(),
    "huber": lambda: lm.HuberRegressor(max_iter=300),
    "huber-strict": lambda: lm.HuberRegressor(epsilon=1.1, alpha=1.0, max_iter=300),
    "median-line": lambda: lm.QuantileRegressor(quantile=0.5, alpha=0.001),
    "poisson": lambda: lm.PoissonRegressor(alpha=0.1, max_iter=300),
    "tweedie": lambda: lm.TweedieRegressor(power=1.5, alpha=0.05, link="log", max_iter=300),
    "near-5": lambda: KNeighborsRegressor(5, weights="distance"),
    "near-15": lambda: KNeighborsRegressor(15),
    "near-40": lambda: KNeighborsRegressor(40),
    "svr-0.3": lambda: scaled_target(SVR(C=0.3, epsilon=0.05)),
    "svr-1": lambda: scaled_target(SVR(C=1, epsilon=0.05)),
    "svr-10": lambda: scaled_target(SVR(C=10, epsilon=0.05)),
    "svr-line": lambda: scaled_target(SVR(C=0.1, epsilon=0.01, kernel="linear")),
    "tree-1": lambda: DecisionTreeRegressor(max_depth=1, **SEEDED),
    "tree-3": lambda: DecisionTreeRegressor(max_depth=3, **SEEDED),
    "tree-6": lambda: DecisionTreeRegressor(max_depth=6, **SEEDED),
    "tree": lambda: DecisionTreeRegressor(**SEEDED),
    "tree-median": lambda: DecisionTreeRegressor(
        max_depth=4, criterion="absolute_error", min_samples_leaf=5, **SEEDED
    ),
    "forest": lambda: RandomForestRegressor(TREES, max_features=0.5, **SEEDED),
    "forest-5": lambda: RandomForestRegressor(
        TREES, min_samples_leaf=5, max_features=0.5, **SEEDED
    ),
    "forest-15": lambda: RandomForestRegressor(
        TREES, min_samples_leaf=15, max_features=0.5, **SEEDED
    ),
    "extra": lambda: ExtraTreesRegressor(TREES, **SEEDED),
    "extra-5": lambda: ExtraTreesRegressor(TREES, min_samples_leaf=5, **SEEDED),
    "extra-15": lambda: ExtraTreesRegressor(TREES, min_samples_leaf=15, **SEEDED),
    "extra-root": lambda: ExtraTreesRegressor(TREES, max_features="sqrt", **SEEDED),
    "boost": lambda: hist_boosting(
        False, learning_rate=0.08, max_iter=60, max_leaf_nodes=7, min_samples_leaf=8
    ),
    "boost-median": lambda: hist_boosting(
        False, loss="absolute_error", learning_rate=0.08, max_iter=60, max_leaf_nodes=7,
        min_samples_leaf=8,
    ),
    "boost-poisson": lambda: hist_boosting(
        False, loss="poisson", learning_rate=0.08, max_iter=60, max_leaf_nodes=7,
        min_samples_leaf=8,
    ),
    "stumps": lambda: GradientBoostingRegressor(
        n_estimators=60, max_depth=1, subsample=0.7, **SEEDED
    ),
    "boost-3": lambda: GradientBoostingRegressor(
        n_estimators=60, max_depth=3, subsample=0.7, max_features=0.5, **SEEDED
    ),
    "boost-huber": lambda: GradientBoostingRegressor(
        n_estimators=60, max_depth=2, loss="huber", subsample=0.7, **SEEDED
    ),
    "boost-lad": lambda: GradientBoostingRegressor(
        n_estimators=80, max_depth=3, loss="absolute_error", subsample=0.7, **SEEDED
    ),
    "mlp": lambda: scaled_target(
        MLPRegressor(
            hidden_layer_sizes=(32,), alpha=0.3, max_iter=150, learning_rate_init=0.01, **SEEDED
        )
    ),
    "vote": lambda: VotingRegressor(
        [
            ("linear", lm.Ridge(3)),
            ("trees", ExtraTreesRegressor(40, min_samples_leaf=2, **SEEDED)),
            ("boost", hist_boosting(False, max_iter=40, max_leaf_nodes=5)),
        ]
    ),
    "vote-robust": lambda: VotingRegressor(
        [
            ("linear", lm.HuberRegressor(max_iter=300)),
            ("boost", hist_boosting(
                False, loss="absolute_error", max_iter=40, max_leaf_nodes=5, min_samples_leaf=8)),
        ]
    ),
    "vote-median": lambda: VotingRegressor(
        [
            ("linear", lm.QuantileRegressor(quantile=0.5, alpha=0.01)),
            ("svr", scaled_target(SVR(C=1, epsilon=0.05))),
            ("boost", hist_boosting(
                False, loss="absolute_error", max_iter=40, max_leaf_nodes=5, min_samples_leaf=8)),
        ]
    ),
    "bagged-huber": lambda: BaggingRegressor(
        lm.HuberRegressor(max_iter=200), 12, max_features=0.6, **SEEDED
    ),
    "stack": lambda: StackingRegressor(
        _regressor_team(), final_estimator=lm.RidgeCV(), cv=3
    ),
    "mean": lambda: DummyRegressor(),
    "median": lambda: DummyRegressor(strategy="median"),
    "no-change": lambda: DummyRegressor(strategy="constant", constant=0.0),
}  # fmt: skip
