"""Correction for asking several questions at once: each family of comparisons by Holm's method."""

import pandas as pd
from statsmodels.stats.multitest import multipletests


def adjust(table: pd.DataFrame) -> pd.DataFrame:
    """`table` with `p_adjusted`, by families of rows that share a name in `family`.

    A comparison without a p-value of its own still counts as one of its family, the most
    conservative way: as if its p-value were 1.
    """
    adjusted = pd.Series(float("nan"), index=table.index)
    named = table[table["family"].fillna("") != ""]
    for _, family in named.groupby("family", sort=False):
        p_values = family["p_value"].astype(float)
        corrected = multipletests(p_values.fillna(1.0), method="holm")[1]
        adjusted[family.index] = pd.Series(corrected, family.index).where(p_values.notna())
    return table.assign(p_adjusted=adjusted)
