#!/usr/bin/env python3
"""Compares awq's tokenizer with the PyPI package `tokenizers`: ids and decoded text of random and nasty strings.

    differential.py ENCODE_DRIVER DEMO_MODEL_FOLDER [KIND...]

Exit code 77, which ctest reports as skipped, when the package is not installed.
"""
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PACKAGE = "0.23.3"  # its Unicode tables are ours (tools/make_unicode_tables.py)
try:
    import tokenizers
except ImportError:
    print(f"skipped: this Python has no module `tokenizers` (pip install tokenizers=={PACKAGE}): {sys.executable}")
    sys.exit(77)
if tokenizers.__version__ != PACKAGE:
    print(f"skipped: tokenizers {tokenizers.__version__} is installed, the tables are made for {PACKAGE}")
    sys.exit(77)

from tokenizer_kinds import ADDED, FOREIGN, KINDS, WORDS  # noqa: E402

STRINGS = 2500
MARKS = [token.content for token in ADDED] + ["<|bos|>", "<|eos|>", "<s>", "</s>", "<unk>", "<0x41>", "<|bos", "▁", "<|both|"]
SPACES = [" ", "  ", "    ", "\t", "\n", "\n\n", "\r\n", "\r", "\u00a0", "\u0085", "\u2028", "\u2029", "\u3000", "\u180e",
          "\u200b", "\u200c", "\u200d", "\u1680", "\u000b", "\u000c", "\u001c"]
CONTRACTIONS = ["'s", "'S", "'t", "'Re", "'VE", "'m", "'lL", "'d", "'ſ", "’s", "it's", "IT'S", "'sa", "'"]
ODD = ["\0", "\x01", "\x7f", "\ufffe", "\uffff", "\ufffd", "\ufeff", "\ue000", "\U0010ffff", "\U000f0000", "\u0130", "\u0131", "ẞ",
       "ſ", "K", "Å", "ǅ", "ﬀ", "ﬆ", "㍿", "Ⅷ", "²", "½", "٣", "\u0e33", "가", "\u1100\u1161\u11a8", "\u0345", "e\u0301\u0327",
       "\u0344", "\u212b", "q\u0323\u0307", "👩\u200d👩\u200d👧\u200d👦", "🏳️\u200d🌈", "👍🏽", "🇩🇪🇫🇷", "1️⃣", "\U000323af",
       "\U00010d50", "\U00011de0", "\U00011938", "\U00011935\U00011930", "\U0001e4ec", "\u08ca", "\U0001fae9", "$", "+", "_", "`"]
SCRIPTS = [(0x20, 0x7E), (0x20, 0x7E), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x52F), (0x590, 0x6FF), (0x900, 0xDFF),
           (0xE00, 0xE7F), (0x1100, 0x11FF), (0x1E00, 0x20CF), (0x2100, 0x2BFF), (0x3040, 0x30FF), (0x4E00, 0x9FFF),
           (0xAC00, 0xD7A3), (0xF900, 0xFFFF), (0x10000, 0x1FAFF), (0x20000, 0x323AF), (0, 0x10FFFF)]


def random_character(rng):
    while True:
        c = rng.randint(*rng.choice(SCRIPTS))
        if not 0xD800 <= c < 0xE000:
            return chr(c)


def random_string(rng):
    pick = [
        lambda: rng.choice(WORDS) if rng.random() < 0.8 else rng.choice(WORDS).upper(),
        lambda: rng.choice(FOREIGN),
        lambda: rng.choice(SPACES),
        lambda: " ",
        lambda: rng.choice(CONTRACTIONS),
        lambda: rng.choice(ODD),
        lambda: rng.choice(MARKS),
        lambda: str(rng.randrange(10 ** rng.randint(1, 12))),
        lambda: random_character(rng),
        lambda: rng.choice("a=.\n x'#中é\u0301")[0] * rng.randint(2, 90),
        lambda: "unreachable" if rng.random() < 0.5 else " zzzz",
    ]
    weights = [rng.random() for _ in pick]  # each string has a flavor of its own
    return "".join(f() for f in rng.choices(pick, weights, k=rng.randint(0, 40)))


def every_code_point():
    """Each code point of planes 0 and 1 among letters and digits, and samples of the others, which are all ideographs or
    unassigned: one that we put in another class than the package splits the text elsewhere."""
    sampled = [c for c in range(0x20000, 0x110000) if c % 61 == 0 or c & 0xF in (0, 0xF) and c < 0x34000]
    characters = [chr(c) for c in [*range(0xD800), *range(0xE000, 0x20000), *sampled]]
    for i in range(0, len(characters), 256):
        yield "".join(f"a{c} {c}1" for c in characters[i : i + 256])


def strings_for(name):
    rng = random.Random(name)
    yield from (random_string(rng) for _ in range(STRINGS))
    yield from SPACES + CONTRACTIONS + ODD + MARKS
    yield from ("a" * 5000, " " * 5000, "ab" * 3000, "\u0301" * 2000, "the quick " * 500)
    if name in EVERY_CODE_POINT:
        yield from every_code_point()


EVERY_CODE_POINT = {"llama3", "pcre2_classes", "nfkc", "starcoder", "unicode_forms"}


def expected(package, request):
    if "ids" in request:
        ids, answer = request["ids"], {}
    else:
        ids = package.encode(request["text"]).ids
        answer = {"plain": package.encode(request["text"], add_special_tokens=False).ids, "special": ids}
    answer["decoded"] = package.decode(ids, skip_special_tokens=False)
    answer["skipped"] = package.decode(ids, skip_special_tokens=True)
    return answer


def compare(driver, name, package, folder):
    rng = random.Random("ids of " + name)
    requests = [{"text": text} for text in strings_for(name)]
    end = package.get_vocab_size() + 60  # with ids that no token has
    requests += [{"ids": [rng.randrange(end) for _ in range(rng.randint(0, 30))]} for _ in range(STRINGS // 5)]
    start = time.time()
    run = subprocess.run([driver, folder], input="".join(json.dumps(r) + "\n" for r in requests), stdout=subprocess.PIPE,
                         encoding="utf-8")
    answers = run.stdout.split("\n")[:-1]
    if run.returncode != 0 or len(answers) != len(requests):
        print(f"{name}: the driver ended with {run.returncode} after {len(answers)} of {len(requests)} requests")
        return False
    failures = [(r, a, e) for r, a, e in ((r, json.loads(a), expected(package, r)) for r, a in zip(requests, answers)) if a != e]
    for request, answer, wanted in failures[:3]:
        print(f"{name}: {str(request)[:300]}")
        for key in wanted:
            if answer[key] != wanted[key]:
                print(f"  {key}: {answer[key]!r:.300}\n  expected {wanted[key]!r:.300}")
    print(f"{name}: {len(requests)} requests, {len(failures)} differ, {time.time() - start:.1f} s", flush=True)
    return not failures


def notices_a_difference(driver):
    """The comparison itself: Qwen2's digits, compared with GPT-2's, must not pass for equal."""
    with tempfile.TemporaryDirectory() as folder:
        KINDS["qwen2"]().save(str(Path(folder) / "tokenizer.json"))
        run = subprocess.run([driver, folder], input=json.dumps({"text": "1984"}) + "\n", stdout=subprocess.PIPE, encoding="utf-8")
    return json.loads(run.stdout) != expected(KINDS["gpt2"](), {"text": "1984"})


def main(driver, demo_folder, *names):
    good = notices_a_difference(driver)
    if not names or "demo" in names:
        good = compare(driver, "demo", tokenizers.Tokenizer.from_file(str(Path(demo_folder) / "tokenizer.json")), demo_folder)
    for name in [n for n in names if n != "demo"] or (() if names else KINDS):
        with tempfile.TemporaryDirectory() as folder:
            package = KINDS[name]()
            path = str(Path(folder) / "tokenizer.json")
            package.save(path)
            good = compare(driver, name, tokenizers.Tokenizer.from_file(path), folder) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
