"""Legitimate programs that read, write and arrange files."""

from textwrap import dedent

_PROGRAMS = {
    "temporary files": """
        import os
        import tempfile

        with tempfile.NamedTemporaryFile("w+", suffix=".csv") as file:
            file.write("a,b")
            file.seek(0)
            print(file.read(), os.path.exists(file.name))
        with tempfile.TemporaryFile() as file:
            print(file.write(b"nameless"))
        with tempfile.TemporaryDirectory() as folder:
            open(os.path.join(folder, "inside"), "w").close()
            print(os.listdir(folder))
        descriptor, path = tempfile.mkstemp(dir=".")
        os.write(descriptor, b"text")
        os.close(descriptor)
        print(os.path.getsize(path), os.path.isdir(tempfile.gettempdir()))
        """,
    "file in /tmp": """
        import os

        with open("/tmp/features.csv", "w") as file:
            file.write("1,2")
        with open("/tmp/features.csv") as file:
            print(file.read())
        os.unlink("/tmp/features.csv")
        """,
    "files in the home folder": """
        import os
        from pathlib import Path

        folder = Path(os.path.expanduser("~/.cache/models"))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "weights").write_bytes(b"123")
        print(os.path.getsize(Path.home() / ".cache/models/weights"))
        """,
    "nested folders": """
        import os
        import shutil
        from pathlib import Path

        Path("a/b/c").mkdir(parents=True)
        Path("a/b/c/one.txt").write_text("one")
        Path("a/two.txt").write_text("two")
        os.rename("a/b/c/one.txt", "a/three.txt")
        os.replace("a/two.txt", "a/b/two.txt")
        print([str(path) for path in sorted(Path("a").rglob("*"))], sorted(os.listdir(".")))
        shutil.rmtree("a")
        print(os.path.exists("a"))
        """,
    "copies and moves": """
        import os
        import shutil

        shutil.copy("train.csv", "copy.csv")
        shutil.copy2("train.csv", "second.csv")
        shutil.copytree(".", "tree", ignore=shutil.ignore_patterns("tree"))
        shutil.move("tree/copy.csv", "moved.csv")
        sizes = {os.path.getsize(name) for name in ("train.csv", "second.csv", "moved.csv")}
        print(len(sizes), sorted(os.listdir("tree")))
        """,
    "symbolic link": """
        import os

        os.symlink("train.csv", "data.csv")
        with open("data.csv") as file:
            print(file.readline(), os.readlink("data.csv"), os.path.realpath("data.csv")[-9:])
        """,
    "hard link": """
        import os

        os.link("train.csv", "same.csv")
        print(os.stat("same.csv").st_nlink, os.path.samefile("train.csv", "same.csv"))
        """,
    "mode of a script": """
        import os
        import subprocess

        with open("run.sh", "w") as file:
            file.write("#!/bin/sh\\necho run\\n")
        os.chmod("run.sh", 0o755)
        print(oct(os.stat("run.sh").st_mode & 0o777))
        subprocess.run(["./run.sh"], check=True)
        """,
    "times of a file": """
        import os

        os.utime("train.csv", (1_000_000, 2_000_000))
        print(int(os.path.getmtime("train.csv")))
        """,
    "changing the given tables": """
        import os
        import pandas as pd

        table = pd.read_csv("train.csv").dropna()
        table.to_csv("train.csv", index=False)
        os.remove("test.csv")
        print(len(pd.read_csv("train.csv")), sorted(os.listdir()))
        """,
    "another working folder": """
        import os

        os.makedirs("work")
        os.chdir("work")
        with open("../submission.csv", "w") as file:
            file.write("id,target\\n1,2\\n")
        print(sorted(os.listdir("..")), os.path.basename(os.getcwd()))
        """,
    "submission replaced as a whole": """
        import os

        with open("partial.csv", "w") as file:
            file.write("id,target\\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace("partial.csv", "submission.csv")
        print(os.path.exists("partial.csv"))
        """,
    "database in a file": """
        import sqlite3

        with sqlite3.connect("rows.db") as database:
            database.execute("pragma journal_mode=wal")
            database.execute("create table rows (id integer, value real)")
            database.executemany("insert into rows values (?, ?)", [(i, i / 2) for i in range(9)])
        print(sqlite3.connect("rows.db").execute("select sum(value) from rows").fetchone())
        """,
    "shelf and pickle": """
        import pickle
        import shelve
        from dataclasses import dataclass


        @dataclass
        class Row:
            x: int


        with shelve.open("shelf") as shelf:
            shelf["row"] = Row(3)
        with shelve.open("shelf") as shelf:
            print(shelf["row"], pickle.loads(pickle.dumps(Row(4))))
        """,
    "mapped array": """
        import numpy as np

        array = np.memmap("array.dat", dtype="float32", mode="w+", shape=(100, 4))
        array[:] = np.arange(4)
        array.flush()
        print(np.memmap("array.dat", dtype="float32", mode="r").sum())
        np.savez_compressed("arrays.npz", a=np.eye(3))
        print(np.load("arrays.npz")["a"].trace())
        """,
    "packed files": """
        import bz2
        import gzip
        import lzma
        import tarfile
        import zipfile

        for module in (gzip, bz2, lzma):
            with module.open("packed", "wt") as file:
                file.write("text")
            with module.open("packed", "rt") as file:
                print(file.read())
        with zipfile.ZipFile("all.zip", "w") as archive:
            archive.write("train.csv")
        with zipfile.ZipFile("all.zip") as archive:
            archive.extractall("unzipped")
            print(archive.namelist())
        with tarfile.open("all.tar.gz", "w:gz") as archive:
            archive.add("test.csv")
        with tarfile.open("all.tar.gz") as archive:
            archive.extractall("untarred")
            print(archive.getnames())
        """,
    "tables in other formats": """
        import pandas as pd

        table = pd.read_csv("train.csv")
        table.to_json("train.json")
        table.to_pickle("train.pkl")
        table.to_csv("train.csv.gz", index=False)
        same = [pd.read_pickle("train.pkl"), pd.read_csv("train.csv.gz")]
        print([one.equals(table) for one in same], pd.read_json("train.json").shape)
        """,
    "parquet": """
        import pandas as pd

        table = pd.read_csv("train.csv")
        table.to_parquet("train.parquet")
        print(pd.read_parquet("train.parquet").equals(table))
        """,
    "csv and json by hand": """
        import csv
        import json

        with open("train.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        with open("rows.json", "w") as file:
            json.dump(rows[:2], file, indent=1)
        with open("rows.json") as file:
            print(json.load(file) == rows[:2], len(rows))
        """,
    "log file": """
        import logging

        logging.basicConfig(filename="run.log", level="INFO", format="%(levelname)s %(message)s")
        logging.info("started")
        logging.getLogger("other").warning("careful")
        with open("run.log") as file:
            print(file.read())
        """,
    "locked file": """
        import fcntl

        with open("lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.truncate(10)
            print(fcntl.fcntl(file, fcntl.F_GETFD))
        """,
    "module of its own": """
        import os

        os.makedirs("helpers")
        for name, text in (("__init__", ""), ("features", "def double(x):\\n    return 2 * x\\n")):
            with open(f"helpers/{name}.py", "w") as file:
                file.write(text)
        from helpers.features import double
        import inspect

        print(double(4), inspect.getsource(double))
        """,
}

FILES = {name: dedent(text).lstrip("\n") for name, text in _PROGRAMS.items()}
NEEDS = {"parquet": "pyarrow"}
