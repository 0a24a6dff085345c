// The page stands without its script; this adds filters, zoom, play and the whole table. The files of this folder
// are fragments of one function, joined in the order of page.py. Text from outside is only ever set as textContent.
const D = JSON.parse(document.getElementById("data").textContent);
const one = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const tiles = D.tiles, n = tiles.id.length, horizon = D.horizon_s;
const FOUND = 0, MISSED = 1, ALARM = 2, KINDS = ["found", "missed", "alarm"];
const calm = matchMedia("(prefers-reduced-motion: reduce)");
document.documentElement.classList.add("live");

// ------------------------------------------------------------------ small helpers
const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");
const two = (value) => String(value).padStart(2, "0");
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
function moment(time) {
  if (D.start_ms === null) return `day ${(time / 86400).toFixed(2)}`;
  const at = new Date(D.start_ms + time * 1000);
  return `${at.getUTCDate()} ${MONTHS[at.getUTCMonth()]} ${two(at.getUTCHours())}:${two(at.getUTCMinutes())} UTC`;
}
function significant(value) {
  return value >= 999.5 ? Math.round(value).toString() : Number(value.toPrecision(3)).toString();
}
function bytes(size) {
  for (const [unit, scale] of [["TB", 1e12], ["GB", 1e9], ["MB", 1e6], ["kB", 1e3]])
    if (size >= scale) return `${significant(size / scale)} ${unit}`;
  return `${Math.round(size)} B`;
}
function span(time) {
  for (const [unit, scale] of [["d", 86400], ["h", 3600], ["min", 60]])
    if (time >= scale) return `${significant(time / scale)} ${unit}`;
  return `${significant(time)} s`;
}
const count = (value) => value.toLocaleString("en-US");
function svg(tag, attributes, parent) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (parent) parent.append(node);
  return node;
}

// ------------------------------------------------------------------ which tiles
const questions = Array.from({ length: n }, () => []);
for (const [tile, schema, kind, cause, known, posterior] of D.questions)
  questions[tile].push({ schema, kind, known, posterior, cause: kind === MISSED ? D.miss[cause] : kind === ALARM ? D.alarm[cause] : null });
const indexOf = new Map(tiles.id.map((id, k) => [id, k]));
const filter = { outcome: "", cause: "", schema: "", area: "", action: "", span: null };
let shown = [], shownSet = new Uint8Array(n), time = null;

function asked(question) {
  return (!filter.schema || D.schema_ids[question.schema] === filter.schema)
    && (!filter.outcome || KINDS[question.kind] === filter.outcome)
    && (!filter.cause || (question.cause !== null && question.cause[0] === filter.cause));
}
function matches(k) {
  if (filter.area && D.areas[tiles.area[k]] !== filter.area) return false;
  if (filter.action && D.actions[tiles.action[k]] !== filter.action) return false;
  if (filter.span && (tiles.t[k] < filter.span[0] || tiles.t[k] > filter.span[1])) return false;
  if (filter.outcome === "quiet")
    return !filter.cause && !questions[k].some((q) => !filter.schema || D.schema_ids[q.schema] === filter.schema);
  if (filter.outcome || filter.cause || filter.schema) return questions[k].some(asked);
  return true;
}
const askedOf = (k) => (filter.outcome === "quiet" ? [] : questions[k].filter(asked));

function refresh() {
  shown = [];
  for (let k = 0; k < n; k++) if ((shownSet[k] = matches(k) ? 1 : 0)) shown.push(k);
  const events = shown.reduce((sum, k) => sum + askedOf(k).length, 0);
  one("#count").textContent = `${count(shown.length)} of ${count(n)} tiles, ${count(events)} events and alarms`;
  for (const name of ["outcome", "cause", "schema", "area", "action"]) one(`#f-${name}`).value = filter[name];
  for (const link of all("a[data-filter]"))
    link.classList.toggle("chosen", filter.cause !== "" && link.dataset.filter.endsWith(`cause=${filter.cause}`));
  one("#clear").disabled = !Object.values(filter).some(Boolean);
  page = 0;
  drawCards(); drawTable(); drawMap();
}

for (const name of ["outcome", "cause", "schema", "area", "action"])
  one(`#f-${name}`).addEventListener("change", (event) => {
    filter[name] = event.target.value;
    refresh();
    if (name === "area") zoomToArea(event.target.value);
  });
one("form.filters").addEventListener("submit", (event) => event.preventDefault());
one("#clear").addEventListener("click", () => {
  Object.assign(filter, { outcome: "", cause: "", schema: "", area: "", action: "", span: null });
  one("#span-filter").checked = false;
  refresh();
});
for (const link of all("a[data-filter]"))
  link.addEventListener("click", (event) => {
    const wanted = Object.fromEntries(link.dataset.filter.split(";").map((part) => part.split("=")));
    if (filter.cause === wanted.cause) { event.preventDefault(); wanted.outcome = wanted.cause = ""; }
    Object.assign(filter, wanted);
    refresh();
  });
