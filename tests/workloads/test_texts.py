"""Text data: published and own vocabularies, molecules as SELFIES, and damaged files."""

from __future__ import annotations

import json
import re

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from wattlaw.core.errors import DataError, MissingPartError, WattlawError
from wattlaw.workloads.language import corpus, vocabulary
from wattlaw.workloads.language.bert import BertBase
from wattlaw.workloads.language.chemgpt import ChemGPT
from wattlaw.workloads.language.gpt2 import GPT2Workload
from wattlaw.workloads.language.text import read_text
from wattlaw.workloads.language.vocabulary import of_bert, of_file, of_gpt2
from wattlaw.workloads.molecules.sources.molecule_lines import read_lines
from wattlaw.workloads.molecules.sources.smiles_table import read_column

EXAMPLES = 5 * settings().max_examples
"""Number of examples for readers of arbitrary bytes, more than for other properties."""


def test_text_becomes_the_published_tokens_of_gpt2():
    pytest.importorskip("tokenizers")
    found = of_gpt2()
    assert found.tokens == 50257
    # the tokens of OpenAI's encoder
    assert found.encode("Hello world").tolist() == [15496, 995]
    assert found.encode("<|endoftext|>").tolist() != [50256]
    assert found.encode("a\n\n b").tolist() == [64, 628, 275]


def test_text_becomes_the_published_word_pieces_of_bert():
    pytest.importorskip("tokenizers")
    pytest.importorskip("blingfire")
    found = of_bert()
    assert (found.size, found.marks) == (30522, (103, 101, 102))
    # the word pieces in the documentation of transformers
    assert found.encode("Hello, world!").tolist() == [7592, 1010, 2088, 999]
    assert found.encode("Using a Transformer network is simple").tolist() == [
        2478,
        1037,
        10938,
        2121,
        2897,
        2003,
        3722,
    ]


def test_a_users_own_vocabulary_sets_the_models_size(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.ByteLevelBPETokenizer()
    made.train_from_iterator(
        ["the cat sat on the mat, the dog on the log"] * 20, vocab_size=300, min_frequency=1
    )
    made.save_model(str(tmp_path))
    made.save(str(tmp_path / "tokenizer.json"))
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the dog\n" * 4000)
    expected = torch.tensor(made.encode("the cat sat on the dog\n").ids)
    for given_path in (tmp_path, tmp_path / "tokenizer.json", tmp_path / "vocab.json"):
        workload = GPT2Workload("tiny", {"data": str(text), "vocabulary": str(given_path)})
        assert workload.model().tokens.num_embeddings == made.get_vocab_size()
        assert workload.data("train")[0][: len(expected)].tolist() == expected.tolist()
    encoder = BertBase("tiny", {"data": str(text), "vocabulary": str(tmp_path)})
    sample = encoder.data("train")[0]
    size = made.get_vocab_size()
    assert encoder.model().tokens.num_embeddings == size + 3
    assert (int(sample["tokens"][0]), int(sample["tokens"][-1])) == (size + 1, size + 2)
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\ncat\nsat\n##s\n")
    assert of_file(tmp_path / "vocab.txt").encode("The cats sat").tolist() == [5, 6, 8, 7]


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [("vocab.txt", "no\nword pieces\n", "UNK"), ("vocab.json", '{"a": 0}', "merges.txt beside"),
     ("tokenizer.json", '{"model": 3}', "not a vocabulary"), ("x.json", '{"model', "not a vocabulary"),
     ("x.bin", b"\xff\xfe", "not a vocabulary")],
)  # fmt: skip
def test_a_file_that_is_not_a_vocabulary_is_named(tmp_path, name, content, fault):
    pytest.importorskip("tokenizers")
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=rf"{name}.*{fault}"):
        GPT2Workload("tiny", {"vocabulary": str(path)})


def test_without_the_published_vocabulary_a_vocabulary_is_learned_with_a_warning(
    monkeypatch, tmp_path
):
    def absent() -> vocabulary.Vocabulary:
        raise MissingPartError("it comes with nothing")

    text = tmp_path / "text.txt"
    text.write_text("one two three four five\n" * 2000)
    chosen = {"data": str(text), "on_bad": "fail", "vocabulary": ""}
    found = corpus.Corpus(chosen, is_tiny=False, published=absent, words=1000)
    assert [n.name for n in found.warnings()] == ["learnt_vocabulary"]
    assert found.vocabulary.tokens == 1000
    assert found.tokens("train", 8).max() < 1000
    with pytest.raises(MissingPartError):
        corpus.Corpus(
            {**chosen, "vocabulary": "published"}, is_tiny=False, published=absent, words=1000
        )


def test_the_kinds_of_text_in_a_folder_are_recognised(tmp_path):
    for k, word in enumerate(["alpha ", "beta ", "gamma "]):
        (tmp_path / f"{k}.txt").write_text(word * 4000)
    workload = BertBase("tiny", {"task": "classify", "data": str(tmp_path)})
    data = workload.data("train")
    assert workload.model().head.out_features == 3
    assert [int(data[k]["target"]) for k in range(4)] == [0, 1, 2, 0]
    with pytest.raises(DataError, match="one for each class"):
        BertBase("tiny", {"task": "classify", "data": str(tmp_path / "0.txt")}).data("train")


def test_smiles_are_converted_to_selfies_and_back(tmp_path):
    selfies = pytest.importorskip("selfies")
    smiles = ["CCO", "c1ccccc1 benzene", "C#N", "[NH4+]"]
    written = [selfies.encoder(s.split()[0]) for s in smiles]
    (tmp_path / "a.smi").write_text("\n".join(smiles))
    (tmp_path / "b.selfies").write_text("\n".join(written))
    (tmp_path / "c.csv").write_text(
        "name,smiles\n" + "\n".join(f"x,{s.split()[0]}" for s in smiles)
    )
    for name in ("a.smi", "b.selfies", "c.csv"):
        assert read_lines(tmp_path / name, "selfies").lines == written
    assert read_lines(tmp_path / "a.smi", "smiles").lines == ["CCO", "c1ccccc1", "C#N", "[NH4+]"]
    assert [
        selfies.encoder(s) for s in read_lines(tmp_path / "b.selfies", "smiles").lines
    ] == written


def test_a_nitro_group_with_five_bonds_is_written_as_in_qm9(tmp_path):
    pytest.importorskip("selfies")
    (tmp_path / "a.smi").write_text("O=N(=O)C1=CC=CN1\n")
    assert read_lines(tmp_path / "a.smi", "selfies").lines[0].startswith("[O][=N][=Branch1]")


@pytest.mark.parametrize(
    ("content", "fault"),
    [("CCO\nC1CC\n", "SMILES 'C1CC': unclosed ring"), ("[C][C]\nCCO\n", "is not SELFIES"),
     ("[C][C]\n[C][Nonsense]\n", r"\[Nonsense\] is not a symbol"), ("CCO\n\n\nhello!\n", "4: SMILES 'hello!'")],
)  # fmt: skip
def test_a_line_that_is_not_a_molecule_is_named_or_skipped_and_counted(tmp_path, content, fault):
    pytest.importorskip("selfies")
    path = tmp_path / "some.smi"
    path.write_text(content)
    with pytest.raises(DataError, match=rf"some\.smi:.*{fault}"):
        read_lines(path, "selfies")
    found = read_lines(path, "selfies", "skip")
    assert (len(found.lines), found.skipped) == (1, 1)


def test_skipped_lines_are_counted_in_a_warning(tmp_path):
    path = tmp_path / "some.smi"
    path.write_text("CCO\n" * 1000 + "nonsense\n")
    workload = ChemGPT("tiny", {"data": str(path), "on_bad": "skip"})
    workload.data("train")
    assert "skipped 1 of 1001 records; the first: line 1001" in workload.notes[0].message


def test_a_file_that_is_not_text_is_named(tmp_path):
    path = tmp_path / "some.txt"
    for content, fault in [
        (b"\xff\xfe\x00", "line 1: not text .a NUL character at byte 3"),
        (b"abc\ndef\ngh\xff\n", "line 3: not text in UTF-8 .byte 3 of the line"),
        (b" \n", "no text in it"),
    ]:
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf"some\.txt(, |: ).*{fault}"):
            read_text(path)


def test_lines_that_are_not_text_are_skipped_and_counted(tmp_path):
    good = "a line of text in which there is nothing wrong\n" * 400
    (tmp_path / "a.txt").write_bytes(good.encode() + b"caf\xe9\n" + good.encode() + b"\0\n")
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbf" + good.encode())
    whole = GPT2Workload("tiny", {"data": str(tmp_path), "on_bad": "skip"})
    whole.data("train")
    (note,) = whole.notes
    assert note.name == "bad_records"
    assert re.search(
        r"skipped 2 of 803 records; the first: .*a\.txt, line 401: not text in UTF-8",
        note.message,
    )
    kinds = BertBase("tiny", {"data": str(tmp_path), "on_bad": "skip", "task": "classify"})
    kinds.data("train")
    assert "2 of 803 records" in kinds.notes[0].message
    with pytest.raises(DataError, match=r"a\.txt, line 401: .*--on-bad skip"):
        GPT2Workload("tiny", {"data": str(tmp_path)}).data("train")
    (tmp_path / "c.txt").write_bytes(bytes(range(256)) * 40)
    with pytest.raises(DataError, match=r"c\.txt, line 1: .*not a text file"):
        GPT2Workload("tiny", {"data": str(tmp_path), "on_bad": "skip"}).data("train")


def test_a_text_shorter_than_a_sample_is_named(tmp_path):
    (tmp_path / "short.txt").write_text("too short\n")
    for workload in (
        GPT2Workload("tiny", {"data": str(tmp_path / "short.txt")}),
        BertBase("tiny", {"data": str(tmp_path)}),
    ):
        with pytest.raises(DataError, match=r"a split .* has \d+ tokens, a sample needs"):
            workload.data("train")


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@example(b"B00")
@given(
    st.one_of(
        st.binary(max_size=200),
        st.text(alphabet="CNO=#()[]1%@+-.:HFcn \n,\"'0", max_size=80).map(str.encode),
    )
)
def test_arbitrary_bytes_give_molecules_or_an_error_that_names_the_file(tmp_path, content):
    pytest.importorskip("selfies")
    path = tmp_path / "any"
    for before in (b"smiles,logP\n", b""):
        path.write_bytes(before + content)
        refusal = ""
        try:
            if before:
                table = read_column(path, "logP")
                assert all(len(graph.numbers) for graph in table.molecules)
            assert all(read_lines(path, "selfies").lines)
        except WattlawError as error:
            refusal = str(error)
        assert not refusal or str(path) in refusal


def test_cached_tokens_of_a_long_text_are_unchanged(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "long.txt"
    path.write_text(json.dumps(list(range(160_000))))
    first = GPT2Workload("tiny", {"data": str(path)}).data("train")
    kept = list((tmp_path / "cache" / "wattlaw").iterdir())
    assert len(kept) == 1
    assert torch.equal(GPT2Workload("tiny", {"data": str(path)}).data("train")[0], first[0])
    kept[0].write_bytes(b"damaged")
    assert torch.equal(GPT2Workload("tiny", {"data": str(path)}).data("train")[0], first[0])
