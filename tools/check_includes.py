#!/usr/bin/env python3
"""Checks that includes go one way (docs/design.md), and that what belongs behind one wall stays there."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SEAM = ["backend/device.h", "backend/kernel_table.h"]  # all that the layers above know of a backend

# What a folder under src/ may include besides itself and the public headers; a prefix covers what is below it.
MAY_INCLUDE = {
    "core": [],
    "io": ["core/"],
    "model": ["core/", "io/"],
    "format": ["core/", "io/", "model/"],
    "backend": ["core/", "io/", "model/", "format/"],
    "quant": ["core/", "io/", "model/", "format/", *SEAM],
    "run": ["core/", "io/", "model/", "format/", *SEAM],
    "cli": ["core/", "io/", "model/", "format/", "quant/", "run/", "bench/", *SEAM],
}
# A heavy or foreign header, and the only files that may see it.
ONLY_IN = {"CLI/": ["src/cli/args.cc"], "cuda": ["src/backend/cuda/"]}
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.MULTILINE)


def complaints(path):
    relative = path.relative_to(ROOT).as_posix()
    area = relative.split("/")[1]
    for kind, header in INCLUDE.findall(path.read_text(encoding="utf-8")):
        for prefix, homes in ONLY_IN.items():
            if header.startswith(prefix) and not any(relative.startswith(home) for home in homes):
                yield f"{relative}: {header} belongs to {', '.join(homes)} alone"
        if kind == "<" or header.startswith("awq/"):
            continue
        if relative.startswith("include/"):
            yield f"{relative}: a public header includes {header}, which is not installed"
        elif not any(header.startswith(p) for p in [area + "/", *MAY_INCLUDE[area]]):
            yield f"{relative}: src/{area} must not include {header}"


def main():
    files = [p for folder in ("src", "include") for p in sorted((ROOT / folder).rglob("*")) if p.suffix in (".h", ".cc", ".cu", ".cuh")]
    found = [line for path in files for line in complaints(path)]
    print("\n".join(found) if found else f"includes go one way in {len(files)} files")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
