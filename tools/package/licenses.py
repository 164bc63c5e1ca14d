#!/usr/bin/env python3
"""Copies the licences of what a package carries, one folder each.

    licenses.py --crate DIR --cargo CARGO --site-packages DIR --out DIR LIBRARY...

LIBRARYs are the shared libraries that are carried: of Debian's packages or of
wheels below --site-packages. Crates are those that --crate is built of. Ends with
an error that names whatever has no licence to be found.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

# Compiled into the programs, so that no shared library tells of them.
COMPILED_IN = ["libcli11-dev", "libsqlitecpp-dev", "libtomlplusplus-dev",
               "nlohmann-json3-dev"]
LICENSE_FILE = re.compile(r"(LICEN[CS]E|COPYING|COPYRIGHT|NOTICE|UNLICENSE)",
                          re.IGNORECASE)


def debian_packages(libraries: list[Path]) -> dict[Path, str]:
    """The package that each library is of; libraries of none are left out."""
    # Where /lib is a link to /usr/lib, packages know either name.
    names = {str(path): path for path in libraries}
    names |= {name[4:] if name.startswith("/usr/") else "/usr" + name: path
              for name, path in names.items()}
    found = subprocess.run(["dpkg-query", "-S", *sorted(names)], text=True,
                           capture_output=True, check=False).stdout
    lines = [line.split(": ", 1) for line in found.splitlines()]
    return {names[file]: package.split(":")[0] for package, file in lines
            if file in names}


def debian_license(package: str) -> Path:
    return Path("/usr/share/doc", package, "copyright")


def of_libraries(libraries: list[Path]) -> dict[str, list[Path]]:
    """By package; a library of none stands alone, without a licence."""
    packages = debian_packages(libraries)
    found = {package: [debian_license(package)]
             for package in packages.values()}
    return found | {str(p): [] for p in libraries if p not in packages}


def wheel_licenses(site: Path) -> dict[str, list[Path]]:
    """Of torch and of NVIDIA's libraries, which torch's are linked with."""
    infos = [*site.glob("torch-*.dist-info"), *site.glob("nvidia_*.dist-info")]
    return {info.name.removesuffix(".dist-info"):
            [file for file in info.rglob("*") if file.is_file()
             and LICENSE_FILE.search(file.name)] for info in infos}


def crate_licenses(crate: Path, cargo: str) -> dict[str, list[Path]]:
    """Of the crates for this system, without those that only build."""
    metadata = json.loads(subprocess.run(
        [cargo, "metadata", "--locked", "--format-version", "1",
         "--manifest-path", str(crate / "Cargo.toml")],
        text=True, capture_output=True, check=True).stdout)
    folders = {f"{p['name']}-{p['version']}": Path(p["manifest_path"]).parent
               for p in metadata["packages"] if p["source"]}
    tree = subprocess.run(
        [cargo, "tree", "--locked", "--edges", "normal", "--prefix", "none",
         "--format", "{p}", "--manifest-path", str(crate / "Cargo.toml")],
        text=True, capture_output=True, check=True).stdout
    used = {"-".join(line.split()[:2]).replace("-v", "-", 1)
            for line in tree.splitlines() if line}
    return {name: [f for f in folder.iterdir() if LICENSE_FILE.match(f.name)]
            for name, folder in folders.items() if name in used}


def collect(licenses: dict[str, list[Path]], out: Path) -> list[str]:
    """Copies the files into a folder each; returns what has none."""
    missing = []
    for name, files in sorted(licenses.items()):
        found = [file for file in files if file.is_file()]
        if not found:
            missing.append(name)
            continue
        (out / name).mkdir(parents=True)
        for file in found:
            shutil.copy(file, out / name / file.name)
    return missing


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--crate", type=Path, required=True)
    parser.add_argument("--cargo", required=True)
    parser.add_argument("--site-packages", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("libraries", nargs="+", type=Path)
    args = parser.parse_args()
    site = Path(os.path.abspath(args.site_packages))
    of_wheels = [p for p in args.libraries if p.resolve().is_relative_to(
        site.resolve())]
    found = of_libraries([p for p in args.libraries if p not in of_wheels])
    found |= {name: [debian_license(name)] for name in COMPILED_IN}
    if of_wheels:
        found |= wheel_licenses(site)
    found |= crate_licenses(args.crate, args.cargo)
    shutil.rmtree(args.out, ignore_errors=True)
    missing = collect(found, args.out)
    if missing:
        print("no licence found of: " + ", ".join(missing), file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
