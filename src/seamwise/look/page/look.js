// Lists the units of a network as cards, finds and sorts them, and shows one large. A unit's address is #layer/unit.
const at = (id) => document.getElementById(id);
const told = JSON.parse(at("index").textContent);
const shortest = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const units = told.units.map(([layer, unit, dead, ...facts], i) => {
  const name = `${told.layers[layer]}/${unit}`;
  const words = facts.filter((fact) => typeof fact === "string").join(" ");
  return { i, layer: told.layers[layer], unit, dead, facts, name, words: `${name} ${words}`.toLowerCase() };
});
const byName = new Map(units.map((unit) => [unit.name, unit]));
const views = [...document.querySelectorAll(".view")];
const rowLeads = new Map(told.rows);
let shown = units; // in the order of the list
let open = null; // the unit that is shown large
let later = 0;
let missing = ""; // an address that leads nowhere

function make(tag, parts = {}, ...inside) {
  const made = Object.assign(document.createElement(tag), parts);
  made.append(...inside);
  return made;
}

function say(fact) {
  if (fact === null) return "–";
  if (typeof fact === "boolean") return fact ? "yes" : "no";
  return typeof fact === "number" ? shortest.format(fact) : fact;
}

const address = (unit) => `#${encodeURIComponent(unit.layer)}/${unit.unit}`;

// A unit's rows and picture stand further down in the file: null until it has been read that far.
function block(unit) {
  const found = at(`u${unit.i}`);
  return found && found.nextSibling ? JSON.parse(found.textContent) : null;
}

async function whenRead(unit) {
  for (;;) {
    const found = block(unit);
    if (found) return found;
    await new Promise((done) => setTimeout(done, 50));
  }
}

const near = new IntersectionObserver(
  (seen) => {
    for (const { target } of seen.filter((found) => found.isIntersecting)) {
      near.unobserve(target);
      fill(units[target.dataset.i]);
    }
  },
  { rootMargin: "800px" },
);

for (const unit of units) {
  unit.note = make("span", { className: "note" });
  unit.picture = make("span", { className: "picture" });
  const name = make("b", {}, make("span", { textContent: unit.layer }), `/${unit.unit}`);
  const link = make("a", { href: address(unit), title: unit.name }, unit.picture, name, unit.note);
  unit.card = make("li", { className: unit.dead ? "dead" : "" }, link);
  unit.card.dataset.i = unit.i;
  near.observe(unit.card);
}

// One block of nine out of the blocks that stand side by side in a unit's picture, without the places that are empty.
function placeRow(unit) {
  const { rows, image } = unit;
  const chosen = Math.max(0, rows.findIndex((row) => row.name === at("row").value));
  const [full, rest] = [Math.floor(rows[chosen].n / 3) / 0.03, (rows[chosen].n % 3) / 0.03];
  const corners = `0 0, 100% 0, 100% ${full}%, ${rest}% ${full}%, ${rest}% ${full + 34}%, 0 ${full + 34}%`;
  image.style.objectPosition = `${rows.length > 1 ? (100 * chosen) / (rows.length - 1) : 0}% 0`;
  image.style.clipPath = rows[chosen].n < 9 ? `polygon(${rest ? corners : `0 0, 100% 0, 100% ${full}%, 0 ${full}%`})` : "";
}

async function fill(unit) {
  const found = await whenRead(unit);
  if (found.src) {
    unit.rows = found.rows;
    unit.image = make("img", { alt: "", decoding: "async", src: found.src });
    unit.picture.append(unit.image);
    placeRow(unit);
  } else if (found.body) {
    unit.picture.innerHTML = found.body;
    unit.picture.classList.add("body");
    unit.picture.inert = true;
  }
}

// ---- search and order

function matches(unit, word) {
  if (/^\d+$/.test(word)) return String(unit.unit) === word || unit.layer === word;
  return word.includes("/") ? unit.name.toLowerCase().startsWith(word) : unit.words.includes(word);
}

function compare(order) {
  if (order === "unit") return (a, b) => a.unit - b.unit;
  if (!order.startsWith("fact")) return () => 0;
  const [, k, turn] = order.split(" ").map(Number);
  return (a, b) => {
    const [x, y] = [a.facts[k], b.facts[k]];
    if (x === null || y === null) return (x === null) - (y === null);
    return typeof x === "string" || typeof y === "string" ? String(x).localeCompare(String(y)) : turn * (x - y);
  };
}

// The first word that was found for a unit, and the number that the list is sorted by, or else the first one.
function note(unit, order) {
  const said = unit.facts.findIndex((fact) => typeof fact === "string" && fact);
  const sorted = order.startsWith("fact") ? Number(order.split(" ")[1]) : -1;
  const k = sorted >= 0 && sorted !== said ? sorted : unit.facts.findIndex((fact) => typeof fact === "number");
  const parts = said >= 0 ? [unit.facts[said]] : [];
  if (k >= 0) parts.push(`${told.facts[k]} ${say(unit.facts[k])}`);
  return unit.dead ? "dead" : parts.join(" · ");
}

function list() {
  const words = at("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  const layer = at("layer").value;
  const order = at("order").value;
  const kept = units.filter((unit) => (!layer || unit.layer === layer) && words.every((word) => matches(unit, word)));
  const first = compare(order);
  shown = kept.sort((a, b) => a.dead - b.dead || first(a, b) || a.i - b.i);
  for (const unit of shown) unit.note.textContent = note(unit, order);
  const cards = document.createDocumentFragment();
  for (const unit of shown) cards.append(unit.card);
  at("cards").replaceChildren(cards);
  count();
}

function count() {
  const n = units.length.toLocaleString("en");
  const all = shown.length === units.length ? `${n} units.` : `${shown.length.toLocaleString("en")} of ${n} units.`;
  const dead = shown.filter((unit) => unit.dead).length;
  const last = dead ? ` ${dead.toLocaleString("en")} dead, which come last: they never answer to these data.` : "";
  at("count").textContent = (missing ? `There is no unit ${missing}. ` : "") + all + last;
}

function options(select, choices) {
  select.append(...choices.map(([value, textContent]) => make("option", { value, textContent })));
}

function offer() {
  const layers = told.layers.filter((name) => units.some((unit) => unit.layer === name));
  options(at("layer"), [["", "all"], ...layers.map((name) => [name, name])]);
  const orders = told.facts.flatMap((name, k) => {
    if (units.some((unit) => typeof unit.facts[k] === "string")) return [[`fact ${k} 1`, name]];
    return [-1, 1].map((turn) => [`fact ${k} ${turn}`, `${name}, ${turn < 0 ? "most" : "least"} first`]);
  });
  options(at("order"), [["network", "layer by layer"], ["unit", "unit number"], ...orders]);
  options(at("row"), told.rows.map(([name]) => [name, name]));
  at("shown").hidden = told.rows.length < 2;
}

// ---- one unit, large

function figure(row, k, n, src) {
  const tiles = Array.from({ length: row.n }, (_, j) => {
    const tile = make("div", { className: "tile", role: "img" });
    tile.setAttribute("aria-label", row.captions[j] || `${row.name} ${j + 1}`);
    tile.style.backgroundImage = `url("${src}")`;
    tile.style.backgroundSize = `${300 * n}% 300%`;
    tile.style.backgroundPosition = `${(100 * (3 * k + (j % 3))) / (3 * n - 1)}% ${50 * Math.floor(j / 3)}%`;
    return make("li", {}, tile, make("small", { textContent: row.captions[j] || "" }));
  });
  const caption = make("figcaption", {}, make("b", { textContent: row.name }), ` ${rowLeads.get(row.name)}`);
  if (!row.n) return make("figure", {}, caption, make("p", { className: "soft", textContent: "There is none." }));
  return make("figure", {}, caption, make("ol", { className: "tiles" }, ...tiles));
}

async function show(unit) {
  open = unit;
  at("one-title").textContent = unit.name;
  const known = told.facts.map((name, k) => [name, unit.facts[k]]).filter(([, fact]) => fact !== null);
  if (unit.dead) known.unshift(["dead", "never answers to these data"]);
  const said = known.map(([name, fact]) => make("div", {}, make("dt", {}, name), make("dd", {}, say(fact))));
  at("one-facts").replaceChildren(...said);
  const place = shown.indexOf(unit);
  at("back").disabled = place <= 0;
  at("next").disabled = place === shown.length - 1;
  if (!at("one").open) at("one").showModal();
  unit.card.scrollIntoView({ block: "center", behavior: "instant" });
  const found = await whenRead(unit);
  if (open !== unit) return;
  at("one-rows").replaceChildren(...found.rows.map((row, k) => figure(row, k, found.rows.length, found.src)));
  at("one-body").innerHTML = found.body;
  at("one").scrollTop = 0;
}

function step(by) {
  const unit = shown[shown.indexOf(open) + by];
  if (!unit) return;
  show(unit);
  clearTimeout(later); // browsers refuse an address that changes too often, while a key is held down
  later = setTimeout(() => open && history.replaceState(null, "", address(open)), 150);
}

// ---- addresses: #part, #layer/ and #layer/unit

function view(id) {
  if (at(id)?.hidden) scrollTo(0, 0);
  for (const found of views) found.hidden = found.id !== id;
  for (const link of document.querySelectorAll("nav a")) {
    const here = link.getAttribute("href") === `#${id}`;
    link.toggleAttribute("aria-current", here);
    if (here) link.closest("ul").scrollLeft = link.offsetLeft - innerWidth / 3;
  }
}

function asked() {
  const hash = location.hash.slice(1);
  try {
    return decodeURIComponent(hash);
  } catch {
    return hash;
  }
}

function ofLayer(name) {
  at("find").value = "";
  at("layer").value = name;
  list();
}

function route() {
  const wanted = asked();
  const unit = byName.get(wanted);
  const layer = wanted.endsWith("/") ? wanted.slice(0, -1) : "";
  const isPart = views.some((found) => found.id === wanted);
  missing = unit || isPart || !wanted.includes("/") || told.layers.includes(layer) ? "" : wanted;
  view(isPart ? wanted : views.length ? views[0].id : "");
  if (!units.length) return;
  if (layer && told.layers.includes(layer)) ofLayer(layer);
  if (layer || missing) scrollTo(0, 0);
  if (unit && !shown.includes(unit)) ofLayer("");
  count();
  if (unit) show(unit);
  else at("one").close();
}

function closed() {
  if (!open) return;
  const last = open;
  open = null;
  if (byName.has(asked())) history.replaceState(null, "", "#units");
  last.card.firstChild.focus({ preventScroll: true });
}

// ---- keys

function move(key) {
  const place = shown.findIndex((unit) => unit.card.contains(document.activeElement));
  const columns = getComputedStyle(at("cards")).gridTemplateColumns.split(" ").length;
  const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[key];
  if (place < 0 && (key === "ArrowUp" || key === "ArrowDown")) return false; // the page scrolls
  const top = (unit) => unit.card.getBoundingClientRect().top;
  const unit = place < 0 ? shown.find((found) => top(found) >= 0) : shown[place + by];
  if (unit) unit.card.firstChild.focus();
  return Boolean(unit);
}

function pressed(event) {
  const field = event.target.closest("input, select");
  if (event.ctrlKey || event.metaKey || event.altKey || !units.length) return;
  if (open) {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  } else if (field) {
    const down = event.key === "Enter" || event.key === "ArrowDown";
    if (field.id === "find" && down && shown.length) shown[0].card.firstChild.focus();
    if (field.id === "find" && down) event.preventDefault();
  } else if (event.key === "/") {
    view("units");
    at("find").select();
    event.preventDefault();
  } else if (event.key.startsWith("Arrow") && !at("units").hidden && move(event.key)) event.preventDefault();
}

if (units.length) {
  offer();
  list();
  for (const id of ["layer", "order"]) at(id).addEventListener("change", list);
  at("find").addEventListener("input", list);
  at("row").addEventListener("change", () => units.filter((unit) => unit.image).forEach(placeRow));
  document.querySelector(".tools").addEventListener("submit", (event) => event.preventDefault());
  at("one").addEventListener("close", closed);
  at("one").addEventListener("click", (event) => event.target === at("one") && at("one").close());
  at("close").addEventListener("click", () => at("one").close());
  at("back").addEventListener("click", () => step(-1));
  at("next").addEventListener("click", () => step(1));
}
for (const link of document.querySelectorAll("a[data-layer]")) {
  if (units.some((unit) => unit.layer === link.dataset.layer)) link.href = `#${encodeURIComponent(link.dataset.layer)}/`;
}
document.addEventListener("keydown", pressed);
addEventListener("hashchange", route);
route();
document.documentElement.dataset.drawn = "yes";
