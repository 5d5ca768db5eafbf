/* Conversations: the protocol, what is shown, and what a person does. */

const PAGE_SIZE = 20;
const get = id => document.getElementById(id);
const state = {
  user: null, thread: null, items: new Map(), shown: new Map(), drafts: [], records: new Map(),
  threadsAfter: null, itemsAfter: null, stream: null, opening: 0,
};

/* ---- the protocol ---- */

const asUser = () => ({ "X-Demo-User": encodeURIComponent(state.user) });

function post(type, params, signal) {
  const headers = { "Content-Type": "application/json", ...asUser() };
  return fetch("/chatkit", { method: "POST", headers, body: JSON.stringify({ type, params }), signal });
}

async function fetchJson(path) {
  const response = await fetch(path, { headers: asUser() });
  if (!response.ok) throw await refusal(response);
  return response.json();
}

async function refusal(response) {
  const body = await response.json().catch(() => ({}));
  const detail = typeof body.detail === "string" ? body.detail : "The server could not answer.";
  return Object.assign(new Error(detail), { status: response.status });
}

async function ask(type, params) {
  const response = await post(type, params);
  if (!response.ok) throw await refusal(response);
  return response.json();
}

async function* events(type, params, signal) {
  const response = await post(type, params, signal);
  if (!response.ok) throw await refusal(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    buffer += value;
    const blocks = buffer.split("\n\n");
    buffer = blocks.pop();
    for (const block of blocks) if (block.startsWith("data: ")) yield JSON.parse(block.slice(6));
  }
}

const tools = {
  get_browser_time: () => ({ time: new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }), zone: Intl.DateTimeFormat().resolvedOptions().timeZone }),
  set_theme: ({ theme }) => { applyTheme(theme); return { theme }; },
};

/* One turn: stream it, then run the tool that it may have ended with and stream what follows. Says whether any of it was kept. */
async function turn(type, params) {
  if (state.stream) return false;
  const stream = state.stream = new AbortController();
  showStreaming();
  let ending = "", begun = false;
  try {
    while (type) {
      for await (const event of events(type, params, stream.signal)) {
        stream.signal.throwIfAborted();
        begun ||= event.type.startsWith("thread.item.");
        apply(event);
      }
      const call = pendingCall();
      type = call && "threads.add_client_tool_output";
      params = call && { thread_id: state.thread.id, result: runTool(call) };
    }
  } catch (error) {
    if (stream.signal.aborted) ending = "Stopped. What was written so far is kept.";
    else showProblem(error);
  }
  if (state.stream !== stream) return begun;
  state.stream = null;
  showStreaming(ending);
  if (document.activeElement === document.body) get("message").focus();
  return begun;
}

function pendingCall() {
  const last = [...state.items.values()].at(-1);
  return last?.type === "client_tool_call" && last.status === "pending" ? last : null;
}

function runTool(call) {
  const output = tools[call.name] ? tools[call.name](call.arguments) : { error: "This page has no such tool." };
  setItem({ ...call, status: "completed", output });
  return output;
}

function apply(event) {
  switch (event.type) {
    case "thread.created": openCreated(event.thread); break;
    case "thread.updated": showThread(event.thread); break;
    case "thread.item.added": setItem(event.item, true); break;
    case "thread.item.done": case "thread.item.replaced": setItem(event.item); break;
    case "thread.item.updated": updateItem(event.item_id, event.update); break;
    case "thread.item.removed": removeItem(event.item_id); break;
    case "progress_update": get("status").textContent = event.text; break;
    case "notice": showProblem({ message: event.message }); break;
    case "error": showProblem({ message: event.message || "The answer failed." + (event.allow_retry ? " You can retry." : "") }); break;
  }
}

const updates = {
  "assistant_message.content_part.added": (item, update) => { item.content[update.content_index] = update.content; },
  "assistant_message.content_part.done": (item, update) => { item.content[update.content_index] = update.content; },
  "assistant_message.content_part.text_delta": (item, update) => {
    const part = item.content[update.content_index] ??= { type: "output_text", text: "", annotations: [] };
    part.text += update.delta;
  },
  "widget.root.updated": (item, update) => { item.widget = update.widget; },
  "widget.component.updated": (item, update) => { const found = component(item.widget, update.component_id); if (found) Object.assign(found, update.component); },
  "widget.streaming_text.value_delta": (item, update) => { const found = component(item.widget, update.component_id); if (found) found.value = (found.value ?? "") + update.delta; },
};

function component(node, id) {
  if (node.id === id) return node;
  for (const child of [node.children ?? []].flat()) {
    const found = component(child, id);
    if (found) return found;
  }
  return null;
}

/* ---- items ---- */

function element(name, className, text, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text != null) made.textContent = text;
  made.append(...children);
  return made;
}

const textOf = item => (item.content ?? []).map(part => part?.text ?? "").join("");

const bodies = {
  user_message: item => [...files(item), ...(textOf(item) ? [element("p", "", textOf(item))] : []), retryButton(item)],
  assistant_message: item => [element("p", "", textOf(item))],
  client_tool_call: item => [toolLine(item)],
  widget: item => [element("div", "card", null, ...contents(item.widget, item))],
};

function toolLine(item) {
  const values = Object.values(item.arguments).join(", ");
  const line = element("div", "tool", null, "In your browser: ", element("code", "", `${item.name}(${values})`));
  if (item.status === "completed") line.append(" → ", element("code", "", Object.values(item.output ?? {}).join(", ")));
  return line;
}

function retryButton(item) {
  const button = element("button", "plain retry", "Retry");
  button.type = "button";
  button.disabled = Boolean(state.stream);
  button.setAttribute("aria-label", `Retry: ${textOf(item) || item.attachments.map(file => file.name).join(", ")}`);
  button.addEventListener("click", () => retry(item));
  return button;
}

const contents = (node, item) => [node.children ?? []].flat().map(child => widgetPart(child, item));

function widgetPart(node, item) {
  switch (node.type) {
    case "Title": return element("h3", "", node.value);
    case "Text": case "Markdown": return element("p", "", node.value);
    case "Caption": return element("p", "caption", node.value);
    case "Badge": return element("span", "badge", node.label);
    case "Divider": return element("hr");
    case "Image": return Object.assign(element("img"), { src: node.src, alt: node.alt ?? "" });
    case "Button": return widgetButton(node, item);
    case "Row": return element("div", "row", null, ...contents(node, item));
    default: return element("div", "column", node.children ? null : (node.value ?? node.label ?? ""), ...contents(node, item));
  }
}

function widgetButton(node, item) {
  const button = element("button", "", node.label);
  button.type = "button";
  button.classList.toggle("off", Boolean(node.disabled || !node.onClickAction));
  button.disabled = Boolean(state.stream) || button.classList.contains("off");
  button.addEventListener("click", () => {
    const { type, payload } = node.onClickAction;
    turn("threads.custom_action", { thread_id: item.thread_id, item_id: item.id, action: { type, payload } });
  });
  return button;
}

function render(item, streaming) {
  const made = element("article", `item ${item.type}${streaming ? " streaming" : ""}`, null, ...bodies[item.type](item));
  state.shown.set(item.id, made);
  return made;
}

function draw(item, streaming) {
  if (!bodies[item.type]) return;
  const near = get("scroller").scrollHeight - get("scroller").scrollTop - get("scroller").clientHeight < 120;
  const before = state.shown.get(item.id);
  if (before) before.replaceWith(render(item, streaming)); else get("log").append(render(item, streaming));
  if (near) get("scroller").scrollTop = get("scroller").scrollHeight;
}

function setItem(item, streaming = false) {
  state.items.set(item.id, item);
  get("hint").hidden = true;
  draw(item, streaming);
}

function updateItem(id, update) {
  const item = state.items.get(id);
  if (!item || !updates[update.type]) return;
  updates[update.type](item, update);
  draw(item, true);
}

function removeItem(id) {
  state.items.delete(id);
  state.shown.get(id)?.remove();
  state.shown.delete(id);
}

function retry(item) {
  const ids = [...state.items.keys()];
  ids.slice(ids.indexOf(item.id) + 1).forEach(removeItem);
  turn("threads.retry_after_item", { thread_id: item.thread_id, item_id: item.id });
}

/* ---- threads ---- */

async function listThreads(after = null) {
  const page = await ask("threads.list", { limit: PAGE_SIZE, order: "desc", after });
  if (!after) get("threads").replaceChildren();
  page.data.forEach(thread => get("threads").append(threadEntry(thread)));
  state.threadsAfter = page.has_more ? page.after : null;
  get("older").hidden = !state.threadsAfter;
  markThreads();
}

function threadEntry(thread) {
  const button = element("button", "", thread.title || "Untitled");
  button.type = "button";
  button.addEventListener("click", guarded(() => openThread(thread.id)));
  const entry = element("li", "", null, button);
  entry.dataset.thread = thread.id;
  return entry;
}

const entryOf = id => [...get("threads").children].find(entry => entry.dataset.thread === id);

function markThreads() {
  for (const entry of get("threads").children) {
    entry.firstChild.setAttribute("aria-current", String(entry.dataset.thread === state.thread?.id));
  }
  get("no-threads").hidden = get("threads").children.length > 0;
}

function showThread(thread) {
  const entry = entryOf(thread.id);
  if (entry) entry.replaceWith(threadEntry(thread)); else get("threads").prepend(threadEntry(thread));
  if (state.thread?.id === thread.id) setThread(thread);
  markThreads();
}

function setThread(thread) {
  state.thread = thread;
  const title = thread ? thread.title || "Untitled" : "New conversation";
  get("title").textContent = title;
  document.title = `${title} · chatstore example`;
  get("rename").hidden = get("delete").hidden = !thread;
  history.replaceState(null, "", thread ? `#${encodeURIComponent(thread.id)}` : location.pathname);
  markThreads();
}

function openCreated(thread) {
  state.thread = thread;
  showThread(thread);
}

function clear() {
  state.opening += 1;
  stop();
  state.stream = null;
  state.items.clear();
  state.shown.clear();
  state.records.clear();
  state.itemsAfter = null;
  get("log").querySelectorAll(".item").forEach(item => item.remove());
  get("hint").hidden = false;
  get("earlier").hidden = get("problem").hidden = true;
  setThread(null);
  showStreaming();
  toggleMenu(false);
}

async function openThread(id) {
  clear();
  const opening = state.opening;
  const thread = await ask("threads.get_by_id", { thread_id: id });
  if (opening !== state.opening) return;
  setThread(thread);
  await loadItems();
  get("scroller").scrollTop = get("scroller").scrollHeight;
  const call = opening === state.opening && pendingCall();
  if (call) turn("threads.add_client_tool_output", { thread_id: id, result: runTool(call) });
}

/* Newest first from the server; what comes in is older than all that is shown. */
async function loadItems(after = null) {
  const opening = state.opening;
  const page = await ask("items.list", { thread_id: state.thread.id, limit: PAGE_SIZE, order: "desc", after });
  if (opening !== state.opening) return;
  const older = page.data.reverse();
  state.items = new Map([...older.map(item => [item.id, item]), ...state.items]);
  state.itemsAfter = page.has_more ? page.after : null;
  get("earlier").hidden = !state.itemsAfter;
  get("earlier").after(...older.filter(item => bodies[item.type]).map(item => render(item, false)));
  get("hint").hidden = state.items.size > 0;
}

async function rename() {
  const title = get("new-title").value.trim();
  if (title) showThread(await ask("threads.update", { thread_id: state.thread.id, title }));
}

async function deleteThread() {
  const { id } = state.thread;
  clear();
  await ask("threads.delete", { thread_id: id });
  entryOf(id)?.remove();
  markThreads();
}

/* ---- the page ---- */

function showStreaming(message = "") {
  const streaming = Boolean(state.stream);
  get("log").setAttribute("aria-busy", String(streaming));
  get("stop").hidden = !streaming;
  get("send").hidden = streaming;
  get("status").textContent = streaming ? "Writing…" : message;
  get("log").querySelectorAll(".item").forEach(shown => shown.classList.toggle("streaming", streaming && shown.classList.contains("streaming")));
  get("log").querySelectorAll(".item button:not(.off, .files *)").forEach(button => { button.disabled = streaming; });
  if (streaming) get("problem").hidden = true;
}

function showProblem(error) {
  get("problem").textContent = error.status === 404 ? "This conversation is not here." : error.message;
  get("problem").hidden = false;
}

const guarded = action => async (...values) => { try { await action(...values); } catch (error) { showProblem(error); } };

function confirmDeletion(question, what, deletion) {
  state.deletion = deletion;
  get("delete-heading").textContent = question;
  get("delete-what").textContent = what;
  get("delete-dialog").showModal();
}

function stop() { state.stream?.abort(); }

function toggleMenu(open) {
  get("chat").classList.toggle("menu-open", open);
  get("menu").setAttribute("aria-expanded", String(open));
}

function applyTheme(theme) {
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("theme", theme);
}

async function send() {
  const text = get("message").value.trim();
  const sent = state.drafts.filter(draft => draft.ready);
  if (state.stream) return;
  if (state.drafts.some(draft => !draft.ready && !draft.refused)) {
    get("status").textContent = "A file is still on its way up.";
    return;
  }
  if (!text && !sent.length) return;
  get("message").value = "";
  sent.forEach(takeDraft);
  keepDrafts();
  const content = text ? [{ type: "input_text", text }] : [];
  const input = { content, attachments: sent.map(draft => draft.attachment.id), inference_options: {} };
  const begun = state.thread
    ? await turn("threads.add_user_message", { thread_id: state.thread.id, input })
    : await turn("threads.create", { input });
  if (begun) return;
  if (!get("message").value) get("message").value = text;
  sent.forEach(addDraft);
  keepDrafts();
}

async function enter(user) {
  state.user = user;
  localStorage.setItem("user", user);
  get("name").textContent = user;
  get("initial").textContent = [...user][0];
  get("welcome").hidden = true;
  get("chat").hidden = false;
  const wanted = decodeURIComponent(location.hash.slice(1));
  clear();
  get("message").focus();
  await Promise.all([listThreads(), restoreDrafts()]);
  if (wanted) await openThread(wanted);
}

function leave() {
  clear();
  state.drafts.forEach(removeDraft);
  localStorage.removeItem("user");
  state.user = null;
  get("threads").replaceChildren();
  get("chat").hidden = true;
  get("welcome").hidden = false;
  get("user").focus();
}

const signIn = guarded(enter);
const on = (id, name, action) => get(id).addEventListener(name, action);

on("sign-in", "submit", event => { event.preventDefault(); const user = get("user").value.trim(); if (user) signIn(user); });
document.querySelectorAll("[data-user]").forEach(button => button.addEventListener("click", () => signIn(button.dataset.user)));
document.querySelectorAll("[data-close]").forEach(button => button.addEventListener("click", () => button.closest("dialog").close()));
on("switch", "click", leave);
on("new", "click", () => { clear(); get("message").focus(); });
on("older", "click", guarded(() => listThreads(state.threadsAfter)));
on("earlier", "click", guarded(() => loadItems(state.itemsAfter)));
on("rename", "click", () => { get("new-title").value = state.thread.title ?? ""; get("rename-dialog").showModal(); });
on("delete", "click", () => confirmDeletion("Delete this conversation and its files?", state.thread.title || "Untitled", deleteThread));
on("rename-form", "submit", guarded(rename));
on("delete-form", "submit", guarded(() => state.deletion()));
on("stop", "click", () => { stop(); get("message").focus(); });
on("menu", "click", event => { event.stopPropagation(); toggleMenu(!get("chat").classList.contains("menu-open")); });
document.querySelector("main").addEventListener("click", () => toggleMenu(false));
on("attach", "click", () => get("chosen").click());
on("chosen", "change", () => { [...get("chosen").files].forEach(addFile); get("chosen").value = ""; });
on("message", "paste", event => {
  if (event.clipboardData.types.includes("text/plain") || !event.clipboardData.files.length) return;
  event.preventDefault();
  [...event.clipboardData.files].forEach(addFile);
});
for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
  on("chat", name, event => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    const outside = name === "drop" || (name === "dragleave" && !get("chat").contains(event.relatedTarget));
    get("chat").classList.toggle("dropping", !outside);
    if (name === "drop") [...event.dataTransfer.files].forEach(addFile);
  });
}
on("composer", "submit", event => { event.preventDefault(); send(); });
on("message", "keydown", event => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); }
});
document.addEventListener("keydown", event => {
  if (event.key !== "Escape" || document.querySelector("dialog[open]")) return;
  toggleMenu(false);
  stop();
});

if (localStorage.getItem("theme")) applyTheme(localStorage.getItem("theme"));
if (localStorage.getItem("user")) signIn(localStorage.getItem("user"));
