#!/usr/bin/python3 -PWignore
"""A peer that has logged in and then sends what no client would: messages of
every number with random contents, on the outer and on the inner connection,
also to channels that exist. Each connection may end; the gateway may not."""
import logging
import os
import random
import socket
import struct
import paramiko

logging.disable(logging.CRITICAL)
key = paramiko.Ed25519Key.from_private_key_file(os.environ["JIT_KEY"])
dice = random.Random(20261122)


def gateway():
    t = paramiko.Transport(socket.create_connection((os.environ["JIT_SSH_HOST"], int(os.environ["JIT_SSH_PORT"])), 20))
    t.start_client(timeout=20)
    t.auth_publickey(os.environ["JIT_USER"], key)
    return t


def target(t):
    inner = paramiko.Transport(t.open_channel("direct-tcpip", ("web01", 22), ("127.0.0.1", 40000), timeout=20))
    inner.start_client(timeout=20)
    inner.auth_publickey("deploy", key)
    return inner


def text(b):
    return struct.pack(">I", len(b)) + b


def payload():
    names = [b"session", b"direct-tcpip", b"auth-agent@openssh.com", b"exec", b"pty-req", b"shell", b"subsystem", b"sftp", b"env",
             b"window-change", b"tcpip-forward", b"streamlocal-forward@openssh.com", b"x11-req", b"keepalive@openssh.com", b"", b"\x1b[2J"]
    out = b""
    for _ in range(dice.randrange(6)):
        out += dice.choice([
            lambda: struct.pack(">I", dice.choice([0, 1, 2, 63, 0x7fffffff, 0x80000000, 0xffffffff])),
            lambda: text(dice.choice(names)),
            lambda: struct.pack(">I", dice.choice([5, 1000, 0xffffffff])) + b"short",
            lambda: bytes([dice.randrange(256)]),
            lambda: dice.randbytes(dice.randrange(200)),
        ])()
    return out


def pour(t, n):
    """Sends n messages, as long as the connection stands, and returns how many went out."""
    for i in range(n):
        m = paramiko.Message()
        m.add_byte(bytes([dice.choice([1, 2, 3, 4, 5, 6, 7, 20, 21, 30, 50, 51, 60, 80, 81, 90, 91, 93, 94, 95, 96, 97, 98, 99, 100, 192, 255])]))
        m.add_bytes(payload())
        try:
            t.packetizer.send_message(m)
        except Exception:
            return i
        if not t.is_active():
            return i + 1
    return n


def alive():
    t = gateway()
    c = target(t).open_session(timeout=20)
    c.exec_command("echo well")
    assert c.recv(100) == b"well\n", "the gateway is not well"
    t.close()


alive()
sent = [0, 0]
for deep in (0, 1):
    for _ in range(12):
        t = gateway()
        peer = target(t) if deep else t
        try:
            peer.open_session(timeout=20)
        except Exception:
            pass
        sent[deep] += pour(peer, 40)
        t.close()
    alive()
    print("ok:", sent[deep], "messages on the", ("outer", "inner")[deep], "connection")
assert min(sent) > 24, sent
