"""Getting another view of the system or more rights in it: namespaces, mounts, devices, users."""

from functools import partial

from attacks.attack import SYSTEM_CALLS, attack

_attack = partial(attack, "kernel", before=SYSTEM_CALLS)

PRIVILEGES = (
    _attack(
        "user_namespace",
        "printed",
        """
        if call(272, 0x10000000) == 0:
            print("PWNED")
        """,
    ),
    _attack(
        "network_namespace",
        "printed",
        """
        if call(272, 0x40000000) == 0:
            print("PWNED")
        """,
    ),
    _attack(
        "user_namespace_of_a_child",
        "printed",
        """
        import os
        import struct

        child = call(435, struct.pack("11Q", 0x10000000, 0, 0, 0, 17, *[0] * 6), 88)
        if child == 0:
            os._exit(0)
        if child > 0:
            print("PWNED")
        """,
    ),
    _attack(
        "mount_inside_new_namespaces",
        "printed",
        """
        if call(272, 0x10000000 | 0x20000) == 0:
            if call(165, b"tmpfs", b".", b"tmpfs", 0, None) == 0:
                print("PWNED")
        """,
    ),
    _attack(
        "namespace_of_another_process",
        "printed",
        """
        import os

        if call(308, os.open("/proc/{victim}/ns/uts", os.O_RDONLY), 0) == 0:
            print("PWNED")
        """,
    ),
    _attack(
        "mount",
        "mounts_changed",
        """
        import os

        os.mkdir("{token}")
        call(165, b"tmpfs", b"{token}", b"tmpfs", 0, None)
        """,
    ),
    _attack(
        "new_file_system",
        "printed",
        """
        if call(430, b"tmpfs", 0) >= 0:
            print("PWNED")
        """,
    ),
    _attack(
        "copy_of_all_mounts",
        "printed",
        """
        if call(428, -100, b"/", 1) >= 0:
            print("PWNED")
        """,
    ),
    _attack(
        "change_root",
        "printed",
        """
        import os

        os.chroot(".")
        print("PWNED")
        """,
    ),
    _attack(
        "exchange_root",
        "printed",
        """
        if call(155, b".", b".") not in (-1, -38):
            print("PWNED")
        """,
    ),
    _attack(
        "host_name",
        "printed",
        """
        import socket

        name = socket.gethostname().encode()
        if call(170, name, len(name)) == 0:
            print("PWNED")
        """,
    ),
    _attack(
        "own_control_group",
        "printed",
        """
        import os
        from pathlib import Path

        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, names, path = line.split(":", 2)
            folder = names.removeprefix("name=") or "unified"
            for root in (f"/sys/fs/cgroup/{folder}", "/sys/fs/cgroup"):
                members = Path(f"{root}{path}/cgroup.procs")
                if members.exists() and str(os.getpid()) in members.read_text().split():
                    members.write_text(str(os.getpid()))
                    print("PWNED")
        """,
    ),
    _attack(
        "raw_disk",
        "printed",
        """
        import os
        import stat

        os.mknod("disk", stat.S_IFBLK | 0o600, os.stat("/usr").st_dev)
        if os.read(os.open("disk", os.O_RDONLY), 4096):
            print("PWNED")
        """,
        control="rules for devices of the control group, which containers have",
    ),
    _attack(
        "devices_of_the_host",
        "printed",
        """
        import os

        for name in ("kvm", "fuse", "net/tun", "vsock", "loop-control", "mem", "input/event0"):
            if os.path.exists(f"/dev/{name}"):
                os.open(f"/dev/{name}", os.O_RDWR)
                print("PWNED")
        """,
    ),
    _attack(
        "see_that_a_file_exists",
        "printed",
        """
        import os

        if os.stat("{answers}").st_size:
            print("PWNED")
        """,
    ),
    _attack(
        "mounts_of_the_host",
        "printed",
        """
        for line in open("/proc/self/mountinfo"):
            fields = line.split()
            if fields[4] == "/" and fields[fields.index("-") + 2].startswith("/dev/"):
                print("PWNED")
        """,
    ),
    _attack(
        "handler_of_crashes",
        "printed",
        """
        import os

        os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY)
        print("PWNED")
        """,
    ),
    _attack(
        "capabilities",
        "printed",
        """
        for line in open("/proc/self/status"):
            if line.startswith("CapEff") and int(line.split()[1], 16):
                print("PWNED")
        """,
    ),
    _attack(
        "more_rights_by_executing",
        "printed",
        """
        if "NoNewPrivs:\\t0" in open("/proc/self/status").read():
            print("PWNED")
        """,
    ),
    _attack(
        "another_user",
        "printed",
        """
        import os

        os.setresuid(54321, 54321, 54321)
        print("PWNED")
        """,
    ),
)
