"""generate() of AutoAWQ's model: transformers' parameters, on lists, arrays and tensors."""

import json
import shutil

import numpy as np
import pytest
from awq_cpp.autoawq import AutoAWQForCausalLM


def test_generate_takes_and_gives_what_it_was_given(saved):
    model = AutoAWQForCausalLM.from_quantized(saved)
    ids = [5, 6, 7, 8]
    want = model.generate([ids], max_new_tokens=6)
    assert want[0][:4] == ids and len(want[0]) == 10
    array = model.generate(np.array([ids]), max_new_tokens=6)
    assert isinstance(array, np.ndarray) and array.tolist() == want
    assert (
        model.generate(
            **{"input_ids": np.array([ids]), "attention_mask": np.ones((1, 4), int)}, max_new_tokens=6
        ).tolist()
        == want
    )
    assert model.generate({"input_ids": [ids]}, max_length=10) == want
    assert len(model.generate([ids])[0]) == 20  # transformers' default max_length
    padded = model.generate(
        [[0, 0, *ids], [9] * 6], attention_mask=[[0, 0, 1, 1, 1, 1], [1] * 6], max_new_tokens=6, pad_token_id=3
    )
    assert padded[0] == want[0] + [3, 3] and len(padded[1]) == 12
    drawn = [
        model.generate([ids], max_new_tokens=8, do_sample=True, temperature=1.0, top_k=0, seed=seed)
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    ends = model.generate([ids], max_new_tokens=6, eos_token_id=want[0][6])
    assert ends[0] == want[0][: want[0].index(want[0][6], 4) + 1]


def test_generate_streams_tokens(saved):
    class Streamer:
        def __init__(self):
            self.put_ids, self.ended = [], False

        def put(self, value):
            self.put_ids.append(value.tolist())

        def end(self):
            self.ended = True

    streamer = Streamer()
    model = AutoAWQForCausalLM.from_quantized(saved)
    ids = model.generate([[5, 6, 7]], streamer=streamer, max_new_tokens=5)
    assert streamer.put_ids == [[[5, 6, 7]], *[[token] for token in ids[0][3:]]] and streamer.ended
    with pytest.raises(ValueError, match="a streamer follows one prompt"):
        model.generate([[5], [6]], streamer=streamer)


def test_sampling_parameters_reach_the_sampler(saved):
    model = AutoAWQForCausalLM.from_quantized(saved)
    drawn = {"max_new_tokens": 8, "do_sample": True, "temperature": 2.0, "top_k": 0}
    greedy = model.generate([[5, 6, 7]], max_new_tokens=8, do_sample=False)
    assert model.generate([[5, 6, 7]], **drawn) != greedy
    for narrow in ({"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-4}):
        assert model.generate([[5, 6, 7]], **{**drawn, **narrow}) == greedy, narrow


def test_generation_config_of_the_folder_is_followed(saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "model")
    stored = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps({**stored, "max_new_tokens": 3}))
    model = AutoAWQForCausalLM.from_quantized(folder)
    assert [len(model.generate([[5, 6]], **given)[0]) for given in ({}, {"max_new_tokens": 4}, {"max_length": 7})] == [
        5,
        6,
        7,
    ]


def test_inputs_have_two_names_and_token_types_are_no_matter(saved):
    model = AutoAWQForCausalLM.from_quantized(saved)
    want = model.generate([[5, 6]], max_new_tokens=2)
    assert model.generate(inputs=[[5, 6]], max_new_tokens=2) == want
    assert model.generate(input_ids=[[5, 6]], token_type_ids=[[0, 0]], max_new_tokens=2) == want
    with pytest.raises(ValueError, match="generate\\(\\) needs token ids"):
        model.generate(max_new_tokens=2)
