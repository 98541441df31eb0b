"""The program's own process: from a forked or new interpreter to the model's first statement.

Runs after all confinement is in place. It needs the standard library only and no other module of
this project, because a cold start hands its source to a new interpreter that sees no such files.
"""

import contextlib
import os
import random
import sys
import traceback
from typing import NoReturn

ERROR_MARK = "program error: "


def run(program: str) -> NoReturn:
    """Execute `program` as `__main__`, report its error if it has one, and end this process."""
    sys.stdout = os.fdopen(1, "w", buffering=1, errors="backslashreplace", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    sys.argv = ["program.py"]
    sys.path.insert(0, "")
    _seed(0)
    code = 1  # also when reporting the error fails
    try:
        exec(compile(program, "program.py", "exec"), _main_module())
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException as error:
        _report(error)
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code & 0xFF)


def _main_module() -> dict[str, object]:
    """The namespace of a real `__main__`, so that classes defined in a program can be pickled."""
    module = type(sys)("__main__")
    sys.modules["__main__"] = module
    return vars(module)


def _seed(seed: int) -> None:
    """A program that draws without a seed of its own still is a function of its text."""
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed)


def _report(error: BaseException) -> None:
    """The traceback from the program's own first line on, then a line the runner can read."""
    report = traceback.TracebackException.from_exception(error)
    link: traceback.TracebackException | None = report
    while link:
        own = [frame for frame in link.stack if frame.filename == "program.py"]
        link.stack = traceback.StackSummary.from_list(own)
        link = link.__cause__ or link.__context__
    lines = "".join(report.format())
    message = str(error).strip().split("\n")[0][:500]
    sys.stderr.write(f"{lines}\n{ERROR_MARK}{type(error).__name__}: {message}\n")
