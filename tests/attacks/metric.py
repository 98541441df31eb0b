"""Changing what a submission is compared with: answers, leaderboard, history, shared data."""

from functools import partial

from attacks.attack import attack

_attack = partial(attack, "metric")

METRIC = (
    _attack(
        "append_to_answers",
        "answers_changed",
        """
        open("{answers}", "a").write("x")
        """,
    ),
    _attack(
        "truncate_answers",
        "answers_changed",
        """
        import os

        os.truncate("{answers}", 10)
        """,
    ),
    _attack(
        "delete_answers",
        "answers_changed",
        """
        import os

        os.unlink("{answers}")
        """,
    ),
    _attack(
        "replace_answers",
        "answers_changed",
        """
        import os
        import pandas as pd

        pd.read_csv("sample_submission.csv").to_csv("{private}/new.csv", index=False)
        os.replace("{private}/new.csv", "{answers}")
        """,
    ),
    _attack(
        "map_answers_for_writing",
        "answers_changed",
        """
        import mmap

        with open("{answers}", "r+b") as file:
            mmap.mmap(file.fileno(), 0)[-2:-1] = b"7"
        """,
    ),
    _attack(
        "write_answers_through_a_link",
        "answers_changed",
        """
        import os

        os.symlink("{answers}", "notes.csv")
        open("notes.csv", "w").write("id,target\\n")
        """,
    ),
    _attack(
        "punch_a_hole_into_answers",
        "answers_changed",
        """
        import ctypes
        import os

        libc = ctypes.CDLL(None)
        keep_size_and_punch = 3
        whole = os.path.getsize("{answers}")
        with open("{answers}", "r+b") as file:
            libc.fallocate(file.fileno(), keep_size_and_punch, 0, ctypes.c_long(whole))
        """,
    ),
    _attack(
        "forbid_reading_answers",
        "answers_changed",
        """
        import os

        os.chmod("{answers}", 0)
        """,
    ),
    _attack(
        "give_answers_away",
        "answers_changed",
        """
        import os

        os.chown("{answers}", 65534, 65534)
        """,
    ),
    _attack(
        "make_answers_look_new",
        "answers_changed",
        """
        import os

        os.utime("{answers}")
        """,
    ),
    _attack(
        "mark_answers",
        "answers_changed",
        """
        import os

        os.setxattr("{answers}", "user.mark", b"seen")
        """,
    ),
    _attack(
        "shell_redirection_into_answers",
        "answers_changed",
        """
        import os

        os.system("echo id,target > {answers}")
        """,
    ),
    _attack(
        "move_the_private_folder",
        "answers_changed",
        """
        import os

        os.rename("{private}", "{private}-old")
        """,
    ),
    _attack(
        "extend_leaderboard",
        "leaderboard_changed",
        """
        with open("{leaderboard}", "a") as board:
            board.writelines("99,1e9\\n" for _ in range(1000))
        """,
    ),
    _attack(
        "rewrite_leaderboard",
        "leaderboard_changed",
        """
        import pandas as pd

        pd.DataFrame({"rank": [1], "score": [1e9]}).to_csv("{leaderboard}", index=False)
        """,
    ),
    _attack(
        "leaderboard_by_anothers_descriptor",
        "leaderboard_changed",
        """
        import os
        from pathlib import Path

        for path in Path("/proc/{victim}/fd").iterdir():
            if os.readlink(path).endswith("leaderboard.csv"):
                path.write_text("rank,score\\n")
        """,
    ),
    _attack(
        "rewrite_history",
        "history_changed",
        """
        import json

        with open("{history}", "w") as file:
            json.dump([{"action": "execute_code", "position": 1.0}], file)
        """,
    ),
    _attack(
        "poison_the_shared_training_data",
        "public_changed",
        """
        with open("{public}/train.csv", "a") as train:
            train.write("1,0.0,1e9\\n")
        """,
    ),
    _attack(
        "delete_the_shared_data",
        "public_changed",
        """
        import shutil

        shutil.rmtree("{public}")
        """,
    ),
    _attack(
        "write_to_the_own_training_data",
        "public_changed",
        """
        with open("train.csv", "r+b") as train:
            train.write(b"damaged")
        """,
        control="every program gets a copy",
    ),
)
