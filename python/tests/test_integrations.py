import awq_cpp
import pytest
from awq_cpp import integrations

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty Hugging Face cache; gives a function that puts a data set there."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))

    def add(name):
        folder = tmp_path / "hf/hub" / ("datasets--" + name.replace("/", "--"))
        (folder / "refs").mkdir(parents=True)
        (folder / "refs/main").write_text(COMMIT)
        snapshot = folder / "snapshots" / COMMIT
        snapshot.mkdir(parents=True)
        return snapshot

    return add


def test_jsonl_by_split_and_column(cache):
    snapshot = cache("org/prose")
    (snapshot / "train.jsonl").write_text('{"text": "one"}\n{"text": ""}\n{"text": "two"}\n')
    (snapshot / "test.jsonl").write_text('{"body": "three"}\n')
    (snapshot / "README.md").write_text("not data")
    assert integrations.load_texts("org/prose") == ["one", "two"]
    assert integrations.load_texts("org/prose", split="test", text_column="body") == ["three"]
    assert integrations.load_texts("org/prose", max_bytes=1) == ["one"]
    with pytest.raises(awq_cpp.BadInputError, match="no parquet, jsonl or text file of split 'dev'"):
        integrations.load_texts("org/prose", split="dev")


def test_one_file_serves_any_split_where_none_is_named(cache):
    (cache("org/book") / "book.txt").write_text("once")
    assert integrations.load_texts("org/book", split="validation") == ["once"]


def test_validation_goes_by_its_other_names(cache):
    snapshot = cache("mit-han-lab/pile-val-backup")
    (snapshot / "val.jsonl").write_text('{"text": "pile"}\n')
    assert integrations.load_texts("pileval", split="train") == ["pile"]


def test_parquet_of_a_variant(cache):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    import pyarrow

    snapshot = cache("Salesforce/wikitext")
    for variant, text in (("wikitext-2-raw-v1", "raw"), ("wikitext-103-v1", "other")):
        (snapshot / variant).mkdir()
        parquet.write_table(
            pyarrow.table({"text": [text, "", "more"]}), snapshot / variant / "test-00000-of-00001.parquet"
        )
    assert integrations.load_texts("wikitext2", split="test") == ["raw", "more"]
    assert integrations.load_texts("wikitext2", split="test", keep_empty=True) == ["raw", "", "more"]
    with pytest.raises(awq_cpp.BadInputError, match="has no column 'body'; it has text"):
        integrations.load_texts("wikitext2", split="test", text_column="body")


def test_parquet_without_a_reader_says_what_to_install(cache, monkeypatch):
    (cache("org/table") / "train.parquet").write_bytes(b"PAR1")

    def nothing_is_installed(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(integrations.importlib, "import_module", nothing_is_installed)
    with pytest.raises(awq_cpp.BadInputError, match="pip install pyarrow"):
        integrations.load_texts("org/table")


def test_what_is_not_there_is_named_with_the_command(cache):
    with pytest.raises(awq_cpp.BadInputError, match="download it with: hf download --repo-type dataset org/absent$"):
        integrations.load_texts("org/absent")
    cache("org/here")
    with pytest.raises(awq_cpp.BadInputError, match="has no revision v2 .*--repo-type dataset org/here --revision v2$"):
        integrations.dataset_folder("org/here", "v2")
    with pytest.raises(awq_cpp.BadInputError, match="is not a data set of Hugging Face"):
        integrations.dataset_folder("../../etc")
    assert integrations.dataset_folder("org/here").name == COMMIT
