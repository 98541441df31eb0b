"""Legitimate programs that print, warn, fail, or ask the language about itself and its place."""

from textwrap import dedent

_PROGRAMS = {
    "long output": """
        for i in range(30_000):
            print(i, "of a long output")
        """,
    "signs of all languages": """
        print("grün 数据 🙂 \\u202e \\ud800")
        """,
    "progress and standard error": """
        import sys

        for i in range(3):
            print(f"{i}\\r", end="", file=sys.stderr, flush=True)
        sys.stdout.write("no newline")
        sys.stdout.flush()
        sys.stderr.write("\\nfrom standard error\\n")
        """,
    "progress bar": """
        from tqdm import tqdm

        print(sum(tqdm(range(100), disable=False, bar_format="{n_fmt}/{total_fmt}", miniters=100)))
        """,
    "exit code": """
        import sys

        print("before")
        sys.exit(4)
        """,
    "error in a function": """
        import pandas as pd


        def load():
            return pd.read_csv("train.csv")["missing"]


        try:
            load()
        except KeyError as error:
            raise RuntimeError("no such column") from error
        """,
    "missing file": """
        open("missing.csv")
        """,
    "missing module": """
        try:
            import no_such_module
        except ImportError as error:
            print(error)
        import no_such_module.either
        """,
    "failed assertion": """
        assert 1 + 1 == 3, "arithmetic"
        """,
    "endless recursion": """
        def again(n):
            return again(n + 1)


        try:
            again(0)
        except RecursionError as error:
            print(error)
        """,
    "syntax error": """
        print("never printed"
        """,
    "question to nobody": """
        input("Continue? ")
        """,
    "warnings": """
        import warnings

        import numpy as np

        warnings.warn("a warning of its own", stacklevel=1)
        print(np.array([1.0, -1.0]) / 0)
        """,
    "traceback printed by itself": """
        import traceback

        try:
            [].pop()
        except IndexError:
            traceback.print_exc(limit=1)
        """,
    "interrupted by itself": """
        raise KeyboardInterrupt
        """,
    "memory error": """
        import numpy as np

        try:
            np.ones((1 << 20, 1 << 20))
        except MemoryError as error:
            print(type(error).__name__)
        """,
    "full file": """
        try:
            with open("large", "wb") as file:
                for _ in range(80):
                    file.write(bytes(1 << 20))
        except OSError as error:
            print(error.strerror)
        """,
    "main guard": """
        import __main__
        import atexit

        atexit.register(print, "at the end")
        if __name__ == "__main__":
            print("main", __main__.__name__, __file__ if "__file__" in globals() else "")
        """,
    "paths and patterns": """
        import glob
        from pathlib import Path

        print(sorted(glob.glob("*.csv")), sorted(path.stem for path in Path().glob("t*.csv")))
        print(Path("train.csv").stat().st_size, Path("missing").exists(), Path("/no/such").exists())
        """,
    "clocks, zones and languages": """
        import datetime
        import locale
        import time
        import zoneinfo

        locale.setlocale(locale.LC_ALL, "")
        noon = datetime.datetime(2024, 7, 1, 12, tzinfo=datetime.UTC)
        print(noon.isoformat(), time.tzname, locale.getpreferredencoding(), time.monotonic() > 0)
        try:
            print(noon.astimezone(zoneinfo.ZoneInfo("Europe/Berlin")).isoformat())
        except zoneinfo.ZoneInfoNotFoundError as error:
            print(error)
        """,
    "hashes and random bytes": """
        import hashlib
        import os
        import secrets
        import ssl
        import uuid

        print(hashlib.sha256(b"x").hexdigest(), hash("text"), len(os.urandom(8)))
        print(len(secrets.token_hex(4)), len(str(uuid.uuid4())), ssl.OPENSSL_VERSION[:7])
        with open("/dev/urandom", "rb") as source, open("/dev/null", "wb") as sink:
            print(sink.write(source.read(4)))
        """,
    "user's name": """
        import getpass

        try:
            print(bool(getpass.getuser()))
        except KeyError:
            print("nobody")
        """,
    "types": """
        from enum import Enum
        from typing import NamedTuple, get_type_hints


        class Kind(Enum):
            RED = 1


        class Row(NamedTuple):
            kind: Kind
            value: float = 0.5


        print(Row(Kind.RED), get_type_hints(Row))
        """,
}

OUTPUT = {name: dedent(text).lstrip("\n") for name, text in _PROGRAMS.items()}
NEEDS = {"progress bar": "tqdm"}
