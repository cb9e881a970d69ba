#!/usr/bin/env python3
"""Checks an audit log of jit-gateway, and proofs from it, independently.

It shares no code with the gateway: only Python's standard library, and the
openssl program for Ed25519. It reads the public formats alone:

  C2SP signed-note, tlog-checkpoint, tlog-proof, tlog-witness (add-checkpoint)
  RFC 9162 sections 2.1.3.2 (inclusion) and 2.1.4.2 (consistency); trees as in RFC 6962

Usage:
  checklog.py log EXPORT VKEY              every event and checkpoint of an exported log
  checklog.py inclusion PROOF LEAF VKEY    LEAF, the exact bytes of one event, is in the signed log
  checklog.py consistency PROOF OLD VKEY   the signed log begins with that of the older checkpoint OLD

VKEY is the file audit.pub. Exit status 0 if all holds, 1 and a sentence if not.
"""
import base64
import hashlib
import json
import os
import subprocess
import sys
import tempfile


class Wrong(Exception):
    pass


def need(condition, sentence):
    if not condition:
        raise Wrong(sentence)


def h(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def b64(text):
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise Wrong("not base64: %r" % text[:60])


def load_key(path):
    """The verifier key: name+hash+base64(type, public key)."""
    name, hash_, key = open(path).read().strip().split("+", 2)
    raw = b64(key)
    need(len(raw) == 33 and raw[0] == 1, "the key is not of type Ed25519")
    need(h(name.encode(), b"\n", raw)[:4].hex() == hash_, "the key's hash does not fit it")
    return name, bytes.fromhex(hash_), raw[1:]


def ed25519(public, message, signature):
    """True if openssl says that the signature is good."""
    # SubjectPublicKeyInfo of an Ed25519 key, RFC 8410 section 4.
    spki = bytes.fromhex("302a300506032b6570032100") + public
    with tempfile.TemporaryDirectory() as d:
        paths = {}
        for name, data in (("key", spki), ("message", message), ("signature", signature)):
            paths[name] = os.path.join(d, name)
            with open(paths[name], "wb") as f:
                f.write(data)
        done = subprocess.run(["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-keyform", "DER", "-inkey", paths["key"],
                               "-in", paths["message"], "-sigfile", paths["signature"]], capture_output=True, text=True)
        return done.returncode == 0 and "Signature Verified Successfully" in done.stdout


def checkpoint(note, key):
    """Verifies a signed checkpoint and returns its size and root."""
    name, hash_, public = key
    text, blank, signatures = note.partition("\n\n")
    need(blank, "a checkpoint has no signatures")
    text += "\n"
    good = False
    for line in signatures.splitlines():
        need(line.startswith("\u2014 "), "a signature line does not begin with a dash")
        who, _, sig = line[2:].partition(" ")
        raw = b64(sig)
        if who == name and raw[:4] == hash_:
            need(ed25519(public, text.encode(), raw[4:]), "the checkpoint's signature is not the key's")
            good = True
    need(good, "the checkpoint is not signed by " + name)
    origin, size, root = text.split("\n")[:3]
    need(origin == name, "the checkpoint is of another log: " + origin)
    need(size.isdigit() and str(int(size)) == size, "the checkpoint's size is no number")
    root = b64(root)
    need(len(root) == 32, "the checkpoint's root is no hash")
    return int(size), root


def check_inclusion(index, size, leaf, path, root):
    """RFC 9162, 2.1.3.2."""
    need(0 <= index < size, "the proof is of an event outside the log")
    fn, sn, r = index, size - 1, leaf
    for p in path:
        need(sn != 0, "the proof is too long")
        if fn & 1 or fn == sn:
            r = h(b"\1", p, r)
            while not fn & 1 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = h(b"\1", r, p)
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0, "the proof is too short")
    need(r == root, "the event is not in the signed log")


def check_consistency(old, old_root, new, new_root, path):
    """RFC 9162, 2.1.4.2."""
    need(0 < old <= new, "the log shrank")
    if old == new:
        need(not path and old_root == new_root, "two roots for one size")
        return
    if old & (old - 1) == 0:
        path = [old_root] + path
    need(path, "the proof is empty")
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for c in path[1:]:
        need(sn != 0, "the proof is too long")
        if fn & 1 or fn == sn:
            fr, sr = h(b"\1", c, fr), h(b"\1", c, sr)
            while not fn & 1 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = h(b"\1", sr, c)
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0, "the proof is too short")
    need(fr == old_root, "the proof does not lead to the older checkpoint")
    need(sr == new_root, "the log does not begin with what was signed before")


def log(path, vkey):
    key = load_key(vkey)
    stack, size, signed, points = [], 0, 0, 0  # complete subtrees: their sizes and roots
    for line in open(path, "rb").read().split(b"\n")[:-1]:
        entry = json.loads(line)
        if "checkpoint" not in entry:
            need(entry["seq"] == size, "event %d is missing or moved" % size)
            stack.append((1, h(b"\0", line)))
            size += 1
            while len(stack) > 1 and stack[-2][0] == stack[-1][0]:
                right, left = stack.pop(), stack.pop()
                stack.append((2 * left[0], h(b"\1", left[1], right[1])))
            continue
        n, root = checkpoint(entry["checkpoint"]["note"], key)
        need(n == size, "a checkpoint covers %d events, there are %d" % (n, size))
        top = stack[-1][1] if stack else h()
        for _, left in reversed(stack[:-1]):
            top = h(b"\1", left, top)
        need(top == root, "one of the events %d to %d was changed" % (signed, n - 1))
        signed, points = n, points + 1
    need(points, "no checkpoint vouches for the log")
    print("intact: %d events, %d of them under %d checkpoints signed by %s" % (size, signed, points, key[0]))


def inclusion(proof, leaf, vkey):
    key = load_key(vkey)
    head, _, note = open(proof, encoding="utf-8", newline="").read().partition("\n\n")
    lines = head.split("\n")
    need(lines[0] == "c2sp.org/tlog-proof@v1" and lines[1].startswith("index "), "this is no tlog-proof")
    size, root = checkpoint(note, key)
    index = int(lines[1][len("index "):])
    check_inclusion(index, size, h(b"\0", open(leaf, "rb").read()), [b64(x) for x in lines[2:]], root)
    print("included: these bytes are event %d of the log of %d events that %s signed" % (index, size, key[0]))


def consistency(proof, old, vkey):
    key = load_key(vkey)
    old_size, old_root = checkpoint(open(old, encoding="utf-8", newline="").read(), key)
    head, _, note = open(proof, encoding="utf-8", newline="").read().partition("\n\n")
    lines = head.split("\n")
    need(lines[0] == "old %d" % old_size, "the proof is not from the older checkpoint's size")
    size, root = checkpoint(note, key)
    check_consistency(old_size, old_root, size, root, [b64(x) for x in lines[1:]])
    print("consistent: the log of %d events begins with the %d that were signed before" % (size, old_size))


if __name__ == "__main__":
    modes = {"log": (log, 4), "inclusion": (inclusion, 5), "consistency": (consistency, 5)}
    if len(sys.argv) < 2 or sys.argv[1] not in modes or len(sys.argv) != modes[sys.argv[1]][1]:
        sys.exit(__doc__)
    try:
        modes[sys.argv[1]][0](*sys.argv[2:])
    except (Wrong, ValueError, KeyError, IndexError, OSError) as err:
        print("NOT as it should be: %s" % err)
        sys.exit(1)
