// The page works without this file. With it: live updates, the player, and
// times that stay true while the page is open.

const changed = document.getElementById("changed");

// Live: the server says only that something changed. A page with a form that
// somebody is filling in is not pulled away from under them.
if (document.body.hasAttribute("data-live") && "EventSource" in window) {
  const source = new EventSource("/events");
  let timer;
  source.addEventListener("changed", () => {
    clearTimeout(timer);
    timer = setTimeout(refresh, 150);
  });
  const out = () => {
    source.close();
    changed.firstElementChild.textContent = "You are signed out here. Sign in again";
    changed.hidden = false;
  };
  source.addEventListener("out", out);
  // A stream that is refused is closed for good; a broken one reconnects.
  source.addEventListener("error", () => source.readyState === EventSource.CLOSED && out());
  addEventListener("pagehide", () => source.close());
}

function busy() {
  const el = document.activeElement;
  if (el && /^(INPUT|SELECT|TEXTAREA)$/.test(el.tagName)) return true;
  return [...document.querySelectorAll("main input:not([type=hidden])")].some((i) => i.value !== i.defaultValue);
}

async function refresh() {
  if (document.querySelector("#player, #watch")) return;
  if (busy()) {
    changed.hidden = false;
    return;
  }
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok) {
    changed.hidden = false;
    return;
  }
  const next = new DOMParser().parseFromString(await answer.text(), "text/html");
  const main = next.getElementById("main");
  if (main) document.getElementById("main").replaceWith(document.adoptNode(main));
}

function load(src) {
  return new Promise((done, failed) => {
    const script = document.createElement("script");
    Object.assign(script, { src, onload: done, onerror: failed });
    document.head.append(script);
  });
}

const look = { idleTimeLimit: 2, fit: "width", terminalFontFamily: "ui-monospace, Menlo, Consolas, monospace" };

const player = document.getElementById("player");
if (player && !player.hasAttribute("data-live")) {
  await load(player.dataset.script);
  const at = Number(player.dataset.start) || 0;
  window.AsciinemaPlayer.create(player.dataset.cast, player, { ...look, preload: true, startAt: at, poster: `npt:${at + 1}` });
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
      const p = window.AsciinemaPlayer.create({ driver: "eventsource", url: player.dataset.cast }, player, { ...look, autoPlay: true, idleTimeLimit: undefined });
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
