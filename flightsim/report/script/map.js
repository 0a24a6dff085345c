// ------------------------------------------------------------------ map
const map = one("#map-svg"), mapBox = one("#map .map"), base = { x: D.view[0], y: D.view[1], w: D.view[2], h: D.view[3] };
let view = { ...base };
const tileDeg = D.tile_km / 111.2;
const marks = one("#tile-marks"), trackLayer = one("#track"), craftLayer = one("#craft");
const areas = all("#areas .area").map((node) => ({ node, name: node.dataset.area, lon: +node.dataset.lon, lat: +node.dataset.lat, tiles: [] }));
const areaByName = new Map(areas.map((area) => [area.name, area]));
for (let k = 0; k < n; k++) areaByName.get(D.areas[tiles.area[k]])?.tiles.push(k);
const stations = all("#stations .station").map((node) => ({ node, lon: +node.dataset.lon, lat: +node.dataset.lat }));
const most = Math.max(1, ...areas.map((area) => area.tiles.reduce((sum, k) => sum + questions[k].filter((q) => q.kind !== ALARM).length, 0)));
const unit = () => view.w / Math.max(1, map.clientWidth);

// When it is known how a question ended: a find when it is known, the rest when its tile's story is over.
function settled(k, question) {
  if (question.kind === FOUND) return question.known;
  if (tiles.d[k] !== null) return tiles.d[k];
  const action = D.actions[tiles.action[k]];
  return action === "nothing" || action === "undecided" ? tiles.t[k] : horizon;
}
function kindAt(k) {
  if (time !== null && tiles.t[k] > time) return null;
  let kind = "quiet", pending = false;
  for (const question of askedOf(k)) {
    if (time !== null && settled(k, question) > time) { pending = true; continue; }
    if (question.kind === MISSED) kind = "missed";
    else if (question.kind === ALARM && kind !== "missed") kind = "alarm";
    else if (kind === "quiet") kind = "found";
  }
  if (kind === "quiet" && (pending || (time !== null && tiles.d[k] !== null && tiles.d[k] > time))) return "pending";
  return kind;
}

function drawDisc(area) {
  const counts = [0, 0, 0];
  let visible = 0;
  for (const k of area.tiles) {
    if (!shownSet[k] || (time !== null && tiles.t[k] > time)) continue;
    visible++;
    for (const question of askedOf(k)) if (time === null || settled(k, question) <= time) counts[question.kind]++;
  }
  const total = counts[0] + counts[1] + counts[2];
  const title = one("title", area.node);
  title.textContent = `${area.name}: ${visible} tiles, ${counts[0]} events found, ${counts[1]} missed, ${counts[2]} false alarms`;
  area.node.replaceChildren(title);
  area.node.classList.toggle("faint", visible === 0);
  area.node.classList.toggle("chosen", filter.area === area.name);
  if (!total) { svg("circle", { class: "ring", r: 4 }, area.node); return; }
  const r = 4 + 7 * Math.sqrt(Math.min(1, (counts[0] + counts[1]) / most));
  let angle = 0;
  counts.forEach((value, kind) => {
    const share = value / total;
    if (share >= 1) svg("circle", { class: KINDS[kind], r }, area.node);
    else if (share > 0) {
      const end = angle + 2 * Math.PI * share;
      svg("path", { class: KINDS[kind], d: `M0,0L${r * Math.sin(angle)},${-r * Math.cos(angle)}A${r},${r} 0 ${share > 0.5 ? 1 : 0} 1 ${r * Math.sin(end)},${-r * Math.cos(end)}Z` }, area.node);
      angle = end;
    }
  });
}

// Several visits of one place stand side by side in its cell, the earliest on the left.
const visits = (() => {
  const places = new Map();
  tiles.id.forEach((id, k) => {
    const place = id.slice(0, id.lastIndexOf("@"));
    if (!places.has(place)) places.set(place, []);
    places.get(place).push(k);
  });
  const found = new Array(n);
  for (const rows of places.values())
    rows.sort((a, b) => tiles.t[a] - tiles.t[b]).forEach((k, nth) => { found[k] = { nth, of: rows.length }; });
  return found;
})();
function drawTiles() {
  const u = unit(), close = tileDeg / u >= 5, nodes = [], dots = { quiet: "", pending: "", found: "", alarm: "", missed: "" };
  for (const k of shown) {
    const lon = tiles.lon[k], lat = tiles.lat[k];
    if (lon === null || (!close && areaByName.has(D.areas[tiles.area[k]]))) continue;
    if (lon < view.x - tileDeg * 3 || lon > view.x + view.w + tileDeg * 3 || -lat < view.y - tileDeg || -lat > view.y + view.h + tileDeg) continue;
    const kind = kindAt(k);
    if (kind === null) continue;
    if (!close) { dots[kind] += `M${lon},${-lat}h0`; continue; }
    nodes.push([kind, k]);
  }
  marks.replaceChildren();
  for (const [kind, path] of Object.entries(dots)) if (path) svg("path", { class: `dots ${kind}`, d: path }, marks);
  const rank = { quiet: 0, pending: 1, found: 2, alarm: 3, missed: 4 };
  nodes.sort((a, b) => rank[a[0]] - rank[b[0]]);
  for (const [kind, k] of nodes) {
    const { nth, of } = visits[k], room = tileDeg / Math.max(0.1, Math.cos((tiles.lat[k] * Math.PI) / 180));
    const half = Math.min(0.42 * tileDeg, (0.45 * room) / of), lon = tiles.lon[k] + ((nth + 0.5) / of - 0.5) * 0.9 * room;
    svg("path", { class: kind, d: D.shapes[kind === "pending" ? "quiet" : kind], transform: `translate(${lon},${-tiles.lat[k]}) scale(${half})` }, marks);
  }
  one("#areas").style.display = close ? "none" : "";
}

const tracks = D.tracks.map((track) => {
  const sums = (steps) => { let at = 0; return steps.map((step) => (at += step) / 10); };
  return { name: track.name, step: track.step_s, lat: sums(track.lat), lon: sums(track.lon) };
});
function place(track, at) {
  const x = clamp(at / track.step, 0, track.lat.length - 1), k = Math.min(Math.floor(x), track.lat.length - 2), f = x - k;
  let turn = track.lon[k + 1] - track.lon[k];
  turn -= 360 * Math.round(turn / 360);
  const lon = track.lon[k] + f * turn;
  return [lon - 360 * Math.round(lon / 360), track.lat[k] + f * (track.lat[k + 1] - track.lat[k])];
}
const ORBIT_S = 5700;  // about one revolution in low orbit is drawn behind the spacecraft
function drawCraft() {
  const at = time === null ? horizon : time, u = unit();
  trackLayer.replaceChildren(); craftLayer.replaceChildren();
  for (const station of stations) station.node.classList.remove("linked");
  for (const track of tracks) {
    let path = "", before = null;
    for (let t = Math.max(0, at - ORBIT_S); t <= at; t += track.step) {
      const [lon, lat] = place(track, t);
      path += `${before !== null && Math.abs(lon - before) < 180 ? "L" : "M"}${lon.toFixed(2)},${(-lat).toFixed(2)}`;
      before = lon;
    }
    svg("path", { class: "track", d: path }, trackLayer);
  }
  if (time === null) return;
  const held = playing ? 0.5 * rate() : 0;  // a pass is short: while playing it stays lit for half a second
  for (const [station, craft, aos, los] of D.contacts) {
    if (craft < 0 || station < 0 || at < aos || at > los + held) continue;
    const [lon, lat] = place(tracks[craft], Math.min(at, los)), [, slat, slon] = D.stations[station];
    let dx = slon - lon;
    dx -= 360 * Math.round(dx / 360);
    svg("path", { class: "link", d: `M${lon},${-lat}L${lon + dx},${-slat}` }, craftLayer);
    stations[station]?.node.classList.add("linked");
  }
  for (const track of tracks) {
    const [lon, lat] = place(track, at);
    const g = svg("g", { class: "craft", transform: `translate(${lon.toFixed(3)},${(-lat).toFixed(3)}) scale(${u})` }, craftLayer);
    svg("circle", { r: 6 }, g);
    svg("title", {}, g).textContent = track.name;
  }
}

function drawMap() {
  const u = unit();
  map.setAttribute("viewBox", `${view.x} ${view.y} ${view.w} ${view.h}`);
  for (const { node, lon, lat } of [...areas, ...stations]) node.setAttribute("transform", `translate(${lon},${-lat}) scale(${u})`);
  for (const { node, lon } of stations) {
    const text = one("text", node), right = lon > view.x + 0.8 * view.w;
    text.setAttribute("text-anchor", right ? "end" : "start");
    text.setAttribute("x", right ? -9 : 9);
  }
  for (const area of areas) drawDisc(area);
  drawTiles();
  drawCraft();
  drawClock();
}
function look(x, y, w) {
  w = clamp(w, 0.03, base.w);
  const h = (w * base.h) / base.w;
  view = { x: clamp(x, base.x, base.x + base.w - w), y: clamp(y, base.y, base.y + base.h - h), w, h };
  drawMap();
}
function zoomMap(factor, fx = 0.5, fy = 0.5) {
  const w = clamp(view.w * factor, 0.03, base.w);
  look(view.x + fx * (view.w - w), view.y + (fy * (view.w - w) * base.h) / base.w, w);
}
function centre(lon, lat, w) { look(lon - w / 2, -lat - (w * base.h) / base.w / 2, w); }
function zoomToArea(name) {
  const area = areaByName.get(name);
  if (!area) { look(base.x, base.y, base.w); return; }
  const lons = area.tiles.map((k) => tiles.lon[k]), lats = area.tiles.map((k) => tiles.lat[k]);
  const high = Math.max(...lats) - Math.min(...lats) + 2 * tileDeg, wide = Math.max(...lons) - Math.min(...lons) + 3 * tileDeg;
  centre(area.lon, area.lat, 1.1 * Math.max(wide, (high * base.w) / base.h));
}
function showTile(k) {
  if (tiles.lon[k] === null) return;
  centre(tiles.lon[k], tiles.lat[k], 14 * tileDeg);
  one("#map").scrollIntoView({ block: "center" });
  mapBox.focus({ preventScroll: true });
  one("#map-hover").textContent = tileWords(k);
}
const tileWords = (k) => `${tiles.id[k]}: ${outcomeOf(k) || "no event"}; ${D.actions[tiles.action[k]]}, ${D.states[tiles.state[k]].replaceAll("_", " ")}`;
const inMap = (event) => {
  const box = map.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
};
let grabbed = null;
map.addEventListener("pointerdown", (event) => { grabbed = { at: inMap(event), view: { ...view }, moved: false }; });
map.addEventListener("pointermove", (event) => {
  const [fx, fy] = inMap(event);
  if (grabbed) {
    const dx = fx - grabbed.at[0], dy = fy - grabbed.at[1];
    if (!grabbed.moved && Math.abs(dx) + Math.abs(dy) < 0.01) return;
    if (!grabbed.moved) { grabbed.moved = true; map.setPointerCapture(event.pointerId); map.classList.add("dragging"); }
    look(grabbed.view.x - dx * view.w, grabbed.view.y - dy * view.h, view.w);
    return;
  }
  if (tileDeg / unit() < 5) return;
  const lon = view.x + fx * view.w, lat = -(view.y + fy * view.h);
  const near = shown.filter((k) => Math.abs(tiles.lat[k] - lat) < tileDeg / 2 && Math.abs(tiles.lon[k] - lon) * Math.cos((lat * Math.PI) / 180) < tileDeg / 2);
  if (near.length) one("#map-hover").textContent = tileWords(near[near.length - 1]);
});
const release = (event) => {
  if (grabbed && !grabbed.moved && event.type === "pointerup") {
    const area = event.target.closest?.(".area");
    if (area) { filter.area = filter.area === area.dataset.area ? "" : area.dataset.area; refresh(); zoomToArea(filter.area); }
  }
  grabbed = null;
  map.classList.remove("dragging");
};
map.addEventListener("pointerup", release);
map.addEventListener("pointercancel", release);
// The wheel belongs to the page until a figure was chosen.
const chosen = (box, event) => event.ctrlKey || box === document.activeElement;
mapBox.addEventListener("wheel", (event) => {
  if (!chosen(mapBox, event)) return;
  event.preventDefault();
  zoomMap(event.deltaY > 0 ? 1.25 : 0.8, ...inMap(event));
}, { passive: false });
const moves = { reset: () => look(base.x, base.y, base.w), in: () => zoomMap(0.6), out: () => zoomMap(1 / 0.6) };
for (const button of all("[data-map]")) button.addEventListener("click", () => moves[button.dataset.map]());
mapBox.addEventListener("keydown", (event) => {
  const step = 0.15 * view.w, keys = {
    "+": moves.in, "=": moves.in, "-": moves.out, 0: moves.reset, " ": toggle,
    ArrowLeft: () => look(view.x - step, view.y, view.w), ArrowRight: () => look(view.x + step, view.y, view.w),
    ArrowUp: () => look(view.x, view.y - step, view.w), ArrowDown: () => look(view.x, view.y + step, view.w),
  };
  if (!keys[event.key] || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  keys[event.key]();
});
