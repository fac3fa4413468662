// What a browser adds to pages that can be read without it: they stay fresh while they are open,
// times are told as "3 min ago", an action asks in a dialog, and a search needs no button.
//
// The node renders everything. Here nothing is decided and no text of a pipeline becomes markup:
// elements come whole from the node, escaped by its templates.

const live = document.getElementById("live");

// Times.

const UNITS = [["d", 86400], ["h", 3600], ["min", 60]];

function ago(seconds) {
  const size = Math.abs(seconds);
  const [unit, length] = UNITS.find(([, length]) => size >= length) ?? ["s", 1];
  if (size < 5) return "just now";
  const text = `${Math.floor(size / length)} ${unit}`;
  return seconds < 0 ? `in ${text}` : `${text} ago`;
}

function tellTimes(within = document) {
  for (const time of within.querySelectorAll("time[datetime]")) {
    const text = ago((Date.now() - Date.parse(time.dateTime)) / 1000);
    if (time.textContent !== text) time.textContent = text;
  }
}

// Live parts.

const waiting = new Map(); // by id: the newest of each part that somebody types in

// A part that somebody types in stays until the focus has left it: for its button, not yet.
const isBusy = (element) => {
  const focus = document.activeElement;
  if (!element.contains(focus)) return false;
  return waiting.has(element.id) || focus.matches("input, select, textarea");
};

// A moment later: a button outside that took the focus is still being pressed.
document.addEventListener("focusout", () => setTimeout(() => {
  for (const [id, html] of waiting) replacePart(id, html);
}, 300));

function keepWhatIsOpen(old, fresh) {
  for (const details of fresh.querySelectorAll("details[id]")) {
    const before = document.getElementById(details.id);
    if (before && old.contains(before)) details.open = before.open;
  }
}

function keepWhatIsTyped(old, fresh) {
  for (const field of fresh.querySelectorAll("input[id]")) {
    const before = document.getElementById(field.id);
    if (before && old.contains(before) && before.value !== before.defaultValue) {
      field.value = before.value;
    }
  }
}

// The element that has the focus, found again in what came in its place.
function placeOf(element) {
  if (!element || element === document.body) return null;
  const key = element.id ? `[id="${CSS.escape(element.id)}"]` : element.getAttribute("href");
  return key && (element.id ? key : `a[href="${CSS.escape(key)}"]`);
}

function replacePart(id, html) {
  const old = document.getElementById(id);
  if (old && isBusy(old)) return waiting.set(id, html);
  waiting.delete(id); // also where the part is gone
  if (!old) return;
  const template = document.createElement("template");
  template.innerHTML = html.trim();
  const fresh = template.content.firstElementChild;
  keepWhatIsOpen(old, fresh);
  keepWhatIsTyped(old, fresh);
  tellTimes(fresh);
  if (old.isEqualNode(fresh)) return;
  const focused = old.contains(document.activeElement) ? placeOf(document.activeElement) : null;
  say(old, fresh);
  old.replaceWith(fresh);
  if (focused) fresh.querySelector(focused)?.focus();
}

// A screen reader is told of a new state, and not of every percent.
function say(old, fresh) {
  const state = (element) => element.querySelector(".chip")?.textContent.replace(/\s*\d+ %/, "");
  const name = (element) => element.querySelector("h1, h3")?.textContent.trim();
  if (!fresh.matches(".card, .standing") || state(old) === state(fresh)) return;
  announce(`${name(fresh)}: ${state(fresh).replace("cache: ", "")}`);
}

let quiet;
function announce(text) {
  live.textContent = text;
  clearTimeout(quiet);
  quiet = setTimeout(() => { live.textContent = ""; }, 6000);
}

let stream;
function listen() {
  const address = document.getElementById("main").dataset.live;
  if (!address || stream || document.hidden) return;
  stream = new EventSource(address);
  stream.addEventListener("parts", (event) => {
    for (const [id, html] of Object.entries(JSON.parse(event.data))) replacePart(id, html);
    document.documentElement.dataset.fresh = "yes";
  });
  stream.addEventListener("over", (event) => {
    hush();
    if (event.data === "again") return listen(); // the node asks anew who listens
    // The session or the node has ended, or what was shown is gone: the page as it is says which.
    setTimeout(startOver, 1500);
  });
  stream.addEventListener("error", () => {
    if (stream?.readyState !== EventSource.CLOSED) return announce("Not live: the node is silent");
    hush(); // the browser does not try again by itself: the stream was refused
    lookAgain();
  });
}

// Load the page anew once there is somebody to answer; until then what is shown stays.
async function startOver() {
  try {
    await fetch(location.href, { headers: { Accept: "text/html" } });
    location.reload();
  } catch {
    announce("Not live: the node does not answer");
    setTimeout(startOver, 5000);
  }
}

// A session that has ended leads to the sign-in page; any other refusal may be over in a while.
async function lookAgain() {
  announce("Not live: trying again");
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } }).catch(() => null);
  if (answer?.redirected) location.reload();
  else setTimeout(listen, 10000);
}

function hush() {
  stream?.close();
  stream = undefined;
}

document.addEventListener("visibilitychange", () => (document.hidden ? hush() : listen()));
addEventListener("pagehide", hush);
addEventListener("pageshow", listen);

// Actions: the page that asks, shown in a dialog.

async function fetchPage(address) {
  const answer = await fetch(address, { headers: { Accept: "text/html" }, credentials: "same-origin" });
  if (!answer.ok || answer.redirected) throw new Error(`${answer.status}`);
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

async function ask(link) {
  const form = (await fetchPage(link.href)).getElementById("ask");
  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-label", form.querySelector("h1").textContent);
  dialog.append(form);
  if (document.querySelector("dialog")) return; // a second click, while the first was on its way
  form.querySelector("[data-close]").addEventListener("click", (event) => {
    event.preventDefault();
    dialog.close();
  });
  dialog.addEventListener("close", () => {
    dialog.remove();
    document.querySelector(`a[data-ask][href="${CSS.escape(link.getAttribute("href"))}"]`)?.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[data-ask]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  ask(link).catch(() => { location.href = link.href; }); // the page itself says what is wrong
});

// Search while typing.

const search = document.querySelector("form[data-search]");
let typing, latest;
async function find() {
  const address = `/?${new URLSearchParams(new FormData(search))}`;
  latest = address;
  const page = await fetchPage(address);
  if (latest !== address) return; // somebody has typed on, and that answer was faster
  for (const id of ["summary", "cards"]) replacePart(id, page.getElementById(id).outerHTML);
  const main = document.getElementById("main");
  main.dataset.live = page.getElementById("main").dataset.live;
  history.replaceState(null, "", address);
  hush();
  listen();
}
search?.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => find().catch(() => search.submit()), 250);
});

// What was just done is said once, not again when the page is reloaded.

if (document.querySelector("[data-done]")) {
  const address = new URL(location.href);
  address.searchParams.delete("done");
  history.replaceState(null, "", address);
}

tellTimes();
setInterval(tellTimes, 10000);
listen();
