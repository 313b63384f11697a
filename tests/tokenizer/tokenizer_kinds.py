"""Small tokenizers of every kind, trained here with the PyPI package, for differential.py."""
import json
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# Patterns that no scanner knows: they go through PCRE2.
DEEPSEEK = [r"\p{N}{1,3}", r"[一-龥぀-ゟ゠-ヿ]+",
            r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
            r"""| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""]
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CLASSES = r"\w+\b|\p{Han}|[[:punct:]]+|\d|\S|[^\S\n]+|\h"

WORDS = """the of and to in is was that for it with as his on be at by had not are but from or have an they which one
you were her all she there would their we him been has when who will more no if out so said what up its about into
than them can only other new some could time these two may then do first any my now such like our over man me even most
made after also did many before must through back years where much your way well down should because each just those
people how too little state good very make world still own see men work long here get both between life being under
never day same another know while last might us great old year off come since against go came right used take three
tokenizer quantize weights channel activation scale group zero point calibrate perplexity""".split()
FOREIGN = """été naïve Straße größer İstanbul привет мир Ελλάδα γλώσσα שלום עולם مرحبا بالعالم नमस्ते दुनिया สวัสดีชาวโลก
你好世界 我们 日本語 カタカナ ひらがな 한국어 안녕하세요 tiếng Việt 👩‍👩‍👧 🇩🇪 ①②③ ١٢٣ e\u0301 a\u0308 ﬁ""".split()


def training_text():
    rng = random.Random(7)
    for _ in range(1500):
        words = [rng.choice(WORDS) for _ in range(12)] + [rng.choice(FOREIGN) for _ in range(2)]
        rng.shuffle(words)
        words = [w.capitalize() if rng.random() < 0.15 else w for w in words]
        yield " ".join(words) + rng.choice([".", "!\n", "...\n\n", ", 1984;  ", "'s\t", "?\r\n", " don't ", " = {};\n    "])


ADDED = [
    AddedToken("<|left|>", lstrip=True, special=True),
    AddedToken("<|right|>", rstrip=True, special=True),
    AddedToken("<|both|>", lstrip=True, rstrip=True, special=True),
    AddedToken("<|both|>>", special=True),
    AddedToken("solo", single_word=True, normalized=False),
    AddedToken("Émile", single_word=True, normalized=True, lstrip=True),
    AddedToken("plain", normalized=True),
    AddedToken("raw token", normalized=False),
    AddedToken("   ", normalized=False, rstrip=True),
]


def train(tokenizer, alphabet=(), special=("<|bos|>", "<|eos|>"), size=1400):
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=list(special), initial_alphabet=list(alphabet),
                                  show_progress=False)
    tokenizer.train_from_iterator(training_text(), trainer)
    return tokenizer


def template(tokenizer, *tokens):
    return processors.TemplateProcessing(single=" ".join(tokens).replace("$", "$A"),
                                         special_tokens=[(t, tokenizer.token_to_id(t)) for t in tokens if t != "$"])


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(pattern if isinstance(pattern, str) else pattern, behavior, invert)


def byte_level(pre_tokenizer, normalizer=None, ignore_merges=False, size=1400):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    train(tokenizer, pre_tokenizers.ByteLevel.alphabet(), size=size)
    tokenizer.add_tokens(ADDED)
    return tokenizer


def behind_splits(*splits, **options):
    return byte_level(pre_tokenizers.Sequence([*splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]),
                      **options)


def gpt2():
    tokenizer = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False))
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def gpt2_prefix_space():
    tokenizer = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True))
    tokenizer.post_processor = template(tokenizer, "<|bos|>", "$", "<|eos|>")
    return tokenizer


def llama3():
    tokenizer = behind_splits(split(Regex(LLAMA3)), ignore_merges=True)
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template(tokenizer, "<|bos|>", "$")])
    # Tokens that the merges do not make: only ignore_merges finds them.
    return with_vocabulary(tokenizer, lambda v, m: (v | {"Ġunreachable": max(v.values()) + 50, "zzzz": max(v.values()) + 51}, m))


def qwen2():
    return behind_splits(split(Regex(QWEN2)), normalizer=normalizers.NFC())


def deepseek():
    return behind_splits(*[split(Regex(p)) for p in DEEPSEEK])


def o200k():
    return behind_splits(split(Regex(O200K)), ignore_merges=True)


def pcre2_classes():
    return behind_splits(split(Regex(CLASSES)))


def starcoder():
    return byte_level(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False)]))


def split_behaviors():
    return behind_splits(split(" ", "merged_with_next"), split(Regex(r"\p{P}"), "merged_with_previous"),
                         split(Regex(r"\p{N}"), "contiguous"), split("\t", "removed"),
                         split(Regex(r"\p{Lu}|x*"), "isolated", invert=True))


def unicode_forms():
    forms = normalizers.Sequence([normalizers.Strip(left=True, right=True), normalizers.NFKD(), normalizers.Lowercase(),
                                  normalizers.Replace(Regex(r"[xX]{2,}"), ""), normalizers.NFC()])
    return byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False), normalizer=forms)


def nfd():
    return byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False), normalizer=normalizers.NFD())


def nfkc():
    return byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False), normalizer=normalizers.NFKC())


def with_vocabulary(tokenizer, edit):
    """The tokenizer with edit(vocab, merges) as its model's; added tokens move behind the new vocabulary."""
    state = json.loads(tokenizer.to_str())
    model = state["model"]
    model["vocab"], model["merges"] = edit(model["vocab"], model["merges"])
    after = max(model["vocab"].values()) + 1
    for token in state["added_tokens"]:
        if token["content"] not in model["vocab"]:
            token["id"], after = after, after + 1
        else:
            token["id"] = model["vocab"][token["content"]]
    return Tokenizer.from_str(json.dumps(state))


def sentencepiece(normalizer, pre_tokenizer, decoder, byte_tokens=range(256), unk="<unk>", fuse_unk=True, merges_as_text=False):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    train(tokenizer, special=(), size=900)
    state = json.loads(tokenizer.to_str())
    pieces = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in byte_tokens] + list(state["model"]["vocab"])
    state["model"]["vocab"] = {piece: i for i, piece in enumerate(pieces)}
    if merges_as_text:
        state["model"]["merges"] = ["#version: 0.2"] + [" ".join(pair) for pair in state["model"]["merges"]]
    state["model"].update(byte_fallback=bool(byte_tokens), unk_token=unk, fuse_unk=fuse_unk)
    state["pre_tokenizer"] = None
    tokenizer = Tokenizer.from_str(json.dumps(state))
    if normalizer:
        tokenizer.normalizer = normalizer
    if pre_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoder
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in ("<unk>", "<s>", "</s>")])
    tokenizer.add_tokens(ADDED)
    tokenizer.post_processor = template(tokenizer, "<s>", "$")
    return tokenizer


def llama2_decoder():
    return decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])


def llama2(**options):
    normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return sentencepiece(normalizer, None, llama2_decoder(), **options)


def llama2_merges_as_text():
    tokenizer = llama2(merges_as_text=True)
    return tokenizer


def llama2_without_bytes():
    return llama2(byte_tokens=(), fuse_unk=False)


def llama2_some_bytes():
    """Some byte tokens are missing: characters fall back to the unknown token one by one."""
    return llama2(byte_tokens=range(0x41, 0xE6))


def llama2_nothing_unknown():
    """Neither byte tokens nor an unknown token: unknown characters vanish."""
    return llama2(byte_tokens=(), unk=None)


def metaspace(scheme, splits):
    def make():
        return sentencepiece(None, pre_tokenizers.Metaspace(prepend_scheme=scheme, split=splits),
                             decoders.Metaspace(prepend_scheme=scheme))
    return make


def mistral():
    return sentencepiece(None, pre_tokenizers.Metaspace(prepend_scheme="first", split=False), llama2_decoder())


KINDS = {
    "gpt2": gpt2, "gpt2_prefix_space": gpt2_prefix_space, "llama3": llama3, "qwen2": qwen2, "deepseek": deepseek,
    "o200k": o200k, "pcre2_classes": pcre2_classes, "starcoder": starcoder, "split_behaviors": split_behaviors,
    "unicode_forms": unicode_forms, "nfd": nfd, "nfkc": nfkc, "llama2": llama2,
    "llama2_merges_as_text": llama2_merges_as_text, "llama2_without_bytes": llama2_without_bytes,
    "llama2_some_bytes": llama2_some_bytes, "llama2_nothing_unknown": llama2_nothing_unknown, "mistral": mistral,
    "metaspace_always": metaspace("always", True), "metaspace_first": metaspace("first", True),
    "metaspace_never": metaspace("never", False),
}  # fmt: skip
