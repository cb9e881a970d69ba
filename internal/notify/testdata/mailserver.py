#!/usr/bin/python3
"""A mail server (Debian's aiosmtpd) that prints what it takes as JSON lines.

Usage: mailserver.py MODE CERT KEY with MODE starttls (TLS and AUTH required),
tls (from the first byte), or clear (neither offered). later@ is refused for
the time being at first, full@ each time, gone@ for good. It prints its port first.
"""
import asyncio, email, email.policy, json, logging, ssl, sys

from aiosmtpd.smtp import SMTP, AuthResult

logging.disable(logging.CRITICAL)  # it warns of its own deprecations
mode, cert, key = sys.argv[1:4]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
seen = set()


def say(**what):
    print(json.dumps(what), flush=True)


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("gone@"):
            return "550 5.1.1 no such mailbox"
        if address.startswith("full@"):
            return "452 4.2.2 mailbox full"
        if address.startswith("later@") and address not in seen:
            seen.add(address)
            return "450 4.2.1 try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        raw = envelope.original_content
        m = email.message_from_bytes(raw, policy=email.policy.default)
        say(
            sender=envelope.mail_from, to=envelope.rcpt_tos, tls=session.ssl is not None or mode == "tls",
            user=getattr(session, "login", None), headers=m.items(), body=m.get_content(),
            defects=[str(d) for d in m.defects], raw=raw.decode("ascii"), longest=max(map(len, raw.split(b"\r\n"))),
        )
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    if mechanism == "PLAIN" and data.login == b"gateway" and data.password == b"correct horse":
        session.login = "gateway"
        return AuthResult(success=True)
    return AuthResult(success=False, handled=False)


def factory():
    if mode == "starttls":
        return SMTP(Handler(), tls_context=context, require_starttls=True, auth_required=True, auth_require_tls=True, authenticator=authenticate, hostname="mail.example.org")
    return SMTP(Handler(), hostname="mail.example.org")


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(factory, "127.0.0.1", 0, ssl=context if mode == "tls" else None)
    say(port=server.sockets[0].getsockname()[1])
    await server.serve_forever()


asyncio.run(main())
