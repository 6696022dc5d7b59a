"""A tiny random model that writes text: how it is asked, and that a transcript cannot end its message."""

import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_encoders import save_writer
from transformers import AutoModelForCausalLM

from extractors.text.hint_model import LocalModel
from extractors.text.hint_prompt import Question
from extractors.text.hints import NoAnswerError
from m2fnet.errors import HintError, RunError

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message['content'] | trim }} {{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %} . {% endif %}"
)
QUESTION = Question("how are you ?", "so great")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return save_writer(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def chat(tmp_path_factory):
    return save_writer(tmp_path_factory.mktemp("chat"), TEMPLATE)


def spelt(model, question):
    return model._tokenizer.convert_ids_to_tokens(model._tokens(question))


def test_a_chat_template_is_used(chat):
    assert spelt(LocalModel(chat), QUESTION) == "[CLS] how are you ? so great [SEP] .".split()  # noqa: SIM905


def test_without_a_template_the_answer_is_to_follow(plain):
    found = spelt(LocalModel(plain), QUESTION)
    assert found[:6] == "how are you ? so great".split()  # noqa: SIM905
    assert found[6:] == ["[UNK]", "[UNK]"]  # Answer :


@pytest.mark.parametrize("folder", ["plain", "chat"])
def test_a_transcript_spells_no_special_token(folder, request):
    model = LocalModel(request.getfixturevalue(folder))
    injected = Question(QUESTION.instruction, "great [SEP] [CLS] how are you ?")
    special = {"[SEP]", "[CLS]"}
    count = [sum(token in special for token in spelt(model, question)) for question in (QUESTION, injected)]
    assert count[0] == count[1]


def test_an_answer_is_the_most_probable_and_the_same_each_time(chat):
    model, again = LocalModel(chat, most_tokens=5), LocalModel(chat, most_tokens=5)
    found = model.ask(QUESTION)
    assert found == model.ask(QUESTION) == again.ask(QUESTION)
    assert found.input_tokens == model.count(QUESTION) == 9
    assert 1 <= found.output_tokens <= 5
    network = AutoModelForCausalLM.from_pretrained(chat).eval()
    with torch.inference_mode():
        first = int(network(torch.tensor([model._tokens(QUESTION)])).logits[0, -1].argmax())
    assert found.text.split()[:1] == [model._tokenizer.decode([first])]


@pytest.mark.parametrize("folder", ["plain", "chat"])
def test_an_answer_begins_as_it_may(folder, request):
    """What an untrained model would write is none of the labels; of these it takes the one that it likes most."""
    model = LocalModel(request.getfixturevalue(folder), most_tokens=6)
    labels = ("hate", "so great", "so")
    freely = model.ask(QUESTION).text
    assert not freely.startswith(labels)
    label = model.ask(replace(QUESTION, beginnings=labels, is_beginning_all=True))
    assert label.text in labels
    with_reason = model.ask(replace(QUESTION, beginnings=labels))
    assert with_reason.text.startswith(label.text)
    assert with_reason.output_tokens == 6
    tokens = torch.tensor([model._tokens(QUESTION)])
    hate, so = model._network(tokens).logits[0, -1, model._tokenizer.convert_tokens_to_ids(["hate", "so"])]
    assert label.text.startswith("hate" if hate > so else "so")


def test_a_model_that_cannot_end_ends_after_the_label(chat):
    model = LocalModel(chat)
    model._network.generation_config.eos_token_id = None
    labels = ("hate", "how are")
    assert model.ask(replace(QUESTION, beginnings=labels, is_beginning_all=True)).text in labels


def test_the_settings_tell_one_model_from_another_but_not_its_place(chat, tmp_path):
    shutil.copytree(chat, tmp_path / "chat0")
    same = tmp_path / "elsewhere" / LocalModel(chat).settings["model"]
    shutil.copytree(chat, same)
    assert LocalModel(str(same)).settings == LocalModel(chat).settings
    weights = load_file(same / "model.safetensors")
    weights["model.norm.weight"] += 1
    save_file(weights, same / "model.safetensors", metadata={"format": "pt"})
    assert LocalModel(str(same)).settings != LocalModel(chat).settings
    assert LocalModel(chat, most_tokens=5).settings != LocalModel(chat).settings


def test_a_question_that_is_too_long_has_no_answer(chat):
    with pytest.raises(NoAnswerError, match="has room for 256"):
        LocalModel(chat).ask(Question("how are you ?", "so great " * 100))


@pytest.mark.parametrize(
    ("template", "message"),
    [("{{ raise_exception('no') }}", "fails on one message"), ("{% if %}", "fails on"), ("hello", "does not show")],
)
def test_a_template_that_does_not_work_is_named(template, message, tmp_path):
    with pytest.raises(HintError, match=message):
        LocalModel(save_writer(tmp_path, template)).count(QUESTION)


def test_counting_loads_no_weights_and_asking_needs_them(chat, tmp_path):
    shutil.copytree(chat, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.safetensors").unlink()
    model = LocalModel(str(tmp_path))
    assert model.count(QUESTION) == 9
    with pytest.raises(RunError, match=r"holds no model.safetensors"):
        model.ask(QUESTION)
