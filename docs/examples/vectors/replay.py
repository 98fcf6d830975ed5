"""Replays conformance vectors against an adapter program that speaks the protocol on stdin and stdout. Standard library only.

python replay.py DIRECTORY-OR-FILE... -- COMMAND ARG...

It shows how a replayer is written in any language: specs/README.md has the format. Exit code 0: all kept; 1: some were not.
"""

import itertools
import json
import subprocess
import sys
from pathlib import Path


class Adapter:
    """One request, one reply, a line each."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")
        self.seq = 0

    def ask(self, cmd, **fields):
        self.seq += 1
        self.process.stdin.write(json.dumps({"seq": self.seq, "cmd": cmd, **fields}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def fill(value, names):
    """Arguments with what the names stand for."""
    if isinstance(value, dict):
        return {key: fill(member, names) for key, member in value.items()}
    if isinstance(value, list):
        return [fill(member, names) for member in value]
    return names[value] if isinstance(value, str) and value.startswith("$") else value


def fits(pattern, value, names):
    """Whether an answer is as expected. A name stands for what it met first."""
    if isinstance(pattern, str) and pattern.startswith("$"):
        return value is not None and names.setdefault(pattern, value) == value
    if isinstance(pattern, list):
        same_length = isinstance(value, list) and len(value) == len(pattern)
        return same_length and all(fits(*pair, names) for pair in zip(pattern, value, strict=True))
    if not isinstance(pattern, dict):
        return pattern == value and isinstance(pattern, bool) == isinstance(value, bool)
    if "$any" in pattern:
        return True
    if "$between" in pattern:
        return pattern["$between"][0] <= value <= pattern["$between"][1]
    if "$unordered" in pattern:
        wanted, left = list(pattern["$unordered"]), list(value)
        for one in value:
            match = next((each for each in wanted if fits(each, one, names)), None)
            if match is not None:
                wanted.remove(match)
                left.remove(one)
        return not wanted and not left
    return isinstance(value, dict) and all(fits(member, value.get(key), names) for key, member in pattern.items())


def related(vector, names):
    """Whether the names that are bound so far differ, and rise, where they have to."""
    for group in vector["distinct"]:
        bound = [names[name] for name in group if name in names]
        if len(set(bound)) != len(bound):
            return False
    for chain in vector["rising"]:
        bound = [names.get(one) if isinstance(one, str) else one for one in chain]
        bound = [number for number in bound if number is not None]
        if any(one >= two for one, two in itertools.pairwise(bound)):
            return False
    return True


def replay(vector, adapter, label):
    """What is wrong, or nothing."""
    names, handles, opened = {}, {}, 0
    adapter.ask("create", store=label, session_id=vector["session_id"])
    for number, step in enumerate(vector["steps"], start=1):
        if step["op"] == "reopen":
            for handle in handles.values():
                adapter.ask("close", handle=handle)
            handles = {}
            continue
        if step["handle"] not in handles:
            opened += 1
            handles[step["handle"]] = f"{label}-{opened}"
            adapter.ask("open", store=label, handle=handles[step["handle"]])
        adapter.ask("clock", now_ms=step["at"])
        args = fill(step["args"], names)
        reply = adapter.ask("call", handle=handles[step["handle"]], op=step["op"], args=args)
        expect = step["expect"]
        right = "ok" in reply or "err" in reply
        if "ok" in expect:
            right = "ok" in reply and fits(expect["ok"], reply["ok"], names)
        elif "err" in expect:
            right = "err" in reply and fits(expect["err"], reply["err"], names)
        if not (right and related(vector, names)):
            return f"step {number}, {step['op']}, {step['rule']}: expected {expect}, got {reply}"
    for handle in handles.values():
        adapter.ask("close", handle=handle)
    adapter.ask("drop", store=label)
    return ""


def unable(vector, able):
    """What the store lacks to be held to the vector."""
    needs = vector["needs"]
    lacks = [op for op in needs["operations"] if op not in able.get("ops", needs["operations"])]
    lacks += ["more handles"] if needs["handles"] > able.get("handles", 1) else []
    lacks += ["reopen"] if needs["reopen"] and not able.get("reopen") else []
    lacks += [f"manifest {needs['manifest']}"] if needs["manifest"] not in ("any", able["manifest"]) else []
    lacks += ["large integers"] if needs["max_integer"] > able.get("max_integer", 2**63 - 1) else []
    return lacks + (["a virtual clock"] if able["clock"] != "virtual" else [])


def main(arguments):
    at = arguments.index("--")
    paths = [path for given in map(Path, arguments[:at]) for path in (sorted(given.glob("*.json")) if given.is_dir() else [given])]
    adapter = Adapter(arguments[at + 1 :])
    able = adapter.ask("hello", protocol={"min": 1, "max": 1})["ok"]["capabilities"]
    broken = 0
    for path in paths:
        vector = json.loads(path.read_text(encoding="utf-8"))
        if "steps" not in vector:
            continue  # the index
        lacks = unable(vector, able)
        wrong = "" if lacks else replay(vector, adapter, path.stem)
        broken += bool(wrong)
        policies = "".join(f" [{name}: {option}]" for name, option in vector["policies"].items()) if wrong else ""
        verdict = "skipped" if lacks else "BROKEN" if wrong else "kept"
        print(f"{verdict:8}{path.stem}{policies}: {', '.join(lacks) or wrong or vector['title']}")
    adapter.ask("bye")
    return min(1, broken)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
