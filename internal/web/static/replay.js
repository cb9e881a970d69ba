// Replays a recording piece by piece: the gateway sends a few hundred
// kilobytes at a time, with the screen as it was where one jumps to, so a
// recording of any length plays and seeks in the memory of two pieces.

export function replay(el, look) {
  const tools = document.getElementById("player-tools");
  const skipped = document.getElementById("player-skipped");
  const control = {};
  const player = window.AsciinemaPlayer.create((bus) => driver(bus, el.dataset, control, skipped), el, look);
  for (const box of tools?.querySelectorAll("select, input[type=checkbox]") ?? []) {
    const apply = () => (box.type === "checkbox" ? (control.idle = box.checked ? 2 : Infinity) : control.pace?.(Number(box.value)));
    box.addEventListener("change", apply);
    apply();
  }
  const jump = document.getElementById("player-jump");
  jump?.addEventListener("submit", (e) => {
    e.preventDefault();
    const at = seconds(jump.elements.at.value);
    if (Number.isFinite(at)) player.seek(at);
  });
  if (tools) tools.hidden = false;
  // Moments of the timeline are links; with a player on the page they seek.
  document.addEventListener("click", (e) => {
    const link = e.target.closest?.("a[data-seek]");
    if (!link || e.metaKey || e.ctrlKey) return;
    if (link.dataset.channel && link.dataset.channel !== el.dataset.channel) return;
    e.preventDefault();
    player.seek(Number(link.dataset.seek));
    el.scrollIntoView({ block: "nearest" });
  });
  return player;
}

function seconds(text) {
  return text.trim().split(":").reduce((sum, part) => sum * 60 + Number(part || NaN), 0);
}

function driver({ dispatch }, { pieces, channel, start }, control, skipped) {
  let piece, next, index = 0; // what plays, what comes after it, and where in it
  let base = Number(start) || 0, since = 0, playing = false, speed = 1;
  let round = 0, wake = () => {}; // whatever waits belongs to a round, and ends with it
  let ended = false;

  const now = () => (playing ? base + ((performance.now() - since) / 1000) * speed : base);
  const anchor = (t) => ((base = t), (since = performance.now()));
  const reset = () => dispatch("reset", { size: { cols: piece.cols, rows: piece.rows }, init: piece.init });
  const stop = () => (round++, wake(), (playing = false));

  async function fetchPiece(after, screen) {
    const answer = await fetch(`${pieces}?ch=${channel}&after=${after}${screen ? "&screen" : ""}`);
    if (!answer.ok) throw new Error(answer.status === 401 ? "You are signed out here." : `The recording answers ${answer.status}.`);
    return answer.json();
  }

  function show([, code, data]) {
    if (code === "o") dispatch("output", data);
    else if (code === "r") {
      const [cols, rows] = data.split("x").map(Number);
      dispatch("resize", { cols, rows });
    }
  }

  function pause(ms) {
    return new Promise((done) => {
      const timer = setTimeout(done, ms);
      wake = () => (clearTimeout(timer), done());
    });
  }

  async function run() {
    const mine = round;
    try {
      while (mine === round) {
        if (index >= piece.events.length) {
          if (piece.next === null) break;
          const here = now();
          const waiting = setTimeout(() => dispatch("loading"), 500);
          const got = await (next ?? fetchPiece(piece.next, false));
          clearTimeout(waiting);
          if (mine !== round) return;
          dispatch("playing");
          [piece, next, index] = [got, undefined, 0];
          anchor(Math.max(here, got.from));
          continue;
        }
        if (!next && piece.next !== null && index * 2 >= piece.events.length) {
          next = fetchPiece(piece.next, false);
          next.catch(() => {});
        }
        const [at] = piece.events[index];
        const left = (at - now()) / speed;
        const idle = control.idle ?? Infinity;
        if (left > idle) {
          if (skipped) skipped.textContent = `skipped ${Math.round((left - idle) * speed)} s of nothing`;
          anchor(at - idle * speed);
          continue;
        }
        if (left > 0.008) {
          await pause(left * 1000);
          continue;
        }
        show(piece.events[index++]);
      }
      if (mine !== round) return;
      const rest = Math.min((piece.duration - now()) / speed, control.idle ?? Infinity);
      if (rest > 0) await pause(rest * 1000);
      if (mine !== round) return;
      stop();
      base = piece.duration;
      ended = true;
      dispatch("ended", { message: "End of the recording" });
    } catch (e) {
      if (mine !== round) return;
      stop();
      dispatch("error", { name: "Error", message: String(e.message ?? e) });
    }
  }

  function target(where) {
    if (typeof where === "number") return where;
    const jumps = { "<<": -5, ">>": 5, "<<<": -0.1 * piece.duration, ">>>": 0.1 * piece.duration };
    if (where in jumps) return now() + jumps[where];
    if (typeof where === "string" && where.endsWith("%")) return (Number.parseFloat(where) / 100) * piece.duration;
    return undefined;
  }

  async function seek(where) {
    let at = target(where);
    if (at === undefined || Number.isNaN(at)) return false;
    at = Math.min(Math.max(at, 0), piece.duration);
    const was = playing;
    stop();
    const mine = round;
    const got = await fetchPiece(Math.round(at * 1e9), true);
    if (mine !== round) return false;
    [piece, next, index, ended] = [got, undefined, 0, false];
    base = at;
    reset();
    remember(at);
    if (was) {
      playing = true;
      anchor(at);
      run();
    }
    dispatch("seeked");
    return true;
  }

  // For whoever shares the address of a moment.
  function remember(at) {
    const url = new URL(location.href);
    url.searchParams.set("t", at.toFixed(1));
    history.replaceState(null, "", url);
  }

  control.pace = (x) => {
    if (playing) anchor(now());
    speed = x;
    wake();
  };

  return {
    async init() {
      piece = await fetchPiece(base > 0 ? Math.round(base * 1e9) : -1, base > 0);
      dispatch("metadata", { duration: piece.duration, markers: [], hasAudio: false });
      reset();
      // Before it plays it shows something: the first screenful.
      if (base === 0) for (const ev of piece.events) {
        if (ev[0] > 1) break;
        show(ev), index++;
      }
    },
    play() {
      if (playing) return true;
      if (ended) return seek(0).then(() => this.play());
      dispatch("play");
      playing = true;
      anchor(base);
      dispatch("playing");
      run();
      return true;
    },
    pause() {
      base = now();
      stop();
      dispatch("pause");
      return true;
    },
    seek,
    stop,
    getDuration: () => piece?.duration,
    getCurrentTime: () => Math.min(now(), piece?.duration ?? 0),
  };
}
