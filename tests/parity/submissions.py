"""Submissions made by hand from a pair of tables: good ones, poor ones and broken ones."""

from collections.abc import Callable

import numpy as np
import pandas as pd

Table = pd.DataFrame


def submissions(submission: Table, answers: Table, perfect: Table) -> dict[str, bytes]:
    """Every case as a CSV file's content.

    submission: one that is valid and partly right; `perfect` is all right.
    """
    equal = [name for name in submission if name in answers]
    keys = [name for name in equal if submission[name].equals(answers[name])]
    keys = keys or [submission.columns[0]]
    targets = [name for name in submission if name not in keys]
    tables = {"given": submission, "perfect": perfect, "reversed rows": submission[::-1]}
    tables |= {name: damage(submission, keys, targets) for name, damage in DAMAGES.items()}
    files = {name: table.to_csv(index=False).encode() for name, table in tables.items()}
    written = files["given"]
    files |= {
        "byte order mark": b"\xef\xbb\xbf" + written,
        "carriage returns": written.replace(b"\n", b"\r\n"),
        "semicolons": submission.to_csv(index=False, sep=";").encode(),
        "row numbers": submission.to_csv().encode(),
    }
    return files | FILES


def _noisy(table: Table, keys: list[str], targets: list[str]) -> Table:
    """Numbers off by up to four hundredths, texts one row down."""
    off = np.arange(len(table)) * 7 % 5 / 100
    return table.assign(
        **{
            name: table[name] + off
            if pd.api.types.is_numeric_dtype(table[name])
            else np.roll(table[name].to_numpy(), 1)
            for name in targets
        }
    )


def _cell(value: object) -> Callable[[Table, list[str], list[str]], Table]:
    """One value in the second row of the last column that is no key."""

    def damage(table: Table, keys: list[str], targets: list[str]) -> Table:
        damaged = table.astype({targets[-1]: object})
        damaged.loc[damaged.index[1], targets[-1]] = value
        return damaged

    return damage


def _column(value: object) -> Callable[[Table, list[str], list[str]], Table]:
    return lambda table, keys, targets: table.assign(**dict.fromkeys(targets, value))


DAMAGES: dict[str, Callable[[Table, list[str], list[str]], Table]] = {
    "constant": lambda table, keys, targets: table.assign(
        **{name: table[name].iloc[0] for name in targets}
    ),
    "noisy": _noisy,
    "rolled": lambda table, keys, targets: table.assign(
        **{name: np.roll(table[name].to_numpy(), 1) for name in targets}
    ),
    "other order of columns": lambda table, keys, targets: table[[*targets, *keys]],
    "wrong column": lambda table, keys, targets: table.rename(columns={targets[-1]: "wrong"}),
    "missing column": lambda table, keys, targets: table.drop(columns=targets[-1]),
    "missing keys": lambda table, keys, targets: table.drop(columns=keys),
    "extra column": lambda table, keys, targets: table.assign(extra=1),
    "missing row": lambda table, keys, targets: table[:-1],
    "extra row": lambda table, keys, targets: pd.concat([table, table[-1:]]),
    "twice the same key": lambda table, keys, targets: pd.concat([table[:1], table[:-1]]),
    "unknown key": lambda table, keys, targets: table.assign(
        **{keys[0]: ["unknown", *table[keys[0]][1:]]}
    ),
    "no value": _cell(None),
    "text": _cell("text"),
    "infinity": _cell(np.inf),
    "nothing but infinity": _column(np.inf),
    "huge": _column(1e308),
    "negative": _cell(-1),
    "true": _column(True),
    "no rows": lambda table, keys, targets: table[:0],
}
FILES = {
    "empty file": b"",
    "empty lines": b"\n\n",
    "no table": b"PK\x03\x04\x00\x00\xff\xfe",
    "ragged": b"id,target\n1,2,3\n4,5,6,7\n8\n9,10,11,12,13\n",
}
