"""Tables whose rows are predicted from their own columns."""

import numpy as np
import pandas as pd

from agent.competitions.data_sets import DataSet
from agent.competitions.problem import Problem, ProblemBuilder

# Rows of the World Bank's fertility table that sum up other rows.
AGGREGATES = ("LCN", "OED", "OSS", "PSS")


def _digits(data_set: DataSet) -> Problem:
    table = data_set.table
    about = "Which digit is drawn? p23 is the ink (0-16) in row 2, column 3 of an 8 x 8 image."
    features = table.drop(columns="digit")
    target = table["digit"].to_numpy()
    return Problem("Handwritten digits", about, data_set, features, target, 10, train_rows=250)


def _digits_eight(data_set: DataSet) -> Problem:
    table = data_set.table
    about = "Is the drawn digit an 8? p23 is the ink (0-16) in row 2, column 3 of an 8 x 8 image."
    target = (table["digit"] == 8).to_numpy(dtype=int)
    return Problem("Find the eights", about, data_set, table.drop(columns="digit"), target, 2)


def _wine(data_set: DataSet) -> Problem:
    about = "Which of three cultivators grew the wine that was analysed?"
    features = data_set.table.drop(columns="cultivator")
    target = data_set.table["cultivator"].to_numpy()
    return Problem("Wine growers", about, data_set, features, target, 3, train_rows=90)


def _iris(data_set: DataSet) -> Problem:
    about = "Is the flower Iris virginica (1) or Iris versicolor (0)? Lengths in cm."
    table = data_set.table[data_set.table["species"] > 0].reset_index(drop=True)
    target = table["species"].to_numpy() - 1
    features = table.drop(columns="species")
    return Problem("Two kinds of iris", about, data_set, features, target, 2, train_rows=50)


def _fair(data_set: DataSet) -> Problem:
    about = "Did the person have an affair? Codes: rate_marriage, religious, educ, occupation."
    target = (data_set.table["affairs"] > 0).to_numpy(dtype=int)
    features = data_set.table.drop(columns="affairs")
    return Problem("Affairs or none", about, data_set, features, target, 2)


def _fair_amount(data_set: DataSet) -> Problem:
    about = "How much time did somebody who had an affair spend on it? Columns are survey answers."
    table = data_set.table[data_set.table["affairs"] > 0].reset_index(drop=True)
    features, target = table.drop(columns="affairs"), table["affairs"].to_numpy()
    return Problem("Time spent in affairs", about, data_set, features, target, 0)


def _mode_rows(data_set: DataSet) -> Problem:
    """Four rows per traveller, one of them chosen: travellers are the groups."""
    about = "Each traveller has four rows, one per way to travel (mode). Was this one chosen?"
    table = data_set.table
    features = table.drop(columns=["individual", "choice"])
    target = table["choice"].to_numpy(dtype=int)
    groups = table["individual"].to_numpy()
    return Problem("Chosen way to travel", about, data_set, features, target, 2, groups=groups)


def _mode_person(data_set: DataSet) -> Problem:
    about = "How did the traveller go: air 0, train 1, bus 2, car 3? gc_2 is the cost by mode 2."
    table = data_set.table
    offers = table.pivot(index="individual", columns="mode", values=["ttme", "invc", "invt", "gc"])
    offers.columns = offers.columns.map(lambda pair: f"{pair[0]}_{int(pair[1]) - 1}")
    person = table.groupby("individual")[["hinc", "psize"]].first()
    chosen = table[table["choice"] == 1].set_index("individual")["mode"].astype(int) - 1
    features = offers.join(person).drop(columns="ttme_3").reset_index(drop=True)
    target = chosen.loc[offers.index].to_numpy()
    return Problem("How people travel", about, data_set, features, target, 4, train_rows=110)


def _photo(data_set: DataSet) -> Problem:
    """Train on the left of the photograph, test on the right."""
    about = "The 3 x 3 middle of each 7 x 7 patch is hidden: how bright (0-255) is its centre?"
    table = data_set.table
    middle = [f"p{row}{column}" for row in (2, 3, 4) for column in (2, 3, 4)]
    held_back = (table["patch_column"] > table["patch_column"].max() / 2).to_numpy()
    title = f"Missing pixels of a {data_set.name.removeprefix('photo_')} photo"
    features = table.drop(columns=[*middle, "patch_column"])
    target = table["p33"].to_numpy()
    return Problem(title, about, data_set, features, target, 0, held_back=held_back)


def _star_features(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns=["NABOVE", "NBELOW"])


def _star_rate(data_set: DataSet) -> Problem:
    about = "Which share of a district's pupils is above the national median in mathematics?"
    table = data_set.table
    target = (table["NABOVE"] / (table["NABOVE"] + table["NBELOW"])).to_numpy()
    features = _star_features(table)
    return Problem("School pass rates", about, data_set, features, target, 0, train_rows=130)


def _star_pass(data_set: DataSet) -> Problem:
    about = "Are over 60 % of a district's pupils above the national median in mathematics?"
    table = data_set.table
    target = (table["NABOVE"] / (table["NABOVE"] + table["NBELOW"]) > 0.6).to_numpy(dtype=int)
    features = _star_features(table)
    return Problem("Good school districts", about, data_set, features, target, 2, train_rows=130)


def _star_size(data_set: DataSet) -> Problem:
    about = "How many pupils of the district took the test?"
    target = (data_set.table["NABOVE"] + data_set.table["NBELOW"]).to_numpy()
    features = _star_features(data_set.table).iloc[:, :12]  # without the interaction columns
    return Problem("School district sizes", about, data_set, features, target, 0, train_rows=130)


def _cancer(data_set: DataSet) -> Problem:
    about = "How many cases of breast cancer does a county of this population have?"
    target = data_set.table["cancer"].to_numpy()
    features = data_set.table[["population"]]
    return Problem("Cancer in counties", about, data_set, features, target, 0, train_rows=130)


def _engel(data_set: DataSet) -> Problem:
    about = "How much does a household with this income (francs a year) spend on food?"
    target = data_set.table["foodexp"].to_numpy()
    features = data_set.table[["income"]]
    return Problem("Food expenditure", about, data_set, features, target, 0, train_rows=110)


def _ccard(data_set: DataSet) -> Problem:
    about = "How much does the holder of a credit card spend a month?"
    features = data_set.table.drop(columns="AVGEXP")
    target = data_set.table["AVGEXP"].to_numpy()
    return Problem("Credit card bills", about, data_set, features, target, 0, train_rows=36)


def _diabetes(data_set: DataSet) -> Problem:
    about = "How far has the disease progressed one year after these measurements?"
    features = data_set.table.drop(columns="progression")
    target = data_set.table["progression"].to_numpy()
    return Problem("Diabetes progression", about, data_set, features, target, 0, train_rows=200)


def _diabetes_high(data_set: DataSet) -> Problem:
    about = "Does the disease progress beyond 150 points within one year?"
    features = data_set.table.drop(columns="progression")
    target = (data_set.table["progression"] > 150).to_numpy(dtype=int)
    return Problem("Diabetes outlook", about, data_set, features, target, 2, train_rows=200)


def _breast_cancer(data_set: DataSet) -> Problem:
    about = "Is the tumour malignant (1) or benign (0)? Columns measure cell nuclei."
    target = 1 - data_set.table["benign"].to_numpy()
    features = data_set.table.drop(columns="benign")
    return Problem("Tumour diagnosis", about, data_set, features, target, 2, train_rows=200)


def _anes_features(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns=["PID", "vote", "logpopul"])


def _anes_vote(data_set: DataSet) -> Problem:
    about = "Does the respondent expect to vote for Dole (1) or Clinton (0)? Columns are codes."
    target = data_set.table["vote"].to_numpy(dtype=int)
    return Problem("The vote of 1996", about, data_set, _anes_features(data_set.table), target, 2)


def _anes_party(data_set: DataSet) -> Problem:
    about = "Where does the respondent stand, from strong Democrat (0) to strong Republican (6)?"
    target = data_set.table["PID"].to_numpy()
    return Problem("Party leaning", about, data_set, _anes_features(data_set.table), target, 0)


def _anes_camp(data_set: DataSet) -> Problem:
    about = "Is the respondent a Democrat (0), between the parties (1) or a Republican (2)?"
    target = np.digitize(data_set.table["PID"].to_numpy(), [1.5, 4.5])
    return Problem("Party camps", about, data_set, _anes_features(data_set.table), target, 3)


def _persons(features: pd.DataFrame) -> np.ndarray:
    """The table has no person's number, but a person's yearly rows follow each other unchanged.

    Runs of equal rows have length 3 or 5 nearly always, the two terms of the experiment.
    """
    return (features != features.shift()).any(axis=1).cumsum().to_numpy()


def _randhie(data_set: DataSet) -> Problem:
    about = "How often does a person see a doctor in a year? Columns: insurance and health."
    features = data_set.table.drop(columns="mdvis")
    target = data_set.table["mdvis"].to_numpy(dtype=float)
    groups = _persons(features)
    return Problem("Visits to the doctor", about, data_set, features, target, 0, groups=groups)


def _grunfeld(data_set: DataSet) -> Problem:
    """Eleven firms over twenty years: the last seven years are the test."""
    about = "How much does a firm (a code) invest, given its market value and capital?"
    table = data_set.table.sort_values(["year", "firm"]).reset_index(drop=True)
    features = table[["value", "capital", "year"]].assign(firm=pd.factorize(table["firm"])[0])
    held_back = (table["year"] >= 1948).to_numpy()
    target = table["invest"].to_numpy()
    return Problem(
        "Investing firms", about, data_set, features, target, 0, held_back=held_back, ordered=True
    )


def _fertility(data_set: DataSet) -> Problem:
    about = "A country's births per woman in 2011, from 1995 (lag1) back to 1980 (lag16)."
    years = [str(year) for year in range(1995, 1979, -1)]
    table = data_set.table[~data_set.table["Country Code"].isin(AGGREGATES)]
    table = table.dropna(subset=[*years, "2011"]).reset_index(drop=True)
    features = table[years].set_axis([f"lag{step}" for step in range(1, 17)], axis=1)
    target = table["2011"].to_numpy()
    return Problem("Births per woman", about, data_set, features, target, 0, train_rows=80)


# name -> (data set, builder)
TABULAR_PROBLEMS: dict[str, tuple[str, ProblemBuilder]] = {
    "digits": ("digits", _digits),
    "digits-eight": ("digits", _digits_eight),
    "wine": ("wine", _wine),
    "iris": ("iris", _iris),
    "fair": ("fair", _fair),
    "fair-amount": ("fair", _fair_amount),
    "mode-rows": ("modechoice", _mode_rows),
    "mode-person": ("modechoice", _mode_person),
    "china": ("photo_china", _photo),
    "star-rate": ("star98", _star_rate),
    "star-pass": ("star98", _star_pass),
    "star-size": ("star98", _star_size),
    "cancer": ("cancer", _cancer),
    "engel": ("engel", _engel),
    "ccard": ("ccard", _ccard),
    "diabetes": ("diabetes", _diabetes),
    "diabetes-high": ("diabetes", _diabetes_high),
    "breast-cancer": ("breast_cancer", _breast_cancer),
    "anes-vote": ("anes96", _anes_vote),
    "anes-party": ("anes96", _anes_party),
    "anes-camp": ("anes96", _anes_camp),
    "randhie": ("randhie", _randhie),
    "flower": ("photo_flower", _photo),
    "grunfeld": ("grunfeld", _grunfeld),
    "fertility": ("fertility", _fertility),
}
