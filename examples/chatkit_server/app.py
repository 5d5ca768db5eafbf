"""The ChatKit server: FastAPI in front, chatstore behind, the user of each request in between."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated
from urllib.parse import unquote

from chatkit.actions import Action
from chatkit.agents import AgentContext
from chatkit.server import ChatKitServer, StreamingResult
from chatkit.store import NotFoundError
from chatkit.types import ErrorEvent, ThreadMetadata, ThreadStreamEvent, UserMessageItem, WidgetItem
from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from chatstore import ChatStore, errors
from chatstore.integrations.chatkit import ChatKitAttachmentStore, ChatKitStore
from examples.chatkit_server.assistant import answer, finish_card, title_of
from examples.chatkit_server.files import add_files, open_and_swept
from examples.chatkit_server.page import page_response
from examples.chatkit_server.reading import FileReader

Context = dict[str, str]


class ExampleServer(ChatKitServer[Context]):
    def __init__(self, chat_store: ChatStore) -> None:
        super().__init__(ChatKitStore(chat_store), ChatKitAttachmentStore(chat_store))
        self._chat_store = chat_store

    async def respond(
        self, thread: ThreadMetadata, input_user_message: UserMessageItem | None, context: Context
    ) -> AsyncIterator[ThreadStreamEvent]:
        thread.title = thread.title or title_of(input_user_message)
        newest = await self.store.load_thread_items(thread.id, None, 20, "desc", context)
        agent_context = AgentContext(thread=thread, store=self.store, request_context=context)
        reader = FileReader(self._chat_store, context["user_id"])
        async for event in answer(agent_context, newest.data[::-1], reader):
            yield event

    async def action(
        self, thread: ThreadMetadata, action: Action[str, object], sender: WidgetItem | None, context: Context
    ) -> AsyncIterator[ThreadStreamEvent]:
        if action.type == "finish" and sender is not None:
            yield finish_card(sender, action.payload)


def demo_user(x_demo_user: Annotated[str, Header()] = "") -> str:
    """Who is asking. The header is believed because this is a demo: check a session or a token here."""
    user = unquote(x_demo_user)
    if not user.strip():
        raise HTTPException(401, "Say who you are in the header X-Demo-User.")
    return user


def create_app(store: ChatStore) -> FastAPI:
    server = ExampleServer(store)
    app = FastAPI(lifespan=partial(open_and_swept, store))
    app.add_exception_handler(NotFoundError, _not_found)
    app.add_exception_handler(errors.NotFoundError, _not_found)
    app.add_exception_handler(ValueError, _refused)
    app.get("/")(page_response)
    add_files(app, store, demo_user)

    @app.post("/chatkit")
    async def chatkit(request: Request, user: Annotated[str, Depends(demo_user)]) -> Response:
        result = await server.process(await request.body(), {"user_id": user})
        if isinstance(result, StreamingResult):
            return StreamingResponse(await _begun(result), media_type="text/event-stream")
        return Response(result.json, media_type="application/json")

    return app


async def _begun(stream: StreamingResult) -> AsyncIterator[bytes]:
    """Wait for the first event, so that an unknown thread is a 404 and not a broken 200.

    What is found missing later, such as a file of a thread's first message, is told by an event.
    """
    events = aiter(stream)
    first = await anext(events, b"")

    async def all_events() -> AsyncIterator[bytes]:
        yield first
        try:
            async for event in events:
                yield event
        except NotFoundError:
            missing = ErrorEvent(message="The message names something that is not here any more.")
            yield f"data: {missing.model_dump_json()}\n\n".encode()

    return all_events()


async def _not_found(request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": "There is no such thing here."}, 404)


async def _refused(request: Request, error: Exception) -> Response:
    """InvalidInputError, pydantic's ValidationError and the SDK's own refusals are all ValueErrors."""
    return JSONResponse({"detail": "The request was refused."}, 422)
