"""The example's page in headless Chromium: what a person does, and what is there after a reload."""

import asyncio
from datetime import datetime
from uuid import uuid4

import pytest
from chatkit.types import InferenceOptions, ThreadMetadata, UserMessageItem, UserMessageTextContent
from devtools import Tab
from running import Running
from steps import IDLE, MESSAGES, TITLES, enter, messages, reload, say, talk, titles

from chatstore import open_store
from chatstore.integrations.chatkit import ChatKitStore


@pytest.mark.usefixtures("user")
def test_an_answer_streams_in_and_is_there_after_a_reload(tab: Tab) -> None:
    say(tab, "Hello")
    tab.wait("document.querySelector('.assistant_message.streaming')")
    tab.wait(f"!document.querySelector('.streaming') && {IDLE}")
    shown = messages(tab)
    assert shown[0] == "Hello"
    assert len(shown) == 2
    reload(tab, f"{MESSAGES}.length === 2")
    assert messages(tab) == shown
    assert titles(tab) == ["Hello"]


@pytest.mark.usefixtures("user")
@pytest.mark.parametrize("how", ["button", "Escape"])
def test_a_stopped_answer_is_there_after_a_reload_as_far_as_it_came(tab: Tab, how: str) -> None:
    say(tab, "A slow story")
    tab.wait("document.querySelector('.assistant_message')?.innerText.split(' ').length > 3")
    tab.click("#stop") if how == "button" else tab.press("Escape", 27)
    tab.wait(IDLE)
    stopped = messages(tab)[1].strip()
    assert stopped.startswith("Once there was")
    assert not stopped.endswith("the rest of it.")
    reload(tab, f"{MESSAGES}.length === 2")
    assert messages(tab)[1].strip() == stopped
    assert "cancelled" not in tab.text()
    assert len(talk(tab, "Go on")) == 4


@pytest.mark.usefixtures("user")
def test_a_conversation_is_renamed(tab: Tab) -> None:
    talk(tab, "Hello")
    tab.click("#rename")
    tab.evaluate("document.querySelector('#new-title').select()")
    tab.type("A better title")
    tab.press("Enter", 13)
    tab.wait(f"{TITLES}[0] === 'A better title'")
    reload(tab, "document.querySelector('#title').innerText === 'A better title'")
    assert titles(tab) == ["A better title"]


@pytest.mark.usefixtures("user")
def test_a_widget_shows_and_its_button_changes_it(tab: Tab) -> None:
    talk(tab, "Show me Lisbon")
    assert tab.evaluate("document.querySelector('.card h3').innerText") == "Lisbon"
    tab.click(".card button")
    tab.wait("document.querySelector('.card .badge').innerText === 'Done'")
    reload(tab, "document.querySelector('.card')")
    assert tab.evaluate("document.querySelector('.card .badge').innerText") == "Done"
    assert tab.evaluate("document.querySelector('.card button')") is None


@pytest.mark.usefixtures("user")
def test_the_browser_answers_a_tool_call(tab: Tab) -> None:
    talk(tab, "Go dark")
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark"
    assert "The page is dark now." in messages(tab)[-1]
    reload(tab, "document.querySelector('.tool')")
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark"
    assert tab.evaluate("document.querySelector('.tool').innerText") == "In your browser: set_theme(dark) → dark"


@pytest.mark.usefixtures("user")
def test_a_retry_replaces_the_answer(tab: Tab) -> None:
    first = talk(tab, "Hello")
    tab.click(".retry")
    tab.wait(f"{MESSAGES}.length === 2 && {IDLE}")
    second = messages(tab)
    assert second[0] == first[0]
    assert second[1] != first[1]
    reload(tab, f"{MESSAGES}.length === 2")
    assert messages(tab) == second


@pytest.mark.usefixtures("user")
def test_a_conversation_is_deleted_once_that_is_confirmed(tab: Tab) -> None:
    talk(tab, "Hello")
    tab.click("#delete")
    tab.click("#delete-dialog [data-close]")
    assert titles(tab) == ["Hello"]
    tab.click("#delete")
    tab.click("#delete-dialog .danger")
    tab.wait(f"{TITLES}.length === 0")
    reload(tab, "document.querySelector('#no-threads').checkVisibility()")
    assert messages(tab) == []


@pytest.mark.usefixtures("user")
def test_another_user_sees_nothing_not_even_by_address(tab: Tab) -> None:
    talk(tab, "A secret")
    place = tab.evaluate("location.hash")
    tab.click("#switch")
    enter(tab, f"user-{uuid4().hex[:12]}")
    tab.wait("document.querySelector('#no-threads').checkVisibility()")
    assert "A secret" not in tab.text()
    tab.evaluate(f"history.replaceState(null, '', {place!r})")
    reload(tab, "document.querySelector('#problem').checkVisibility()")
    assert tab.evaluate("document.querySelector('#problem').innerText") == "This conversation is not here."
    assert "A secret" not in tab.text()
    tab.complaints[:] = [complaint for complaint in tab.complaints if "404" not in complaint]


@pytest.mark.usefixtures("user")
def test_markup_is_shown_and_never_run(tab: Tab) -> None:
    markup = "Show me <img src=x onerror=\"document.title='run'\">"
    assert talk(tab, markup)[0] == markup
    assert tab.evaluate("document.querySelector('.card h3').innerText") == markup.removeprefix("Show me ")
    assert tab.evaluate("document.querySelectorAll('img').length") == 0
    assert tab.evaluate("document.title").startswith(markup[:20])


def test_long_lists_come_a_page_at_a_time(tab: Tab, server: Running) -> None:
    user = f"user-{uuid4().hex[:12]}"
    asyncio.run(fill(server, user))
    enter(tab, user)
    tab.wait(f"{TITLES}.length === 20")
    tab.click("#older")
    tab.wait(f"{TITLES}.length === 25")
    assert titles(tab) == [f"Thread {number}" for number in reversed(range(25))]
    tab.click("#threads li:first-child button")
    tab.wait(f"{MESSAGES}.length === 20")
    for shown in (40, 45):
        tab.click("#earlier")
        tab.wait(f"{MESSAGES}.length === {shown}")
    assert messages(tab) == [f"Message {number}" for number in range(45)]


async def fill(server: Running, user: str) -> None:
    """Write 25 threads, the last of them with 45 messages, as a second process beside the server."""
    context = {"user_id": user}
    async with open_store(f"sqlite:///{server.database}") as chat_store:
        store = ChatKitStore(chat_store)
        for number in range(25):
            thread = ThreadMetadata(
                id=store.generate_thread_id(context), title=f"Thread {number}", created_at=datetime.now()
            )
            await store.save_thread(thread, context)
        for number in range(45):
            item = UserMessageItem(
                id=store.generate_item_id("message", thread, context),
                thread_id=thread.id,
                created_at=datetime.now(),
                content=[UserMessageTextContent(text=f"Message {number}")],
                inference_options=InferenceOptions(),
            )
            await store.add_thread_item(thread.id, item, context)


@pytest.mark.usefixtures("user")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_can_be_read(tab: Tab, scheme: str) -> None:
    talk(tab, "Show me " + "a place with a very long name " * 3)
    tab.look(360, 640, scheme)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    assert tab.evaluate("document.querySelector('#send').getBoundingClientRect().bottom") <= 640
    assert not tab.evaluate("document.querySelector('#new').checkVisibility({visibilityProperty: true})")
    tab.click("#menu")
    tab.wait("document.querySelector('#menu').getAttribute('aria-expanded') === 'true'")
    assert tab.evaluate("document.querySelector('#new').checkVisibility({visibilityProperty: true})")
    assert tab.evaluate(LEAST_CONTRAST) >= 4.5


LEAST_CONTRAST = """(() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const light = colour => {
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        const [red, green, blue] = [...canvas.getImageData(0, 0, 1, 1).data].map(part => {
            part /= 255;
            return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const behind = seen => {
        const colour = getComputedStyle(seen).backgroundColor;
        return /, 0\\)$/.test(colour) && seen.parentElement ? behind(seen.parentElement) : colour;
    };
    const texts = [...document.querySelectorAll("p, h2, h3, strong, button, code")];
    return Math.min(...texts.filter(seen => seen.checkVisibility() && seen.innerText).map(seen => {
        const [dark, bright] = [light(getComputedStyle(seen).color), light(behind(seen))].sort((a, b) => a - b);
        return (bright + 0.05) / (dark + 0.05);
    }));
})()"""


@pytest.mark.usefixtures("user")
def test_everything_that_can_be_used_says_what_it_is(tab: Tab) -> None:
    talk(tab, "Show me Lisbon")
    nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
    shown = [node for node in nodes if not node["ignored"] and node["role"]["value"] in ("button", "textbox", "log")]
    names = [node["name"]["value"] for node in shown]
    assert {"Messages", "Message", "Send", "Rename", "Delete", "New conversation", "Mark as done"} <= set(names)
    assert all(names)
