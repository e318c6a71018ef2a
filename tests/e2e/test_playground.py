"""The playground in headless Chromium: on a scripted server for exact answers, once on the real one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.own_server import MODEL_LOAD_S, ROOT, Server

pytestmark = pytest.mark.e2e

STUB = Path(__file__).with_name("playground_stub.py")
SCREENSHOT = ROOT / "artifacts" / "playground.png"


@pytest.fixture(scope="module")
def stub_process() -> Iterator[Server]:
    server = Server(str(STUB))
    yield server
    server.stop()


@pytest.fixture
def stub(stub_process: Server) -> Server:
    stub_process.script(deltas=["computed", "(() => ", "count.value * 2)"])
    return stub_process


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Fails the test where the page raised an error or asked anything of another origin."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    errors: list[str] = []
    addresses: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "console",
        lambda message: errors.append(message.text) if "Content Security Policy" in message.text else None,
    )
    page.on("request", lambda request: addresses.append(request.url))
    yield page
    assert not errors
    own = page.evaluate("location.origin")
    assert f"{own}/app.js" in addresses
    assert [address for address in addresses if not address.startswith(f"{own}/")] == []
    page.close()


def shown(page: Page, text: str) -> None:
    expect(page.locator(".ghost")).to_have_text(text, use_inner_text=False)


def code(page: Page) -> str:
    """The document as the reader sees it, ghost text left out."""
    lines = page.locator(".cm-line").evaluate_all(
        "lines => lines.map(line => { const copy = line.cloneNode(true);"
        " copy.querySelectorAll('.ghost').forEach(ghost => ghost.remove()); return copy.textContent; })"
    )
    return "\n".join(lines)


def opened(page: Page, server: Server) -> Page:
    """The page with the first suggestion complete."""
    page.goto(server.url)
    expect(page.locator("#message")).to_have_text("Suggestion: Tab accepts")
    return page


def test_the_first_suggestion_and_its_trail(page: Page, stub: Server) -> None:
    opened(page, stub)
    shown(page, "computed(() => count.value * 2)")
    expect(page.locator("#server-text")).to_have_text("Ready")
    expect(page.locator("#model")).to_have_text("scripted")
    trail = page.locator("#trail")
    expect(trail).to_contain_text("Offered: ended by line_end.")
    for text in (
        "1,346 tokens",
        "1,040",
        "210",
        "96",
        "Clippedno",
        "miss",
        "182 ms",
        "431 ms",
        "line_end",
        "3 tokens",
    ):
        expect(trail).to_contain_text(text)
    expect(trail).to_contain_text("none fired")
    (asked,) = stub.seen()["requests"]
    assert asked["prompt"].endswith("const doubled = ")
    assert asked["suffix"].startswith("\n\nfunction increment()")
    assert (asked["language"], asked["path"], asked["stream"]) == ("vue", "Counter.vue", True)
    assert asked["max_tokens"] > 0


def test_tab_accepts_everything_and_escape_dismisses(page: Page, stub: Server) -> None:
    opened(page, stub)
    page.keyboard.press("Escape")
    expect(page.locator(".ghost")).to_have_count(0)
    page.keyboard.press("Alt+\\")
    shown(page, "computed(() => count.value * 2)")
    expect(page.locator("#message")).to_have_text("Suggestion: Tab accepts")
    page.keyboard.press("Tab")
    expect(page.locator(".ghost")).to_have_count(0)
    assert "const doubled = computed(() => count.value * 2)\n" in code(page)
    expect(page.locator("#message")).to_have_text("Accepted")
    assert stub.count() == 2


def test_words_and_typing_along_need_no_new_request(page: Page, stub: Server) -> None:
    opened(page, stub)
    page.keyboard.press("Control+ArrowRight")
    shown(page, "(() => count.value * 2)")
    page.keyboard.type("(() ")
    shown(page, "=> count.value * 2)")
    page.keyboard.press("Control+ArrowRight")
    page.keyboard.press("Control+ArrowRight")
    shown(page, ".value * 2)")
    page.wait_for_timeout(400)  # longer than the debounce
    assert stub.count() == 1
    stub.script(deltas=["other"])
    page.keyboard.type("x")
    shown(page, "other")
    (asked,) = stub.seen()["requests"]
    assert asked["prompt"].endswith("const doubled = computed(() => countx")


def test_the_ghost_grows_and_typing_along_keeps_the_live_stream(page: Page, stub: Server) -> None:
    stub.script(deltas=["com", "puted(", "() => 1", ")"], pause_ms=700)
    page.goto(stub.url)
    shown(page, "com")
    page.keyboard.type("com")
    shown(page, "puted(")
    shown(page, "puted(() => 1)")
    assert stub.seen() == {"requests": stub.seen()["requests"][:1], "cancelled": 0}


def test_another_keystroke_cancels_the_request(page: Page, stub: Server) -> None:
    stub.script(deltas=["computed"], hang=True)
    page.goto(stub.url)
    shown(page, "computed")
    page.keyboard.type("reactive")
    expect(page.locator("#message")).to_have_text("Asking…")
    shown(page, "computed")
    assert stub.count() == 2  # the eight keys became one request
    page.keyboard.press("Escape")
    while stub.seen()["cancelled"] != 2:  # at the server, within the test's time limit
        page.wait_for_timeout(50)


def test_the_final_text_is_the_one_to_insert(page: Page, stub: Server) -> None:
    stub.script(deltas=["ref(1)", "\n\nfunction increment() {"], final="ref(1)", clipped=True)
    opened(page, stub)
    shown(page, "ref(1)")
    trail = page.locator("#trail")
    expect(trail).to_contain_text("suffix_overlap−24 characters")
    expect(trail).to_contain_text("yes: 1,234 characters cut")


def test_nothing_has_a_reason(page: Page, stub: Server) -> None:
    stub.script(deltas=["\n"], final="", reason="Nothing: it repeats the line below.")
    page.goto(stub.url)
    expect(page.locator("#trail")).to_contain_text("Nothing: it repeats the line below.")
    expect(page.locator("#trail")).to_contain_text("dropped the whole suggestion")
    expect(page.locator("#message")).to_have_text("Nothing: it repeats the line below.")
    expect(page.locator(".ghost")).to_have_count(0)


def test_several_lines_are_shown_where_they_will_stand(page: Page, stub: Server) -> None:
    stub.script(deltas=["clearTimeout(timer);\n", "    timer = setTimeout(() => fn(...args), delayMs);"])
    page.goto(stub.url)
    page.get_by_role("tab", name="debounce.ts").click()
    expect(page.locator("#message")).to_have_text("Suggestion of 2 lines: Tab accepts")
    page.keyboard.press("Tab")
    assert "    clearTimeout(timer);\n    timer = setTimeout(() => fn(...args), delayMs);\n  };\n}" in code(
        page
    )
    assert stub.seen()["requests"][-1]["language"] == "typescript"


def test_by_hand_only_when_automatic_is_off(page: Page, stub: Server) -> None:
    opened(page, stub)
    page.get_by_role("switch", name="Automatic").uncheck()
    page.locator(".cm-content").focus()
    page.keyboard.type("x")
    page.wait_for_timeout(400)
    assert stub.count() == 1
    page.get_by_role("button", name="Suggest now").click()
    shown(page, "computed(() => count.value * 2)")
    assert stub.seen()["requests"][-1]["prompt"].endswith("const doubled = x")


@pytest.mark.parametrize(
    "label", ["Python", "Go", "Rust", "Java", "C++", "C", "C#", "PHP", "Ruby", "HTML", "Shell"]
)
def test_a_language_opens_its_file_with_highlighting(page: Page, stub: Server, label: str) -> None:
    opened(page, stub)
    page.get_by_label("Language").select_option(label=label)
    shown(page, "computed(() => count.value * 2)")
    colours = page.locator(".cm-line span:not(.ghost)").evaluate_all(
        "spans => [...new Set(spans.map(span => getComputedStyle(span).color))]"
    )
    assert len(colours) > 1, "the sample has no highlighted words"
    assert stub.count() == 2


def test_a_file_keeps_its_text_while_another_is_open(page: Page, stub: Server) -> None:
    opened(page, stub)
    page.keyboard.press("Tab")
    tab = page.get_by_role("tab", name="TodoList.vue")
    page.get_by_role("tab", name="Counter.vue").press("ArrowRight")
    expect(tab).to_be_focused()
    expect(tab).to_have_attribute("aria-selected", "true")
    assert ':key="' in code(page)
    page.get_by_role("tab", name="Counter.vue").click()
    assert "const doubled = computed(() => count.value * 2)\n" in code(page)


def test_escape_then_tab_leaves_the_editor(page: Page, stub: Server) -> None:
    opened(page, stub)
    editor = page.locator(".cm-content")
    expect(editor).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    expect(editor).not_to_be_focused()
    assert "const doubled = \n" in code(page)


@pytest.mark.parametrize("open_ready", [True, False])
def test_a_token_is_asked_for_and_kept_for_the_tab(page: Page, stub: Server, open_ready: bool) -> None:
    stub.script(deltas=["ref(0)"], token="open-sesame", open_ready=open_ready)
    page.goto(stub.url)
    field = page.get_by_label("This server asks for a token")
    field.fill("wrong")
    field.press("Enter")
    expect(field).to_have_value("")
    expect(page.locator("#server-text")).to_have_text("Token needed")
    field.fill("open-sesame")
    field.press("Enter")
    shown(page, "ref(0)")
    expect(field).to_be_hidden()
    expect(page.locator("#trail")).to_contain_text("Offered")
    assert page.evaluate("JSON.stringify([sessionStorage.length, localStorage.length])") == "[1,0]"
    page.reload()
    shown(page, "ref(0)")


def test_loading_and_failed_are_said_and_followed(page: Page, stub: Server) -> None:
    stub.script(ready="loading", deltas=["ref(0)"])
    page.goto(stub.url)
    expect(page.locator("#server-text")).to_have_text("Loading the model")
    expect(page.get_by_role("alert")).to_contain_text("Reading the weights.")
    stub.script(ready="failed")
    expect(page.get_by_role("alert")).to_contain_text("The file is damaged: fetch it again.")
    stub.script(ready="ready", deltas=["ref(0)"])
    shown(page, "ref(0)")
    expect(page.get_by_role("alert")).to_be_hidden()


BUSY = "The server is busy: try again in 2 s"
BROKEN = "No suggestion: The engine broke: see the server's log."


@pytest.mark.parametrize(("status", "message"), [(429, BUSY), (500, BROKEN)])
def test_a_refusal_is_said(page: Page, stub: Server, status: int, message: str) -> None:
    stub.script(status=status)
    page.goto(stub.url)
    expect(page.locator("#message")).to_have_text(message)
    stub.script(deltas=["ref(0)"])
    page.keyboard.type("a")
    shown(page, "ref(0)")


def test_an_answer_that_breaks_off_offers_nothing_and_is_said(page: Page, stub: Server) -> None:
    stub.script(deltas=["ref("], break_off=True, pause_ms=300)
    page.goto(stub.url)
    shown(page, "ref(")
    stub.script(deltas=["ref(0)"])
    expect(page.get_by_role("alert")).to_contain_text("broke off")
    expect(page.locator("#message")).to_have_text("The server answers again")
    assert stub.count() == 0  # by itself, the page asks a server that broke no second time
    page.keyboard.press("Alt+\\")
    shown(page, "ref(0)")


def test_a_server_that_goes_and_returns(page: Page) -> None:
    server = Server(str(STUB))
    try:
        server.script(deltas=["ref(0)"])
        opened(page, server)
        server.stop()
        page.keyboard.press("Alt+\\")
        expect(page.get_by_role("alert")).to_contain_text("make run")
        expect(page.locator("#server-text")).to_have_text("Server down")
        page.keyboard.type("still an editor")
        server.start()
        server.script(deltas=["ref(1)"])
        expect(page.locator("#server-text")).to_have_text("Ready", timeout=10_000)
        page.keyboard.press("Alt+\\")
        shown(page, "ref(1)")
        expect(page.get_by_role("alert")).to_be_hidden()
    finally:
        server.stop()


@pytest.mark.parametrize(("width", "page_height"), [(1280, 800), (600, 2000)])
def test_the_page_fits_its_window(page: Page, stub: Server, width: int, page_height: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    opened(page, stub)
    expect(page.locator("#trail")).to_contain_text("Offered")
    page.keyboard.insert_text("\n" * 300)
    assert page.evaluate("document.querySelector('.cm-content').offsetHeight") > 3000
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.documentElement.scrollHeight") <= page_height


@pytest.mark.timeout(2 * MODEL_LOAD_S + 60)
def test_a_real_completion_in_a_vue_file(page: Page, real_url: str) -> None:
    page.goto(real_url)
    expect(page.locator("#server-text")).to_have_text("Ready", timeout=MODEL_LOAD_S * 1000)
    expect(page.locator("#message")).to_contain_text("Tab accepts", timeout=30_000)
    expect(page.locator("#trail")).to_contain_text("Offered", timeout=10_000)
    SCREENSHOT.parent.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOT)
    offered = page.locator(".ghost").text_content() or ""
    assert "count" in offered
    page.keyboard.press("Tab")
    assert f"const doubled = {offered}" in code(page)
