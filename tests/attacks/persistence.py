"""Leaving something for the next program: each is run twice and looks for its own trace."""

from functools import partial

from attacks.attack import SYSTEM_CALLS, attack

_attack = partial(attack, "persistence")

PERSISTENCE = (
    _attack(
        "temporary_folder",
        "remembered",
        """
        from pathlib import Path

        left = Path("/tmp/{token}")
        print("PWNED" if left.exists() else left.write_text("seen"))
        """,
    ),
    _attack(
        "lasting_temporary_folder",
        "remembered",
        """
        from pathlib import Path

        left = Path("/var/tmp/{token}")
        print("PWNED" if left.exists() else left.write_text("seen"))
        """,
    ),
    _attack(
        "any_writable_system_folder",
        "remembered",
        """
        import os

        for folder in ("/run/lock", "/run", "/var/cache", "/opt", "/srv", "/mnt", "/var/lib"):
            if os.path.exists(f"{folder}/{token}"):
                print("PWNED")
            elif os.access(folder, os.W_OK):
                open(f"{folder}/{token}", "w").close()
        """,
    ),
    _attack(
        "shared_memory_file",
        "remembered",
        """
        from multiprocessing import resource_tracker, shared_memory

        try:
            shared_memory.SharedMemory("{token}")
            print("PWNED")
        except FileNotFoundError:
            kept = shared_memory.SharedMemory("{token}", create=True, size=64)
            resource_tracker.unregister(kept._name, "shared_memory")
        """,
    ),
    _attack(
        "cache_in_the_home_folder",
        "remembered",
        """
        from pathlib import Path

        left = Path("{home}/.cache/{token}")
        print("PWNED" if left.exists() else left.write_text("seen"))
        """,
    ),
    _attack(
        "folder_above_the_own",
        "remembered",
        """
        from pathlib import Path

        left = Path("../../{token}")
        print("PWNED" if left.exists() else left.write_text("seen"))
        """,
    ),
    _attack(
        "file_among_the_shared_data",
        "remembered",
        """
        from pathlib import Path

        print("PWNED" if Path("{token}.csv").exists() else "")
        Path("{public}/{token}.csv").write_text("seen")
        """,
    ),
    _attack(
        "attribute_of_the_shared_data",
        "remembered",
        """
        import os

        if "user.seen" in os.listxattr("train.csv"):
            print("PWNED")
        os.setxattr("{public}/train.csv", "user.seen", b"yes")
        """,
    ),
    _attack(
        "time_of_the_shared_data",
        "remembered",
        """
        import os

        if os.stat("train.csv").st_mtime == 12345:
            print("PWNED")
        os.utime("{public}/train.csv", (12345, 12345))
        """,
    ),
    _attack(
        "module_among_the_libraries",
        "remembered",
        """
        from pathlib import Path

        import numpy

        try:
            import left_{token}

            print("PWNED")
        except ImportError:
            (Path(numpy.__file__).parents[1] / "left_{token}.py").write_text("seen = True\\n")
        """,
    ),
    _attack(
        "system_v_memory",
        "remembered",
        """
        create, exclusive = 0o1000, 0o2000
        if call(29, {key}, 4096, create | exclusive | 0o600) == -17:
            print("PWNED")
        """,
        before=SYSTEM_CALLS,
    ),
    _attack(
        "system_v_semaphore",
        "remembered",
        """
        create, exclusive = 0o1000, 0o2000
        if call(64, {key}, 1, create | exclusive | 0o600) == -17:
            print("PWNED")
        """,
        before=SYSTEM_CALLS,
    ),
    _attack(
        "system_v_message",
        "remembered",
        """
        create, exclusive = 0o1000, 0o2000
        if call(68, {key}, create | exclusive | 0o600) == -17:
            print("PWNED")
        """,
        before=SYSTEM_CALLS,
    ),
    _attack(
        "message_queue",
        "remembered",
        """
        import os

        if call(240, b"{token}", os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600, None) == -17:
            print("PWNED")
        """,
        before=SYSTEM_CALLS,
    ),
    _attack(
        "kernel_keyring",
        "remembered",
        """
        search, user_keyring = 10, -4
        if call(250, search, user_keyring, b"user", b"{token}-left", 0) > 0:
            print("PWNED")
        call(248, b"user", b"{token}-left", b"seen", 4, user_keyring)
        """,
        before=SYSTEM_CALLS,
    ),
    _attack(
        "priority_of_the_parent",
        "remembered",
        """
        import os

        seen = os.getpriority(os.PRIO_PROCESS, 0) == 1
        print("PWNED" if seen else "")
        os.setpriority(os.PRIO_PROCESS, os.getppid(), 0 if seen else 1)
        """,
    ),
    _attack(
        "cores_of_the_parent",
        "remembered",
        """
        import os

        seen = len(os.sched_getaffinity(0)) < {cores}
        print("PWNED" if seen else "")
        chosen = range(os.cpu_count()) if seen else [min(os.sched_getaffinity(0))]
        os.sched_setaffinity(os.getppid(), chosen)
        """,
    ),
    _attack(
        "limits_of_the_parent",
        "remembered",
        """
        import os
        import resource

        pending, most = resource.getrlimit(resource.RLIMIT_SIGPENDING)
        seen = pending == 1234
        print("PWNED" if seen else "")
        changed = (most if seen else 1234, most)
        resource.prlimit(os.getppid(), resource.RLIMIT_SIGPENDING, changed)
        """,
    ),
    _attack(
        "memory_score_of_the_parent",
        "remembered",
        """
        import os

        seen = open("/proc/self/oom_score_adj").read().strip() == "7"
        print("PWNED" if seen else "")
        open(f"/proc/{os.getppid()}/oom_score_adj", "w").write("0" if seen else "7")
        """,
    ),
    _attack(
        "file_that_cannot_be_removed",
        "file_left",
        """
        import fcntl

        set_flags, immutable = 0x40086602, b"\\x10\\0\\0\\0\\0\\0\\0\\0"
        with open("{token}", "w") as file:
            fcntl.ioctl(file, set_flags, immutable)
        """,
    ),
    _attack(
        "folders_too_deep_to_remove",
        "file_left",
        """
        import os

        os.mkdir("{token}")
        os.chdir("{token}")
        for _ in range(3000):
            os.mkdir("d")
            os.chdir("d")
        """,
        control="what Python cannot follow, rm(1) can",
    ),
    _attack(
        "server_that_goes_on",
        "remembered",
        """
        import errno
        import os
        import socket
        import time

        server = socket.socket(socket.AF_UNIX)
        try:
            server.bind("\\0{token}")
        except OSError as refused:
            print("PWNED" if refused.errno == errno.EADDRINUSE else refused)
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(10)
            os._exit(0)
        time.sleep(0.1)
        """,
        control="the supervisor adopts and kills every descendant",
    ),
    _attack(
        "stale_submission",
        "remembered",
        """
        from pathlib import Path

        left = Path("submission.csv")
        print("PWNED" if left.exists() else left.write_text("id,target\\n"))
        """,
        control="every program gets a new folder",
    ),
)
