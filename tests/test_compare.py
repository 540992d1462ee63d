"""The comparison of recipes: what its numbers are, what it refuses, the files it writes."""

import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from steps.compare import main
from support.fabricate import finished, record, run_score
from support.pages import drawn_from_records
from utils.core.errors import UserError
from utils.core.files import ROOT
from utils.core.tables import Table, as_html, as_markdown, as_text, grouped, probability
from utils.pipeline.variants import display_name, variants
from utils.results import pictures
from utils.results.comparison import against, cells, results
from utils.results.overview import PAGES, PICTURE, block, overview, picture, replaced, shown_cells
from utils.results.page import contents, html_page
from utils.results.report import corpus_page, report
from utils.results.result_tables import run_table
from utils.results.store import CLEAN, DIRTY, publish, read_all, read_file


def hybrid(**changes):
    return record(**{"recipe": "wordvec_hybrid", "decoding": "wordvec", **changes})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two recipes on two corpora, made by the real score stage; three seeds of the hybrid on one of them."""
    root = tmp_path_factory.mktemp("made")
    better, worse = {"greedy": 0.2, "lm": 0.15, "wordvec": 0.1}, {"lattice": 0.5, "lm": 0.45}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("steps.score.git_state", lambda _: {"git_commit": "d" * 40, "git_clean": True})
        for folder, languages in (("asterisk", ("en",)), ("prompts", ("en", "it"))):
            for recipe, rates, seeds in (("wordvec_hybrid", better, (0, 1, 2)), ("bpe_ctc", worse, (0, 1))):
                for seed in seeds if folder == "asterisk" else (0,):
                    plans = finished(root / "exp" / folder / recipe / str(seed), seed, languages, rates)
                    run_score(plans, root / "egs" / folder, recipe, [f"seed={seed}"])
    return root


@pytest.fixture
def repository(made, tmp_path):
    """A copy of its records, to write beside."""
    shutil.copytree(made / "egs", tmp_path / "egs")
    return tmp_path


def table(page, title):
    return next(t for t in page.tables if t.title.startswith(title))


def test_numbers_of_the_tables_are_those_of_the_records(repository):
    records = [r for r in read_all([repository / "egs" / "asterisk"]) if r["split"] == "test"]
    page = report(records, "test")
    hybrids = [r for r in records if r["recipe"] == "wordvec_hybrid" and r["decoding"] == "wordvec"]
    row = dict(zip(table(page, "Recipes").header, table(page, "Recipes").rows[0]))
    assert row["recipe"].startswith("wordvec_hybrid") and row["decoding"] == "wordvec" and row["seeds"] == "0 1 2"
    assert row["WER"] == f"{np.mean([r['wer'] for r in hybrids]):.2f}"
    assert row["over seeds"] == f"{min(r['wer'] for r in hybrids):.2f} to {max(r['wer'] for r in hybrids):.2f}"
    assert row["p"] == "<0.001" and row["Δ bpe_ctc"].startswith("−")
    everything = table(page, "All decodings")
    assert len(everything.rows) == 5
    greedy = next(r for r in everything.rows if r[2] == "greedy")
    assert float(greedy[4]) == pytest.approx(np.mean([r["wer"] for r in records if r["decoding"] == "greedy"]), abs=0.005)


def test_cost_is_one_row_a_system_and_shows_what_is_absent():
    ready = record(
        recipe="ready",
        decoding="beam",
        parameters=0,
        model_mb=None,
        seconds={"data": 1.0, "decode": 4.0},
        peak_memory_mb={"data": 100, "decode": 700},
        rtf={"beam": 0.5},
        fingerprints={"data": "01234567", "decode": "01234567", "score": "01234567"},
    )
    whole = hybrid(peak_memory_mb={"train": 999, "decode": 300, "rescore": 400}, model_mb=9.25)
    seeds = [record(recipe="seeds", seed=s, seconds={"train": t}, model_mb=1.0) for s, t in ((0, 10.0), (1, 20.0))]
    costs = table(report([ready, whole, *seeds], "test"), "Cost on test")
    rows = {row[1]: dict(zip(costs.header, row)) for row in costs.rows}
    assert [rows["ready"][k] for k in ("training s", "after front end", "model MB")] == ["–", "–", "–"]
    assert [rows["ready"][k] for k in ("M learned", "RTF", "peak MB")] == ["0.00", "0.5000", "700"]
    hybrid_row = rows["wordvec_hybrid"]
    assert (hybrid_row["RTF"], hybrid_row["after front end"]) == ("0.0700", "0.0600")
    assert (hybrid_row["peak MB"], hybrid_row["model MB"], hybrid_row["M learned"]) == ("400", "9.2", "3.00")
    assert (rows["seeds"]["training s"], rows["seeds"]["model MB"]) == ("15.0", "1.0")
    assert "≥" not in costs.caption


def test_a_factor_without_its_front_end_is_marked_as_a_lower_bound():
    old = record(rtf={"encoder": 0.01, "lattice": 0.01, "nbest": 0.01})
    page = report([old, hybrid()], "test")
    for title in ("Cost", "All decodings"):
        shown = table(page, title)
        factors = {row[1]: row[list(shown.header).index("RTF")] for row in shown.rows}
        assert factors == {"bpe_ctc": "≥0.0300", "wordvec_hybrid": "0.0700"}
        assert "≥: the front end was not timed" in shown.caption


def test_the_difference_is_of_the_seeds_that_both_have():
    ours = [hybrid(seed=s, utterance_errors=e) for s, e in ((0, [0, 0, 1, 0]), (1, [0, 0, 0, 0]), (2, [9, 9, 9, 9]))]
    theirs = [record(seed=s) for s in (0, 1)]
    better, base = (
        results(cells(theirs + ours))[::-1]
        if results(cells(theirs + ours))[0].system == "bpe_ctc"
        else results(cells(theirs + ours))
    )
    assert against(better, base).value == pytest.approx(100 * (0.5 - 4) / 20)
    assert against(results(cells([hybrid(seed=7)]))[0], base) is None


@pytest.mark.parametrize("change", ({"utterance_set": "set-b"}, {"normaliser": "basic-en-2"}))
def test_other_utterances_or_normalisers_are_shown_apart_and_never_compared(change):
    page = report([record(), hybrid(**change)], "test")
    corpora = [row[0] for row in table(page, "Recipes").rows]
    assert len(set(corpora)) == 2 and all(c.startswith("asterisk-en [") for c in corpora)
    assert all(row[-1] == "–" for row in table(page, "Recipes").rows)
    assert any("different sets of utterances" in note for note in page.notes)


def test_pairing_refuses_another_text_of_the_same_utterances():
    there = cells([record()])[0]
    with pytest.raises(UserError, match="utterance_words"):
        against(cells([hybrid(utterance_words=[5, 5, 5, 5])])[0], there)


def test_clean_records_keep_dirty_ones_out_and_dirty_ones_alone_are_marked():
    page = report([record(seed=0), record(seed=1, git_clean=False), hybrid(git_clean=False)], "test")
    rows = {row[1]: row for row in table(page, "Recipes").rows}
    assert rows["bpe_ctc"][3] == "0" and "wordvec_hybrid †" in rows
    assert any(note.startswith("†") for note in page.notes) and any(
        "Left out: 1 record of uncommitted" in note for note in page.notes
    )


def test_different_conditions_are_noted():
    same = report([record(), hybrid()], "test").notes
    assert len(same) == 1 and "machine: a test, 2 cores" in same[0]
    other = " ".join(report([record(), hybrid(machine="big", threads=16, git_commit="e" * 40)], "test").notes)
    assert (
        "2 machines" in other and "2 numbers of training threads" in other and "2 commits" in other and "not comparable" in other
    )


def test_systems_with_overrides_have_rows_but_no_column():
    page = report([record(), hybrid(), hybrid(overrides=["loss.word=0.9"])], "test")
    assert list(table(page, "WER on").header) == ["corpus", "bpe_ctc", "wordvec_hybrid"]
    assert "wordvec_hybrid loss.word=0.9" in [row[1] for row in table(page, "Recipes").rows]


def test_recipes_that_differ_in_their_vectors_alone_have_a_table_beside_random_ones():
    random, none = ["vectors.meaning.source=random", "vectors.spelling=false"], [0, 0, 0, 0]
    records = [hybrid(seed=s, utterance_errors=e) for s, e in ((0, [0, 0, 1, 0]), (1, none))]
    records += [hybrid(seed=s, overrides=random) for s in (0, 1)]
    records += [hybrid(overrides=["lang.units=char"]), hybrid(decoding="greedy", utterance_errors=[4, 4, 4, 4]), record()]
    page = report(records, "test")
    rows = [dict(zip(table(page, "What").header, row)) for row in table(page, "What").rows]
    assert [row["vectors"] for row in rows] == ["default", "random_vectors"]
    assert (rows[0]["greedy"], rows[0]["chain"], rows[0]["over seeds"]) == ("80.00", "2.50", "0.00 to 5.00")
    assert rows[0]["Δ chain"].startswith("−17.50 [") and rows[1]["Δ chain"] == "–" and rows[0]["seeds"] == "0 1"
    assert rows[0]["Δ greedy"] == "–" and rows[1]["greedy"] == "–"  # random vectors have no record of greedy words
    systems = [row[1] for row in table(page, "Recipes").rows]
    assert systems.count("wordvec_hybrid") == 1 and not any("random" in system for system in systems)
    assert not any(t.title.startswith("What") for t in report([record(), hybrid()], "test").tables)


def test_each_link_says_how_much_of_the_way_to_the_oracle_it_goes():
    records = [
        hybrid(decoding="lattice", utterance_errors=[4, 0, 0, 0]),  # 20%
        hybrid(decoding="lm", utterance_errors=[3, 0, 0, 0], oracle_wer=10.0, lattice_density=31.25),
        hybrid(utterance_errors=[2, 1, 0, 0], oracle_wer=10.0),
        hybrid(decoding="whole_lattice", utterance_errors=[2, 0, 0, 0], oracle_wer=5.0),
        hybrid(decoding="llm", utterance_errors=[0, 0, 2, 0], oracle_wer=10.0),
    ]
    page = report([*records, record(decoding="greedy")], "test")
    (row,) = table(page, "Links").rows
    assert dict(zip(table(page, "Links").header, row)) == {
        "corpus": "asterisk-en",
        "recipe": "wordvec_hybrid",
        "seeds": "1",
        "lattice": "lattice",
        "density": "31.2",
        "first pass": "20.00",
        "whole LM": "–",
        "n-gram LM": "15.00 (50%)",
        "word vectors": "15.00 (50%)",
        "whole lattice": "10.00 (100%)",
        "word LM": "–",
        "attention decoder": "–",
        "language model": "10.00 (100%)",
        "oracle": "10.00",
        "lattice oracle": "5.00",
    }
    before = hybrid(decoding="first_pass", utterance_errors=[4, 1, 1, 0])
    (row,) = table(report([before, *records], "test"), "Links").rows  # a part of the LM alone found the lattices
    assert row[3:8] == ["lattice", "31.2", "30.00", "20.00 (50%)", "15.00 (75%)"]
    assert not any(t.title.startswith("Links") for t in report([record(decoding="greedy")], "test").tables)


def test_pooled_languages_stand_beside_one_language_alone_on_the_same_utterances():
    part = {"utterances": 4, "words": 20, "errors": 3, "wer": 15.0, "wer_interval": [10.0, 20.0], "utterance_set": "set-a"}
    pooled = hybrid(
        corpus="asterisk-en+it",
        normaliser="basic-en-1+it-1",
        utterance_set="set-b",
        by_language={"en": part, "it": {**part, "utterance_set": "set-c"}},
    )
    rows = table(report([hybrid(), pooled], "test"), "Languages").rows
    assert [row[:2] for row in rows] == [["en", "asterisk-en"], ["", "asterisk-en+it"], ["it", "asterisk-en+it"]]
    apart = table(report([hybrid(normaliser="basic-en-2"), pooled], "test"), "Languages").rows
    assert "asterisk-en" not in [row[1] for row in apart]


def test_every_table_of_error_rates_has_the_character_error_rate_where_it_is_the_measure():
    made = dict(corpus="stories-th", normaliser="basic-th-1", cer=7.25, cer_interval=[6.0, 8.5])
    part = {"utterances": 4, "words": 20, "errors": 4, "wer": 20.0, "wer_interval": [10.0, 30.0], "utterance_set": "set-a"}
    records = [
        record(recipe="bpe_ctc", **made),
        hybrid(decoding="lattice", **made),
        hybrid(by_language={"th": {**part, "cer": 7.25}, "en": part}, **made),
        hybrid(overrides=["vectors.meaning.source=random"], **made),
    ]
    page = report([*records, record(), hybrid()], "test")
    for title in ("Recipes", "What the vectors bring", "Links", "All decodings", "Languages"):
        found = table(page, title)
        shown = [row[found.header.index("CER")] for row in found.rows]
        assert "7.25" in shown and all(cell in ("7.25", "–") for cell in shown), title
    assert [row[0] for row in table(page, "CER on test").rows] == ["stories-th"]
    assert [row["shown"]["cer"] for row in contents(page)["rows"]].count("7.25") == 4
    assert run_table(records[2:3]).header[-1] == "CER"
    without = report([record(), hybrid(), hybrid(decoding="lattice")], "test")
    assert not any("CER" in [*t.header, t.title[:3]] for t in without.tables)


def test_command_prints_and_writes_the_pages_of_corpora_and_the_results_page(repository, capsys):
    assert main([], repository) == 0
    printed = capsys.readouterr().out
    assert "WER on test, %" in printed and "wordvec_hybrid" in printed and "asterisk-en+it" in printed
    for folder, corpus in (("asterisk", "asterisk-en"), ("prompts", "asterisk-en+it")):
        text = (repository / "egs" / folder / "RESULTS.md").read_text()
        assert f"| {corpus} | wordvec_hybrid | wordvec |" in text and "Recipes on dev" in text
    assert not (repository / "RESULTS.md").exists() and (repository / "RESULTS.html").exists()


def test_the_page_of_a_corpus_shows_defaults_and_what_is_best_on_dev(tmp_path):
    corpus = tmp_path / "egs" / "asterisk"
    for overrides, dev, test in (([], 3, 3), (["model.dim=64"], 1, 2), (["model.dim=96"], 2, 1)):
        for split, errors in (("dev", dev), ("test", test)):
            publish([record(overrides=overrides, split=split, utterance_errors=[errors, 0, 0, 0])], corpus)
    text = corpus_page(corpus)
    assert "| bpe_ctc | lm |" in text and "| bpe_ctc model.dim=64 | lm |" in text and "model.dim=96" not in text
    assert main([], tmp_path) == 0 and "model.dim=96" in (tmp_path / "RESULTS.html").read_text()


def page_data(html):
    return json.loads(html.partition('<script type="application/json" id="data">')[2].partition("</script>")[0])


def test_the_results_page_has_every_system_and_decoding(repository):
    assert main([], repository) == 0
    data = page_data((repository / "RESULTS.html").read_text())
    assert len(data["rows"]) == 10 and len(data["named"]) <= 8
    best = next(r for r in data["rows"] if r["corpus"] == "asterisk-en" and r["name"] == "wordvec_hybrid" and r["last"])
    records = [r for r in read_all([repository / "egs" / "asterisk"]) if r["split"] == "test" and r["decoding"] == "wordvec"]
    assert best["wer"] == pytest.approx(np.mean([r["wer"] for r in records])) and best["seeds"] == 3
    assert best["shown"]["delta"].startswith("−") and best["shown"]["wer"] == f"{best['wer']:.2f}"


def test_the_results_page_fetches_nothing_and_escapes_names():
    html = html_page(report([record(recipe="</script><b>"), record()], "test"), "T <1>")
    assert "default-src 'none'" in html and "T &lt;1&gt;" in html
    own = re.sub(r"<script>.*?</script>", "", html, flags=re.S)  # plotly's own text names addresses that it never asks here
    assert "http" not in own.replace("http-equiv", "") and "url(" not in own and "src=" not in own
    assert {r["recipe"] for r in page_data(html)["rows"]} == {"</script><b>", "bpe_ctc"}


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium")
@pytest.mark.parametrize("width", (1280, 390))
def test_nothing_scrolls_sideways(tmp_path, width):
    records = [r for name in ("asterisk", "yesno") for r in read_all([ROOT / "egs" / name])]
    (tmp_path / "page.html").write_text(html_page(report(records, "test"), "Results"))
    measure = (
        "const inner = frame.contentDocument; inner.querySelectorAll('details').forEach((one) => { one.open = true; });"
        "document.title = [inner.documentElement.scrollWidth, inner.querySelectorAll('#systems tbody tr').length,"
        "inner.querySelectorAll('#plot .scatterlayer .trace').length].join(' ');"
    )
    script = f"frame.onload = () => setTimeout(() => {{ {measure} }}, 1500)"
    frame = f'<iframe id="frame" src="page.html" width="{width}" height="900" style="border:0"></iframe>'
    (tmp_path / "outer.html").write_text(f"<title>-</title>{frame}<script>{script}</script>")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--dump-dom"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1500,1000"]
    command += ["--allow-file-access-from-files", "--virtual-time-budget=20000", f"--user-data-dir={tmp_path / 'profile'}"]
    shown = subprocess.run([*command, f"file://{tmp_path / 'outer.html'}"], capture_output=True, text=True, timeout=120).stdout
    found = re.search(r"<title>(\d+) (\d+) (\d+)</title>", shown)
    assert found, shown[:500]
    scrolled, rows, traces = map(int, found.groups())
    assert scrolled <= width and rows > 5 and traces > 2


def test_a_part_is_printed_without_replacing_the_whole(repository, capsys):
    before = (repository / "egs" / "prompts" / "RESULTS.md").read_bytes()
    assert main(["--corpus", "prompts", "--recipe", "bpe_ctc"], repository) == 0
    assert "asterisk-en+it" in capsys.readouterr().out and not (repository / "RESULTS.html").exists()
    assert main(["--split", "dev", "--markdown", str(repository / "dev.md")], repository) == 0
    assert "on dev" in (repository / "dev.md").read_text() and not (repository / "RESULTS.html").exists()
    assert (repository / "egs" / "prompts" / "RESULTS.md").read_bytes() == before


def test_another_baseline(repository, capsys):
    assert main(["--baseline", "wordvec_hybrid", "--corpus", "asterisk-en"], repository) == 0
    assert "Δ wordvec_hybrid" in capsys.readouterr().out
    assert main(["--baseline", "wordvec_hybird"], repository) == 1
    assert "did you mean 'wordvec_hybrid'" in capsys.readouterr().err


def test_a_baseline_may_be_named_as_tables_name_it(capsys):
    assert main(["--corpus", "aishell_sample", "--recipe", "whisper_wordvec", "--baseline", "whisper_wordvec+decoder"]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if "whisper_wordvec+decoder " in line)
    assert row.split()[-2] == "–"  # it is not compared with itself
    assert main(["--corpus", "aishell_sample", "--baseline", "whisper_wordvec+decode"]) == 1
    assert "did you mean 'whisper_wordvec+decoder'" in capsys.readouterr().err


def test_no_results_says_what_to_run(tmp_path, capsys):
    assert main([], tmp_path) == 1
    assert "run ./egs/asterisk/run.sh" in capsys.readouterr().err


def test_unknown_names_are_answered_with_the_nearest(repository, capsys):
    assert main(["--corpus", "asterix"], repository) == 1
    assert "did you mean 'asterisk'" in capsys.readouterr().err
    assert main(["--recipe", "bpe_ctcc"], repository) == 1
    assert "did you mean 'bpe_ctc'" in capsys.readouterr().err


def test_readmes_are_redrawn_in_place_from_committed_records(tmp_path, capsys):
    publish([record(), hybrid(git_clean=False), record(recipe="gmm_hmm", overrides=["a.b=1"])], tmp_path / "egs" / "asterisk")
    pages = {
        tmp_path / "README.md": ("sub-words on fbank", "| WER, asterisk-en | WER, speechocean762 |"),
        tmp_path / "README.zh-CN.md": ("不用词向量", "| asterisk-en 词错误率 | speechocean762 词错误率 |"),
    }
    for page in pages:
        page.write_text("before\n<!-- results:begin -->\nold\n<!-- results:end -->\nafter\n")
    assert main(["--readme"], tmp_path) == 0
    once = {page: page.read_text() for page in pages}
    for page, (words, header) in pages.items():
        assert once[page].startswith("before\n") and once[page].endswith("\nafter\n") and "old" not in once[page]
        assert words in once[page] and header in once[page] and "| `bpe_ctc` |" in once[page]
        assert "(docs/pictures/results.svg)" in once[page]
        assert "wordvec_hybrid" not in once[page] and "gmm_hmm" not in once[page]
    texts = [text.strip() for text in ElementTree.parse(tmp_path / "docs" / "pictures" / "results.svg").getroot().itertext()]
    assert "1 bpe_ctc" in texts and "asterisk-en" in texts
    assert main(["--readme"], tmp_path) == 0 and {page: page.read_text() for page in pages} == once
    (tmp_path / "README.md").write_text("no markers")
    assert main(["--readme"], tmp_path) == 1
    assert "results:begin" in capsys.readouterr().err and (tmp_path / "README.md").read_text() == "no markers"


@pytest.mark.slow
def test_committed_pages_and_picture_are_drawn_from_the_committed_records(tmp_path):
    def drawn(root):
        found = shown_cells([r for folder in (root / "egs").glob("*/") for r in read_file(folder / CLEAN)])
        for name, language in PAGES.items():
            assert len(block(found, language).partition("| ---")[2].partition("\n\n")[0].splitlines()) <= 1 + 8
            if (root / name).read_text() != replaced(root / name, block(found, language)):
                return False
        # matplotlib's ids of clip paths hash numbers as numpy writes them, which numpy 2 does differently
        made, kept = (re.sub(r"\bp[0-9a-f]{10}\b", "p", text) for text in (picture(found), (root / PICTURE).read_text()))
        return made == kept

    for folder in sorted((ROOT / "egs").glob("*/")):
        if (folder / CLEAN).exists() and not (folder / DIRTY).exists():
            assert (folder / "RESULTS.md").read_text() == corpus_page(folder), f"{folder.name}: run python -m steps.compare"
    assert drawn_from_records(drawn, tmp_path), "run python -m steps.compare --readme"


def test_names_of_settings():
    assert display_name("whisper_wordvec", []) == "whisper_wordvec"
    both = ["rescore.llm.path=gemma.gguf", "rescore.attention.paths=8", "rescore.attention.beam=5"]
    assert display_name("whisper_wordvec", both) == "whisper_wordvec+decoder+gemma"
    assert display_name("bpe_ctc", ["model.dim=64", "rescore.attention.beam=5"]) == "bpe_ctc model.dim=64 attention.beam=5"
    assert display_name("r", ["vectors.meaning.source=random", "vectors.spelling=false"]) == "r+random_vectors"
    assert len({v.settings for v in variants()}) == len(variants()) and len(overview()) <= 8


def test_comparing_needs_no_torch():
    code = "import sys, steps.compare; sys.exit(any(m in sys.modules for m in ('torch', 'k2', 'lhotse', 'matplotlib')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_tables_escape_what_markup_would_read():
    t = Table("T", "c", ["a", "n"], [["x|y <z>", "1"]], 1, frozenset({(0, 1)}))
    assert "x\\|y <z>" in as_markdown(t) and "**1**" in as_markdown(t)
    assert "&lt;z&gt;" in as_html(t) and "<b>1</b>" in as_html(t)
    assert "x|y <z>  1" in as_text(t)
    assert grouped([["a", "b"], ["a", "c"], ["d", "c"]], 2) == [["a", "b"], ["", "c"], ["d", "c"]]
    assert (probability(0.0004), probability(0.0456)) == ("<0.001", "0.046")


def test_pictures_are_the_same_for_the_same_values():
    points = {"a & b": [pictures.Point(f"<{n}>", 0.01 * 2**n, 30 + n, 29 + n, 33 + n) for n in range(8)]}
    drawn = [pictures.wer_against_rtf(points) for _ in range(2)]
    assert drawn[0] == drawn[1] and "<dc:date>" not in drawn[0]
    ElementTree.fromstring(drawn[0])


def test_a_faultless_system_can_be_drawn():
    ElementTree.fromstring(pictures.wer_bars("x <1>", [pictures.Bar("a & b", 0.0, 0.0, 0.0)]))
    ElementTree.fromstring(pictures.wer_against_rtf({"x": [pictures.Point("r", 0.01, 0.0, 0.0, 0.0)]}))
    ElementTree.fromstring(pictures.reliability("x", []))


def test_curves_leave_out_what_is_not_finite():
    rows = [{"step": 1, "a_loss": float("inf")}, {"step": 2, "a_loss": 3.0}, {"step": 3, "a_loss": float("nan")}]
    assert "nan" not in pictures.training_curves(rows) and "inf" not in pictures.training_curves(rows)
    ElementTree.fromstring(pictures.training_curves([]))


def test_one_training_is_drawn_with_a_line_for_each_head_and_split():
    rows = [{"step": s, "subword_loss": 1.0, "word_loss": 2.0, "dev_word_loss": 2.5, "dev_word_error": 50.0} for s in (1, 2)]
    texts = [text.strip() for text in ElementTree.fromstring(pictures.training_curves(rows)).itertext()]
    assert {"train, sub-words", "train, words", "dev, words"} <= set(texts) and texts.count("dev, words") == 2
