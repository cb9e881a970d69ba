// The page works without this file. With it: live updates, the player, and
// times that stay true while the page is open.

const changed = document.getElementById("changed");

// Live: the server says only that something changed. A page with a form that
// somebody is filling in is not pulled away from under them.
if (document.body.hasAttribute("data-live") && "EventSource" in window) {
  const source = new EventSource("/events?after=" + document.body.dataset.live);
  let due;
  source.addEventListener("changed", () => {
    due ??= setTimeout(() => {
      due = undefined;
      refresh();
    }, 150);
  });
  const over = (text) => {
    source.close();
    tell(text);
  };
  const out = () => over("You are signed out here. Sign in again");
  source.addEventListener("out", out);
  // A broken stream reconnects; one that is refused is closed for good, and does not say why.
  source.addEventListener("error", async () => {
    if (source.readyState !== EventSource.CLOSED) return;
    const answer = await fetch("/").catch(() => undefined);
    if (answer?.status === 401) out();
    else over("This page is not kept up to date any more. Open it again");
  });
  addEventListener("pagehide", () => source.close());
}

function tell(text) {
  changed.firstElementChild.textContent = text;
  changed.hidden = false;
}

// Passkeys: their module comes with the first click that needs it.
if (window.PublicKeyCredential) {
  document.documentElement.classList.add("passkeys");
  const passkeys = () => import(document.body.dataset.passkeys);
  for (const form of document.querySelectorAll("[data-sign-in-passkey]")) form.hidden = false;
  dress();
  addEventListener("click", async (e) => {
    const button = e.target.closest?.("[data-passkey]");
    if (button) (await passkeys()).useInstead(button.form);
  });
  addEventListener("submit", async (e) => {
    const form = e.target;
    const act = form.matches("[data-sign-in-passkey]") ? "signIn" : form.matches("[data-new-passkey]") ? "register" : "";
    if (!act) return;
    e.preventDefault();
    (await passkeys())[act](form);
  });
}

// A form's passkey button says what it does, and stands behind the one that
// sends the code.
function dress() {
  for (const button of document.querySelectorAll("[data-passkey]")) {
    const send = button.form.querySelector("button:not([type=button])"); // none: only a passkey will do
    if (!send) continue;
    button.textContent = `${send.textContent} with a passkey`;
    send.after(button);
  }
}

// busy: somebody is filling in a form, has opened one, or a passkey is asked.
function busy() {
  const el = document.activeElement;
  if (el && /^(INPUT|SELECT|TEXTAREA)$/.test(el.tagName)) return true;
  if (document.body.dataset.busy || document.querySelector("main details[open] form")) return true;
  return [...document.querySelectorAll("main input:not([type=hidden]), main textarea")].some((i) => i.value !== i.defaultValue || i.checked !== i.defaultChecked);
}

async function refresh() {
  if (!document.body.dataset.here || document.querySelector("#player, #watch")) return;
  const answer = await fetch(document.body.dataset.here, { headers: { Accept: "text/html" } }).catch(() => undefined);
  const next = answer?.ok && new DOMParser().parseFromString(await answer.text(), "text/html");
  const [main, now] = [next && next.getElementById("main"), document.getElementById("main")];
  if (!main || busy()) {
    // Somebody at a form reads whether it still leads anywhere.
    const form = document.activeElement?.form ?? now.querySelector(`details[open] form, form[action="${CSS.escape(location.pathname)}"]`);
    const gone = main && form && ![...main.querySelectorAll("form")].some((f) => f.getAttribute("action") === form.getAttribute("action"));
    tell(!answer ? "The gateway does not answer. Try again" : gone ? "This was answered or ended meanwhile: show it" : "Something changed here: show it");
    return;
  }
  changed.hidden = true;
  const at = now.contains(document.activeElement) ? document.activeElement : undefined;
  const same = at && (at.id ? `#${CSS.escape(at.id)}` : at.getAttribute("href") && `a[href="${CSS.escape(at.getAttribute("href"))}"]`);
  now.replaceWith(document.adoptNode(main));
  dress();
  if (same) main.querySelector(same)?.focus({ preventScroll: true }); // who goes by keyboard stays where they were
  if (document.title !== next.title) document.getElementById("said").textContent = document.title = next.title;
}

// A page of what goes on now looks again by itself.
const every = Number(document.querySelector("[data-refresh]")?.dataset.refresh);
const quiet = () => document.visibilityState === "visible" && !document.activeElement?.closest("main");
if (every) setInterval(() => quiet() && refresh(), every * 1000);

function load(src) {
  return new Promise((done, failed) => {
    const script = document.createElement("script");
    Object.assign(script, { src, onload: done, onerror: failed });
    document.head.append(script);
  });
}

const look = { fit: "width", terminalFontFamily: "ui-monospace, Menlo, Consolas, monospace" };

const player = document.getElementById("player");
if (player && !player.hasAttribute("data-live")) {
  const [{ replay }] = await Promise.all([import(player.dataset.module), load(player.dataset.script)]);
  replay(player, look);
}

// Watching begins with a click: it is recorded, so nobody does it by accident.
const watch = document.getElementById("watch-button");
if (watch) {
  const state = document.getElementById("watch-state");
  watch.hidden = false;
  watch.addEventListener("click", async () => {
    watch.hidden = true;
    state.textContent = "Live. That you watch is recorded.";
    if (player) {
      await load(player.dataset.script);
      const p = window.AsciinemaPlayer.create({ driver: "eventsource", url: player.dataset.cast }, player, { ...look, autoPlay: true });
      p.addEventListener("ended", () => (state.textContent = "The session has ended."));
      return;
    }
    const list = document.getElementById("watch");
    const source = new EventSource(list.dataset.watch);
    source.addEventListener("line", (e) => {
      const { at, text } = JSON.parse(e.data);
      const item = document.createElement("li");
      item.textContent = `${at}  ${text}`;
      list.append(item);
      while (list.children.length > 500) list.firstElementChild.remove();
      item.scrollIntoView({ block: "nearest" });
    });
    source.addEventListener("done", () => {
      source.close();
      state.textContent = "The session has ended.";
    });
    addEventListener("pagehide", () => source.close());
  });
}
