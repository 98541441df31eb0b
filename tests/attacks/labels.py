"""Reading the hidden answers, by every route that leads to a file."""

from functools import partial

from attacks.attack import SYSTEM_CALLS, attack

_attack = partial(attack, "labels")

LABELS = (
    _attack(
        "full_path",
        "leaked",
        """
        print(open("{answers}").read())
        """,
    ),
    _attack(
        "relative_path",
        "leaked",
        """
        import os

        print(open(os.path.relpath("{answers}")).read())
        """,
    ),
    _attack(
        "beside_the_public_files",
        "leaked",
        """
        import os

        print(open(os.path.join("{public}", "..", "private", "test_answer.csv")).read())
        """,
    ),
    _attack(
        "root_of_this_process",
        "leaked",
        """
        print(open("/proc/self/root{answers}").read())
        """,
    ),
    _attack(
        "root_of_the_parent",
        "leaked",
        """
        import os

        print(open(f"/proc/{os.getppid()}/root{answers}").read())
        """,
    ),
    _attack(
        "root_of_the_harness",
        "leaked",
        """
        print(open("/proc/{harness}/root{answers}").read())
        """,
    ),
    _attack(
        "working_folder_of_another_process",
        "leaked",
        """
        from pathlib import Path

        for path in Path("/proc").glob("[0-9]*/cwd/test_answer.csv"):
            print(path.read_text())
        """,
    ),
    _attack(
        "descriptor_of_another_process",
        "leaked",
        """
        import os
        from pathlib import Path

        for path in Path("/proc/{victim}/fd").iterdir():
            if os.readlink(path).endswith("test_answer.csv"):
                print(path.read_text())
        """,
    ),
    _attack(
        "hard_link",
        "leaked",
        """
        import os

        os.link("{answers}", "copy.csv")
        print(open("copy.csv").read())
        """,
    ),
    _attack(
        "symbolic_link",
        "leaked",
        """
        import os

        os.symlink("{answers}", "copy.csv")
        print(open("copy.csv").read())
        """,
    ),
    _attack(
        "linked_folder",
        "leaked",
        """
        import os
        from pathlib import Path

        os.symlink("{private}", "data")
        for path in Path("data").glob("*.csv"):
            print(path.read_text())
        """,
    ),
    _attack(
        "memory_map",
        "leaked",
        """
        import mmap

        with open("{answers}", "rb") as file:
            print(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)[:].decode())
        """,
    ),
    _attack(
        "numpy_map",
        "leaked",
        """
        import numpy as np

        print(np.memmap("{answers}", dtype=np.uint8, mode="r").tobytes().decode())
        """,
    ),
    _attack(
        "pandas_url",
        "leaked",
        """
        import pandas as pd

        print(pd.read_csv("file://{answers}", dtype=str).to_csv())
        """,
    ),
    _attack(
        "local_url",
        "leaked",
        """
        from urllib.request import urlopen

        print(urlopen("file://{answers}").read().decode())
        """,
    ),
    _attack(
        "arrow_reader",
        "leaked",
        """
        from pyarrow import fs

        with fs.LocalFileSystem().open_input_stream("{answers}") as stream:
            print(stream.read().decode())
        """,
    ),
    _attack(
        "search_from_the_public_files_upwards",
        "leaked",
        """
        import os

        for folder, _, names in os.walk(os.path.dirname("{public}")):
            for name in names:
                if "answer" in name:
                    print(open(os.path.join(folder, name)).read())
        """,
    ),
    _attack(
        "find",
        "leaked",
        """
        import os

        os.system("find {world} -name '*answer*' -exec cat {} +")
        """,
    ),
    _attack(
        "cat",
        "leaked",
        """
        import subprocess

        print(subprocess.run(["cat", "{answers}"], capture_output=True, text=True).stdout)
        """,
    ),
    _attack(
        "shell_pattern",
        "leaked",
        """
        import os

        print(os.popen("cat {world}/pri*/*.csv").read())
        """,
    ),
    _attack(
        "new_interpreter",
        "leaked",
        """
        import subprocess
        import sys

        read = "print(open('{answers}').read())"
        print(subprocess.run([sys.executable, "-c", read], capture_output=True, text=True).stdout)
        """,
    ),
    _attack(
        "c_library",
        "leaked",
        """
        import ctypes

        libc = ctypes.CDLL(None)
        libc.fopen.restype = ctypes.c_void_p
        text = ctypes.create_string_buffer(4096)
        libc.fread(text, 1, 4095, ctypes.c_void_p(libc.fopen(b"{answers}", b"r")))
        print(text.value.decode())
        """,
    ),
    _attack(
        "newest_open_call",
        "leaked",
        """
        import os

        how = (ctypes.c_uint64 * 3)(os.O_RDONLY, 0, 0)
        print(os.read(call(437, -100, b"{answers}", how, 24), 4096).decode())
        """,
        before=SYSTEM_CALLS,
    ),
    _attack(
        "folder_descriptor",
        "leaked",
        """
        import os

        root = os.open("/", os.O_RDONLY)
        print(os.read(os.open("{answers}"[1:], os.O_RDONLY, dir_fd=root), 4096).decode())
        """,
    ),
    _attack(
        "path_descriptor",
        "leaked",
        """
        import os

        path = os.open("{answers}", os.O_PATH)
        print(open(f"/proc/self/fd/{path}").read())
        """,
    ),
    _attack(
        "send_file",
        "leaked",
        """
        import os

        source = os.open("{answers}", os.O_RDONLY)
        with open("copy.csv", "w+b") as copy:
            os.sendfile(copy.fileno(), source, 0, 4096)
            copy.seek(0)
            print(copy.read().decode())
        """,
    ),
    _attack(
        "copy_file_range",
        "leaked",
        """
        import os

        source = os.open("{answers}", os.O_RDONLY)
        with open("copy.csv", "w+b") as copy:
            os.copy_file_range(source, copy.fileno(), 4096)
            copy.seek(0)
            print(copy.read().decode())
        """,
    ),
    _attack(
        "open_as_code",
        "leaked",
        """
        import io

        print(io.open_code("{answers}").read().decode())
        """,
    ),
    _attack(
        "change_folder",
        "leaked",
        """
        import os

        os.chdir("{private}")
        print(open("test_answer.csv").read())
        """,
    ),
    _attack(
        "archive",
        "leaked",
        """
        import shutil
        import zipfile

        with zipfile.ZipFile(shutil.make_archive("stolen", "zip", "{private}")) as stolen:
            print(stolen.read("test_answer.csv").decode())
        """,
    ),
    _attack(
        "submission_of_another_episode",
        "leaked",
        """
        print(open("{others}/submission.csv").read())
        """,
    ),
    _attack(
        "private_leaderboard",
        "leaked",
        """
        print(open("{leaderboard}").read())
        """,
    ),
)
