"""Reaching parts of the kernel that no data science needs, and that gave ways out before.

Where a call would change the machine it is made so that it cannot succeed; then whoever gets
another answer than "not permitted" (EPERM, 1) or "no such call" (ENOSYS, 38) got through.
"""

from functools import partial

from attacks.attack import SYSTEM_CALLS, attack

_attack = partial(attack, "kernel", before=SYSTEM_CALLS)

KERNEL = (
    _attack(
        "open_by_inode",
        "leaked",
        """
        import os
        import struct
        import sys

        handle = struct.pack("IiII", 8, 1, {answers_inode}, 0)
        for folder in ("/", ".", "/usr", sys.prefix):
            opened = call(304, os.open(folder, os.O_RDONLY), handle, os.O_RDONLY)
            if opened >= 0:
                print(os.read(opened, 4096).decode())
        """,
    ),
    _attack(
        "watch_all_file_accesses",
        "printed",
        """
        if call(300, 0x200, 0) >= 0:
            print("PWNED")
        """,
    ),
    _attack(
        "asynchronous_calls",
        "printed",
        """
        if call(425, 4, ctypes.create_string_buffer(120)) >= 0:
            print("PWNED")
        """,
    ),
    _attack(
        "kernel_programs",
        "printed",
        """
        import struct

        array = struct.pack("IIII", 2, 4, 4, 1).ljust(72, b"\\0")
        if call(321, 0, array, 72) >= 0:
            print("PWNED")
        """,
    ),
    _attack(
        "performance_counters",
        "printed",
        """
        import struct

        software_clock = struct.pack("IIQQQQQ", 1, 112, 0, 0, 0, 0, 1 << 5 | 1 << 6)
        if call(298, software_clock.ljust(112, b"\\0"), 0, -1, -1, 0) >= 0:
            print("PWNED")
        """,
    ),
    _attack(
        "page_faults_of_its_own",
        "printed",
        """
        if call(323, 1) >= 0:
            print("PWNED")
        """,
    ),
    _attack(
        "keyring",
        "printed",
        """
        get_id, of_thread, create = 0, -1, 1
        if call(250, get_id, of_thread, create) > 0:
            print("PWNED")
        """,
    ),
    _attack(
        "personality",
        "printed",
        """
        if call(135, 0x0040000) >= 0:
            print("PWNED")
        """,
    ),
    _attack(
        "local_descriptor_table",
        "printed",
        """
        if call(154, 0, ctypes.create_string_buffer(64), 64) >= 0:
            print("PWNED")
        """,
    ),
    _attack(
        "secret_memory",
        "printed",
        """
        if call(447, 0) >= 0:
            print("PWNED")
        """,
    ),
    _attack(
        "type_into_a_terminal",
        "printed",
        """
        import fcntl
        import os
        import termios

        _, terminal = os.openpty()
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
        fcntl.ioctl(terminal, termios.TIOCSTI, b"x")
        print("PWNED")
        """,
    ),
    _attack(
        "kernel_log",
        "printed",
        """
        if call(103, 3, ctypes.create_string_buffer(4096), 4096) >= 0:
            print("PWNED")
        """,
    ),
    _attack(
        "kernel_addresses",
        "printed",
        """
        if int(open("/proc/kallsyms").readline().split()[0], 16):
            print("PWNED")
        """,
    ),
    _attack(
        "disk_quotas",
        "printed",
        """
        if call(179, 0x80000100, None, 0, None) >= 0:
            print("PWNED")
        """,
    ),
    _attack(
        "process_accounting",
        "printed",
        """
        if call(163, b"/nonexistent/{token}") not in (-1, -38):
            print("PWNED")
        """,
    ),
    _attack(
        "swap_space",
        "printed",
        """
        if call(167, b"/nonexistent/{token}", 0) not in (-1, -38):
            print("PWNED")
        """,
    ),
    _attack(
        "calls_of_32_bit_programs",
        "printed",
        """
        import mmap

        # push rbx; mov eax, edi; mov ebx, esi; mov ecx, edx; int 0x80; pop rbx; ret
        memory = mmap.mmap(-1, 4096, prot=7)
        memory.write(bytes.fromhex("5389f889f389d1cd805bc3"))
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        old_call = ctypes.CFUNCTYPE(*[ctypes.c_int] * 4)(address)
        if old_call(310, 0x10000000, 0) == 0:
            print("PWNED")
        """,
    ),
    _attack(
        "calls_with_32_bit_pointers",
        "printed",
        """
        if call(0x40000000 + 39) > 0:
            print("PWNED")
        """,
        control="the kernel is built without the x32 interface",
    ),
    _attack(
        "program_that_is_no_file",
        "printed",
        """
        import os

        program = os.memfd_create("echo")
        os.write(program, open("/bin/echo", "rb").read())
        if os.fork() == 0:
            os.execve(program, ["echo", "PWNED"], {})
        os.wait()
        """,
    ),
)
