// Plays what is inside this document: nothing is loaded from anywhere.
for (const place of document.querySelectorAll(".player")) {
  const packed = document.getElementById(place.dataset.cast).textContent;
  const bytes = Uint8Array.from(atob(packed), (c) => c.charCodeAt(0));
  const text = new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  AsciinemaPlayer.create({ data: () => text }, place, { fit: "width", idleTimeLimit: 2, preload: true, poster: "npt:1", terminalFontFamily: "ui-monospace, Menlo, Consolas, monospace" });
}
