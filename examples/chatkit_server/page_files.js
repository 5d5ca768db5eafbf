/* Files: those of messages, and those that wait to be sent. */

/* ---- files of messages ---- */

/* Our own routes are reached by whatever name this page was; those of a blob store as they are. */
function reachable(address) {
  const { pathname, search } = new URL(address);
  return pathname.startsWith("/files/") ? pathname + search : address;
}

const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte"];

function sizeText(bytes) {
  const step = bytes < 1000 ? 0 : Math.min(3, Math.floor(Math.log10(bytes) / 3));
  const format = { style: "unit", unit: UNITS[step], unitDisplay: step ? "short" : "long", maximumFractionDigits: 1 };
  return new Intl.NumberFormat("en", format).format(bytes / 1000 ** step);
}

function labelled(text, label, className, action) {
  const button = element("button", className, text);
  button.type = "button";
  button.setAttribute("aria-label", label);
  button.addEventListener("click", action);
  return button;
}

function files(item) {
  if (!item.attachments?.length) return [];
  const list = element("ul", "files", null, ...item.attachments.map(fileEntry));
  list.setAttribute("aria-label", "Files");
  return [list];
}

function fileEntry(attachment) {
  const picture = element("div", "picture");
  picture.hidden = !attachment.preview_url;
  const line = element("div", "file-line", null, element("p", "", attachment.name));
  const entry = element("li", "", null, picture, line);
  recordOf(attachment.id).then(
    record => fillFile(attachment, record, picture, line),
    error => {
      picture.remove();
      line.append(element("span", "caption", error.status === 404 ? "no longer here" : "cannot be reached"));
    },
  );
  return entry;
}

function fillFile(attachment, record, picture, line) {
  const size = record.state === "ready" ? sizeText(record.size) : "not uploaded";
  const download = labelled("Download", `Download ${attachment.name}`, "plain", guarded(() => downloadFile(attachment)));
  download.disabled = record.state !== "ready";
  const remove = labelled("Delete", `Delete ${attachment.name}`, "plain danger", () => {
    confirmDeletion("Delete this file?", attachment.name, () => deleteSentFile(attachment));
  });
  line.append(element("span", "caption", size), download, remove);
  if (attachment.preview_url) picture.append(preview(attachment, () => picture.remove()));
}

function preview(attachment, onerror) {
  return Object.assign(element("img"), { src: reachable(attachment.preview_url), alt: attachment.name, onerror });
}

/* The record knows what the message does not: the size, and whether the file is still there. */
function recordOf(id) {
  if (!state.records.has(id)) {
    const loading = fetchJson(`/files/${encodeURIComponent(id)}`);
    state.records.set(id, loading);
    loading.catch(() => state.records.delete(id));
  }
  return state.records.get(id);
}

/* A link cannot say who follows it, so it is signed, and soon expires. */
async function downloadFile(attachment) {
  const { url } = await fetchJson(`/files/${encodeURIComponent(attachment.id)}/link`).catch(error => {
    throw error.status === 404 ? new Error(`“${attachment.name}” is no longer here.`) : error;
  });
  Object.assign(element("a"), { href: reachable(url), download: attachment.name }).click();
}

async function deleteSentFile(attachment) {
  await ask("attachments.delete", { attachment_id: attachment.id });
  state.records.delete(attachment.id);
  for (const item of state.items.values()) if (item.attachments?.some(({ id }) => id === attachment.id)) draw(item);
}

/* ---- files to send ---- */

async function addFile(file) {
  const draft = { name: file.name, size: file.size };
  putDraft(draft);
  try {
    const mime_type = file.type || "application/octet-stream";
    draft.attachment = await ask("attachments.create", { name: file.name, size: file.size, mime_type });
    if (draft.removed) return discard(draft);
    keepDrafts();
    await upload(draft, file);
    if (draft.removed) return;
    showReady(draft);
    get("status").textContent = `“${file.name}” is attached.`;
  } catch (error) {
    showRefused(draft, error.message);
    discard(draft);
  }
  keepDrafts();
}

function upload(draft, file) {
  const { url, method, headers } = draft.attachment.upload_descriptor;
  const request = draft.request = new XMLHttpRequest();
  return new Promise((resolve, reject) => {
    request.open(method, reachable(url));
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = event => { draft.bar.value = event.loaded; };
    request.onload = () => (request.status < 300 ? resolve() : reject(new Error(uploadRefusal(request))));
    request.onerror = () => reject(new Error("The connection was lost."));
    request.onabort = resolve;
    request.send(file);
  });
}

function uploadRefusal({ status, responseText }) {
  if (status === 404) return "It was deleted meanwhile.";
  if (status === 403) return "It took too long; attach it once more.";
  return detailOf(responseText) ?? "The server could not take it.";
}

function detailOf(problem) {
  try { return JSON.parse(problem).detail; } catch { return null; }
}

function putDraft(draft) {
  draft.text = element("p", "", draft.name);
  draft.bar = Object.assign(element("progress"), { max: draft.size || 1, value: 0 });
  draft.bar.setAttribute("aria-label", `Uploading ${draft.name}`);
  const remove = labelled("✕", `Remove ${draft.name}`, "plain", () => { removeDraft(draft); get("message").focus(); });
  draft.entry = element("li", "", null, draft.text, element("span", "caption", sizeText(draft.size)), draft.bar, remove);
  addDraft(draft);
}

function addDraft(draft) {
  state.drafts.push(draft);
  get("drafts").append(draft.entry);
}

function takeDraft(draft) {
  state.drafts = state.drafts.filter(other => other !== draft);
  draft.entry.remove();
}

function showReady(draft) {
  draft.ready = true;
  draft.bar.remove();
  if (draft.attachment.preview_url) draft.entry.prepend(preview(draft.attachment, event => event.target.remove()));
}

function showRefused(draft, reason) {
  draft.bar.remove();
  draft.refused = true;
  draft.entry.classList.add("refused");
  draft.text.setAttribute("role", "alert");
  draft.text.textContent = `“${draft.name}” was not taken. ${reason}`;
}

function removeDraft(draft) {
  draft.removed = true;
  draft.request?.abort();
  discard(draft);
  takeDraft(draft);
  keepDrafts();
}

/* Should this fail, the announced upload expires, and the server's sweep removes it. */
function discard(draft) {
  if (draft.attachment && state.user) ask("attachments.delete", { attachment_id: draft.attachment.id }).catch(() => {});
  draft.attachment = null;
}

/* A reload forgets everything but this: what was announced and is not sent yet. */
function keepDrafts() {
  const kept = state.drafts.filter(draft => draft.attachment);
  const entries = kept.map(({ name, size, attachment: { id, preview_url } }) => {
    return { name, size, attachment: { id, name, preview_url } };
  });
  sessionStorage.setItem(`drafts of ${state.user}`, JSON.stringify(entries));
}

async function restoreDrafts() {
  for (const draft of JSON.parse(sessionStorage.getItem(`drafts of ${state.user}`) ?? "[]")) {
    const record = await recordOf(draft.attachment.id).catch(() => null);
    if (record?.state === "ready" && !record.thread_id) { putDraft(draft); showReady(draft); }
    else if (record?.state === "pending") discard(draft);
  }
  keepDrafts();
}
