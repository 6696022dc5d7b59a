"""Help that fits a terminal and names the settings of the network, and what a misspelled one is answered."""

import pytest

from m2fnet.cli import DONE, WRONG_USE, run


@pytest.fixture
def page(monkeypatch, capsys):
    def read(*arguments):
        monkeypatch.setattr("sys.argv", ["m2fnet"])
        assert run([*arguments]) == DONE
        return capsys.readouterr().out

    return read


def test_the_help_of_a_training_is_short_and_explains_the_network_of_the_configuration(page):
    said = page("dialog", "fit", "--config", "conf/dialog/sdt.yaml", "--help")
    assert "dialog.models.sdt.SDT" in said
    assert said.startswith("usage: m2fnet dialog fit --config FILE")
    for line in ("  max_epochs ", "  batch_size ", "  --dry-run ", "  gate ", "  optimizer.lr "):
        assert f"\n{line}" in said
    assert max(map(len, said.splitlines())) <= 80
    assert len(said.splitlines()) < 200
    assert "torch.nn.Conv" not in said


def test_without_a_configuration_a_shipped_one_is_explained(page):
    said = page("dialog", "fit", "--help")
    assert "  m2fnet dialog fit --config conf/dialog/m2fnet_meld.yaml\n" in said
    assert "\n  fusion_layers           m, fusion layers [5]\n" in said
    assert "\n  relations.distance " in said
    assert "class_path" in page("extractor", "fit", "--help")


def test_both_networks_of_a_joint_training_are_explained(page):
    said = page("joint", "fit", "--help")
    assert "\nThe dialogue network, --model.dialogue.KEY VALUE (dialog.models.m2fnet.M2FNet):\n" in said
    assert "\n  fusion_layers " in said
    assert "\n  budget " in said
    assert max(map(len, said.splitlines())) <= 80


def test_a_closed_form_extractor_has_its_settings_in_the_help(page):
    assert "extractors.text.lsa.LSA" in page("extractor", "fit", "--config", "conf/extractors/text_lsa.yaml", "--help")


def test_the_whole_help_is_a_command_away(page):
    assert "--trainer.detect_anomaly" in page("dialog", "fit", "--help-all")


@pytest.mark.parametrize(
    ("option", "meant"),
    [
        ("--trainer.max_epoch", "--trainer.max_epochs"),
        ("--model.net.fusion_layer", "--model.net.fusion_layers"),
        ("--data.batchsize", "--data.batch_size"),
        ("--model.labelsmoothing", "--model.label_smoothing"),
        ("--overwrit", "--overwrite"),
    ],
)
def test_a_misspelled_setting_is_refused_with_the_one_like_it(dialog, capsys, option, meant):
    assert dialog("fit", option, "3") == WRONG_USE
    assert capsys.readouterr().err.endswith(f" Did you mean {meant}?\n")


@pytest.mark.parametrize("named", ["--model.net", "--model.net.class_path"])
def test_a_setting_of_a_network_that_the_command_line_names_is_known(dialog, capsys, named):
    assert dialog("fit", named, "dialog.models.recurrent.Recurrent", "--model.net.cel", "gru") == WRONG_USE
    assert capsys.readouterr().err.endswith(" Did you mean --model.net.cell?\n")


@pytest.mark.parametrize("option", ["--model.net.zzz", "--model.zzz", "--zzz"])
def test_a_setting_like_no_other_is_refused_without_a_guess(dialog, capsys, option):
    assert dialog("fit", option, "3") == WRONG_USE
    refused = capsys.readouterr().err
    assert "Did you mean" not in refused
    assert refused.endswith(". `m2fnet dialog fit --config FILE --help` lists the settings.\n")


def test_the_settings_of_a_class_that_the_help_does_not_explain_are_its_own_arguments(dialog, capsys):
    assert dialog("fit", "--model.optimizer.zzz", "3") == WRONG_USE
    assert "see the class's own arguments" in capsys.readouterr().err


def test_the_help_names_a_configuration_that_is_missing(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["m2fnet"])
    assert run(["dialog", "fit", "--config", "conf/dialog/sdtt.yaml", "--help"]) == WRONG_USE
    assert "There is no configuration file conf/dialog/sdtt.yaml." in capsys.readouterr().err
