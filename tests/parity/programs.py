"""Programs for both engines, played one after the other in one episode."""

from typing import NamedTuple

from agent.core.actions import Action

SECONDS = 6.0  # what a program gets
SUBMIT = "import shutil\nshutil.copy('sample_submission.csv', 'submission.csv')\n"


class Played(NamedTuple):
    name: str
    kind: str
    program: str

    @property
    def action(self) -> Action:
        return Action(self.kind, self.program)  # type: ignore[arg-type]


def _execute(name: str, program: str) -> Played:
    return Played(name, "execute_code", program)


PROGRAMS = (
    _execute("submits", SUBMIT),
    _execute("submits through pandas", "import pandas as pd\npd.read_csv('sample_submission.csv')"
             ".to_csv('submission.csv', index=False)"),
    _execute("submits by an absolute path", "import os, shutil\nshutil.copy(os.path.abspath("
             "'sample_submission.csv'), os.path.join(os.getcwd(), 'submission.csv'))"),
    _execute("submits twice", "open('submission.csv', 'w').close()\n" + SUBMIT),
    _execute("submits and exits with 0", SUBMIT + "raise SystemExit(0)"),
    _execute("submits and exits with 3", SUBMIT + "raise SystemExit(3)"),
    _execute("writes nothing after one that crashed", "pass"),
    _execute("raises", "1 / 0"),
    _execute("aborts", SUBMIT + "import os\nos.abort()"),
    _execute("is no Python", "1 +"),
    _execute("is empty", ""),
    _execute("prints much", SUBMIT + "print('much ' * 100000)"),
    _execute("prints no text", SUBMIT + "print('\\x00\\x1b[2J\\ud800'.encode('utf8', 'replace'))"),
    _execute("reads its input", SUBMIT + "import sys\nassert sys.stdin.read() == ''"),
    _execute("warns", SUBMIT + "import warnings\nwarnings.warn('careful')"),
    _execute("has a child that submits", "import subprocess, sys\nsubprocess.run([sys.executable, "
             "'-c', \"import shutil; shutil.copy('sample_submission.csv', 'submission.csv')\"], "
             "check=True)"),
    _execute("runs for too long", SUBMIT + "while True: pass"),
    _execute("writes nothing after one that ran for too long", "pass"),
    _execute("destroys the data", "import pathlib\n"
             "[path.unlink() for path in pathlib.Path('.').glob('*.csv')]"),
    _execute("needs the data that an earlier one destroyed", SUBMIT),
    _execute("submits elsewhere", SUBMIT.replace("submission.csv')", "elsewhere.csv')")),
    _execute("submits an empty file", "open('submission.csv', 'w').close()"),
    _execute("submits a folder", "import os\nos.mkdir('submission.csv')"),
    Played("is validated", "validate_code", SUBMIT),
    Played("is validated and submits nothing", "validate_code", "pass"),
    Played("is validated and raises", "validate_code", "1 / 0"),
    Played("is validated and is no Python", "validate_code", "1 +"),
    _execute("writes nothing after a validated one", "pass"),
    Played("asks for the name", "request_info", "name"),
    Played("asks for what is not there", "request_info", "answers"),
    Played("asks for the history", "get_history", ""),
)  # fmt: skip
