import pytest
import yaml
from jsonargparse import ArgumentError, ArgumentParser

from m2fnet import config
from m2fnet.config import find_config, one_sentence, refuse_untrusted, resolve_config_arguments
from m2fnet.errors import UsageError


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """An empty working folder, with a folder of shipped configurations elsewhere."""
    folder = tmp_path / "installed" / "conf"
    (folder / "dialog").mkdir(parents=True)
    (folder / "dialog" / "net.yaml").write_text("seed_everything: 1\n", encoding="utf-8")
    (tmp_path / "installed" / "secret.yaml").write_text("seed_everything: 2\n", encoding="utf-8")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(config, "conf_folder", lambda: folder)
    return folder


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_the_shipped_folder_holds_configurations():
    assert list(config.conf_folder().glob("dialog/*.yaml"))


def test_a_shipped_configuration_is_found_by_its_name_from_any_folder(shipped):
    assert find_config("conf/dialog/net.yaml") == shipped / "dialog" / "net.yaml"


def test_a_file_of_the_user_comes_before_the_shipped_one_of_the_same_name(shipped, tmp_path):
    write(tmp_path / "here" / "conf" / "dialog" / "net.yaml", "seed_everything: 3\n")
    assert find_config("conf/dialog/net.yaml").read_text(encoding="utf-8") == "seed_everything: 3\n"


@pytest.mark.parametrize(
    "name", ["conf/../secret.yaml", "conf/dialog/../../secret.yaml", "conf", "conf/dialog", "dialog/net.yaml", ""]
)
def test_names_that_leave_the_shipped_folder_or_are_no_file_are_refused(shipped, name):
    with pytest.raises(UsageError, match=r"There is no .* file .*(Shipped are|there is): conf/dialog/net.yaml\.$"):
        find_config(name)


def test_the_missing_settings_of_a_run_are_answered_with_runs_like_it_or_what_writes_them(shipped, tmp_path):
    with pytest.raises(UsageError, match=r"runs/nosuch/config\.yaml; training writes it: `m2fnet dialog fit`"):
        find_config("runs/nosuch/config.yaml")
    (tmp_path / "runs" / "net+text").mkdir(parents=True)
    name = str(tmp_path / "runs" / "net" / "seed-0" / "config.yaml")
    with pytest.raises(UsageError, match=r"Like it there is: .*runs/net\+text\.$"):
        find_config(name)


@pytest.mark.parametrize("name", ["conf/dialog/nt.yaml", "conf/dialog/net.yml", "mine/nett.yaml"])
def test_a_misspelled_name_is_answered_with_the_shipped_ones_like_it(shipped, name):
    with pytest.raises(UsageError, match=rf"There is no .* {name}\. Like it there is: conf/dialog/net\.yaml\.$"):
        find_config(name)


@pytest.mark.parametrize("form", [["--config", "{}"], ["--config={}"], ["-c", "{}"], ["--data", "{}"], ["--data={}"]])
def test_every_configuration_on_the_command_line_is_found(shipped, form):
    arguments = ["fit", *(part.format("conf/dialog/net.yaml") for part in form), "--data.batch_size", "3"]
    found = " ".join(form).format(shipped / "dialog" / "net.yaml").split()
    assert resolve_config_arguments(arguments) == ["fit", *found, "--data.batch_size", "3"]


@pytest.mark.parametrize("form", [["--config", "{}"], ["--config={}"], ["--data", "{}"], ["--model={}"]])
def test_every_configuration_on_the_command_line_is_checked(tmp_path, form):
    hostile = write(tmp_path / "hostile.yaml", "net: os.getpid\n")
    with pytest.raises(UsageError, match=r"hostile\.yaml asks at net for 'os\.getpid'"):
        resolve_config_arguments([part.format(hostile) for part in form])


def test_a_configuration_named_without_the_usual_suffix_is_checked_too(tmp_path):
    hostile = write(tmp_path / "hostile.txt", "net: os.getpid\n")
    with pytest.raises(UsageError, match=r"os\.getpid"):
        resolve_config_arguments(["--config", hostile])


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ({"class_path": "os.getpid"}, "class_path"),
        ({"model": {"net": "subprocess.getoutput"}}, "model.net"),
        ({"model": {"net": {"class_path": "builtins.exec"}}}, "model.net.class_path"),
        ({"model": {"net": {"init_args": {"inner": {"class_path": "os.getpid"}}}}}, "class_path"),
        ({"model": {"optimizer": "torch.load"}}, "model.optimizer"),
        ({"model": {"scheduler": {"class_path": "importlib.import_module"}}}, "model.scheduler.class_path"),
        ({"trainer": {"callbacks": ["os.getpid"]}}, "trainer.callbacks"),
        ({"trainer": {"callbacks": [{"class_path": "os.getpid"}]}}, "trainer.callbacks.class_path"),
        ({"trainer": {"logger": [[{"class_path": "os.getpid"}]]}}, "trainer.logger.class_path"),
        ({"extractor": {"class_path": "dialogs.Net"}}, "extractor.class_path"),
        ({"class_path": "torch.optimus.Prime"}, "class_path"),
    ],
)
def test_names_outside_the_trusted_packages_are_refused_with_their_place(content, key):
    with pytest.raises(UsageError, match=rf"^x\.yaml asks at .*{key} for '[\w.]+', which is outside the trusted"):
        refuse_untrusted(content, "x.yaml")


def test_trusted_names_and_plain_values_pass():
    refuse_untrusted(
        {
            "model": {"net": {"class_path": "dialog.models.m2fnet.M2FNet"}, "optimizer": "torch.optim.AdamW"},
            "trainer": {"callbacks": [{"class_path": "pytorch_lightning.callbacks.EarlyStopping"}], "strategy": "ddp"},
            "data": {"manifest": "data/meld.v2", "stores": {"text": "os.getpid"}},  # a folder may have any name
            "seed_everything": 3,
            1: None,
        },
        "x.yaml",
    )


def test_a_package_of_the_user_is_trusted_by_the_environment_variable(monkeypatch):
    content = {"model": {"net": {"class_path": "my_lab.nets.Mine"}}}
    with pytest.raises(UsageError, match="set the environment variable M2FNET_TRUST=my_lab"):
        refuse_untrusted(content, "x.yaml")
    monkeypatch.setenv("M2FNET_TRUST", "other, my_lab")
    refuse_untrusted(content, "x.yaml")
    with pytest.raises(UsageError, match=r"os\.getpid"):
        refuse_untrusted({"class_path": "os.getpid"}, "x.yaml")
    with pytest.raises(UsageError, match="my_laboratory"):
        refuse_untrusted({"class_path": "my_laboratory.Net"}, "x.yaml")


@pytest.mark.parametrize("names", ["*", "my-lab", "a b", "os; rm"])
def test_an_environment_variable_that_names_no_package_is_refused(monkeypatch, names):
    monkeypatch.setenv("M2FNET_TRUST", names)
    with pytest.raises(UsageError, match=r"M2FNET_TRUST holds .* expected names of packages"):
        refuse_untrusted({}, "x.yaml")


@pytest.mark.parametrize(
    "outer", ["model: parts/model.yaml\n", "model: {net: parts/model.yaml}\n", "all: [{deep: [parts/model.yaml]}]\n"]
)
def test_included_files_are_checked_wherever_they_are(tmp_path, outer):
    write(tmp_path / "parts" / "model.yaml", "net: net.yaml\n")
    write(tmp_path / "parts" / "net.yaml", "class_path: os.getpid\n")
    with pytest.raises(UsageError, match=r"net\.yaml asks at class_path for 'os\.getpid'"):
        resolve_config_arguments(["--config", write(tmp_path / "outer.yaml", outer)])


def test_configurations_that_include_each_other_are_read_once(tmp_path):
    write(tmp_path / "b.yaml", "back: a.yaml\nself: b.yaml\n")
    a = write(tmp_path / "a.yaml", "there: b.yaml\n")
    assert resolve_config_arguments(["--config", a]) == ["--config", a]


def test_a_billion_laughs_are_refused_at_once(tmp_path):
    lines = ["a: &a [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
    lines += [f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in zip("abcdefghijk", "bcdefghijkl", strict=True)]
    bomb = write(tmp_path / "bomb.yaml", "\n".join(lines))
    with pytest.raises(UsageError, match=r"bomb\.yaml:2 repeats a part by the alias \*a; write the part out\."):
        resolve_config_arguments(["--config", bomb])
    outer = write(tmp_path / "outer.yaml", "model: {net: bomb.yaml}\n")
    with pytest.raises(UsageError, match=r"bomb\.yaml:2"):
        resolve_config_arguments(["--config", outer])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: &a [*a]\n", r"odd\.yaml:1 repeats a part by the alias \*a"),
        (b"a: " + b"[" * 900 + b"]" * 900, r"Cannot read the configuration .*odd\.yaml: maximum recursion"),
        (b"a: [1\nb: 2\n", r"Cannot read the configuration .*odd\.yaml.*line 2"),
        (b"net: !!python/object/apply:os.getpid ['true']\n", "could not determine a constructor"),
        (b"\xff\xfe\x00", r"Cannot read the configuration .*odd\.yaml"),
        (b"a: \x00\n", r"Cannot read the configuration .*odd\.yaml"),
        (b"- a\n- b\n", r"odd\.yaml holds list, expected keys with values"),
        (b"", r"odd\.yaml holds NoneType, expected keys with values"),
    ],
)
def test_what_is_no_configuration_is_refused_in_one_line(tmp_path, content, message):
    (tmp_path / "odd.yaml").write_bytes(content)
    with pytest.raises(UsageError, match=message) as refused:
        resolve_config_arguments(["--config", str(tmp_path / "odd.yaml")])
    assert "\n" not in str(refused.value)


def test_the_parser_may_import_trusted_packages_only():
    """The parser's own border holds where ours does not look: a name behind a name, a key that we do not know."""
    resolve_config_arguments([])
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--made_by", type=type)
    for name in ("os.PathLike", "m2fnet.files.os.PathLike", "m2fnet.corpora.table.Counter"):
        with pytest.raises(ArgumentError, match="not allowed"):
            parser.parse_args([f"--made_by={name}"])
    assert parser.parse_args(["--made_by=m2fnet.records.Utterance"]).made_by.__name__ == "Utterance"


def message_of(**value):
    """What the parser says of ``value`` for a small class."""

    class Net:
        def __init__(self, width: int = 3, kind: str | None = None) -> None:
            pass

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Net, "net")
    parser.add_argument("--lr", type=float | None)
    with pytest.raises(ArgumentError) as refused:
        parser.parse_object(yaml.safe_load(yaml.safe_dump(value)))
    return str(refused.value)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"net": {"width": "wide"}}, "net.width: expected int, but got 'wide'."),
        ({"net": {"kind": [1]}}, "net.kind: expected str, but got '[1]'."),
        ({"lr": "abc"}, "lr: expected float, but got 'abc'."),
    ],
)
def test_a_long_message_of_the_parser_becomes_one_sentence(value, sentence):
    assert one_sentence(message_of(**value)) == sentence


def test_an_unknown_message_is_kept_on_one_line():
    assert one_sentence("something\n  else\n") == "something else"
    assert "hedas" in one_sentence(message_of(net={"hedas": 1}))
