#!/usr/bin/python3 -PWignore
"""paramiko through the gateway: exec, shell, SFTP. It never tries "none"."""
import os
import paramiko

key = paramiko.Ed25519Key.from_private_key_file(os.environ["JIT_KEY"])
keys = []


def connect():
    gw = paramiko.SSHClient()
    gw.load_host_keys(os.environ["KNOWN_HOSTS"])  # the gateway's own key is pinned
    gw.connect(os.environ["JIT_SSH_HOST"], int(os.environ["JIT_SSH_PORT"]), os.environ["JIT_USER"],
               pkey=key, look_for_keys=False, allow_agent=False)
    channel = gw.get_transport().open_channel("direct-tcpip", ("web01", 22), ("127.0.0.1", 40000))
    web = paramiko.SSHClient()
    web.set_missing_host_key_policy(paramiko.AutoAddPolicy())  # no certificates in paramiko 2.12
    web.connect("web01", username="deploy", pkey=key, sock=channel, look_for_keys=False, allow_agent=False)
    keys.append(web.get_transport().get_remote_server_key().asbytes())
    return gw, web


gw, web = connect()
stdin, stdout, stderr = web.exec_command("cat; echo err >&2; exit 5")
stdin.write("hello\n")
stdin.channel.shutdown_write()
assert stdout.read() == b"hello\n", "stdout"
assert stderr.read().endswith(b"err\n"), "stderr"
assert stdout.channel.recv_exit_status() == 5, "exit status"
print("ok: exec")

shell = web.invoke_shell(width=100, height=30)
shell.send("stty size; exit 3\n")
out = b""
while True:
    part = shell.recv(4096)
    if not part:
        break
    out += part
assert b"30 100" in out, out
assert shell.recv_exit_status() == 3
print("ok: shell")

sftp = web.open_sftp()
data = os.urandom(3_000_000)
with sftp.open("paramiko.bin", "wb") as f:
    f.write(data)
with sftp.open("paramiko.bin", "rb") as f:
    f.prefetch()
    assert f.read() == data, "SFTP content"
sftp.rename("paramiko.bin", "paramiko2.bin")
assert "paramiko2.bin" in sftp.listdir("."), "SFTP listing"
sftp.remove("paramiko2.bin")
print("ok: sftp")

gw.close()
connect()[0].close()
assert keys[0] == keys[1], "the host key of web01 changed between two connections"
print("ok: stable host key")
