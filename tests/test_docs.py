"""README and docs/: links, paths, options, settings and commands that they name exist, and what is generated is up to date."""

import configparser
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Set

import pytest

from steps import document, translations
from support.pages import drawn_from_records
from utils.core.errors import UserError
from utils.core.files import ROOT
from utils.pipeline import config as configuration
from utils.pipeline.driver import DEFAULT_RECIPE, parser
from utils.pipeline.stages import BY_NAME
from utils.reference import settings
from utils.reference.chinese import Chinese
from utils.reference.figures import cell_of, figure
from utils.reference.places import by_hand, drawn
from utils.reference.records import scores
from utils.results.store import read_file
from utils.settings.old_keys import DROPPED

TWINS = sorted((ROOT / "docs").glob("*.zh.md"))  # page.zh.md is page.md in Chinese
ENGLISH = sorted(set((ROOT / "docs").glob("*.md")) - set(TWINS))
PAGES = [ROOT / "README.md", ROOT / "README.zh-CN.md", *ENGLISH, *TWINS]
TOP = ("egs", "recipes", "local", "steps", "utils", "tests", "docs")
MADE = re.compile(r"mycorpus|/(exp|download)\b|RESULTS\.(md|html)$")  # what a user or a run makes
FILES = (".yaml", ".json", ".jsonl", ".md", ".txt", ".pt", ".onnx", ".safetensors")  # what looks like a key and is none
HOSTS = {"github.com", "k2-fsa.github.io", "keepachangelog.com"}  # that pages may link to
OWN = {"127.0.0.1", "SERVER", "example.org"}  # the reader's


class Command(NamedTuple):
    """A command of a bash block, without its assignments of variables."""

    page: Path
    words: List[str]

    def __str__(self) -> str:
        return f"{self.page.name}: {' '.join(self.words)}"


def fences(page: Path, language: str) -> List[str]:
    """The fenced blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def spans(page: Path) -> Iterator[str]:
    """The inline code of a page."""
    yield from re.findall(r"(?<!`)`([^`\n]+)`(?!`)", prose(page))


def commands() -> List[Command]:
    """Every command in a bash block; Chinese pages have those of their English twins."""
    out = []
    for page in [*PAGES[:2], *ENGLISH]:
        for block in fences(page, "bash"):
            for line in block.replace("\\\n", " ").splitlines():
                for part in re.split(r" && |; ", re.sub(r"(^|\s)# .*", "", line)):
                    words = shlex.split(part)
                    while words and re.match(r"[A-Z_]+=", words[0]):
                        words = words[1:]
                    if words:
                        out.append(Command(page, words))
    return out


def module(words: List[str]) -> str:
    """The module of ours that a command runs by `python -m`; "" for another command."""
    found = (
        words[0].endswith("python")
        and len(words) > 2
        and words[1] == "-m"
        and words[2].startswith(("steps.", "tests.", "utils."))
    )
    return words[2] if found else ""


HELPS = """  # one process, as each would take seconds to import torch
import contextlib, io, json, runpy, sys
said = {}
for name in sys.argv[1:]:
    sys.argv, printed = [name, "--help"], io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            runpy.run_module(name, run_name="__main__", alter_sys=True)
        except SystemExit as end:
            assert not end.code, name
    said[name] = printed.getvalue()
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def helps() -> Dict[str, str]:
    """What `--help` of every command prints, by module; "run.sh" and "setup.sh" for these."""
    called = {module(command.words) for command in commands()}
    called |= set(re.findall(r"^## python -m (\S+)", (ROOT / "docs" / "options.md").read_text(encoding="utf-8"), re.M))
    names = sorted((called | {"steps.add_words", "steps.compare"}) - {"", "steps.doctor"})
    made = subprocess.run(
        [sys.executable, "-c", HELPS, *names], cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=300, check=True
    )
    out = json.loads(made.stdout)
    setup = subprocess.run(["bash", str(ROOT / "utils" / "setup.sh"), "--help"], capture_output=True, text=True, check=True)
    return {**out, "setup.sh": setup.stdout, "run.sh": parser(stages=True).format_help()}


def options(text: str) -> Set[str]:
    """The options in a text."""
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text))


def test_readme_is_short_and_its_chinese_twin_has_the_same_structure():
    english, chinese = (page.read_text(encoding="utf-8") for page in PAGES[:2])
    assert len(english.splitlines()) <= 150 and len(chinese.splitlines()) <= 150
    shape = re.compile(r"^(#+) |^(```\w*)|^(\|)|^(<!-- results:\w+ -->)", re.M)
    assert [m.group() for m in shape.finditer(english)] == [m.group() for m in shape.finditer(chinese)]
    assert re.search(r"[\u4e00-\u9fff]", chinese) and len(re.findall("^## ", chinese, re.M)) > 4

    def targets(text: str) -> Set[str]:
        found = set(re.findall(r"\]\(([^)#]+)", text)) - {"README.md", "README.zh-CN.md"}
        return {target.replace(".zh.md", ".md") for target in found}

    def typed(page: Path) -> List[List[str]]:
        return [command.words for command in commands() if command.page == page]

    assert targets(english) == targets(chinese)
    assert typed(PAGES[0]) == typed(PAGES[1])


def test_chosen_tests_are_there():
    pages = [*PAGES, ROOT / "CONTRIBUTING.md"]
    chosen = {found for page in pages for found in re.findall(r"tests/run\.sh (tests/\w+\.py) -k (\w+)", page.read_text("utf-8"))}
    assert chosen
    for file, word in chosen:
        assert re.search(rf"^def test_\w*{word}", (ROOT / file).read_text("utf-8"), re.M), (file, word)


def test_readme_names_every_page():
    named = set(re.findall(r"\]\(docs/([\w-]+\.md)\)", PAGES[0].read_text(encoding="utf-8")))
    assert named == {page.name for page in ENGLISH} - {"index.md"}
    assert set(re.findall(r"\]\(([\w-]+\.md)\)", (ROOT / "docs" / "index.md").read_text(encoding="utf-8"))) == named


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in translations.anchors(file), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_exist(page):
    named = [span for span in spans(page) if span.split("/")[0] in TOP and "/" in span and " " not in span]
    named += [w for c in commands() if c.page == page for w in c.words if w.removeprefix("./").split("/")[0] in TOP]
    for path in named:
        path = path.removeprefix("./").partition("=")[0]
        if not re.search(r"[<>*{]|N\b", path) and not MADE.search(path):
            assert (ROOT / path).exists(), path


@lru_cache(maxsize=None)
def every_key():
    """The keys of the configuration, with data.options of every corpus."""
    base = configuration.leaves(configuration.load(DEFAULT_RECIPE, ROOT / "egs" / "kaldi_dir"))
    for path in (ROOT / "egs").glob("*/corpus.yaml"):
        base.update(configuration.leaves(configuration.load(DEFAULT_RECIPE, path.parent)))
    return base


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_that_are_named_are_keys(page):
    base = every_key()
    groups = {key.rsplit(".", n)[0] for key in base for n in (1, 2)} | {"data.options"}
    first = {key.split(".")[0] for key in base}
    for span in spans(page):
        for key in re.findall(r"(?<![\w./])([a-z_]+(?:\.[a-z_]+)+)(?==|$|[ ,])", span.replace("--set ", "")):
            if key.split(".")[0] in first and not key.endswith(FILES):
                assert key in base or key in groups or key in DROPPED, f"{page.name}: {key}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_bash_blocks_are_valid(page):
    for block in fences(page, "bash"):
        checked = subprocess.run(["bash", "-n"], input=block, text=True, capture_output=True)
        assert checked.returncode == 0 and not checked.stderr, block


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_fence_says_what_it_holds(page):
    opening = re.findall(r"^```(.*)$", page.read_text(encoding="utf-8"), re.M)[::2]
    assert set(opening) <= {"bash", "text", "yaml", "python", "javascript"}


@pytest.mark.parametrize("command", [c for c in commands() if c.words[0].endswith("/run.sh")], ids=str)
def test_run_commands_would_start(command, tmp_path):
    script, *arguments = command.words
    if script.startswith("./tests/"):
        return
    options = parser(stages=True).parse_args([a for a in arguments if a != "--help"])
    name = Path(script).parent.name
    folder = ROOT / "egs" / ("kaldi_dir" if name == "mycorpus" else name)
    assert (folder / "run.sh").exists()
    configuration.load(options.recipe, folder, options.set)
    for stage in (options.stage, options.stop_stage):
        assert stage is None or stage in BY_NAME or stage.isdecimal() and int(stage) < len(BY_NAME)


@pytest.mark.slow
@pytest.mark.parametrize("command", [c for c in commands() if module(c.words)], ids=str)
def test_module_commands_would_start(command, helps):
    name = module(command.words)
    assert (ROOT / (name.replace(".", "/") + ".py")).exists()
    arguments = command.words[3:]
    assert options("\n".join(a for a in arguments if a.startswith("--"))) <= options(helps.get(name, ""))
    for flag, value in zip(arguments, arguments[1:]):
        if flag == "--corpus":
            assert (ROOT / "egs" / value).is_dir()
        if flag in ("--recipe", "--baseline"):
            assert value in configuration.recipe_names()


@pytest.mark.slow
def test_options_in_prose_exist(helps):
    quick = (ROOT / "tests" / "run.sh").read_text(encoding="utf-8")
    known = set().union(*map(options, helps.values())) | options(quick) | {"--check"}
    for page in PAGES:
        for span in spans(page):
            assert span.startswith("node ") or options(span) <= known, f"{page.name}: {span}"


def test_modules_in_prose_exist():
    for page in PAGES:
        for name in re.findall(r"\b((?:steps|tests\.bench)\.[a-z_]+)\b", prose(page)):
            assert (ROOT / (name.replace(".", "/") + ".py")).exists(), f"{page.name}: {name}"


def test_recipes_and_corpora_are_all_described():
    recipes = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", recipes, re.M)) == set(configuration.recipe_names())
    corpora = (ROOT / "docs" / "corpora.md").read_text(encoding="utf-8").partition("## The corpora")[2]
    assert set(re.findall(r"^\| `(\w+)` \|", corpora, re.M)) == {p.parent.name for p in (ROOT / "egs").glob("*/corpus.yaml")}


def test_beside_others_counts_the_corpora_and_those_with_results():
    own = {"english", "kaldi_dir"}  # several as one, and anybody's
    numbers = [
        len({path.parent.name for path in (ROOT / "egs").glob(f"*/{name}")} - own) for name in ("corpus.yaml", "results.jsonl")
    ]
    words = {5: ("five", "五"), 6: ("six", "六"), 7: ("seven", "七")}[numbers[1]]
    english, chinese = ((ROOT / "docs" / f"beside-others{end}").read_text("utf-8") for end in (".md", ".zh.md"))
    assert f"| {numbers[0]} corpora, results on {words[0]} small ones |" in english
    assert f"| {numbers[0]} corpora, and your own |" in english
    assert f"| {numbers[0]} 个语料库，其中{words[1]}个小语料库有结果 |" in chinese
    assert f"| {numbers[0]} 个语料库，以及您自己的 |" in chinese


def test_the_search_of_each_language_has_its_own_pages_and_splits_chinese_to_its_end():
    spec = importlib.util.spec_from_file_location("site_search", ROOT / "docs" / "site" / "search.py")
    search = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(search)
    places = ["", "live/", "live/#page", "egs/yesno/RESULTS/", "zh/", "zh/live/", "zh/live/#page"]
    english, chinese = search.split({"config": {}, "docs": [{"location": place} for place in places]})
    assert [doc["location"] for doc in english["docs"]] == places[:4]
    assert [doc["location"] for doc in chinese["docs"]] == ["", "live/", "live/#page", "egs/yesno/RESULTS/"]
    page = '<script id="__config" type="application/json">{"base": "%s", "search": "../../assets/s.js"}</script>'
    assert [search.rebased(page % base) for base in ("..", "../..")] == [page % ".", page % ".."]
    material = (  # 9.7.7
        "for(let s=0;s<t.length;s++)for(let o=s+1;o<t.length;o++)t.slice(s,o)in e&&(n[s]=o-s);"
        "let a=o+n[o];n[a]&&a<t.length-1&&(i[s++]=a),r.add(t.slice(o,a))"
    )
    assert search.mended(material) == (
        "for(let s=0;s<t.length;s++)for(let o=s+1;o<=t.length;o++)t.slice(s,o)in e&&(n[s]=o-s);"
        "let a=o+(n[o]||1);a<t.length&&(i[s++]=a),r.add(t.slice(o,a))"
    )
    with pytest.raises(SystemExit, match="another"):
        search.mended(search.mended(material))


def test_stages_are_all_described():
    table = (ROOT / "docs" / "stages.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| \d \| (\w+) \|", table, re.M) == list(BY_NAME)


def test_rooms_are_all_described_in_the_order_of_the_import_contract():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").partition("## The rooms")[2]
    file = configparser.ConfigParser()
    file.read(ROOT / "setup.cfg")
    contract = re.findall(r"^utils\.(\w+)$", file["importlinter:contract:rooms"]["layers"], re.M)
    assert re.findall(r"^\| `(\w+)` \|", page, re.M) == contract[::-1]
    assert set(contract) == {p.parent.name for p in (ROOT / "utils").glob("*/__init__.py")}


def test_the_page_of_a_corpus_lists_its_tables():
    missing = [
        page.relative_to(ROOT)
        for page in (ROOT / "egs").glob("*/*.md")
        if page.name != "README.md"
        and (readme := page.with_name("README.md")).exists()
        and f"({page.name})" not in readme.read_text()
    ]
    assert not missing


def test_what_pages_show_of_code_and_records_is_up_to_date(tmp_path):
    def drawn(root):
        done = subprocess.run([sys.executable, "-m", "steps.document", "--check"], cwd=root, capture_output=True, text=True)
        print(done.stdout)
        assert done.returncode in (0, 1) and done.stdout, done.stderr
        return done.returncode == 0

    assert drawn_from_records(drawn, tmp_path), "run python -m steps.document"


@pytest.mark.slow
def test_changed_texts_and_marks_are_noticed(tmp_path, capsys):
    for page in document.pages():
        copy = tmp_path / page.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(page.read_bytes())
    page = tmp_path / "docs" / "settings.md"
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("| passes over the training set;", "| epochs;"), encoding="utf-8")
    assert document.main(["--check"], tmp_path) == 1 and "settings.md is out of date" in capsys.readouterr().out
    assert translations.digest(page) == translations.digest(ROOT / "docs" / "settings.md")  # the twin is drawn too
    assert document.main([], tmp_path) == 0 and page.read_text(encoding="utf-8") == text
    for new, said in (
        (text.replace("augment lang", "augment"), "lang: must be in one block"),
        (text.replace("augment lang", "augment language"), "no group 'language'"),
        (text.replace("<!-- end -->", ""), "no '<!-- end -->' after it"),
        (f"{text}\n28.0<!-- = asterisk wordvec_hibrid -->\n", "did you mean 'wordvec_hybrid'"),
        (f"{text}\n28.0<!-- = asterisk/streams.md; WER; 25 -->\n", "no cells are that"),
    ):
        page.write_text(new, encoding="utf-8")
        assert document.main(["--check"], tmp_path) == 2 and said in capsys.readouterr().err


def test_numbers_come_from_records_and_from_tables_of_records_with_the_digits_of_the_page():
    page = "{}<!-- = yesno wordvec_hybrid -->, {}%<!-- = yesno/RESULTS.md; WER; wordvec_hybrid; over seeds=0.42 to 1.25 -->"
    made = drawn(page.format("9.00", "0"), {}, figure)
    rate = re.match(r"[\d.]+", made)[0]
    assert len(rate) == 4 and made == page.format(rate, f"{float(rate):.0f}") and by_hand(made) == by_hand(page.format("1", "2"))
    times = [figure(f"yesno/RESULTS.md; over seeds #{n}; bpe_ctc; seeds=0 1 2; 95% interval=[1.2, 4.0]", 2) for n in (1, 2)]
    assert float(times[0]) < float(figure("yesno bpe_ctc", 2)) < float(times[1])
    seed0 = [
        r for r in read_file(ROOT / "egs/yesno/results.jsonl") if (r["recipe"], r["split"], r["seed"]) == ("bpe_ctc", "test", 0)
    ]
    (last,) = [r["wer"] for r in seed0 if r["decoding"] == "lm" and not r["overrides"]]
    assert f"\nWER {last:.2f}% on yesno test (bpe_ctc, lm); " in scores(["yesno", "bpe_ctc"])
    header = "| a | b | b |\n|---|---|---|\n"
    assert [cell_of(f"{header}| x | 1,000 | −2 |\n| | 3 | 4 |\n", column, ["x", "b=1,000"]) for column in ("b (1)", "b (2)")] == [
        1000,
        -2,
    ]


def test_the_options_of_every_command_are_drawn():
    with_options = {path.stem for path in (ROOT / "steps").glob("*.py") if "\ndef parser(" in path.read_text("utf-8")}
    assert with_options == set(document.COMMANDS)


def test_an_english_text_without_chinese_is_named():
    chinese = Chinese()
    assert chinese("default") == "默认值"
    with pytest.raises(UserError, match="lacks the Chinese of\n  a new text(.|\n)*that nothing uses any more:"):
        chinese("a new text")
        chinese.check()


def test_every_key_has_a_row_with_its_default_and_a_meaning():
    text = (ROOT / "recipes" / "base.yaml").read_text(encoding="utf-8")
    keys = [entry.key for entry in settings.entries(text) if not entry.group]
    base = configuration.leaves(configuration.load(DEFAULT_RECIPE, ROOT / "egs" / "yesno"))
    assert set(keys) == {k for k in base if not k.startswith("data.options.")} | {"data.options"}
    for end in (".md", ".zh.md"):
        pages = [(ROOT / "docs" / f"{name}{end}").read_text(encoding="utf-8") for name in ("settings", "settings-recognition")]
        rows = re.findall(r"^\| `([\w.]+)` \| `.*` \| (.+) \| .+ \| (.*) \| .+ \|$", "".join(pages), re.M)
        assert [key for key, _, _ in rows] == keys
        assert [key for key, may_be, meaning in rows if not may_be.strip() or not meaning.strip()] == []


def test_a_line_that_is_neither_key_nor_comment_is_refused():
    with pytest.raises(ValueError, match="line 2"):
        settings.entries("a: 1  # first\n- item\n")
    found = settings.entries("a:   # group\n  b: [1]  # one,\n          # two\n")
    assert [(e.key, e.comment, e.group) for e in found] == [("a", "group", True), ("a.b", "one, two", False)]


def test_pages_link_to_known_hosts_only():
    for page in PAGES:
        assert set(re.findall(r"https?://([\w.-]+)", page.read_text(encoding="utf-8"))) <= HOSTS | OWN, page.name


def test_every_page_begins_with_its_reader():
    for page in ENGLISH:
        first = page.read_text(encoding="utf-8").split("\n\n")[1]
        assert re.match(r"You (want|have)|Something went wrong and you want", first), page.name
    for page in TWINS:
        assert page.read_text(encoding="utf-8").split("\n\n")[1].startswith("本页帮助您"), page.name


def test_no_chinese_page_is_older_than_its_english_twin():
    old = [twin.name for twin in translations.stale(ROOT / "docs")]
    assert not old, f"carry the changes over, then python -m steps.translations --done PAGE: {', '.join(old)}"


@pytest.mark.parametrize("twin", TWINS, ids=lambda page: page.name)
def test_a_chinese_page_has_the_structure_and_the_commands_of_its_twin(twin):
    def shape(page: Path) -> List[str]:
        text = re.sub(r"^```.*?^```$", "```", page.read_text(encoding="utf-8"), flags=re.M | re.S)
        return [m.group() for m in re.finditer(r"^#+ |^```|^\| *`[^`]*`|^\||^ *- |^ *\d\. |^!\[", text, re.M)]

    def code(page: Path) -> List[str]:
        """Fenced blocks without comments and blanks."""
        blocks = re.findall(r"^```\w+\n.*?^```$", page.read_text(encoding="utf-8"), re.M | re.S)
        return [re.sub(r"(^|[\s)])(#|//) .*|\s", "", block, flags=re.M) for block in blocks]

    page = twin.with_name(twin.name.replace(".zh.md", ".md"))
    assert re.search(r"[\u4e00-\u9fff]", prose(twin))
    if page.name != "glossary.md":  # its first column is the other language
        assert shape(twin) == shape(page)
    assert code(twin) == code(page)


def test_links_of_chinese_pages_lead_to_chinese_pages():
    for page in [ROOT / "README.zh-CN.md", *TWINS]:
        linked = re.findall(r"\]\((?:docs/)?([\w-]+)\.md\b", prose(page))
        assert not {f"{name}.zh.md" for name in linked} & {twin.name for twin in TWINS}, page.name


def test_a_changed_page_makes_its_twin_stale_until_it_is_carried_over(tmp_path, capsys):
    page, other, twin = tmp_path / "live.md", tmp_path / "serving.md", tmp_path / "live.zh.md"
    page.write_text("# Live\n\n## On a phone\n\n[a](serving.md#words), [b](#on-a-phone)\n", "utf-8")
    other.write_text("# Serving\n\n## Words\n", "utf-8")
    twin.write_text("# 实时识别\n\n## 在手机上\n\n[a](serving.md#words), [b](#on-a-phone)\n", "utf-8")
    assert translations.main([], tmp_path) == 1 and "live.zh.md is older" in capsys.readouterr().out
    assert translations.main(["--done", "live"], tmp_path) == 0
    assert "[a](serving.md#words), [b](#在手机上)" in twin.read_text("utf-8")
    assert "not translated: serving.md" in capsys.readouterr().out
    (tmp_path / "serving.zh.md").write_text("# 服务\n\n## 词语\n", "utf-8")
    assert translations.main(["--done", "docs/serving.zh.md"], tmp_path) == 0
    assert "[a](serving.zh.md#词语)" in twin.read_text("utf-8")
    page.write_text(page.read_text("utf-8") + "More.\n", "utf-8")
    assert translations.stale(tmp_path) == [twin]
    other.unlink()
    with pytest.raises(UserError, match="serving.zh.md translates a page that is not there"):
        translations.stale(tmp_path)


def test_chinese_pages_use_the_terms_of_the_glossary():
    rows = re.findall(r"^\|([^|]*)\|[^|]*\|[^|]*\|([^|]*)\|$", (ROOT / "docs" / "glossary.zh.md").read_text("utf-8"), re.M)
    banned = {word.strip(): term.strip() for term, words in rows[2:] for word in words.split(",") if word.strip()}
    assert len(rows) > 50 and len(banned) > 10
    for page in [ROOT / "README.zh-CN.md", *TWINS]:
        if page.name != "glossary.zh.md":
            text = page.read_text("utf-8")
            assert [f"{word}: write {term}" for word, term in banned.items() if word in text] == [], page.name


def test_every_page_is_in_the_navigation_of_the_site():
    text = (ROOT / "docs" / "site" / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    assert sorted(re.findall(r"([\w-]+\.md)$", text, re.M)) == [page.name for page in ENGLISH]


@pytest.mark.parametrize("page", [*ENGLISH, *TWINS], ids=lambda page: page.name)
def test_pages_are_short(page):
    assert len(page.read_text(encoding="utf-8").splitlines()) <= 250


@pytest.mark.slow
def test_quick_commands_of_the_pages_run(tmp_path):
    environment = {**os.environ, "NUPTSE_EXP": str(tmp_path / "exp")}
    for words, statuses in (
        (["-m", "steps.doctor"], (0, 1)),  # 1: something is wrong with this machine
        (["-m", "steps.compare", "--corpus", "asterisk", "--baseline", "bpe_ctc", "--split", "dev"], (0,)),
        (["-m", "utils.pipeline.driver", "--help"], (0,)),
    ):
        done = subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode in statuses and done.stdout, (words, done.stderr)
