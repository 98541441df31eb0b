"""Legitimate programs that read tables, fit models and draw plots with the usual libraries."""

from textwrap import dedent

_READ = """
import numpy as np
import pandas as pd

train, test = pd.read_csv("train.csv"), pd.read_csv("test.csv")
columns = ["x0", "x1", "x2", "x3"]
X, y = train[columns], train["target"]


def submit(predictions):
    table = pd.DataFrame({"id": test["id"], "target": np.round(predictions, 6)})
    table.to_csv("submission.csv", index=False)
    print(table["target"].describe().round(4))


"""

_PROGRAMS = {
    "sample submission": """
        import shutil

        shutil.copy("sample_submission.csv", "submission.csv")
        """,
    "mean by kind": """
        means = train.groupby("kind")["target"].mean()
        submit(test["kind"].map(means))
        """,
    "least squares by hand": """
        design = np.c_[np.ones(len(X)), X, X**2]
        weights, *_ = np.linalg.lstsq(design, y, rcond=None)
        submit(np.c_[np.ones(len(test)), test[columns], test[columns] ** 2] @ weights)
        """,
    "pipeline with columns": """
        from sklearn.compose import ColumnTransformer
        from sklearn.linear_model import Ridge
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder, StandardScaler

        prepare = ColumnTransformer(
            [("numbers", StandardScaler(), columns), ("kinds", OneHotEncoder(), ["kind"])]
        )
        model = make_pipeline(prepare, Ridge()).fit(train, y)
        submit(model.predict(test))
        """,
    "forest on two threads": """
        from sklearn.ensemble import RandomForestRegressor

        model = RandomForestRegressor(50, n_jobs=2, random_state=0).fit(X, y)
        submit(model.predict(test[columns]).round(3))  # the order of sums varies
        """,
    "forest on all cores": """
        from sklearn.ensemble import ExtraTreesRegressor

        model = ExtraTreesRegressor(50, n_jobs=-1, random_state=0).fit(X, y)
        submit(model.predict(test[columns]).round(3))  # the order of sums varies
        """,
    "cross validation with two workers": """
        from sklearn.linear_model import Ridge
        from sklearn.model_selection import cross_val_score

        print(cross_val_score(Ridge(), X, y, cv=4, n_jobs=2).round(6))
        """,
    "cross validation on all cores": """
        from sklearn.linear_model import Ridge
        from sklearn.model_selection import cross_val_score

        print(cross_val_score(Ridge(), X, y, cv=4, n_jobs=-1).round(6))
        """,
    "grid search with two workers": """
        from sklearn.model_selection import GridSearchCV
        from sklearn.tree import DecisionTreeRegressor

        grid = {"max_depth": [2, 4, 6]}
        search = GridSearchCV(DecisionTreeRegressor(random_state=0), grid, n_jobs=2).fit(X, y)
        print(search.best_params_)
        submit(search.predict(test[columns]))
        """,
    "boosting with its own threads": """
        from sklearn.ensemble import HistGradientBoostingRegressor

        model = HistGradientBoostingRegressor(random_state=0).fit(X, y)
        submit(model.predict(test[columns]))
        """,
    "words of the kind": """
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.svm import LinearSVC

        words = TfidfVectorizer(analyzer="char", ngram_range=(1, 2))
        model = LinearSVC(random_state=0).fit(words.fit_transform(train["kind"]), y > 0)
        print(sorted(words.vocabulary_)[:5], model.predict(words.transform(test["kind"])).sum())
        """,
    "clusters and components": """
        from sklearn.cluster import KMeans
        from sklearn.decomposition import PCA

        print(np.bincount(KMeans(3, n_init=2, random_state=0).fit_predict(X)))
        print(PCA(2).fit(X).explained_variance_ratio_.round(5))
        """,
    "pickled model": """
        import pickle
        from sklearn.linear_model import Lasso

        with open("model.pkl", "wb") as file:
            pickle.dump(Lasso(0.01).fit(X, y), file)
        with open("model.pkl", "rb") as file:
            submit(pickle.load(file).predict(test[columns]))
        """,
    "model dumped by joblib and mapped": """
        import joblib
        from sklearn.neighbors import KNeighborsRegressor

        joblib.dump(KNeighborsRegressor(5, algorithm="brute").fit(X.to_numpy(), y), "model.joblib")
        model = joblib.load("model.joblib", mmap_mode="r")
        submit(model.predict(test[columns].to_numpy()))
        """,
    "joblib cache": """
        import joblib

        memory = joblib.Memory("cache", verbose=0)
        double = memory.cache(lambda x: 2 * x)
        submit(double(test["x0"].to_numpy()))
        """,
    "random numbers without a seed": """
        import random

        print(random.random(), np.random.rand(3), np.random.default_rng(1).normal())
        """,
    "tables in many ways": """
        print(train.pivot_table("target", "kind", aggfunc=["mean", "count"]).round(4))
        print(train.merge(test, on="kind").query("x0_x > x0_y").shape)
        print(train["x0"].rolling(5).mean().tail(3), train.sort_values("x1").head(2), sep="\\n")
        print(pd.date_range("2024-01-01", periods=3, freq="W").strftime("%a %d %b").tolist())
        """,
    "scipy optimisers": """
        from scipy import optimize, stats

        found = optimize.minimize(lambda w: ((X @ w - y) ** 2).sum(), np.zeros(4), method="BFGS")
        print(found.x.round(3), stats.spearmanr(train["x0"], y).statistic.round(5))
        print(optimize.differential_evolution(lambda p: p @ p, [(-1, 1)] * 2, seed=0).success)
        """,
    "statsmodels regression": """
        import statsmodels.api as sm

        model = sm.OLS(y, sm.add_constant(X)).fit()
        print(model.params.round(5))
        submit(model.predict(sm.add_constant(test[columns])))
        """,
    "matplotlib figure": """
        import os
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots()
        axes.scatter(train["x1"], y)
        axes.set_title("target by x1")
        figure.savefig("figure.png")
        print(os.path.getsize("figure.png") > 1000)
        """,
    "seaborn figure": """
        import os
        import matplotlib

        matplotlib.use("Agg")
        import seaborn as sns

        sns.boxplot(data=train, x="kind", y="target").figure.savefig("boxes.pdf")
        print(os.path.getsize("boxes.pdf") > 1000)
        """,
    "picture": """
        from PIL import Image

        Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save("picture.png")
        print(np.asarray(Image.open("picture.png").resize((4, 4))).tolist())
        """,
    "neural network of torch": """
        import torch

        torch.manual_seed(0)
        inputs, targets = (torch.tensor(t.to_numpy(), dtype=torch.float32) for t in (X, y))
        net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
        optimizer = torch.optim.Adam(net.parameters(), 0.05)
        for _ in range(50):
            loss = ((net(inputs)[:, 0] - targets) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        torch.save(net.state_dict(), "net.pt")
        net.load_state_dict(torch.load("net.pt"))
        with torch.no_grad():
            answer = net(torch.tensor(test[columns].to_numpy(), dtype=torch.float32))[:, 0]
        submit(answer.numpy().round(3))
        """,
    "batches of torch": """
        import torch
        from torch.utils.data import DataLoader, TensorDataset

        rows = TensorDataset(torch.tensor(X.to_numpy()), torch.tensor(y.to_numpy()))
        print(sum(len(targets) for _, targets in DataLoader(rows, batch_size=32)))
        """,
    "batches loaded by workers of torch": """
        import torch
        from torch.utils.data import DataLoader, TensorDataset

        rows = TensorDataset(torch.tensor(X.to_numpy()), torch.tensor(y.to_numpy()))
        batches = DataLoader(rows, batch_size=32, num_workers=2)
        print([round(float(targets.sum()), 4) for _, targets in batches])
        """,
    "boosting of lightgbm": """
        import lightgbm

        model = lightgbm.LGBMRegressor(n_estimators=30, random_state=0, n_jobs=2, verbose=-1)
        submit(model.fit(X, y).predict(test[columns]))
        """,
    "boosting of xgboost": """
        import xgboost

        model = xgboost.XGBRegressor(n_estimators=30, random_state=0, n_jobs=2)
        submit(model.fit(X, y).predict(test[columns]))
        """,
}

LEARNING = {name: _READ + dedent(text).lstrip("\n") for name, text in _PROGRAMS.items()}
NEEDS = {
    "statsmodels regression": "statsmodels",
    "matplotlib figure": "matplotlib",
    "seaborn figure": "seaborn",
    "picture": "PIL",
    "neural network of torch": "torch",
    "batches of torch": "torch",
    "batches loaded by workers of torch": "torch",
    "boosting of lightgbm": "lightgbm",
    "boosting of xgboost": "xgboost",
}
