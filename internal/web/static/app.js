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
  source.addEventListener("out", () => {
    source.close();
    changed.firstElementChild.textContent = "You are signed out here. Sign in again";
    changed.hidden = false;
  });
  addEventListener("pagehide", () => source.close());
}

function busy() {
  const el = document.activeElement;
  if (el && /^(INPUT|SELECT|TEXTAREA)$/.test(el.tagName)) return true;
  return [...document.querySelectorAll("main input:not([type=hidden])")].some((i) => i.value !== i.defaultValue);
}

async function refresh() {
  if (document.getElementById("player")) return;
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

const player = document.getElementById("player");
if (player) {
  const script = document.createElement("script");
  script.src = player.dataset.script;
  script.onload = () => {
    window.AsciinemaPlayer.create(player.dataset.cast, player, {
      idleTimeLimit: 2, preload: true, fit: "width", terminalFontFamily: "ui-monospace, Menlo, Consolas, monospace",
    });
  };
  document.head.append(script);
}
