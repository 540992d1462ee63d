"""The page in a real Chromium, whose microphone is a WAV: words, added words, files, downloads, a lost connection."""

import json
import re
import shutil

import numpy as np
import pytest
import soundfile

from support.clients import served
from utils.core.files import ROOT
from utils.watching.watching import Usual, Watching

api = pytest.importorskip("playwright.sync_api", reason="the page's test needs the package playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip("the page's test needs Chromium: apt-get install chromium", allow_module_level=True)
pytestmark = pytest.mark.slow
NAMES = ("0_0_1_1_0_1_1_0", "1_1_1_0_0_1_0_1")
TOKEN = "a-token-of-the-tests"
PAGE = ROOT / "utils" / "live" / "page"


def words_of(name):
    return ["yes" if digit == "1" else "no" for digit in name.split("_")]


@pytest.fixture(scope="module")
def spoken(yesno, tmp_path_factory):
    """What the microphone hears, again and again: two recordings with pauses."""
    silence = np.random.default_rng(2).normal(0, 1e-4, 12000).astype(np.float32)
    parts = [x for name in NAMES for x in (silence, soundfile.read(str(yesno.source / f"{name}.wav"), dtype="float32")[0])]
    file = tmp_path_factory.mktemp("page") / "spoken.wav"
    soundfile.write(str(file), np.concatenate([*parts, silence]), 8000, subtype="PCM_16")
    return file


@pytest.fixture(scope="module")
def browser(spoken):
    arguments = ["--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    with api.sync_playwright() as playwright:
        made = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*arguments, f"--use-file-for-fake-audio-capture={spoken}"]
        )
        yield made
        made.close()


@pytest.fixture
def server(yesno_live):
    watching = Watching(yesno_live, ["votes"], Usual(grammar="votes"))
    with served(yesno_live, tokens=[TOKEN], watching=watching) as found:
        yield found


@pytest.fixture
def page(browser, server):
    """The page, opened with its token; errors of its scripts fail the test."""
    context = browser.new_context(locale="en-GB", viewport={"width": 390, "height": 844}, permissions=["microphone"])
    made, errors = context.new_page(), []
    made.set_default_timeout(30_000)
    made.on("pageerror", lambda error: errors.append(str(error)))
    made.goto(f"{server.http}/?token={TOKEN}")
    yield made
    context.close()
    assert errors == []


def saved(page, form):
    with page.expect_download() as found:
        page.click(f".downloads [data-form={form}]")
    return found.value.suggested_filename, found.value.path().read_text("utf-8")


def finals(page):
    return [line.split() for line in page.locator(".segment:not(.partial) .said").all_inner_texts()]


def test_speech_becomes_words_that_can_be_changed_marked_and_saved(page):
    assert page.url.endswith("/")  # the token is not shown
    page.fill("#keywords", "Yes, oh no")
    page.click("#listen")
    page.wait_for_selector(".segment.partial .word")
    assert page.locator(".segment.partial .caret").count() == 1
    page.wait_for_selector(".segment:not(.partial)")
    page.wait_for_function("document.querySelectorAll('.segment:not(.partial)').length > 1")
    page.click("#listen")
    page.wait_for_selector("#listen[aria-pressed=false]:enabled")
    assert finals(page)[:2] == [words_of(name) for name in NAMES] and page.inner_text("#state") == "Ready"
    assert page.locator(".segment.partial").count() == 0
    assert page.inner_text("#spoken").split() in finals(page)  # what screen readers are told
    for kind in ("partial", "final"):
        assert 0 < float(page.inner_text(f"#latency-{kind}").split()[0]) < 10
    said = sum(finals(page), [])
    assert page.locator(".word.key").count() == said.count("yes")
    assert page.locator("#counts .chip").all_text_contents() == [f"Yes{said.count('yes')}", "oh no0"]

    word = page.locator("button.word").first
    word.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")  # the second word, by keyboard alone
    page.fill("#choices-field", "maybe")
    page.keyboard.press("Enter")
    assert page.locator("#choices").is_hidden() and finals(page)[0][:3] == ["no", "maybe", "yes"]
    assert page.evaluate("document.activeElement.textContent") == "maybe"
    name, text = saved(page, "text")
    assert re.fullmatch(r"nuptse-\d{4}-\d\d-\d\d-\d{4}\.txt", name)
    assert [line.split() for line in text.splitlines()] == finals(page)
    cues = saved(page, "srt")[1].split("\n\n")
    assert re.match(r"1\n00:00:0\d,\d{3} --> 00:00:\d\d,\d{3}\nno maybe yes", cues[0])
    value = json.loads(saved(page, "json")[1])
    changed = value["segments"][0]["words"][1]
    assert (changed["text"], changed["recognised"]) == ("maybe", "no") and value["language"] == "he"
    assert all(0 < one["confidence"] <= 1 for one in value["segments"][1]["words"])


def test_keywords_are_heard_commands_are_understood_and_what_was_said_is_found_by_keyboard(page):
    page.fill("#keywords", "yes")
    page.click("#listen")
    page.wait_for_selector("#heard .hit")
    assert re.fullmatch(r"0:\d\dyes\d+%", page.locator("#heard .hit").last.text_content())
    page.wait_for_selector(".segment:not(.partial)")
    page.wait_for_selector(".command")
    assert re.fullmatch(r"votefirst: nolast: nosecond: no\d+%", page.locator(".command").first.text_content())
    assert page.text_content("#ordered").startswith("vote: first ")
    page.focus("#query")
    page.keyboard.type("no")
    page.keyboard.press("Enter")
    page.wait_for_selector("#hits .hit")
    assert page.inner_text("#search-state").startswith("“no”: ")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.matches('#hits .hit')")
    page.keyboard.press("Enter")
    assert page.locator(".segment.found").count() == 1
    assert page.evaluate("document.activeElement.matches('.segment.found button.word.found')")
    for query, said in (("?!", "no word"), ("рыба", "рыба")):
        page.fill("#query", query)
        page.press("#query", "Enter")
        page.wait_for_selector("#search-state.bad")
        assert said in page.inner_text("#search-state") and page.locator("#hits .hit").count() == 0
    page.fill("#keywords", "yes, рыба")
    page.wait_for_selector("#keywords-problem:not([hidden])")
    assert "рыба" in page.inner_text("#keywords-problem")
    page.click("#listen")
    page.wait_for_selector("#listen[aria-pressed=false]:enabled")
    page.click("[data-language=zh]")
    page.fill("#query", "yes")  # of the page's words, since the session is over
    page.press("#query", "Enter")
    page.wait_for_selector("#hits .hit")
    assert page.inner_text("#search button") == "查找" and page.inner_text("#search-state").endswith(" 处")


def test_an_added_word_is_warned_of_and_then_heard_in_the_running_session(page, yesno_live):
    page.click("#listen")
    page.wait_for_selector(".segment:not(.partial)")
    page.fill("#word", "ken ▁ y e s")
    page.check("#prefer")
    page.click("#add")
    page.wait_for_selector("#warning:not([hidden])")
    assert "yes" in page.inner_text("#warning-list") and yesno_live.words() == []
    page.click("#warning-add")
    page.wait_for_selector("#added .chip")
    assert page.inner_text("#added .chip") == "ken" and yesno_live.words() == ["ken"]
    page.wait_for_function("[...document.querySelectorAll('.segment .word')].some((one) => one.textContent === 'ken')")
    page.fill("#word", "42 43")
    page.click("#add")
    page.wait_for_selector("#words-state.bad, #warning:not([hidden])")
    page.click("#added .chip button")
    page.wait_for_function("!document.querySelector('#added .chip')")
    assert yesno_live.words() == []
    page.click("#listen")
    page.wait_for_selector("#listen[aria-pressed=false]:enabled")


def test_a_spoken_word_is_recorded_and_added(page, yesno_live):
    page.click("#say")
    assert page.inner_text("#words-state") == "Write the word first, then say it."
    page.fill("#word", "ayin")
    page.click("#say")
    page.wait_for_selector("#warning:not([hidden]), #added .chip")
    if page.locator("#warning").is_visible():
        page.click("#warning-add")
    page.wait_for_selector("#added .chip")
    assert yesno_live.words() == ["ayin"]
    yesno_live.remove_words(["ayin"])


def test_a_dropped_file_has_its_words(page, yesno, tmp_path):
    (tmp_path / "letter.wav").write_text("Dear Sir or Madam,\n" * 30)
    page.set_input_files("#file", [str(yesno.source / f"{NAMES[1]}.wav"), str(tmp_path / "letter.wav")])
    page.wait_for_selector(".job.bad")
    assert "letter.wav" in page.inner_text(".job") and "can't decode" in page.inner_text(".job")
    assert finals(page) == [words_of(NAMES[1])] and page.inner_text(".take h2") == f"{NAMES[1]}.wav"
    assert saved(page, "text") == (f"{NAMES[1]}.txt", " ".join(words_of(NAMES[1])) + "\n")


def test_a_lost_connection_comes_back_and_loses_nothing(page, server):
    page.click("#listen")
    page.wait_for_selector(".segment.partial .word")
    for session in list(server.shared.sessions):
        page.wait_for_timeout(200)
        session._loop.call_soon_threadsafe(session.socket.scope["extensions"]["abort"])
    page.wait_for_function("document.querySelector('#state').textContent.startsWith('Connected again')")
    page.wait_for_selector(".segment:not(.partial)")
    page.click("#listen")
    page.wait_for_selector("#listen[aria-pressed=false]:enabled")
    assert finals(page)[0] == words_of(NAMES[0])


def test_a_missing_token_is_asked_for(browser, server):
    context = browser.new_context(locale="zh-CN")
    page = context.new_page()
    page.goto(server.http)
    page.wait_for_selector("#token:not([hidden])")
    page.fill("#token-field", "wrong")
    page.press("#token-field", "Enter")
    page.wait_for_selector("#token-problem:not([hidden])")
    assert page.inner_text("#token-problem") == "服务器不认识这个令牌。"
    page.fill("#token-field", TOKEN)
    page.press("#token-field", "Enter")
    page.wait_for_selector("#token", state="hidden")
    page.click("[data-language=en]")
    assert page.inner_text("#listen") == "Start" and page.get_attribute("html", "lang") == "en"
    page.reload()
    assert page.inner_text("#listen") == "Start" and page.locator("#token").is_hidden()  # both are kept
    context.close()


def test_both_languages_have_the_same_texts_and_every_text_is_used():
    texts = (PAGE / "texts.js").read_text("utf-8")
    english, chinese = (re.findall(r"^    (\w+): \"(.*)\",$", part, re.M) for part in texts.split("  zh: {"))
    assert [key for key, _ in english] == [key for key, _ in chinese]
    assert [text.count("{}") for _, text in english] == [text.count("{}") for _, text in chinese]
    others = "".join(
        path.read_text("utf-8") for path in PAGE.iterdir() if path.suffix in (".html", ".js") and path.stem != "texts"
    )
    assert [key for key, _ in english if f'"{key}"' not in others + texts and not key.startswith("as_")] == []
    assert not re.search(r"https?://(?!www\.w3\.org)", others + texts + (PAGE / "style.css").read_text("utf-8"))
