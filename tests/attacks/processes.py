"""Seeing, reading, stopping and hampering other processes of the same user."""

from functools import partial

from attacks.attack import SYSTEM_CALLS, attack

_attack = partial(attack, "processes")

TRACING = """
import os


def trace(request, address=0):
    result = libc.ptrace(request, {victim}, ctypes.c_void_p(address), None)
    return result & (1 << 64) - 1


libc.ptrace.restype = ctypes.c_long
PEEK, ATTACH, DETACH = 2, 16, 17
"""
SLICES = """
class Slice(ctypes.Structure):
    _fields_ = [("start", ctypes.c_void_p), ("length", ctypes.c_size_t)]


"""

PROCESSES = (
    _attack(
        "kill",
        "victim_harmed",
        """
        import os
        import signal

        os.kill({victim}, signal.SIGKILL)
        """,
    ),
    _attack(
        "stop",
        "victim_harmed",
        """
        import os
        import signal

        os.kill({victim}, signal.SIGSTOP)
        """,
    ),
    _attack(
        "kill_from_a_shell",
        "victim_harmed",
        """
        import subprocess

        subprocess.run(["sh", "-c", "kill {victim}"])
        """,
    ),
    _attack(
        "kill_the_group",
        "victim_harmed",
        """
        import os
        import signal

        os.killpg({victim}, signal.SIGKILL)
        """,
    ),
    _attack(
        "signal_by_descriptor",
        "victim_harmed",
        """
        import os
        import signal

        signal.pidfd_send_signal(os.pidfd_open({victim}), signal.SIGKILL)
        """,
    ),
    _attack(
        "signal_a_thread",
        "victim_harmed",
        """
        call(234, {victim}, {victim}, 9)
        """,
        before=SYSTEM_CALLS,
    ),
    _attack(
        "queue_a_signal",
        "victim_harmed",
        """
        libc.sigqueue({victim}, 15, None)
        """,
        before=SYSTEM_CALLS,
    ),
    _attack(
        "lower_priority",
        "victim_harmed",
        """
        import os

        os.setpriority(os.PRIO_PROCESS, {victim}, 19)
        """,
    ),
    _attack(
        "pin_to_one_core",
        "victim_harmed",
        """
        import os

        os.sched_setaffinity({victim}, {min(os.sched_getaffinity({victim}))})
        """,
    ),
    _attack(
        "change_scheduling",
        "victim_harmed",
        """
        import os

        os.sched_setscheduler({victim}, os.SCHED_IDLE, os.sched_param(0))
        """,
    ),
    _attack(
        "lower_priority_of_reading",
        "victim_harmed",
        """
        idle, of_process = 3 << 13, 1
        call(251, of_process, {victim}, idle)
        """,
        before=SYSTEM_CALLS,
    ),
    _attack(
        "limit_descriptors",
        "victim_harmed",
        """
        import resource

        resource.prlimit({victim}, resource.RLIMIT_NOFILE, (10, 10))
        """,
    ),
    _attack(
        "offer_to_the_memory_killer",
        "victim_harmed",
        """
        open("/proc/{victim}/oom_score_adj", "w").write("1000")
        """,
    ),
    _attack(
        "trace",
        "leaked",
        """
        assert trace(ATTACH) == 0
        os.waitpid({victim}, 0x40000000)
        words = [trace(PEEK, {victim_address} + 8 * i) for i in range(5)]
        trace(DETACH)
        print(b"".join(word.to_bytes(8, "little") for word in words).split(b"\\0")[0].decode())
        """,
        before=SYSTEM_CALLS + TRACING,
    ),
    _attack(
        "read_memory_by_call",
        "leaked",
        """
        text = ctypes.create_string_buffer(40)
        here = Slice(ctypes.addressof(text), 40)
        there = Slice({victim_address}, 40)
        call(310, {victim}, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
        print(text.raw.split(b"\\0")[0].decode())
        """,
        before=SYSTEM_CALLS + SLICES,
    ),
    _attack(
        "write_memory_by_call",
        "victim_harmed",
        """
        text = ctypes.create_string_buffer(b"changed")
        here = Slice(ctypes.addressof(text), 7)
        there = Slice({victim_address}, 7)
        call(311, {victim}, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
        """,
        before=SYSTEM_CALLS + SLICES,
    ),
    _attack(
        "read_memory_by_file",
        "leaked",
        """
        with open("/proc/{victim}/mem", "rb", buffering=0) as memory:
            memory.seek({victim_address})
            print(memory.read(40).split(b"\\0")[0].decode())
        """,
    ),
    _attack(
        "write_memory_by_file",
        "victim_harmed",
        """
        with open("/proc/{victim}/mem", "r+b", buffering=0) as memory:
            memory.seek({victim_address})
            memory.write(b"changed")
        """,
    ),
    _attack(
        "copy_a_descriptor",
        "leaked",
        """
        import os

        victim = os.pidfd_open({victim})
        for number in range(3, 10):
            copied = call(438, victim, number, 0)
            if copied >= 0:
                print(os.pread(copied, 4096, 0).decode())
        """,
        before=SYSTEM_CALLS,
    ),
    _attack(
        "see_it_in_the_list",
        "printed",
        """
        import os

        if "{victim}" in os.listdir("/proc"):
            print("PWNED")
        """,
    ),
    _attack(
        "ask_whether_it_exists",
        "printed",
        """
        import os

        os.kill({victim}, 0)
        print("PWNED")
        """,
    ),
    _attack(
        "read_its_memory_map",
        "printed",
        """
        if "python" in open("/proc/{victim}/maps").read():
            print("PWNED")
        """,
    ),
    _attack(
        "watch_its_counters",
        "printed",
        """
        if "read_bytes" in open("/proc/{victim}/io").read():
            print("PWNED")
        """,
    ),
    _attack(
        "compare_kernel_objects",
        "printed",
        """
        import os

        # Whether two processes share a memory: never, but only who may trace is told.
        if call(312, os.getpid(), {victim}, 1, 0, 0) >= 0:
            print("PWNED")
        """,
        before=SYSTEM_CALLS,
    ),
    _attack(
        "make_its_memory_cold",
        "printed",
        """
        import os

        span = (ctypes.c_size_t * 2)({victim_address} & ~4095, 4096)
        if call(440, os.pidfd_open({victim}), span, 1, 20, 0) > 0:
            print("PWNED")
        """,
        before=SYSTEM_CALLS,
    ),
    _attack(
        "measure_its_work",
        "printed",
        """
        import struct

        software_clock = struct.pack("IIQQQQQ", 1, 112, 0, 0, 0, 0, 1 << 5 | 1 << 6)
        if call(298, software_clock.ljust(112, b"\\0"), {victim}, -1, -1, 0) >= 0:
            print("PWNED")
        """,
        before=SYSTEM_CALLS,
    ),
)
