// ------------------------------------------------------------------ gallery
const cards = all(".card");
let opened = false;
function drawCards() {
  if (!cards.length) return;
  const narrowed = Object.values(filter).some(Boolean);
  let left = 0;
  for (const card of cards) {
    const k = indexOf.get(card.dataset.tile);
    const fits = k === undefined ? !narrowed : shownSet[k] === 1;
    card.classList.toggle("away", !fits);
    card.classList.toggle("open", opened || narrowed);
    left += fits ? 1 : 0;
  }
  one("#card-count").textContent = narrowed ? `${left} of ${cards.length} pictured tiles fit the filter` : "";
  const more = one("#more-cards");
  if (more) more.hidden = opened || narrowed;
}
one("#more-cards")?.addEventListener("click", () => { opened = true; drawCards(); });
one("#swir")?.addEventListener("change", (event) => {
  for (const image of all("img[data-swir]")) {
    image.dataset.plain ??= image.src;
    image.src = event.target.checked ? image.dataset.swir : image.dataset.plain;
  }
});

// ------------------------------------------------------------------ table
const PAGE = 25, table = one("#tile-table"), body = one("tbody", table);
let page = 0, sorted = { column: 3, up: true };
const outcomeOf = (k) => questions[k].map((q) => `${q.kind === ALARM ? "false" : KINDS[q.kind]} ${D.schemas[q.schema]}`).join(", ");
const whyOf = (k) => [...new Set(questions[k].filter((q) => q.cause).map((q) => q.cause[1]))].join(", ");
const COLUMNS = [
  [(k) => tiles.id[k], (k) => tiles.id[k]],
  [(k) => D.areas[tiles.area[k]], (k) => D.areas[tiles.area[k]]],
  [(k) => tiles.t[k], (k) => moment(tiles.t[k])],
  [(k) => outcomeOf(k) || "~", outcomeOf],
  [(k) => whyOf(k) || "~", whyOf],
  [(k) => D.actions[tiles.action[k]], (k) => D.actions[tiles.action[k]]],
  [(k) => D.states[tiles.state[k]], (k) => D.states[tiles.state[k]].replaceAll("_", " ")],
  [(k) => tiles.air[k], (k) => bytes(tiles.air[k])],
  [(k) => (tiles.d[k] === null ? Infinity : tiles.d[k] - tiles.t[k]), (k) => (tiles.d[k] === null ? "never" : span(tiles.d[k] - tiles.t[k]))],
];
all("th", table).forEach((head, column) => {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = head.textContent;
  head.replaceChildren(button);
  button.addEventListener("click", () => {
    sorted = { column, up: sorted.column === column ? !sorted.up : column !== 7 };
    page = 0;
    drawTable();
  });
});
function drawTable() {
  const key = COLUMNS[sorted.column][0], sign = sorted.up ? 1 : -1;
  const keys = new Map(shown.map((k) => [k, key(k)]));
  const order = [...shown].sort((a, b) => {
    const x = keys.get(a), y = keys.get(b);
    return (x < y ? -1 : x > y ? 1 : 0) * sign || a - b;
  });
  const pages = Math.max(1, Math.ceil(order.length / PAGE));
  page = clamp(page, 0, pages - 1);
  body.replaceChildren(...order.slice(page * PAGE, (page + 1) * PAGE).map((k) => {
    const row = document.createElement("tr");
    COLUMNS.forEach(([, text], column) => {
      const cell = row.insertCell();
      if (column === 0) {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = text(k);
        button.title = D.reasons[tiles.reason[k]] ? `The policy's words: ${D.reasons[tiles.reason[k]]}. Shows the tile on the map.` : "Shows the tile on the map.";
        button.addEventListener("click", () => showTile(k));
        cell.append(button);
      } else {
        cell.textContent = text(k);
        if (column >= 7) cell.className = "number";
      }
    });
    return row;
  }));
  all("th", table).forEach((head, column) =>
    head.setAttribute("aria-sort", column !== sorted.column ? "none" : sorted.up ? "ascending" : "descending"));
  one("#page").textContent = `page ${page + 1} of ${pages}`;
  for (const button of all("#pager button")) button.disabled = button.dataset.page < 0 ? page === 0 : page === pages - 1;
}
for (const button of all("#pager button"))
  button.addEventListener("click", () => { page += Number(button.dataset.page); drawTable(); });
