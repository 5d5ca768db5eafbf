"""Which fields of a thread a save changes."""

from __future__ import annotations

import pytest

from chatstore.errors import ConflictError
from chatstore.inputs import ThreadChanges, new_thread
from chatstore.merging import ThreadFields, merge, same_thread

STORED = ThreadFields("x", ("active", None), "{}", revision=5, title_revision=2, status_revision=4, metadata_revision=5)


def _merge(changes: ThreadChanges) -> ThreadFields:
    return merge(STORED, changes, "t", "save_thread")


@pytest.mark.parametrize(
    "changes", [ThreadChanges(), ThreadChanges(title="x"), ThreadChanges("x", ("active", None), "{}", revision=1)]
)
def test_where_nothing_differs_nothing_moves(changes: ThreadChanges) -> None:
    assert _merge(changes) is STORED


def test_a_change_moves_the_revision_once_and_marks_its_fields() -> None:
    merged = _merge(ThreadChanges(title=None, metadata='{"a":1}'))
    assert merged == ThreadFields(
        None, ("active", None), '{"a":1}', revision=6, title_revision=6, status_revision=4, metadata_revision=6
    )


def test_a_field_changed_after_the_loaded_revision_is_a_conflict() -> None:
    for revision in (1, 3):
        with pytest.raises(ConflictError, match="status of thread 't'"):
            _merge(ThreadChanges(status=("closed", None), revision=revision))
    assert _merge(ThreadChanges(status=("closed", None), revision=4)).status == ("closed", None)


def test_a_field_not_changed_since_is_merged_whatever_the_others_did() -> None:
    assert _merge(ThreadChanges(title="y", revision=2)).title == "y"
    with pytest.raises(ConflictError):
        _merge(ThreadChanges(title="y", metadata='{"a":1}', revision=2))


def test_without_a_revision_there_is_no_conflict() -> None:
    assert _merge(ThreadChanges("y", ("closed", None), '{"a":1}')).revision == 6


def test_a_thread_is_the_same_by_title_and_metadata() -> None:
    new = new_thread(id="t", title="x", metadata={"a": 1, "b": 2}, created_at=None)
    assert same_thread("x", {"b": 2, "a": 1}, new)
    assert not same_thread(None, {"a": 1, "b": 2}, new)
    assert not same_thread("x", {"a": 1}, new)
