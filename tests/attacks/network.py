"""Talking to anything outside: loopback, unix sockets, the kernel's own socket families."""

from functools import partial

from attacks.attack import attack

_attack = partial(attack, "network")

NETWORK = (
    _attack(
        "tcp",
        "received",
        """
        import socket

        with socket.create_connection(("127.0.0.1", {tcp_port}), 2) as connection:
            connection.sendall(b"{token}")
        """,
    ),
    _attack(
        "tcp_over_ipv6",
        "received",
        """
        import socket

        with socket.create_connection(("::1", {tcp6_port}), 2) as connection:
            connection.sendall(b"{token}")
        """,
    ),
    _attack(
        "tcp_fast_open",
        "received",
        """
        import socket

        fast = socket.socket()
        fast.sendto(b"{token}", socket.MSG_FASTOPEN, ("127.0.0.1", {tcp_port}))
        """,
    ),
    _attack(
        "multipath_tcp",
        "received",
        """
        import socket

        multipath = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
        multipath.connect(("127.0.0.1", {tcp_port}))
        multipath.sendall(b"{token}")
        """,
    ),
    _attack(
        "http_request",
        "received",
        """
        import contextlib
        from urllib.request import urlopen

        with contextlib.suppress(OSError):
            urlopen("http://127.0.0.1:{tcp_port}/", data=b"{token}", timeout=0.3)
        """,
    ),
    _attack(
        "tcp_from_a_shell",
        "received",
        """
        import subprocess

        subprocess.run(["bash", "-c", "echo {token} > /dev/tcp/127.0.0.1/{tcp_port}"])
        """,
    ),
    _attack(
        "udp",
        "received",
        """
        import socket

        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.sendto(b"{token}", ("127.0.0.1", {udp_port}))
        """,
    ),
    _attack(
        "name_lookup",
        "received",
        """
        import socket
        import struct

        question = struct.pack(">6H", 7, 256, 1, 0, 0, 0) + b"\\x08{token}" + b"\\0\\0\\1\\0\\1"
        resolver = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        resolver.sendto(question, ("::ffff:127.0.0.1", {udp_port}))
        """,
    ),
    _attack(
        "unix_socket",
        "received",
        """
        import socket

        sender = socket.socket(socket.AF_UNIX)
        sender.connect("{service}")
        sender.sendall(b"{token}")
        """,
    ),
    _attack(
        "unix_datagram",
        "received",
        """
        import socket

        sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sender.sendto(b"{token}", "{datagram}")
        """,
    ),
    _attack(
        "abstract_socket",
        "received",
        """
        import socket

        sender = socket.socket(socket.AF_UNIX)
        sender.connect("\\x00{abstract}")
        sender.sendall(b"{token}")
        """,
    ),
    _attack(
        "listen_on_loopback",
        "received",
        """
        import socket

        server = socket.create_server(("127.0.0.1", {dial_port}))
        server.settimeout(1)
        connection, _ = server.accept()
        connection.sendall(b"{token}")
        """,
    ),
    _attack(
        "listen_on_all_addresses",
        "received",
        """
        import asyncio


        async def answer(reader, writer):
            writer.write(b"{token}")
            await writer.drain()


        async def serve():
            server = await asyncio.start_server(answer, "0.0.0.0", {dial_port})
            await asyncio.sleep(0.5)
            server.close()


        asyncio.run(serve())
        """,
    ),
    _attack(
        "netlink",
        "printed",
        """
        import socket

        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE).bind((0, 0))
        print("PWNED")
        """,
    ),
    _attack(
        "names_of_interfaces",
        "printed",
        """
        import socket

        if "{interface}" in dict(socket.if_nameindex()).values():
            print("PWNED")
        """,
    ),
    _attack(
        "connections_of_the_host",
        "printed",
        """
        if "%04X" % {tcp_port} in open("/proc/net/tcp").read():
            print("PWNED")
        """,
    ),
    _attack(
        "raw_socket",
        "printed",
        """
        import socket

        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        print("PWNED")
        """,
    ),
    _attack(
        "packet_socket",
        "printed",
        """
        import socket

        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        print("PWNED")
        """,
    ),
    _attack(
        "express_data_path_socket",
        "printed",
        """
        import socket

        socket.socket(44, socket.SOCK_RAW, 0)
        print("PWNED")
        """,
    ),
    _attack(
        "virtual_machine_socket",
        "printed",
        """
        import socket

        socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        print("PWNED")
        """,
    ),
    _attack(
        "kernel_crypto_socket",
        "printed",
        """
        import socket

        socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET).bind(("hash", "sha256"))
        print("PWNED")
        """,
        control="the kernel is built without AF_ALG",
    ),
)
