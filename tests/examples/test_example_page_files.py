"""Files on the example's page in headless Chromium: uploaded, shown, downloaded, deleted, refused, found again."""

import asyncio
import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
from devtools import Tab
from running import Running
from steps import IDLE, enter, messages, reload, say, talk

from chatstore import open_store
from examples.made_files import picture

DRAFTS = "document.querySelectorAll('#drafts li')"
UPLOADED = "!document.querySelector('#drafts progress')"
SHOWN = "[...document.querySelectorAll('.files li')].map(file => file.innerText.replace(/\\s+/g, ' '))"
NOTES = b"swim, read, sleep\n"


@pytest.fixture
def sunset(tmp_path: Path) -> Path:
    return made(tmp_path / "sunset.png", picture())


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return made(tmp_path / "notes.txt", NOTES)


def made(file: Path, content: bytes) -> Path:
    file.write_bytes(content)
    return file


def attach(tab: Tab, *files: Path) -> None:
    before = tab.evaluate(f"{DRAFTS}.length")
    tab.choose(lambda: tab.click("#attach"), *files)
    tab.wait(f"{DRAFTS}.length === {before + len(files)} && {UPLOADED}")


def drafts(tab: Tab) -> list[str]:
    shown: list[str] = tab.evaluate(f"[...{DRAFTS}].map(draft => draft.querySelector('p').innerText)")
    return shown


def shown_files(tab: Tab, claim: str) -> list[str]:
    """Return what the messages say of their files once they say something."""
    tab.wait(f"{SHOWN}.length && {SHOWN}.every(file => {claim})")
    shown: list[str] = tab.evaluate(SHOWN)
    return shown


def width_of(tab: Tab, selector: str) -> int:
    """Return how many pixels wide an image is once it has loaded; 0 where it cannot be."""
    tab.wait(f"document.querySelector({json.dumps(selector)})")
    image = f"document.querySelector({json.dumps(selector)})"
    width: int = tab.evaluate(f"{image}.decode().then(() => {image}.naturalWidth, () => 0)")
    return width


def ids(tab: Tab) -> list[str]:
    """Return the ids of the files that wait to be sent."""
    kept: list[str] = tab.evaluate(
        "JSON.parse(sessionStorage.getItem(`drafts of ${state.user}`)).map(draft => draft.attachment.id)"
    )
    return kept


def wait_until_gone(tab: Tab, file_id: str) -> None:
    tab.evaluate(f"""(async () => {{
        const headers = {{"X-Demo-User": encodeURIComponent(state.user)}};
        while ((await fetch("/files/{file_id}", {{headers}})).status !== 404) {{}}
    }})()""")
    forgive(tab, "404")


def forgive(tab: Tab, what: str) -> None:
    """Take what the browser says of an answer that was meant to be a refusal out of its complaints."""
    assert any(what in complaint for complaint in tab.complaints)
    tab.complaints[:] = [complaint for complaint in tab.complaints if what not in complaint]


@pytest.mark.usefixtures("user")
def test_files_are_sent_read_by_the_assistant_and_there_after_a_reload(tab: Tab, sunset: Path, notes: Path) -> None:
    attach(tab, sunset, notes)
    assert drafts(tab) == ["sunset.png", "notes.txt"]
    assert width_of(tab, "#drafts img") == 320
    answer = talk(tab, "Look at these")[-1]
    for content in (picture(), NOTES):
        assert f"{len(content):,} bytes" in answer
        assert sha256(content).hexdigest()[:12] in answer
    assert drafts(tab) == []
    expected = ["sunset.png 1.5 kB Download Delete", "notes.txt 18 bytes Download Delete"]
    assert shown_files(tab, "file.includes('Download')") == expected
    assert width_of(tab, ".files img") == 320
    reload(tab, "document.querySelector('.assistant_message')")
    assert shown_files(tab, "file.includes('Download')") == expected
    assert width_of(tab, ".files img") == 320


@pytest.mark.usefixtures("user")
def test_a_file_is_downloaded_as_it_was(tab: Tab, notes: Path, tmp_path: Path) -> None:
    attach(tab, notes)
    talk(tab, "Keep this")
    (tmp_path / "downloads").mkdir()
    file = tab.download(".files button", tmp_path / "downloads")
    assert file.name == "notes.txt"
    assert file.read_bytes() == NOTES


@pytest.mark.usefixtures("user")
def test_a_message_may_be_a_file_alone(tab: Tab, notes: Path) -> None:
    attach(tab, notes)
    tab.click("#send")
    tab.wait(f"document.querySelector('.assistant_message') && {IDLE}")
    assert shown_files(tab, "file.includes('Download')") == ["notes.txt 18 bytes Download Delete"]
    assert sha256(NOTES).hexdigest()[:12] in messages(tab)[-1]
    tab.wait("document.querySelector('#title').innerText === 'notes.txt'")


@pytest.mark.usefixtures("user")
def test_what_is_not_sent_yet_is_there_after_a_reload_and_can_be_removed(tab: Tab, sunset: Path, notes: Path) -> None:
    attach(tab, sunset, notes)
    (first, second) = ids(tab)
    reload(tab, f"{DRAFTS}.length === 2")
    assert drafts(tab) == ["sunset.png", "notes.txt"]
    assert width_of(tab, "#drafts img") == 320
    tab.click("#drafts li:first-child button")
    tab.wait(f"{DRAFTS}.length === 1")
    wait_until_gone(tab, first)
    assert ids(tab) == [second]
    assert "notes.txt" in talk(tab, "And this?")[-1]


@pytest.mark.usefixtures("user")
def test_a_file_that_is_not_taken_says_why_and_the_others_stay(tab: Tab, notes: Path, tmp_path: Path) -> None:
    program = made(tmp_path / "game.exe", b"MZ")
    film = made(tmp_path / "film.mp4", b"")
    with film.open("wb") as file:
        file.truncate(50_000_001)
    attach(tab, notes, program, film)
    said = drafts(tab)
    assert said[0] == "notes.txt"
    assert said[1].startswith("“game.exe” was not taken. Files of this type are not taken here")
    assert said[2] == "“film.mp4” was not taken. It is too large: a file may have 50 MB."
    assert tab.evaluate("document.querySelectorAll('#drafts .refused [role=alert]').length") == 2
    forgive(tab, "415")
    forgive(tab, "413")
    assert "notes.txt" in talk(tab, "Just this one")[-1]
    assert shown_files(tab, "file.includes('Download')") == ["notes.txt 18 bytes Download Delete"]
    for _ in range(2):
        tab.click("#drafts button")
    tab.wait(f"{DRAFTS}.length === 0")


@pytest.fixture
def slow_upload(tab: Tab, user: str, tmp_path: Path) -> Iterator[str]:
    """The id of an attached file that takes 20 seconds to go up, while it does."""
    tab.call("Network.enable")
    tab.slow_down(200_000)
    tab.choose(lambda: tab.click("#attach"), made(tmp_path / "long.txt", b"x" * 4_000_000))
    tab.wait("document.querySelector('#drafts progress')?.value > 0")
    (file_id,) = ids(tab)
    yield file_id
    tab.slow_down(-1)
    tab.call("Network.disable")


def test_an_upload_shows_how_far_it_is_and_can_be_stopped(tab: Tab, slow_upload: str) -> None:
    assert tab.evaluate("document.querySelector('#drafts progress').value") < 4_000_000
    tab.click("#send")
    tab.wait("document.querySelector('#status').innerText === 'A file is still on its way up.'")
    tab.click("#drafts button")
    tab.wait(f"{DRAFTS}.length === 0")
    wait_until_gone(tab, slow_upload)


def test_an_upload_that_a_reload_cuts_off_is_forgotten(tab: Tab, slow_upload: str) -> None:
    reload(tab, "document.querySelector('#chat').checkVisibility()")
    wait_until_gone(tab, slow_upload)
    assert drafts(tab) == []


@pytest.mark.usefixtures("user")
def test_a_file_that_was_sent_is_deleted_once_that_is_confirmed(tab: Tab, sunset: Path, notes: Path) -> None:
    attach(tab, sunset, notes)
    talk(tab, "Look at these")
    shown_files(tab, "file.includes('Delete')")
    tab.click(".files li:first-child button.danger")
    assert tab.evaluate("document.querySelector('#delete-what').innerText") == "sunset.png"
    tab.click("#delete-form button.danger")
    expected = ["sunset.png no longer here", "notes.txt 18 bytes Download Delete"]
    tab.wait("document.querySelector('.files').innerText.includes('no longer here')")
    assert shown_files(tab, "/here|Delete/.test(file)") == expected
    answer = talk(tab, "Go on")
    assert len(answer) == 4
    reload(tab, "document.querySelector('.files')")
    assert shown_files(tab, "/here|Delete/.test(file)") == expected
    assert tab.evaluate("document.querySelectorAll('.files img').length") == 0
    forgive(tab, "404")


def test_a_deleted_conversation_takes_its_files_along(tab: Tab, user: str, server: Running, tmp_path: Path) -> None:
    content = user.encode() * 10
    attach(tab, made(tmp_path / "secret.txt", content))
    (file_id,) = ids(tab)
    talk(tab, "Keep this for a while")
    assert content in server.contents()
    tab.click("#delete")
    tab.click("#delete-form button.danger")
    tab.wait("!document.querySelector('#threads li')")
    wait_until_gone(tab, file_id)
    asyncio.run(sweep(server))
    assert content not in server.contents()


async def sweep(server: Running) -> None:
    """Do what the server does each hour."""
    async with open_store(f"sqlite:///{server.database}", blobs=f"file:{server.files}") as store:
        await store.admin().sweep()


@pytest.mark.usefixtures("user")
@pytest.mark.parametrize("how", [["paste"], ["dragenter", "dragover", "drop"]])
def test_files_can_be_dropped_and_pasted(tab: Tab, how: list[str]) -> None:
    tab.evaluate(
        """(() => {
            const carried = new DataTransfer();
            carried.items.add(new File(["swim, read, sleep"], "notes.txt", {type: "text/plain"}));
            const options = {bubbles: true, cancelable: true, dataTransfer: carried, clipboardData: carried};
            for (const name of NAMES) {
                const kind = name === "paste" ? ClipboardEvent : DragEvent;
                document.querySelector("#message").dispatchEvent(new kind(name, options));
            }
        })()""".replace("NAMES", json.dumps(how))
    )
    tab.wait(f"{DRAFTS}.length === 1 && {UPLOADED}")
    assert drafts(tab) == ["notes.txt"]
    assert not tab.evaluate("document.querySelector('.dropping')")
    assert "notes.txt" in talk(tab, "Look")[-1]


@pytest.mark.usefixtures("user")
def test_what_only_says_that_it_is_an_image_is_never_shown_as_one(tab: Tab, tmp_path: Path) -> None:
    page = b"<!doctype html><script>document.title = 'run'</script>"
    name = "<img src=x onerror=\"document.title='run'\">.png"
    attach(tab, made(tmp_path / name, page))
    assert drafts(tab) == [name]
    talk(tab, "Look at this")
    shown = shown_files(tab, "file.includes('Download')")
    tab.wait("!document.querySelector('.files img, #drafts img')")
    assert shown == [f"{name} {len(page)} bytes Download Delete"]
    assert tab.evaluate("document.title").startswith("Look at this")


def test_another_user_finds_no_files_and_no_drafts(tab: Tab, user: str, notes: Path) -> None:
    attach(tab, notes)
    (file_id,) = ids(tab)
    tab.click("#switch")
    enter(tab, f"not-{user}")
    tab.wait(f"{DRAFTS}.length === 0")
    wait_until_gone(tab, file_id)


@pytest.mark.usefixtures("user")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_files_fit_a_phone_and_say_what_they_are(tab: Tab, sunset: Path, tmp_path: Path, scheme: str) -> None:
    long = made(tmp_path / f"{'a-very-long-name' * 8}.txt", NOTES)
    attach(tab, sunset, long)
    talk(tab, "Look")
    shown_files(tab, "file.includes('Download')")
    attach(tab, sunset, long)
    tab.look(360, 640, scheme)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    assert tab.evaluate("document.querySelector('#send').getBoundingClientRect().bottom") <= 640
    nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
    shown = [node for node in nodes if not node["ignored"] and node["role"]["value"] in ("button", "image", "list")]
    names = [node["name"]["value"] for node in shown if node["role"]["value"] != "list" or node["name"]["value"]]
    expected = {"Attach files", "Files to send", "Files", "sunset.png", "Remove sunset.png"}
    assert expected | {"Download sunset.png", "Delete sunset.png"} <= set(names)
    assert all(names)


def test_what_names_a_file_that_is_gone_is_told_and_can_be_sent_without_it(tab: Tab, user: str, notes: Path) -> None:
    attach(tab, notes)
    delete_elsewhere(tab, user)
    say(tab, "Look at this")
    tab.wait("document.querySelector('#problem').checkVisibility()")
    assert "not here any more" in tab.evaluate("document.querySelector('#problem').innerText")
    assert tab.evaluate("document.querySelector('#message').value") == "Look at this"
    tab.click("#drafts button")
    tab.click("#send")
    tab.wait(f"document.querySelector('.assistant_message') && {IDLE}")
    assert messages(tab)[0] == "Look at this"


def test_a_download_of_what_is_gone_says_so(tab: Tab, user: str, notes: Path) -> None:
    attach(tab, notes)
    kept = ids(tab)
    talk(tab, "Look at this")
    shown_files(tab, "file.includes('Download')")
    delete_elsewhere(tab, user, *kept)
    tab.click(".files button")
    tab.wait("document.querySelector('#problem').innerText === '“notes.txt” is no longer here.'")
    forgive(tab, "404")


def delete_elsewhere(tab: Tab, user: str, *file_ids: str) -> None:
    """Delete files, those that wait to be sent if none are named, as the same person on another device."""
    address = tab.evaluate("location.origin")
    for file_id in file_ids or ids(tab):
        httpx.delete(f"{address}/files/{file_id}", headers={"X-Demo-User": user}, trust_env=False).raise_for_status()


@pytest.mark.usefixtures("user")
def test_files_need_no_mouse(tab: Tab, notes: Path) -> None:
    tab.evaluate("document.querySelector('#attach').focus()")
    tab.choose(lambda: tab.press("Enter", 13), notes)
    tab.wait(f"{DRAFTS}.length === 1 && {UPLOADED}")
    reached = []
    tab.evaluate("document.querySelector('#scroller').focus()")
    for _ in range(3):
        tab.press("Tab", 9)
        reached.append(tab.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.id"))
    assert reached == ["Remove notes.txt", "Attach files", "message"]
    tab.evaluate("document.querySelector('#drafts button').focus()")
    tab.press("Enter", 13)
    tab.wait(f"{DRAFTS}.length === 0")
    assert tab.evaluate("document.activeElement.id") == "message"
