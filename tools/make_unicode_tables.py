#!/usr/bin/env python3
"""Writes src/io/tokenizer/unicode_ranges.inc: what each code point is to the PyPI package `tokenizers`.

The package holds three generations of Unicode: 16.0 in its regular expressions, 17.0 in the standard library it was
compiled with (Digits, Lowercase), 9.0 in its normalization forms. So the tables ask the package itself, and
unicodedata2 for what the package cannot be asked.

    pip install tokenizers==0.23.3 unicodedata2==16.0.0     # under Python 3.11 or 3.12
    tools/make_unicode_tables.py src/io/tokenizer/unicode_ranges.inc
"""
import sys
import unicodedata

import unicodedata2
from tokenizers import Regex
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Digits, Split

SCALARS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
AGE_FILE = "/usr/share/unicode/DerivedAge.txt"  # Debian package unicode-data


def chunks(step=4096):
    for i in range(0, len(SCALARS), step):
        yield "".join(map(chr, SCALARS[i : i + step]))


def matching(pattern):
    split = Split(Regex(pattern), "removed", invert=True)
    return {ord(c) for chunk in chunks() for piece, _ in split.pre_tokenize_str(chunk) for c in piece}


def numeric():
    digits = Digits(individual_digits=True)
    alone = {piece for chunk in chunks() for piece, _ in digits.pre_tokenize_str(chunk) if len(piece) == 1}
    between = {c for c in alone if len(digits.pre_tokenize_str("a" + c + "a")) == 3}
    return {ord(c) for c in between}


def assigned_by(version):
    """Code points assigned in Unicode `version` or before."""
    known = set()
    for line in open(AGE_FILE, encoding="utf-8"):
        fields = line.split("#")[0].split(";")
        if len(fields) == 2 and float(fields[1]) <= version:
            first, _, last = fields[0].strip().partition("..")
            known.update(range(int(first, 16), int(last or first, 16) + 1))
    return known


def inert_in_normalization():
    """Newer than 9.0 and active in a later Unicode's normalization: the package passes these through."""
    seconds = set()
    for c in SCALARS:
        parts = unicodedata2.decomposition(chr(c)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            seconds.update(int(p, 16) for p in parts)
    old = assigned_by(9.0)
    return {
        c
        for c in SCALARS
        if c not in old
        and (unicodedata2.combining(chr(c)) or unicodedata2.decomposition(chr(c)) or c in seconds)
    }


def ranges(value_of):
    """[first, last, value] of the runs of equal, non-false values."""
    out = []
    for c in range(0x110000):
        value = value_of(c)
        if not value:
            continue
        if out and out[-1][1] == c - 1 and out[-1][2] == value:
            out[-1][1] = c
        else:
            out.append([c, c, value])
    return out


def table(kind, name, rows):
    lines, line = [], " "
    for row in rows:
        cell = " {" + ", ".join(v if isinstance(v, str) else f"0x{v:X}" for v in row) + "},"
        if len(line) + len(cell) > 120:
            lines.append(line)
            line = " "
        line += cell
    return f"constexpr {kind} {name}[] = {{\n" + "\n".join(lines + [line]) + "\n};\n"


def class_ranges():
    alphabetic = matching(r"[[:alpha:]]")
    # \w of the package's other regular expression engine, which looks at the neighbours of `single_word` tokens.
    word = alphabetic | matching(r"\p{M}") | matching(r"\p{Nd}") | matching(r"\p{Pc}") | {0x200C, 0x200D}
    sets = [matching(r"\p{L}"), matching(r"\p{N}"), matching(r"\s"), word, numeric(), inert_in_normalization()]
    return ranges(lambda c: sum(1 << bit for bit, members in enumerate(sets) if c in members))


def newer_than_pcre2():
    """General category of what PCRE2 10.42 (Unicode 14.0) takes for unassigned."""
    assert unicodedata.unidata_version in ("14.0.0", "15.0.0") and unicodedata2.unidata_version == "16.0.0"
    old = assigned_by(14.0)
    return ranges(lambda c: c not in old and unicodedata2.category(chr(c)) not in ("Cn", "Cs")
                  and '"' + unicodedata2.category(chr(c)) + '"')


def lowercase_rows():
    """Capitals that utf8proc 2.8 (Unicode 15.0) does not know."""
    known = assigned_by(15.0)
    rows = []
    for c in SCALARS:
        lower = Lowercase().normalize_str(chr(c))
        if c not in known and lower != chr(c):
            rows.append([c, ord(lower)])
    return rows


if __name__ == "__main__":
    with open(sys.argv[1], "w", encoding="utf-8") as out:
        out.write("// Written by tools/make_unicode_tables.py; do not edit. The values are CharClass bits.\n")
        out.write(table("ClassRange", "kClassRanges", class_ranges()))
        out.write("\n// General category of the code points that Unicode 15.0, 15.1 and 16.0 added.\n")
        out.write(table("CategoryRange", "kNewerThanPcre2", newer_than_pcre2()))
        out.write("\n// Lowercase of the capitals that Unicode 16.0 and 17.0 added.\n")
        out.write(table("LowercasePair", "kNewLowercase", lowercase_rows()))
