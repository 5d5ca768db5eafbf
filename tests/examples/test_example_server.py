"""The example ChatKit server over real HTTP, in a process of its own, with SQLite behind it."""

import json
import re
import time
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import httpx
import psutil
import pytest
from client import ADD, NEW, Client, done, message, types_of
from running import Running, Serve


def test_an_answer_arrives_in_pieces_and_is_kept_as_it_was_streamed(client: Client) -> None:
    thread_id, events = client.begin("Hello there")
    updates = [event["update"] for event in events if event["type"] == "thread.item.updated"]
    pieces = [update["delta"] for update in updates if update["type"].endswith("text_delta")]
    answer = done(events, "assistant_message")
    assert len(pieces) > 10
    assert "".join(pieces) == answer["content"][0]["text"]
    assert client.items(thread_id) == [done(events, "user_message"), answer]


def test_a_thread_is_named_after_its_first_message_until_it_is_renamed(client: Client) -> None:
    thread_id, _ = client.begin("  Plans for \n the weekend ")
    assert client.title(thread_id) == "Plans for the weekend"
    client.ask("threads.update", thread_id=thread_id, title="Lisbon").raise_for_status()
    assert list(client.events(ADD, thread_id=thread_id, input=message("And now?")))
    assert client.title(thread_id) == "Lisbon"


def test_a_widget_grows_while_it_streams_and_its_button_changes_it_for_good(client: Client) -> None:
    thread_id, events = client.begin("Show me Lisbon.")
    deltas = [event for event in events if event.get("update", {}).get("type") == "widget.streaming_text.value_delta"]
    widget = done(events, "widget")
    assert len(deltas) > 5
    assert types_of(client.items(thread_id)) == ["user_message", "widget", "assistant_message"]
    action = {"type": "finish", "payload": {"subject": "Lisbon"}}
    list(client.events("threads.custom_action", thread_id=thread_id, item_id=widget["id"], action=action))
    kept = client.items(thread_id)[1]
    assert kept["id"] == widget["id"]
    assert "Mark as done" in json.dumps(widget)
    assert "Mark as done" not in json.dumps(kept)


def test_a_client_tool_call_waits_for_its_output_and_takes_it_once(client: Client) -> None:
    thread_id, events = client.begin("What time is it?")
    assert done(events, "client_tool_call")["status"] == "pending"
    output = {"time": "10:32"}
    answer = list(client.events("threads.add_client_tool_output", thread_id=thread_id, result=output))
    assert "10:32" in done(answer, "assistant_message")["content"][0]["text"]
    call = client.items(thread_id)[1]
    assert (call["status"], call["output"]) == ("completed", output)
    assert client.ask("threads.add_client_tool_output", thread_id=thread_id, result=output).status_code == 422


def test_a_retry_replaces_what_followed(client: Client) -> None:
    thread_id, events = client.begin("Hello")
    question, first = done(events, "user_message"), done(events, "assistant_message")
    list(client.events(ADD, thread_id=thread_id, input=message("Show me Porto")))
    again = list(client.events("threads.retry_after_item", thread_id=thread_id, item_id=question["id"]))
    second = done(again, "assistant_message")
    assert client.items(thread_id) == [question, second]
    assert first["content"] != second["content"]


def test_an_answer_that_is_stopped_keeps_what_was_said(client: Client) -> None:
    seen = ""
    thread_id = ""
    for event in client.events(NEW, input=message("A slow story")):
        thread_id = thread_id or event["thread"]["id"]
        seen += event.get("update", {}).get("delta", "")
        if len(seen.split()) >= 3:
            break
    until = time.monotonic() + 10
    while len(items := client.items(thread_id)) < 2:
        assert time.monotonic() < until, "the partial answer was not kept"
        time.sleep(0.05)
    kept = items[1]["content"][0]["text"]
    assert kept.startswith(seen.strip())
    assert len(kept) < len(seen) + 80
    assert types_of(items) == ["user_message", "assistant_message"]


def test_nobody_sees_or_touches_the_conversation_of_somebody_else(server: Running, client: Client) -> None:
    thread_id, events = client.begin("A secret")
    other = Client(server.address, "somebody-else")
    absent = uuid4().hex
    with other.http:
        assert thread_id not in other.ask("threads.list").text
        for type, params in (
            ("threads.get_by_id", {}),
            ("items.list", {}),
            ("threads.update", {"title": "Mine"}),
            (ADD, {"input": message("Mine")}),
            ("threads.retry_after_item", {"item_id": events[1]["item"]["id"]}),
            ("threads.delete", {}),
        ):
            theirs, none = (other.ask(type, thread_id=id, **params) for id in (thread_id, absent))
            assert (theirs.status_code, theirs.content) == (none.status_code, none.content), type
    assert client.title(thread_id) == "A secret"
    assert len(client.items(thread_id)) == 2


@pytest.mark.parametrize("headers", [{}, {"X-Demo-User": ""}, {"X-Demo-User": "%20"}])
def test_a_request_without_a_user_is_refused(server: Running, headers: dict[str, str]) -> None:
    request = {"type": "threads.list", "params": {}}
    answer = httpx.post(f"{server.address}chatkit", headers=headers, json=request, trust_env=False)
    assert answer.status_code == 401


def test_an_absent_thread_is_404_also_where_the_answer_would_stream(client: Client) -> None:
    assert client.ask("threads.get_by_id", thread_id="absent").status_code == 404
    assert client.ask(ADD, thread_id="absent", input=message("Hello")).status_code == 404


def test_a_request_that_no_store_accepts_is_422(server: Running, client: Client) -> None:
    assert client.http.post("/chatkit", content="nonsense").status_code == 422
    assert client.ask("threads.get_by_id", thread_id="").status_code == 422
    with Client(server.address, "x" * 300).http as nobody:
        assert nobody.post("/chatkit", json={"type": "threads.list", "params": {}}).status_code == 422


def test_conversations_are_there_after_a_restart(serving: Serve, tmp_path: Path) -> None:
    with serving(tmp_path / "chat.db") as first, Client(first.address, "ann").http as http:
        client = Client(first.address, "ann")
        with client.http:
            thread_id, _ = client.begin("Remember this")
            before = client.items(thread_id)
        assert http.get("/").status_code == 200
    with serving(tmp_path / "chat.db") as second:
        client = Client(second.address, "ann")
        with client.http:
            assert client.items(thread_id) == before
            assert client.title(thread_id) == "Remember this"


def test_it_listens_on_loopback_alone(server: Running) -> None:
    connections = psutil.Process(server.pid).net_connections()
    listening = [connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN]
    assert listening == ["127.0.0.1"]


def test_the_page_allows_its_own_script_and_style_and_nothing_from_elsewhere(server: Running) -> None:
    answer = httpx.get(server.address, trust_env=False)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    for tag in ("script", "style"):
        (inline,) = re.findall(rf"<{tag}>(.*?)</{tag}>", answer.text, re.DOTALL)
        assert f"{tag}-src 'sha256-{b64encode(sha256(inline.encode()).digest()).decode()}'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"https?://|innerHTML|outerHTML|insertAdjacentHTML|document\.write", answer.text)
