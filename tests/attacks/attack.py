"""What an attack is: a program, and the trace by which its success is known."""

from dataclasses import dataclass
from textwrap import dedent

# Numbers of system calls in the attacks are those of x86-64.
SYSTEM_CALLS = dedent(
    """
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long


    def call(number, *arguments):
        wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
        result = libc.syscall(ctypes.c_long(number), *wide)
        return result if result >= 0 else -ctypes.get_errno()


    """
)


@dataclass(frozen=True, slots=True)
class Attack:
    """`program` holds placeholders like `{answers}`; see `World.placeholders`."""

    name: str
    group: str
    program: str
    success: str  # a key of `checks.CHECKS`
    control: str = ""  # why it fails even without confinement, empty where it succeeds


def attack(
    group: str, name: str, success: str, program: str, control: str = "", before: str = ""
) -> Attack:
    return Attack(name, group, before + dedent(program).lstrip("\n"), success, control)
