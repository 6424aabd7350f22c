#!/usr/bin/env python3
"""members.py: the packages of the workspace and their manifests, one a line."""
import json
import subprocess

metadata = subprocess.run(
    ["cargo", "metadata", "--no-deps", "--locked", "--format-version", "1"], check=True, capture_output=True
)
for package in json.loads(metadata.stdout)["packages"]:
    print(package["name"], package["manifest_path"])
