#!/usr/bin/env python3
"""fuzz-seeds.py VECTORS FOLDER: a seed for each reader from every certificate in the vectors."""
import json
import pathlib
import sys

vectors, folder = json.loads(pathlib.Path(sys.argv[1]).read_text()), pathlib.Path(sys.argv[2])


def walk(value):
    if isinstance(value, dict):
        for inner in value.values():
            yield from walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from walk(inner)
    elif isinstance(value, str):
        yield value


for number, text in enumerate(walk(vectors)):
    try:
        seeds = [bytes([reader]) + bytes.fromhex(text) for reader in (0, 1)]
    except ValueError:
        seeds = [bytes([reader]) + text.encode() for reader in (2, 3)]
    for reader, seed in enumerate(seeds):
        (folder / f"vector-{number}-{reader}").write_bytes(seed)
