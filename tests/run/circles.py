#!/usr/bin/env python3
"""circles.py [--list]: refuses circles of imports between the modules of each workspace member, and imports upwards in
those whose root describes layers; --list prints all imports.

An import counts between siblings: a path from a::b to c::d is one from a to c. Paths inside one module, and between a
module and its parents, are no imports. Test modules are left out, because nothing depends on them.

Layers are the rows of the table in the documentation of lib.rs: `//! | `domain` | task |`. The modules of a row import
only those of the rows below it; modules that are in no row may import all of them.
"""
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
NOISE = re.compile(r"""//[^\n]*|/\*.*?\*/|b?r(#*)".*?"\1|b?"(?:\\.|[^"\\])*"|'(?:\\.[^']*|[^\\'])'""", re.S)
TEST_MODULE = re.compile(r"#\[cfg\((?:test|any\(test[^\]]*)\)\]\s*(?:#\[[^\]]*\]\s*)*(?:pub(?:\([a-z]+\))? )?mod (\w+)\s*(;|\{)")
TOKEN = re.compile(r"::|\w+|[{};,*]|\S")


def block_end(text, start):
    """Where the block ends whose brace opens before `start`."""
    depth = 1
    for found in re.compile(r"[{}]").finditer(text, start):
        depth += 1 if found[0] == "{" else -1
        if depth == 0:
            return found.end()
    return len(text)


def without_tests(text):
    """The text without inline test modules, and the names of those that are files."""
    files = set()
    while found := TEST_MODULE.search(text):
        end = found.end() if found[2] == ";" else block_end(text, found.end())
        if found[2] == ";":
            files.add(found[1])
        text = text[: found.start()] + re.sub(r"[^\n]", " ", text[found.start() : end]) + text[end:]
    return text, files


def use_paths(tokens, prefix=()):
    """The paths of a use tree; consumes the tokens up to its end."""
    path = list(prefix)
    while tokens:
        token, line = tokens.pop(0)
        if token == "{":
            while tokens and tokens[0][0] != "}":
                yield from use_paths(tokens, path)
                if tokens and tokens[0][0] == ",":
                    tokens.pop(0)
            if tokens:
                tokens.pop(0)
            return
        if token == "as":
            tokens.pop(0)
        elif token != "::":
            path.append(token)
            last = line
        if not tokens or tokens[0][0] in ",};":
            break
    if len(path) > len(prefix):
        yield path, last


def paths(text):
    """Every path that begins with crate, super or self, in use trees and elsewhere, with its line."""
    tokens = [(found[0], text.count("\n", 0, found.start()) + 1) for found in TOKEN.finditer(text)]
    while tokens:
        token, line = tokens[0]
        if token == "use":
            tokens.pop(0)
            yield from use_paths(tokens)
        elif token in ("crate", "super", "self") and len(tokens) > 2 and tokens[1][0] == "::":
            path = [token]
            tokens.pop(0)
            while len(tokens) > 1 and tokens[0][0] == "::" and re.fullmatch(r"\w+", tokens[1][0]):
                path.append(tokens[1][0])
                del tokens[:2]
            yield path, line
        else:
            tokens.pop(0)


def resolve(path, module):
    """The absolute path of one that is written in `module`; none when it leads out of the crate."""
    at = list(module)
    if path[0] == "crate":
        return tuple(path[1:])
    if path[0] not in ("self", "super"):
        return None
    for number, part in enumerate(path):
        if part == "super":
            at.pop()
        elif part != "self":
            return tuple(at + path[number:])
    return tuple(at)


def imports(source):
    """{(parent, from, to): [places]} between the modules under a source folder."""
    texts, tests = {}, set()
    for file in sorted(source.rglob("*.rs")):
        module = file.relative_to(source).with_suffix("").parts
        module = () if module in (("lib",), ("main",)) else module
        text, files = without_tests(NOISE.sub(lambda noise: re.sub(r"[^\n]", " ", noise[0]), file.read_text()))
        texts.setdefault(module, []).append((file, text))
        tests |= {module + (name,) for name in files}
    found = {}
    for module, files in texts.items():
        if any(module[: len(test)] == test for test in tests):
            continue
        for file, text in files:
            for path, line in paths(text):
                target = resolve(path, module)
                while target and target not in texts:
                    target = target[:-1]
                common = 0
                while target and common < min(len(module), len(target)) and module[common] == target[common]:
                    common += 1
                if target and common < min(len(module), len(target)):
                    edge = (module[:common], module[common], target[common])
                    found.setdefault(edge, []).append(f"{file.relative_to(ROOT)}:{line}: {'::'.join(path)}")
    return found


def circles(edges):
    """The groups of modules that reach each other, with their parent."""
    for parent in sorted({parent for parent, _, _ in edges}):
        next_of = {}
        for of, source, target in edges:
            if of == parent:
                next_of.setdefault(source, set()).add(target)

        def reach(start):
            seen, todo = set(), [start]
            while todo:
                for target in next_of.get(todo.pop(), ()):
                    if target not in seen:
                        seen.add(target)
                        todo.append(target)
            return seen

        left = set(next_of)
        while left:
            start = left.pop()
            group = {other for other in reach(start) if start in reach(other)}
            if group:
                left -= group
                yield parent, sorted(group)


def source_folders():
    """The folder of each target of the workspace, with its package."""
    command = ["cargo", "metadata", "--no-deps", "--locked", "--format-version", "1"]
    metadata = json.loads(subprocess.run(command, check=True, capture_output=True, cwd=ROOT).stdout)
    found = {}
    for package in metadata["packages"]:
        for target in package["targets"]:
            if target["kind"] != ["custom-build"]:
                found[pathlib.Path(target["src_path"]).parent] = package["name"]
    return {folder: name for folder, name in found.items() if not found.keys() & set(folder.parents)}


def layers(folder):
    """The row of each module in the table of layers; empty when lib.rs has none."""
    root = folder / "lib.rs"
    rows = re.findall(r"^//! \|((?: `\w+`,?)+) \|", root.read_text() if root.exists() else "", re.M)
    return {name: number for number, row in enumerate(rows) for name in re.findall(r"\w+", row)}


def upward_imports(edges, layer_of):
    """The imports of a layer that lead to the same layer, to one above it, or to a module that is on none."""
    for (parent, start, end), places in sorted(edges.items()):
        if not parent and start in layer_of and layer_of.get(end, -1) <= layer_of[start]:
            yield start, end, places


failed = False
for folder, package in sorted(source_folders().items()):
    edges = imports(folder)
    if sys.argv[1:] == ["--list"]:
        for (parent, start, end), places in sorted(edges.items()):
            print(f"{package} {'::'.join(parent)}: {start} -> {end} ({len(places)})")
    for parent, group in circles(edges):
        failed = True
        print(f"{package}: circle of {', '.join('::'.join(parent + (name,)) for name in group)}")
        for (of, start, end), places in sorted(edges.items()):
            if of == parent and start in group and end in group:
                print(f"  {start} -> {end}", *places, sep="\n    ")
    layer_of = layers(folder)
    for name in sorted(layer_of):
        if not any((folder / path).exists() for path in (f"{name}.rs", name)):
            failed = True
            print(f"{package}: lib.rs describes the layer `{name}`, and there is no such module")
    for start, end, places in upward_imports(edges, layer_of):
        failed = True
        print(f"{package}: `{start}` may import only the layers below it in the table of lib.rs, and imports `{end}`",
              *places[:3], sep="\n    ")
sys.exit(failed)
