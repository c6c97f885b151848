"""Compares each table of core/wire/schema with the schema of the same name in Kafka's jars, field by field.

usage: schemas.py DIRECTORY-OF-JARS DIRECTORY-OF-TABLES
"""

import json
import re
import sys
import zipfile
from pathlib import Path

MESSAGE_DIRS = re.compile(r"^(common/)?(message|metadata)/[^/]+\.json$")


def versions(text, valid):
    """The versions that a range names, out of `valid` (a set)."""
    if text is None or text == "none":
        return frozenset()
    low, plus, high = re.fullmatch(r"(\d+)(\+)?(?:-(\d+))?", text).groups()
    end = int(high) if high else (1 << 15 if plus else int(low))
    return frozenset(v for v in valid if int(low) <= v <= end)


def all_of(text):
    return frozenset() if text == "none" else versions(text, range(0, 1 << 10))


def default(text, kind):
    """A default as a value: what is not said is zero, empty or false."""
    if text in (None, ""):
        return False if kind == "bool" else "" if kind in ("string", "bytes", "records") else 0
    if text == "null":
        return None
    if kind == "bool":
        return text in ("true", True)
    if kind in ("string", "bytes", "records"):
        return text
    return float(text) if kind == "float64" else int(str(text), 0)


def field(name, kind, said, valid, flexible, children):
    """One field, in a form that both notations come to."""
    present = versions(said["versions"], valid)
    tagged = versions(said.get("tagged"), present)
    nullable = versions(said.get("null"), present)
    plain = kind if kind[0].islower() else "struct"
    return {
        "name": name,
        "type": kind,
        "versions": sorted(present),
        "null": sorted(nullable),
        "tag": (said.get("tag"), sorted(tagged)) if tagged else None,
        "default": default(said.get("default"), plain),
        "ignorable": bool(said.get("ignorable")),
        "key": bool(said.get("key")),
        "flexible": sorted(versions(said["flexible"], present)) if said.get("flexible") else None,
        "fields": [child(valid, flexible) for child in children],
    }


def from_json(schema):
    valid = all_of(schema["validVersions"])
    structs = {}

    def one(said):
        children = said.get("fields") or []
        about = {
            "versions": said.get("versions") or said.get("taggedVersions"),
            "tagged": said.get("taggedVersions"),
            "null": said.get("nullableVersions"),
            "tag": said.get("tag"),
            "default": said.get("default"),
            "ignorable": said.get("ignorable"),
            "key": said.get("mapKey"),
            "flexible": said.get("flexibleVersions"),
        }
        return lambda valid, flexible: field(
            said["name"], said["type"], about, valid, flexible, [one(c) for c in children]
        )

    flexible = versions(schema.get("flexibleVersions"), valid)
    for common in schema.get("commonStructs") or []:
        structs[common["name"]] = [one(f)(valid, flexible) for f in common["fields"]]
    return {
        "kind": schema["type"],
        "key": schema.get("apiKey"),
        "versions": sorted(valid),
        "flexible": sorted(flexible),
        "listeners": sorted(schema.get("listeners") or []),
        "unstable": bool(schema.get("latestVersionUnstable")),
        "structs": structs,
        "fields": [one(f)(valid, flexible) for f in schema.get("fields") or []],
    }


def attributes(words):
    pairs = (word.split("=", 1) if "=" in word else (word, True) for word in words)
    return dict(pairs)


def from_table(text):
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    _, name, kind, *rest = lines[0].split()
    head = attributes(rest)
    valid = all_of(head["versions"])
    flexible = versions(head.get("flexible"), valid)
    roots, structs, stack = [], {}, []
    target = roots
    for line in lines[1:]:
        depth = (len(line) - len(line.lstrip())) // 2
        words = line.split()
        if depth == 0:
            target = structs.setdefault(words[1], [])
            stack = []
            continue
        about = attributes(words[3:])
        about["versions"] = words[2]
        if "tag" in about:
            about["tag"] = int(about["tag"])
            about["tagged"] = words[2]
        made = field(words[0], words[1], about, valid, flexible, [])
        del stack[depth - 1 :]
        (stack[-1]["fields"] if stack else target).append(made)
        stack.append(made)
    return name, {
        "kind": kind,
        "key": int(head["key"]) if "key" in head else None,
        "versions": sorted(valid),
        "flexible": sorted(flexible),
        "listeners": sorted(head["listeners"].split(",")) if "listeners" in head else [],
        "unstable": "latest-unstable" in head,
        "structs": structs,
        "fields": roots,
    }


def differences(ours, theirs, at):
    """Where two normal forms part, as lines of text."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(set(ours) | set(theirs)):
            yield from differences(ours.get(key), theirs.get(key), f"{at}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and any(isinstance(x, dict) for x in ours + theirs):
        if len(ours) != len(theirs):
            yield f"{at}: {[f['name'] for f in ours]} here, {[f['name'] for f in theirs]} at Kafka"
        for one, other in zip(ours, theirs):
            yield from differences(one, other, f"{at}.{one['name']}")
    elif ours != theirs:
        yield f"{at}: {ours} here, {theirs} at Kafka"


def main(jars, tables):
    kafka = {}
    for jar in sorted(Path(jars).glob("*.jar")):
        with zipfile.ZipFile(jar) as archive:
            for name in filter(MESSAGE_DIRS.match, archive.namelist()):
                text = re.sub(r"^\s*//.*$", "", archive.read(name).decode(), flags=re.M)
                schema = json.loads(text)
                kafka[schema["name"]] = from_json(schema)
    ours = dict(from_table(path.read_text()) for path in sorted(Path(tables).rglob("*.tbl")))
    wrong = [f"{name}: here only" for name in sorted(set(ours) - set(kafka))]
    wrong += [f"{name}: at Kafka only" for name in sorted(set(kafka) - set(ours))]
    for name in sorted(set(ours) & set(kafka)):
        wrong += differences(ours[name], kafka[name], name)
    if wrong or not ours:
        print(f"{len(wrong)} differences: " + "; ".join(wrong[:20]))
        sys.exit(1)
    print(f"{len(ours)} messages, no difference")


main(*sys.argv[1:])
