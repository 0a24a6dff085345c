// ------------------------------------------------------------------ play
const slider = one("#time"), playButton = one("#play"), clock = one("#clock");
let playing = false, lastFrame = null;
slider.max = Math.ceil(horizon);
slider.step = 60;
slider.value = slider.max;
const rate = () => (horizon / 90) * Number(one("#speed").value);  // seconds of the run in a second of yours
function drawClock() {
  const at = time === null ? horizon : time;
  clock.textContent = time === null ? "whole run" : moment(time);
  slider.setAttribute("aria-valuetext", clock.textContent);
  let known = 0, taken = 0, down = 0;
  for (let k = 0; k < n; k++) if (tiles.t[k] <= at) taken++;
  for (const question of D.questions) if (question[2] === FOUND && question[4] !== null && question[4] <= at) known++;
  for (const [, , aos, los, , air] of D.contacts) down += air * clamp((at - aos) / Math.max(1, los - aos), 0, 1);
  one("#ticker").textContent = `${count(taken)} tiles imaged · ${bytes(down)} radiated · ${count(known)} true events known on the ground`;
  drawCursor();
}
function setTime(at) {
  time = at >= horizon ? null : Math.max(0, at);
  slider.value = time === null ? slider.max : time;
  drawMap();
}
function frame(now) {
  if (!playing) return;
  if (lastFrame !== null) {
    const gone = (now - lastFrame) / 1000;
    // Without motion: two still pictures a second instead of a film.
    if (calm.matches && gone < 0.5) { requestAnimationFrame(frame); return; }
    const at = (time ?? 0) + Math.min(gone, 1) * rate();
    if (at >= horizon) { stop(); setTime(horizon); return; }
    setTime(at);
  }
  lastFrame = now;
  requestAnimationFrame(frame);
}
function stop() {
  playing = false;
  playButton.textContent = "▶ Play";
  playButton.setAttribute("aria-pressed", "false");
}
function toggle() {
  if (playing) { stop(); return; }
  playing = true;
  lastFrame = null;
  if (time === null) setTime(0);
  playButton.textContent = "⏸ Pause";
  playButton.setAttribute("aria-pressed", "true");
  requestAnimationFrame(frame);
}
playButton.addEventListener("click", toggle);
slider.addEventListener("input", () => setTime(Number(slider.value)));
slider.addEventListener("keydown", (event) => {
  if (event.key === " ") { event.preventDefault(); toggle(); }
  const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
  if (!step) return;
  event.preventDefault();
  setTime((time ?? horizon) + step * (event.shiftKey ? 6 : 1) * 600);
});

// ------------------------------------------------------------------ timeline
const lanes = one(".lanes"), axis = one(".axis"), end = horizon / 3600, brush = one(".brush"), cursor = one(".cursor");
let window_h = [0, end];
const STEPS_H = [1 / 6, 0.5, 1, 3, 6, 12, 24, 48, 120, 168, 336, 720, 2160];
function drawLanes() {
  const [from, to] = window_h;
  for (const lane of all(".lane svg")) lane.setAttribute("viewBox", `${from} 0 ${to - from} 100`);
  const step = STEPS_H.find((value) => (to - from) / value <= Math.max(3, lanes.clientWidth / 110)) ?? 8760;
  const shift = D.start_ms === null ? 0 : ((D.start_ms / 3600000) % 24);
  const ticks = [];
  for (let at = Math.ceil((from + shift) / step) * step - shift; at <= to; at += step) {
    const tick = document.createElement("span"), text = moment(at * 3600);
    tick.textContent = D.start_ms === null ? text : step >= 24 ? text.split(" ").slice(0, 2).join(" ") : text.replace(" UTC", "");
    tick.style.left = `${(100 * (at - from)) / (to - from)}%`;
    ticks.push(tick);
  }
  axis.replaceChildren(...ticks);
  drawCursor();
  if (one("#span-filter").checked) { filter.span = [from * 3600, to * 3600]; refresh(); }
}
function drawCursor() {
  if (!cursor) return;
  const at = time === null ? -1 : (time / 3600 - window_h[0]) / (window_h[1] - window_h[0]);
  cursor.hidden = at < 0 || at > 1;
  cursor.style.left = `${100 * at}%`;
}
function lookAt(from, to) {
  const wide = clamp(to - from, 0.05, end);
  from = clamp(from, 0, end - wide);
  window_h = [from, from + wide];
  drawLanes();
}
function zoomTime(factor, share = 0.5) {
  const wide = window_h[1] - window_h[0], at = window_h[0] + share * wide;
  lookAt(at - share * wide * factor, at + (1 - share) * wide * factor);
}
const pans = { reset: () => lookAt(0, end), in: () => zoomTime(0.5), out: () => zoomTime(2) };
for (const button of all("[data-time]")) button.addEventListener("click", () => pans[button.dataset.time]());
one("#span-filter").addEventListener("change", (event) => {
  filter.span = event.target.checked ? [window_h[0] * 3600, window_h[1] * 3600] : null;
  refresh();
});
const shareOf = (event) => { const box = lanes.getBoundingClientRect(); return clamp((event.clientX - box.left) / box.width, 0, 1); };
function levelAt(lane, at) {
  const { t, v } = D.lanes[lane];
  let low = 0, high = t.length;
  while (low < high) { const middle = (low + high) >> 1; if (t[middle] <= at) low = middle + 1; else high = middle; }
  return low ? v[low - 1] : 0;
}
function read(share) {
  const at = 3600 * (window_h[0] + share * (window_h[1] - window_h[0])), near = (window_h[1] - window_h[0]) * 3600 * 0.006;
  const contact = D.contacts.find(([, , aos, los]) => at >= aos - near && at <= los + near);
  const told = contact ? `; contact ${contact[6]}: ${bytes(contact[5])} of ${bytes(contact[4])}` : "";
  one("#timeline-values").textContent = `${moment(at)}: ${bytes(levelAt("queue", at))} waiting for the link, ${bytes(levelAt("storage", at))} stored, ${count(levelAt("waiting", at))} tiles waiting${told}`;
}
let dragged = null;
lanes.addEventListener("pointerdown", (event) => { dragged = shareOf(event); lanes.setPointerCapture(event.pointerId); });
lanes.addEventListener("pointermove", (event) => {
  const at = shareOf(event);
  read(at);
  if (dragged === null || Math.abs(at - dragged) < 0.01) return;
  brush.hidden = false;
  brush.style.left = `${100 * Math.min(at, dragged)}%`;
  brush.style.width = `${100 * Math.abs(at - dragged)}%`;
});
lanes.addEventListener("pointerup", (event) => {
  const at = shareOf(event), wide = window_h[1] - window_h[0];
  if (dragged !== null && Math.abs(at - dragged) >= 0.01)
    lookAt(window_h[0] + Math.min(at, dragged) * wide, window_h[0] + Math.max(at, dragged) * wide);
  else if (dragged !== null) setTime(3600 * (window_h[0] + at * wide));
  dragged = null;
  brush.hidden = true;
});
lanes.addEventListener("pointercancel", () => { dragged = null; brush.hidden = true; });
lanes.addEventListener("wheel", (event) => {
  if (!chosen(lanes, event)) return;
  event.preventDefault();
  zoomTime(event.deltaY > 0 ? 1.25 : 0.8, shareOf(event));
}, { passive: false });
lanes.addEventListener("keydown", (event) => {
  const step = 0.2 * (window_h[1] - window_h[0]), keys = {
    "+": pans.in, "=": pans.in, "-": pans.out, 0: pans.reset, Home: pans.reset, " ": toggle,
    ArrowLeft: () => lookAt(window_h[0] - step, window_h[1] - step), ArrowRight: () => lookAt(window_h[0] + step, window_h[1] + step),
  };
  if (!keys[event.key] || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  keys[event.key]();
});
addEventListener("resize", () => { drawMap(); drawLanes(); });

refresh();
drawLanes();
