"""Taking more processor, memory, disk or descriptors than a program is given. All are bounded.

What is counted from outside must end a program before it has had half a second of it.
The sizes fit limits of 4 seconds, 2048 MB of memory and files of 16 MB.
"""

from functools import partial

from attacks.attack import SYSTEM_CALLS, attack

_attack = partial(attack, "resources")

RESOURCES = (
    _attack(
        "many_processes",
        "printed",
        """
        import os
        import time

        started = 0
        while started < 200:
            try:
                if os.fork() == 0:
                    time.sleep(2)
                    os._exit(0)
            except OSError:
                break
            started += 1
        time.sleep(0.5)
        if started >= 150:
            print("PWNED")
        """,
    ),
    _attack(
        "many_threads",
        "printed",
        """
        import ctypes
        import threading
        import time

        most_arenas = -8
        ctypes.CDLL(None).mallopt(most_arenas, 1)
        threading.stack_size(65536)
        started = 0
        while started < 1000:
            try:
                threading.Thread(target=time.sleep, args=(1.5,), daemon=True).start()
            except RuntimeError:
                break
            started += 1
        time.sleep(0.5)
        if started >= 800:
            print("PWNED")
        """,
    ),
    _attack(
        "memory_of_all_children_together",
        "printed",
        """
        import os

        filled, tell = os.pipe()
        wait, hold = os.pipe()
        for _ in range(4):
            if os.fork() == 0:
                os.close(hold)
                block = bytearray(600 << 20)
                block[::4096] = b"x" * (len(block) // 4096)
                os.write(tell, b"x")
                os.read(wait, 1)
                os._exit(0)
        os.close(tell)
        if sum(len(os.read(filled, 1)) for _ in range(4)) == 4:
            print("PWNED")
        """,
    ),
    _attack(
        "files_in_shared_memory",
        "printed",
        """
        import os

        names = [f"/dev/shm/{token}-{i}" for i in range(140)]
        try:
            for name in names:
                with open(name, "wb") as file:
                    file.write(bytes(16 << 20))
            print("PWNED")
        finally:
            for name in filter(os.path.exists, names):
                os.unlink(name)
        """,
    ),
    _attack(
        "files_without_a_name",
        "printed",
        """
        import os
        import time

        for i in range(140):
            with open(os.memfd_create(f"{i}"), "wb", closefd=False) as file:
                file.write(bytes(16 << 20))
        time.sleep(0.5)
        print("PWNED")
        """,
    ),
    _attack(
        "system_v_memory_of_any_size",
        "printed",
        """
        create, remove, size = 0o1000, 0, 200 << 20
        segments = []
        for i in range(11):
            segment = call(29, {key} + 1 + i, size, create | 0o600)
            address = call(30, segment, 0, 0)
            if segment < 0 or address < 0:
                break
            segments.append(segment)
            ctypes.memset(address, 1, size)
            call(67, address)
        if len(segments) == 11:
            print("PWNED")
        for segment in segments:
            call(31, segment, remove, None)
        """,
        before=SYSTEM_CALLS,
    ),
    _attack(
        "locked_memory",
        "printed",
        """
        import ctypes

        block = ctypes.create_string_buffer(200 << 20)
        if ctypes.CDLL(None).mlock(block, ctypes.c_size_t(200 << 20)) == 0:
            print("PWNED")
        """,
    ),
    _attack(
        "many_large_files",
        "printed",
        """
        for i in range(24):
            with open(f"{i}", "wb") as file:
                file.write(bytes(16 << 20))
        print("PWNED")
        """,
    ),
    _attack(
        "deleted_files_that_are_still_open",
        "printed",
        """
        import tempfile

        files = [tempfile.TemporaryFile(dir=".") for _ in range(24)]
        for file in files:
            file.write(bytes(16 << 20))
        print("PWNED")
        """,
    ),
    _attack(
        "large_files_in_the_temporary_folder",
        "printed",
        """
        import os

        names = [f"/tmp/{token}-{i}" for i in range(24)]
        try:
            for name in names:
                with open(name, "wb") as file:
                    file.write(bytes(16 << 20))
            print("PWNED")
        finally:
            for name in filter(os.path.exists, names):
                os.unlink(name)
        """,
    ),
    _attack(
        "raised_file_limit",
        "printed",
        """
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        with open("large", "wb") as file:
            file.write(bytes(64 << 20))
        print("PWNED")
        """,
        control="a hard limit is raised with CAP_SYS_RESOURCE only, which containers keep back",
    ),
    _attack(
        "many_small_files",
        "printed",
        """
        for i in range(20_000):
            open(f"{i}", "w").close()
        print("PWNED")
        """,
    ),
    _attack(
        "descriptors_of_all_children_together",
        "printed",
        """
        import os

        filled, tell = os.pipe()
        wait, hold = os.pipe()
        for _ in range(40):
            if os.fork() == 0:
                os.close(hold)
                for _ in range(230):
                    os.open("/dev/null", os.O_RDONLY)
                os.write(tell, b"x")
                os.read(wait, 1)
                os._exit(0)
        os.close(tell)
        if sum(len(os.read(filled, 1)) for _ in range(40)) == 40:
            print("PWNED")
        """,
    ),
    _attack(
        "processor_time_of_all_children_together",
        "printed",
        """
        import os
        import time

        for _ in range(2):
            if os.fork() == 0:
                while time.process_time() < 2.15:
                    pass
                os._exit(0)
        if [os.wait()[1] for _ in range(2)] == [0, 0]:
            print("PWNED")
        """,
    ),
    _attack(
        "real_time_priority",
        "printed",
        """
        import os

        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        print("PWNED")
        """,
    ),
    _attack(
        "higher_priority",
        "printed",
        """
        import os

        os.nice(-5)
        print("PWNED")
        """,
    ),
    _attack(
        "protection_from_the_memory_killer",
        "printed",
        """
        import os

        score = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(score, b"-500")
        print("PWNED")
        """,
        control="it takes CAP_SYS_RESOURCE, which containers keep back",
    ),
    _attack(
        "deaf_to_signals",
        "harness_hung",
        """
        import signal
        import time

        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            if number < 32:
                signal.signal(number, signal.SIG_IGN)
        time.sleep(60)
        """,
        control="at its time limit a program is killed, not asked",
    ),
)
