"""What is kept: threads, the items in them, the records of attached files, and pages of each."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeAlias, TypeVar, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    PrivateAttr,
    SkipValidation,
    Strict,
    ValidationError,
    model_serializer,
)

from chatstore import payloads
from chatstore.errors import InvalidInputError

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

Order: TypeAlias = Literal["asc", "desc"]
ThreadOrder: TypeAlias = Literal["created", "activity"]
AttachmentState: TypeAlias = Literal["pending", "ready"]

Text: TypeAlias = Annotated[str, Strict()]
"""A str and nothing that could be read as one."""
Count: TypeAlias = Annotated[int, Strict()]
"""An int and no bool."""


def _datetime_or_its_text(value: object) -> object:
    if isinstance(value, datetime) or (isinstance(value, str) and "T" in value):
        return value
    raise ValueError("must be a datetime")


Moment: TypeAlias = Annotated[datetime, BeforeValidator(_datetime_or_its_text)]
"""A datetime, or its ISO text, for models that are read from JSON: no date and no number of seconds."""


_new = object.__new__
_set_fields, _set_changed, _set_extra, _set_private = (
    vars(BaseModel)[slot].__set__
    for slot in ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
)


def stored(kind: type[M], fields: dict[str, Any], private: dict[str, Any] | None = None) -> M:
    """Return a model of these fields as pydantic keeps it: ``model_construct`` without looking at every field."""
    model = _new(kind)
    _set_fields(model, fields)
    _set_changed(model, set())
    _set_extra(model, None)
    _set_private(model, private)
    return model


class _Model(BaseModel, frozen=True, extra="forbid", hide_input_in_errors=True):
    """Frozen; a wrong value raises ``InvalidInputError``, which does not repeat the value."""

    if not TYPE_CHECKING:

        def __init__(self, **values):
            try:
                super().__init__(**{name: value for name, value in values.items() if value is not None})
            except ValidationError as error:
                first = error.errors(include_url=False, include_context=False, include_input=False)[0]
                where = ".".join(str(part) for part in first["loc"])
                raise InvalidInputError(f"{type(self).__name__}.{where}: {first['msg']}") from None


class ThreadStatus(_Model, frozen=True):
    """A label on a thread: ``active``, or ``locked`` or ``closed`` with an optional reason.

    It is for people and interfaces to see: the store accepts items whatever it says.
    """

    type: Literal["active", "locked", "closed"] = "active"
    reason: Text | None = None


class Thread(_Model, frozen=True):
    """A conversation.

    ``updated_at`` moves with every write to the thread or its items (it may lag by up to one second);
    ``revision`` only with title, status or metadata. Both are the store's, as is ``created_at`` where absent.
    On a loaded thread ``model_fields_set`` is empty; ``model_copy(update=...)`` fills it, and ``save_thread``
    writes those fields only. A thread built by hand counts as changed in every field.
    """

    id: Text
    title: Text | None = None
    created_at: Moment = Field(default=cast("datetime", None))
    updated_at: Moment = Field(default=cast("datetime", None))
    status: ThreadStatus = ThreadStatus()
    metadata: Annotated[dict[str, Any], SkipValidation] = Field(default_factory=dict)
    revision: Count = Field(default=cast("int", None))

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            id: str,
            title: str | None = None,
            created_at: datetime | None = None,
            updated_at: datetime | None = None,
            status: ThreadStatus | None = None,
            metadata: dict[str, Any] | None = None,
            revision: int | None = None,
        ) -> None: ...

    @classmethod
    def stored(cls, **values: Any) -> Thread:
        """Return a thread as a store loads it, of every field: not validated, none counted as changed."""
        return stored(cls, values)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        yield "id", self.id
        yield "revision", self.revision


class Item(_Model, frozen=True):
    """One entry of a thread.

    ``type`` is the writer's own word and ``data`` a JSON object that comes back exactly as given. The store
    fills in ``id`` and ``created_at`` where they are absent, and ``thread_id`` and ``position`` always: they
    are typed as a stored item has them, and are ``None`` before.
    """

    id: Text = Field(default=cast("str", None))
    thread_id: Text = Field(default=cast("str", None))
    type: Text
    created_at: Moment = Field(default=cast("datetime", None))
    data: Annotated[dict[str, Any], SkipValidation]
    position: Count = Field(default=cast("int", None))
    _payload: str | None = PrivateAttr(default=None)

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            type: str,
            data: dict[str, Any],
            id: str | None = None,
            created_at: datetime | None = None,
            thread_id: str | None = None,
            position: int | None = None,
        ) -> None: ...

    else:

        def __getattr__(self, name):
            if name == "data" and (payload := self._payload) is not None:
                data = self.__dict__["data"] = payloads.decode(payload)
                return data
            return super().__getattr__(name)

        # No return annotation: pydantic would describe the JSON schema by it instead of by the fields.
        @model_serializer(mode="wrap")
        def _with_data(self, handler):
            self.data  # noqa: B018
            return handler(self)

    @classmethod
    def of_payload(
        cls,
        type: str,
        payload: str,
        id: str | None = None,
        thread_id: str | None = None,
        created_at: datetime | None = None,
        position: int | None = None,
    ) -> Item:
        """Return an item whose ``data`` is still JSON text, decoded on first use; nothing is validated here."""
        fields = {"id": id, "thread_id": thread_id, "type": type, "created_at": created_at, "position": position}
        return stored(cls, fields, {"_payload": payload})

    @property
    def undecoded(self) -> str | None:
        """The JSON text of ``data`` as long as ``data`` was not asked for."""
        return None if "data" in self.__dict__ else self._payload

    @property
    def payload(self) -> str:
        """The JSON text of ``data``: the stored text itself as long as ``data`` was not asked for."""
        text = self.undecoded
        return payloads.encode(self.data) if text is None else text

    def __iter__(self) -> Any:
        self.data  # noqa: B018
        return super().__iter__()

    def __getstate__(self) -> dict[Any, Any]:
        self.data  # noqa: B018
        return super().__getstate__()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Item):
            return NotImplemented
        mine, theirs = self.__dict__, other.__dict__
        named = ("id", "thread_id", "type", "created_at", "position")
        return all(mine[name] == theirs[name] for name in named) and self.data == other.data

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name in ("id", "thread_id", "type", "position"):
            yield name, self.__dict__[name]


class Attachment(_Model, frozen=True):
    """The record of a file. Its bytes are in a blob store; ``state``, ``size`` and ``sha256`` belong to the upload."""

    id: Text
    name: Text
    mime_type: Text
    size: Count | None = None
    sha256: Text | None = None
    state: AttachmentState = "pending"
    thread_id: Text | None = None
    metadata: Annotated[dict[str, Any], SkipValidation] = Field(default_factory=dict)
    created_at: Moment = Field(default=cast("datetime", None))

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            id: str,
            name: str,
            mime_type: str,
            size: int | None = None,
            sha256: str | None = None,
            state: AttachmentState = "pending",
            thread_id: str | None = None,
            metadata: dict[str, Any] | None = None,
            created_at: datetime | None = None,
        ) -> None: ...

    @classmethod
    def stored(cls, **values: Any) -> Attachment:
        """Return a record as a store loads it, of every field: not validated, none counted as changed."""
        return stored(cls, values)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name in ("id", "mime_type", "size", "state"):
            yield name, self.__dict__[name]


class Page(BaseModel, Generic[T], frozen=True):
    """One page of a listing. ``after`` is the cursor of the next one, ``None`` on the last."""

    data: list[T]
    has_more: bool = False
    after: str | None = None
