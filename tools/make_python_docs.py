#!/usr/bin/env python3
"""Writes docs/python.md from the docstrings of awq_cpp: PYTHONPATH=build/python tools/make_python_docs.py

With --check it writes nothing and fails where the page is not what the docstrings say."""

import dataclasses
import inspect
import pathlib
import re
import sys
import textwrap

import awq_cpp
import awq_cpp.autoawq
import awq_cpp.integrations

PAGE = pathlib.Path(__file__).resolve().parent.parent / "docs/python.md"
# Sections of the page: title, module, words, names in order.
SECTIONS = [
    (
        "Quantize",
        awq_cpp,
        "",
        [
            "quantize",
            "QuantizeReport",
            "LinearReport",
            "QuantizeProgress",
            "StageSeconds",
            "convert",
            "inspect",
            "CheckpointInfo",
            "ModuleInfo",
            "ServeCheck",
        ],
    ),
    (
        "Run and score",
        awq_cpp,
        "",
        [
            "Model",
            "generate",
            "Generation",
            "GenerateTiming",
            "evaluate",
            "EvaluateReport",
            "read_text",
            "read_documents",
            "builtin_text",
            "bench",
            "Latency",
        ],
    ),
    ("Devices and kernels", awq_cpp, "", ["devices", "Device", "select_kernel", "kernel_status", "KernelStatus"]),
    (
        "Single linears: awq_cpp.kernels",
        awq_cpp.kernels,
        awq_cpp.kernels.__doc__,
        ["pack", "linear", "gemm", "gemv", "PackedLinear", "to_device", "to_host"],
    ),
    (
        "Data sets: awq_cpp.integrations",
        awq_cpp.integrations,
        awq_cpp.integrations.__doc__,
        ["load_texts", "dataset_folder", "resolve_model", "hub_cache"],
    ),
    (
        "AutoAWQ's classes: awq_cpp.autoawq",
        awq_cpp.autoawq,
        awq_cpp.autoawq.__doc__,
        ["AutoAWQForCausalLM", "BaseAWQForCausalLM", "AwqConfig", "evaluate_perplexity"],
    ),
    (
        "Errors",
        awq_cpp,
        "Each carries the sentence of the command line, `kind`, and `exit_code`, with which the command line ends.",
        [
            "Error",
            "UsageError",
            "BadInputError",
            "NoRoomError",
            "DeviceError",
            "ExistsError",
            "CheckFailedError",
            "Interrupted",
        ],
    ),
]
OWN = ("__init__", "__call__")


def signature_and_doc(function):
    """'quantize(model, out, ...) -> QuantizeReport' and the words below it."""
    if hasattr(function, "__nb_signature__"):
        signature, doc, defaults = function.__nb_signature__[0]
        signature = signature.removeprefix("def ")
        signature = re.sub(r"\\(\d+)", lambda number: repr(defaults[int(number[1])]), signature)
    else:
        signature = f"{function.__name__}{inspect.signature(function)}"
        doc = inspect.getdoc(function)
    signature = re.sub(r"(: |-> )'([^']*)'", r"\1\2", signature)  # annotations of Python are strings
    signature = re.sub(r"<class '[\w.]*?(\w+)'>", r"\1", signature)
    signature = re.sub(r"awq_cpp\.(_core\.)?|collections\.abc\.|\bself, |\bself\b|os\.|typing\.", "", signature)
    return signature, inspect.cleandoc(doc or "")


def code(signature, name):
    signature = re.sub(r"^\w+", name, signature)
    if len(signature) > 110:
        head, _, rest = signature.partition("(")
        arguments, _, result = rest.rpartition(")")
        pieces = re.split(r", (?![^\[(]*[\])])", arguments)
        signature = (
            f"{head}(\n"
            + textwrap.fill(
                ", ".join(p.replace(" ", "\0") for p in pieces),
                110,
                initial_indent="    ",
                subsequent_indent="    ",
                break_long_words=False,
            ).replace("\0", " ")
            + f"\n){result}"
        )
    return f"```python\n{signature}\n```"


def paragraphs(doc):
    return "\n\n".join(
        p if p.startswith("    ") else textwrap.fill(" ".join(p.split()), 130) for p in doc.split("\n\n")
    )


def function_text(name, function):
    signature, doc = signature_and_doc(function)
    return f"{code(signature, name)}\n\n{paragraphs(doc)}\n"


def members(cls):
    for name, item in vars(cls).items():
        if not name.startswith("_") or (name in OWN and item is not cls.__call__):
            yield name, item


def words_of(item):
    """A property's docstring, without the signature that stands in for a missing one."""
    return re.sub(r"^\(self\) -> .*", "", inspect.getdoc(item) or "").replace("|", "&#124;")


def class_text(name, cls):
    rows, methods = [], []
    if dataclasses.is_dataclass(cls):
        rows = [f"| `{f.name}` | `{str(f.type).replace('|', '&#124;')}` | |" for f in dataclasses.fields(cls)]
    for member, item in members(cls):
        if isinstance(item, property):
            signature = signature_and_doc(item.fget)[0] if item.fget else ""
            kind = signature.partition("-> ")[2]
            rows.append(f"| `{member}` | `{kind.replace('|', '&#124;')}` | {words_of(item)} |")
        elif member == "__init__":
            if hasattr(item, "__nb_signature__"):
                methods.insert(0, code(signature_and_doc(item)[0].partition(" ->")[0], name) + "\n")
        elif callable(item) or isinstance(item, (classmethod, staticmethod)):
            methods.append(function_text(f"{name}.{member}", getattr(cls, member)))
    table = "| | | |\n| --- | --- | --- |\n" + "\n".join(rows) + "\n" if rows else ""
    bases = ", ".join(b.__name__ for b in cls.__bases__ if b is not object) if issubclass(cls, Exception) else ""
    heading = f"### {name}" + (f" ({bases})" if bases else "")
    return "\n".join(filter(None, [heading + "\n", paragraphs(inspect.getdoc(cls) or "") + "\n", table, *methods]))


def page():
    parts = [
        "# Python reference\n",
        "Made from the docstrings by `tools/make_python_docs.py`; `help(awq_cpp.quantize)` shows the same.\n",
        paragraphs(inspect.cleandoc(awq_cpp.__doc__)) + "\n",
    ]
    for title, module, words, names in SECTIONS:
        parts.append(f"## {title}\n")
        if words:
            parts.append(paragraphs(inspect.cleandoc(words)) + "\n")
        for name in names:
            item = getattr(module, name)
            parts.append(
                class_text(name, item) if inspect.isclass(item) else f"### {name}\n\n{function_text(name, item)}"
            )
    return re.sub(r"\n{3,}", "\n\n", "\n".join(filter(None, parts))).rstrip() + "\n"


def main():
    text = page()
    if "--check" in sys.argv:
        if PAGE.read_text(encoding="utf-8") != text:
            sys.exit(f"{PAGE} is not what the docstrings say: run tools/make_python_docs.py")
        return
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
