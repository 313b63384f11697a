#!/usr/bin/env python3
"""Make src/io/builtin_text.txt, the calibration sample used when no --calib is given.

usage: tools/make_builtin_text.py AWQ MODEL > src/io/builtin_text.txt

Nothing in it is copied from elsewhere: prose is sampled from MODEL (a small language model of this project, trained on
public-domain text) with fixed seeds, the rest is this repository's own documentation and source code. The three kinds alternate
in pieces of a few paragraphs, so that any stretch of it is mixed. About 300 kB: 128 windows of 512 tokens for
vocabularies of up to 4.5 bytes a token.
"""
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROSE_BYTES, CODE_BYTES, DOCS_BYTES = 215_000, 60_000, 35_000
OPENINGS = [
    "The old house at the end of the street", "In the spring of that year", "The government announced on Monday",
    "She opened the letter and", "Scientists have found that", "The captain looked at the sea", "It is a truth that",
    "The match ended", "My dear friend,", "The train was late, and", "According to the report,", "He had never seen",
    "The market opened", "Once upon a time there was", "Chapter I", "The doctor said that", "On the other side of the river",
    "The company's shares", "\"Where are you going?\" asked", "The history of the city", "In the middle of the night",
    "The president of the", "A young man from the country", "The weather on Saturday", "There is nothing so", "The king and his",
    "Police said", "When I was a boy", "The new law", "The garden was full of", "The ship had been at sea for", "To make bread, one",
    "The judge asked", "Farmers in the north", "They walked for a long time", "The teacher wrote on the board", "At the museum,",
    "The island lies", "In her second novel,", "The engine stopped",
]
CODE = ["src/core/thread_pool.cc", "src/quant/block.cc", "src/quant/candidates.cc", "src/format/gemm.cc", "src/format/rounding.cc",
        "src/io/safetensors.cc", "src/backend/cpu/quant_engine.cc", "tools/make_builtin_text.py", "tests/quant/kill_and_resume.py",
        "src/run/sampler.cc", "src/backend/kernel_table.cc", "CMakeLists.txt"]
DOCS = ["README.md", "docs/design.md", "docs/guide.md", "docs/formats.md", "CONTRIBUTING.md"]


def sampled(awq, model):
    size, seed = 0, 0
    while size < PROSE_BYTES:
        opening = OPENINGS[seed % len(OPENINGS)]
        command = [awq, "generate", model, "--prompt", opening, "-n", "380", "--temperature", "0.8", "--top-p", "0.97",
                   "--seed", str(seed), "-q"]
        text = opening + subprocess.run(command, check=True, capture_output=True, text=True).stdout.rstrip("\n")
        size += len(text.encode())
        seed += 1
        yield text


def pieces(names, total, each=1800):
    """Consecutive pieces of files, cut at line ends, `total` bytes in all, taken from the files in turn."""
    texts = [(ROOT / name).read_text() for name in names if (ROOT / name).exists()]
    size = 0
    while size < total and any(texts):
        for i, text in enumerate(texts):
            end = text.find("\n", each) + 1 or len(text)
            if text:
                size += end
                yield text[:end].rstrip("\n")
            texts[i] = text[end:]


def main():
    awq, model = sys.argv[1:3]
    prose, code, docs = list(sampled(awq, model)), list(pieces(CODE, CODE_BYTES)), list(pieces(DOCS, DOCS_BYTES))
    kinds = [prose, code, docs]
    longest = max(map(len, kinds))
    mixed = sorted((index / len(kind), order, text) for order, kind in enumerate(kinds) for index, text in enumerate(kind))
    assert longest == len(prose)
    sys.stdout.write("\n\n".join(text for _, _, text in mixed) + "\n")


main()
