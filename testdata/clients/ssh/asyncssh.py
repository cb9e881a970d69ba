#!/usr/bin/python3 -PWignore
"""asyncssh through the gateway, with the host certificate checked."""
import asyncio, os
import asyncssh


async def main():
    known = os.environ["KNOWN_HOSTS"]
    key = os.environ["JIT_KEY"]
    async with asyncssh.connect(os.environ["JIT_SSH_HOST"], int(os.environ["JIT_SSH_PORT"]), username=os.environ["JIT_USER"],
                                client_keys=[key], known_hosts=known, config=None) as gw:
        async with gw.connect_ssh("web01", 22, username="deploy", client_keys=[key], known_hosts=known, config=None) as web:
            r = await web.run("cat; echo err >&2; exit 5", input="hello\n")
            assert (r.stdout, r.exit_status) == ("hello\n", 5), r
            assert r.stderr.endswith("err\n"), r
            print("ok: exec")
            results = await asyncio.gather(*(web.run(f"echo {i}") for i in range(8)))
            assert [r.stdout for r in results] == [f"{i}\n" for i in range(8)]
            print("ok: eight commands at once")
            async with web.start_sftp_client() as sftp:
                data = os.urandom(3_000_000)
                async with sftp.open("asyncssh.bin", "wb") as f:
                    await f.write(data)
                async with sftp.open("asyncssh.bin", "rb") as f:
                    assert await f.read() == data
                await sftp.remove("asyncssh.bin")
            print("ok: sftp")
            r = await web.run("stty size; tty", term_type="xterm", term_size=(100, 30))
            assert "30 100" in r.stdout, r
            print("ok: terminal")


asyncio.run(asyncio.wait_for(main(), 50))
