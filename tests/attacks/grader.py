"""Tampering with what grades and runs programs: its code, its start-up files, its processes."""

from functools import partial

from attacks.attack import SYSTEM_CALLS, attack

_attack = partial(attack, "grader")

# A program's parent, the supervisor, watches it; the parent's parent forks supervisors.
ANCESTORS = """
import os
from pathlib import Path


def ancestor(generation):
    pid = os.getpid()
    for _ in range(generation):
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    assert pid != {harness} and b"python" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return pid


"""

GRADER = (
    _attack(
        "append_to_metric",
        "grader_changed",
        """
        open("{grader}/metric.py", "a").write("\\nscore = lambda *_: 1.0\\n")
        """,
    ),
    _attack(
        "replace_metric",
        "grader_changed",
        """
        import os

        with open("{grader}/new.py", "w") as file:
            file.write("def score(answers, submission):\\n    return 1.0\\n")
        os.replace("{grader}/new.py", "{grader}/metric.py")
        """,
    ),
    _attack(
        "plant_bytecode_of_metric",
        "grader_changed",
        """
        import py_compile

        with open("metric.py", "w") as file:
            file.write("def score(answers, submission):\\n    return 1.0\\n")
        py_compile.compile(
            "metric.py",
            cfile="{grader}/__pycache__/metric.cpython-311.pyc",
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
        """,
    ),
    _attack(
        "shadow_a_library_of_the_grader",
        "grader_changed",
        """
        open("{grader}/numpy.py", "w").write("mean = lambda *_: 1.0\\n")
        """,
    ),
    _attack(
        "user_customization",
        "customize_planted",
        """
        import os

        folder = "{home}/.local/lib/python3.11/site-packages"
        os.makedirs(folder, exist_ok=True)
        open(f"{folder}/usercustomize.py", "w").write("pass\\n")
        """,
    ),
    _attack(
        "site_customization",
        "customize_planted",
        """
        open("{site}/sitecustomize.py", "w").write("pass\\n")
        """,
    ),
    _attack(
        "path_file",
        "customize_planted",
        """
        open("{site}/zz.pth", "w").write("import sys\\n")
        """,
    ),
    _attack(
        "patch_an_installed_library",
        "customize_planted",
        """
        open("{site}/scores/__init__.py", "a").write("accuracy = lambda *_: 1.0\\n")
        """,
    ),
    _attack(
        "file_in_the_standard_library",
        "file_left",
        """
        import os

        open(os.path.dirname(os.__file__) + "/{token}.txt", "w").close()
        """,
    ),
    _attack(
        "shell_start_file",
        "home_changed",
        """
        open("{home}/.bashrc", "a").write("true\\n")
        """,
    ),
    _attack(
        "authorized_key",
        "home_changed",
        """
        open("{home}/.ssh/authorized_keys", "a").write("ssh-ed25519 AAAA attacker\\n")
        """,
    ),
    _attack(
        "scheduled_job",
        "home_changed",
        """
        import os

        os.makedirs("{home}/.config/systemd/user", exist_ok=True)
        open("{home}/.config/systemd/user/job.timer", "w").write("[Timer]\\nOnBootSec=1\\n")
        """,
    ),
    _attack(
        "git_hook",
        "repository_changed",
        """
        import os

        with open("{repository}/.git/hooks/post-checkout", "w") as hook:
            hook.write("#!/bin/sh\\n")
        os.chmod("{repository}/.git/hooks/post-checkout", 0o755)
        """,
    ),
    _attack(
        "read_environment_of_the_harness",
        "printed",
        """
        if b"PATH=" in open("/proc/{harness}/environ", "rb").read():
            print("PWNED")
        """,
    ),
    _attack(
        "read_memory_of_the_harness",
        "leaked",
        """
        class Slice(ctypes.Structure):
            _fields_ = [("start", ctypes.c_void_p), ("length", ctypes.c_size_t)]


        text = ctypes.create_string_buffer(40)
        here = Slice(ctypes.addressof(text), 40)
        there = Slice({harness_address}, 40)
        call(310, {harness}, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
        print(text.raw.split(b"\\0")[0].decode())
        """,
        before=SYSTEM_CALLS,
    ),
    _attack(
        "patch_memory_of_the_supervisor",
        "remembered",
        """
        import numpy

        # Forked memory has equal addresses; the text follows the object's header.
        address = id(numpy.__version__) + numpy.__version__.__sizeof__()
        address -= len(numpy.__version__) + 1
        first = ord(numpy.__version__[0])
        changed = not chr(first).isdigit()
        if changed:
            print("PWNED")
        with open(f"/proc/{ancestor(1)}/mem", "r+b", buffering=0) as memory:
            memory.seek(address)
            memory.write(bytes([first - 32 if changed else first + 32]))
        """,
        before=ANCESTORS,
    ),
    _attack(
        "patch_a_library_in_memory",
        "remembered",
        """
        import pandas

        if hasattr(pandas.DataFrame, "patched"):
            print("PWNED")
        pandas.DataFrame.patched = True
        """,
        control="a program is a fork and changes its own copy of the memory",
    ),
    _attack(
        "stop_the_supervisor",
        "harness_hung",
        """
        import signal
        import time

        supervisor = ancestor(1)
        if os.fork() == 0:
            time.sleep(12)
            os.kill(supervisor, signal.SIGCONT)
            os._exit(0)
        os.kill(supervisor, signal.SIGSTOP)
        """,
        before=ANCESTORS,
    ),
    _attack(
        "kill_the_supervisor",
        "harness_failed",
        """
        import signal
        import time

        os.kill(ancestor(1), signal.SIGKILL)
        time.sleep(5)
        """,
        before=ANCESTORS,
    ),
    _attack(
        "kill_the_fork_server",
        "runner_broken",
        """
        import signal

        os.kill(ancestor(2), signal.SIGKILL)
        """,
        before=ANCESTORS,
    ),
    _attack(
        "starve_the_supervisor_of_descriptors",
        "runner_broken",
        """
        import resource

        resource.prlimit(ancestor(1), resource.RLIMIT_NOFILE, (4, 4))
        """,
        before=ANCESTORS,
    ),
    _attack(
        "remove_the_folders_of_all_programs",
        "runner_broken",
        """
        import os
        import shutil

        assert "programs-" in os.path.abspath("../..")
        shutil.rmtree(os.path.abspath("../.."))
        """,
    ),
    _attack(
        "forge_the_verdict",
        "crash_hidden",
        """
        import socket
        import stat
        import time

        supervisor = os.pidfd_open(ancestor(1))
        verdict = b'{"status": 0, "seconds": 0.0}\\n'
        for number in range(3, 64):
            copied = call(438, supervisor, number, 0)
            if copied >= 0 and stat.S_ISSOCK(os.fstat(copied).st_mode):
                os.write(copied, verdict)
        time.sleep(1)
        os._exit(3)
        """,
        before=ANCESTORS + SYSTEM_CALLS,
    ),
    _attack(
        "ask_the_fork_server_for_a_run_without_limits",
        "process_survives",
        """
        import json
        import os
        import socket

        survive = '''
        import ctypes, time
        ctypes.CDLL(None).prctl(15, b"{token}")
        time.sleep(20)
        '''
        limits = {"seconds": 20, "cpu_seconds": 20, "memory_mb": 1 << 20, "processes": 1 << 20}
        limits |= {"scratch_mb": 1 << 20, "scratch_files": 1 << 20}
        request = {"program": survive.replace("        ", ""), "limits": limits, "file_mb": 1 << 20}
        server = socket.socket(socket.AF_UNIX)
        server.connect("../../../zygote.socket")
        files = [os.open(".", os.O_PATH), os.open("/dev/null", os.O_WRONLY)]
        socket.send_fds(server, [json.dumps(request).encode() + b"\\n"], files)
        server.settimeout(0.5)
        try:
            server.recv(1)
        except TimeoutError:
            pass
        """,
    ),
    _attack(
        "outrun_the_killing",
        "harness_hung",
        """
        import subprocess
        import time

        # Each process starts its successor and ends, so that whoever kills comes too late.
        chain = "n=0; f() { n=$((n+1)); if [ $n -lt 12000 ]; then f & exit; fi; }; f"
        for _ in range(8):
            subprocess.Popen(["sh", "-c", chain])
        time.sleep(0.3)
        """,
    ),
)

# After these, a runner cannot be used any more.
NEEDS_OWN_RUNNER = frozenset(
    one.name for one in GRADER if one.success in ("runner_broken", "crash_hidden")
)
