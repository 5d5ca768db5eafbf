"""What a person does on the example's page."""

from devtools import Tab

IDLE = "document.querySelector('#send').checkVisibility()"
MESSAGES = "[...document.querySelectorAll('.item > p')].map(message => message.innerText)"
TITLES = "[...document.querySelectorAll('#threads button')].map(entry => entry.innerText)"


def enter(tab: Tab, user: str) -> None:
    tab.click("#user")
    tab.type(user)
    tab.press("Enter", 13)
    tab.wait("document.querySelector('#chat').checkVisibility()")


def say(tab: Tab, text: str) -> None:
    tab.click("#message")
    tab.type(text)
    tab.press("Enter", 13)


def talk(tab: Tab, text: str) -> list[str]:
    """Say something, wait for the whole answer and return all messages."""
    answers = "document.querySelectorAll('.assistant_message').length"
    before = tab.evaluate(answers)
    say(tab, text)
    tab.wait(f"{answers} > {before} && {IDLE}")
    return messages(tab)


def messages(tab: Tab) -> list[str]:
    shown: list[str] = tab.evaluate(MESSAGES)
    return shown


def titles(tab: Tab) -> list[str]:
    shown: list[str] = tab.evaluate(TITLES)
    return shown


def reload(tab: Tab, claim: str) -> None:
    tab.reload()
    tab.wait(claim)
