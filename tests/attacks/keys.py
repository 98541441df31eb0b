"""Finding secrets: keys in the environment, in the home folder, in services, in memory."""

from functools import partial

from attacks.attack import SYSTEM_CALLS, attack

_attack = partial(attack, "keys")

KEYS = (
    _attack(
        "own_environment",
        "leaked",
        """
        import os

        print(dict(os.environ))
        """,
        control="programs start with a small fixed environment",
    ),
    _attack(
        "environment_of_another_process",
        "leaked",
        """
        print(open("/proc/{victim}/environ").read().replace("\\0", "\\n"))
        """,
    ),
    _attack(
        "arguments_of_other_processes",
        "leaked",
        """
        from pathlib import Path

        for path in Path("/proc").glob("[0-9]*/cmdline"):
            command = path.read_text(errors="replace")
            if "--password" in command:
                print(command)
        """,
    ),
    _attack(
        "list_of_processes",
        "leaked",
        """
        import os

        os.system("ps -ww -o args= -p {victim}")
        """,
    ),
    _attack(
        "ssh_key",
        "leaked",
        """
        print(open("{home}/.ssh/id_rsa").read())
        """,
    ),
    _attack(
        "kaggle_key",
        "leaked",
        """
        import json
        from pathlib import Path

        for path in Path("{home}").glob(".*/kaggle.json"):
            print(json.loads(path.read_text())["key"])
        """,
    ),
    _attack(
        "netrc",
        "leaked",
        """
        import netrc

        print(netrc.netrc("{home}/.netrc").hosts)
        """,
    ),
    _attack(
        "hub_token",
        "leaked",
        """
        import os

        os.environ["HF_HOME"] = "{home}/.cache/huggingface"
        print(open(os.path.expandvars("$HF_HOME/token")).read())
        """,
    ),
    _attack(
        "shell_history",
        "leaked",
        """
        import os

        os.environ["HOME"] = "{home}"
        print(open(os.path.expanduser("~/.bash_history")).read())
        """,
    ),
    _attack(
        "search_the_home_folder",
        "leaked",
        """
        import os
        import re

        for folder, _, names in os.walk("{home}"):
            for name in names:
                text = open(os.path.join(folder, name), errors="replace").read()
                print(*re.findall(r"secret-\\w+", text))
        """,
    ),
    _attack(
        "settings_of_the_repository",
        "leaked",
        """
        import os

        os.system("grep -rh API_KEY {repository}")
        """,
    ),
    _attack(
        "home_of_the_account",
        "printed",
        """
        import os
        import pwd

        names = os.listdir(pwd.getpwuid(os.getuid()).pw_dir)
        if {".bashrc", ".profile", ".ssh", ".config"} & set(names):
            print("PWNED")
        """,
    ),
    _attack(
        "credential_from_a_service",
        "leaked",
        """
        import socket

        service = socket.socket(socket.AF_UNIX)
        service.settimeout(2)
        service.connect("{service}")
        service.sendall(b"credential\\n")
        print(service.recv(100).decode())
        """,
    ),
    _attack(
        "key_of_the_kernel_keyring",
        "leaked",
        """
        search, read, user_keyring, process_keyring = 10, 11, -4, -2
        key = call(250, search, user_keyring, b"user", b"{token}", process_keyring)
        text = ctypes.create_string_buffer(100)
        if key > 0:
            call(250, read, key, text, 100)
        print(text.value.decode())
        """,
        before=SYSTEM_CALLS,
    ),
    _attack(
        "search_the_memory_of_another_process",
        "leaked",
        """
        import re

        with open("/proc/{victim}/mem", "rb", buffering=0) as memory:
            for line in open("/proc/{victim}/maps"):
                if " rw-p " in line:
                    start, end = (int(part, 16) for part in line.split()[0].split("-"))
                    memory.seek(start)
                    print(*set(re.findall(rb"secret-\\w+", memory.read(end - start))))
        """,
    ),
)
