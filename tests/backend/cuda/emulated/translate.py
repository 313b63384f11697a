#!/usr/bin/env python3
"""Makes C++ of CUDA C++, for the emulator beside this file: translate.py FROM TO turns the files below FROM that need
it into files of the same name below TO, which stands first on the include path. Five things of CUDA's are not C++:

  threadIdx.x                                     threadIdx().x
  kernel<<<grid, threads, smem, stream>>>(x)      launched(grid, threads, smem, stream)(kernel as a lambda, x)
  extern __shared__ T name[];                     T* const name = dynamic_shared<T>(alignment);
  __shared__ T name[2];                           auto& name = static_shared<T[2]>([] {}, alignment);
  asm volatile("text" : "=r"(y) : "r"(x) : ...)   ptx<"text">(out(y), in(x))

Everything else is left as it is, line by line, so that a debugger and a compiler's message name the right place.
"""

import pathlib
import re
import sys

EMULATED = "::awq::emulated::"
ALIGN = r"(?:__align__\((?P<align>\d+)\) )?"
DYNAMIC = re.compile(r"extern __shared__ " + ALIGN + r"(?P<type>[\w: ]+?) (?P<name>\w+)\[\];")
STATIC = re.compile(
    r"(?<!extern )__shared__ " + ALIGN + r"(?P<type>[\w:<>, ]+?) (?P<name>\w+)(?P<size>(?:\[[^\]]*\])*);"
)
LAUNCH = re.compile(r"(?P<kernel>\b[A-Za-z_]\w*(?:<[^<>;(){}]*>)?)<<<(?P<how>.*?)>>>\(", re.S)
ASM = re.compile(r"\basm(?: volatile)?\s*\(")
BUILT_IN = re.compile(r"(?<![\w.>])(threadIdx|blockIdx|blockDim|gridDim)\b")
MACRO = re.compile(r"^[ \t]*#[ \t]*define\b(?:[^\n]*\\\n)*[^\n]*", re.M)
STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


def closing(text, start):
    """Where the parenthesis that opens at start - 1 closes."""
    depth, at = 1, start
    while depth:
        if text[at] == '"':
            at = STRING.match(text, at).end()
            continue
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        at += 1
    return at - 1


def split(text, separator):
    """Splits at separators outside strings and parentheses."""
    parts, depth, at, first = [], 0, 0, 0
    while at < len(text):
        if text[at] == '"':
            at = STRING.match(text, at).end()
            continue
        depth += {"(": 1, ")": -1, "[": 1, "]": -1}.get(text[at], 0)
        if depth == 0 and text.startswith(separator, at) and "::" not in text[at - 1 : at + 2]:
            parts.append(text[first:at])
            first = at + 1
        at += 1
    return parts + [text[first:]]


def operand(text):
    constraint, value = re.match(r'\s*"([^"]*)"\s*\((.*)\)\s*$', text, re.S).groups()
    return EMULATED + {"=": "out", "+": "inout"}.get(constraint[0], "in") + f"({value})"


def call_of_asm(body):
    template, *rest = split(body.replace(":::", ": : :").replace('::"', ': :"'), ":")
    operands = [operand(o) for part in rest[:2] for o in split(part, ",") if o.strip()]
    call = f"{EMULATED}ptx<{template.strip()}>({', '.join(operands)}"
    return call + "\n" * (body.count("\n") - call.count("\n")) + ")"


def without_asm(text):
    out, at = [], 0
    for found in ASM.finditer(text):
        if found.start() < at:
            continue
        end = closing(text, found.end())
        out += [text[at : found.start()], call_of_asm(text[found.end() : end])]
        at = end + 1
    return "".join(out) + text[at:]


def translate(text):
    macros = []

    def keep(found):
        macros.append(product(found.group()) if ASM.search(found.group()) else found.group())
        return f"\0{len(macros) - 1}\0"

    text = BUILT_IN.sub(EMULATED + r"\1()", text)
    text = without_asm(MACRO.sub(keep, text))
    text = re.sub("\0(\\d+)\0", lambda found: macros[int(found.group(1))], text)
    text = DYNAMIC.sub(
        lambda f: f"auto* const {f['name']} = {EMULATED}dynamic_shared<{f['type']}>({f['align'] or 0});", text
    )
    text = STATIC.sub(
        lambda f: f"auto& {f['name']} = {EMULATED}static_shared<{f['type']}{f['size']}>([] {{}}, {f['align'] or 0});",
        text,
    )
    return LAUNCH.sub(
        lambda f: f"{EMULATED}launched({f['how']})([=](auto... arguments) {{ {f['kernel']}(arguments...); }}, ", text
    )


def product(macro):
    """wgmma's asm stands in macros, whose operands are macros too: what counts is the function around it, which names
    its registers d, a, b and accumulate, and the macro's parameter, the type."""
    found = ASM.search(macro)
    end = closing(macro, found.end())
    lines = macro[found.start() : end].count("\\\n")
    call = f"{EMULATED}multiply_group(d, a, b, accumulate, type)"
    return macro[: found.start()] + call + " \\\n" * lines + macro[end + 1 :]


def main():
    source, target = map(pathlib.Path, sys.argv[1:])
    for path in sorted(source.rglob("*.cu*")):
        to = target / path.relative_to(source)
        to = to.with_suffix(".cu.cc") if path.suffix == ".cu" else to
        text = f'#line 1 "{path}"\n' + translate(path.read_text())
        to.parent.mkdir(parents=True, exist_ok=True)
        if not to.exists() or to.read_text() != text:
            to.write_text(text)


if __name__ == "__main__":
    main()
