"use strict";
// The last element says what the run was; all others are photos. Text from outside is only ever textContent.
const FIELDS = ["name", "best", "error", "drift", "quality", "exact", "primary", "width", "height", "process",
  "subsampling", "warnings", "thumbnail"];
const MOST_PRINTED = 2000;
const MOST_ANSWERS = 500;
const find = (id) => document.getElementById(id);
const rows = JSON.parse(find("data").textContent);
find("data").remove();
const run = rows.pop();
const photos = rows.map((row, index) => {
  const photo = { index };
  FIELDS.forEach((field, place) => { photo[field] = row[place]; });
  photo.label = photo.best.length ? photo.best[0][0] : "";
  photo.score = photo.best.length ? photo.best[0][1] : null;
  photo.searched = [photo.name, ...photo.best.map((one) => one[0]), photo.error || ""].join("\n").toLowerCase();
  return photo;
});
let shown = photos;
let printing = false;
let drawn = "";

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

const counted = (number) => number.toLocaleString("en");
const percent = (share) => `${(100 * share).toFixed(1)} %`;
const signed = (value, digits) => (value === null ? "-" : value.toFixed(digits));

function qualityText(photo) {
  if (photo.quality === null) return "-";
  const last = `${photo.exact ? "" : "~"}${photo.quality}`;
  return photo.primary === null ? last : `${photo.primary} > ${last}`;
}

function median(values) {
  const sorted = values.filter((value) => value !== null).sort((a, b) => a - b);
  return sorted.length ? sorted[(sorted.length - 1) >> 1] : null;
}

function picture(photo) {
  if (!photo.thumbnail) return element("span", undefined, "thumbnail");
  const image = element("img", undefined, "thumbnail");
  image.alt = "";
  image.decoding = "async";
  image.src = `data:image/jpeg;base64,${photo.thumbnail}`;
  return image;
}

function card(photo) {
  const item = element("li");
  const button = element("button", undefined, photo.error ? "failed" : "");
  button.type = "button";
  button.title = photo.name;
  button.addEventListener("click", () => showDetails(photo));
  const text = element("span", undefined, "text");
  text.append(element("span", photo.error || photo.label, "answer"));
  if (!photo.error) {
    const numbers = [percent(photo.score), `quality ${qualityText(photo)}`];
    if (photo.drift !== null) numbers.push(`drift ${photo.drift.toFixed(3)}`);
    text.append(element("span", numbers.join(" · "), "numbers"));
    const next = photo.best.slice(1, 3).map(([label, score]) => `${label} ${Math.round(100 * score)} %`);
    text.append(element("span", next.join(", "), "next"));
  }
  const name = element("span", undefined, "name"); // cut at its start: names of one folder end differently
  const whole = element("bdi", photo.name);
  whole.dir = "ltr";
  name.append(whole);
  text.append(name);
  button.append(picture(photo), text);
  item.append(button);
  return item;
}

// Only the rows in view are in the document; the window is as high as all of them.
function draw(force) {
  const columns = Math.max(1, Math.floor((find("window").clientWidth + 12) / 332));
  const height = 8 * parseFloat(getComputedStyle(document.documentElement).fontSize);
  const all = Math.ceil(shown.length / columns);
  let first = 0;
  let last = Math.ceil(Math.min(shown.length, MOST_PRINTED) / columns);
  if (!printing) {
    const above = -find("window").getBoundingClientRect().top;
    first = Math.min(Math.max(Math.floor(above / height) - 3, 0), Math.max(all - 1, 0));
    last = Math.min(Math.max(Math.ceil((above + window.innerHeight) / height) + 3, first), all);
  }
  const now = `${columns} ${first} ${last} ${height}`;
  if (now === drawn && !force) return;
  drawn = now;
  find("window").style.height = `${all * height}px`;
  const list = find("cards");
  list.style.setProperty("--columns", columns);
  list.style.transform = `translateY(${first * height}px)`;
  list.replaceChildren(...shown.slice(first * columns, last * columns).map(card));
}

function row(name, ...cells) {
  const made = element("tr");
  made.append(element("th", name), ...cells);
  return made;
}

function showDetails(photo) {
  const dialog = find("details");
  const answers = element("table");
  for (const [label, score] of photo.best) {
    const bar = element("meter");
    bar.value = score;
    const cell = element("td");
    cell.append(bar);
    const line = element("tr");
    line.append(element("td", label), element("td", percent(score), "number"), cell);
    answers.append(line);
  }
  const facts = element("table");
  const lines = photo.error ? [["error", photo.error]] : [
    ["size", `${photo.width} × ${photo.height}`],
    ["compression", `${photo.process}, ${photo.subsampling}`],
    ["table quality", `${photo.quality}${photo.exact ? "" : " (nearest)"}`],
    ["earlier compression", photo.primary === null ? "no sign of one" : `quality ${photo.primary}`],
    ["drift", signed(photo.drift, 3)],
  ];
  for (const warning of photo.warnings) lines.push(["warning", warning]);
  for (const [name, value] of lines) facts.append(row(name, element("td", value)));
  const close = element("button", "Close");
  close.type = "button";
  close.addEventListener("click", () => dialog.close());
  dialog.replaceChildren(element("h2", photo.name), picture(photo), answers, facts, close);
  dialog.showModal();
}

const byText = (key) => (a, b) => (a[key] < b[key] ? -1 : a[key] > b[key] ? 1 : a.index - b.index);
const byNumber = (key, sign) => (a, b) => {
  if (a[key] === null || b[key] === null) return (a[key] === null) - (b[key] === null) || a.index - b.index;
  return sign * (a[key] - b[key]) || a.index - b.index;
};
const ORDERS = {
  index: byNumber("index", 1), name: byText("name"), label: byText("label"), doubtful: byNumber("score", 1),
  certain: byNumber("score", -1), drift: byNumber("drift", -1), quality: byNumber("quality", 1),
};
const STATES = {
  "": () => true, read: (photo) => !photo.error, failed: (photo) => Boolean(photo.error),
  warned: (photo) => photo.warnings.length > 0, twice: (photo) => photo.primary !== null,
};

function choose() {
  const words = find("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const answer = find("answer").value;
  const [low, high] = (find("quality").value || "0-100").split("-").map(Number);
  const state = STATES[find("state").value];
  shown = photos.filter((photo) => state(photo)
    && (!answer || photo.label === answer.slice(1))
    && (!find("quality").value || (photo.quality !== null && photo.quality >= low && photo.quality <= high))
    && words.every((word) => photo.searched.includes(word))).sort(ORDERS[find("order").value]);
  const left = run.photos - photos.length;
  const beyond = left > 0 ? `, and ${counted(left)} more that this page does not hold` : "";
  find("count").textContent = `${counted(shown.length)} of ${counted(photos.length)} photos${beyond}`;
  draw(true);
}

function fill() {
  const failed = photos.filter(STATES.failed).length;
  const facts = [
    ["photos", counted(photos.length)], ["not read", counted(failed)],
    ["with warnings", counted(photos.filter(STATES.warned).length)],
    ["compressed before", counted(photos.filter(STATES.twice).length)],
    ["median quality", median(photos.map((photo) => photo.quality)) ?? "-"],
    ["median drift", signed(median(photos.map((photo) => photo.drift)), 3)],
    ["corrected by", run.afd || "nothing"],
  ];
  for (const [name, value] of facts) {
    const tile = element("div");
    tile.append(element("dt", name), element("dd", value));
    find("facts").append(tile);
  }
  find("about").textContent = run.description ? `${run.model}: ${run.description}` : run.model;
  find("made").textContent = `Made by dctafd ${run.version}.`;
  document.title = `${counted(photos.length)} photos, classified by ${run.model}`;
  const counts = new Map();
  for (const photo of photos) if (photo.label) counts.set(photo.label, (counts.get(photo.label) || 0) + 1);
  const answers = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, MOST_ANSWERS);
  for (const [label, count] of answers) {
    const option = element("option", `${label} (${counted(count)})`);
    option.value = `=${label}`; // so that no label is the empty value, which stands for all
    find("answer").append(option);
  }
}

fill();
choose();
find("controls").addEventListener("input", choose);
find("controls").addEventListener("submit", (event) => event.preventDefault());
window.addEventListener("scroll", () => draw(false), { passive: true });
window.addEventListener("resize", () => draw(false));
window.addEventListener("beforeprint", () => {
  printing = true;
  if (shown.length > MOST_PRINTED) find("count").textContent += `, the first ${counted(MOST_PRINTED)} of them printed`;
  draw(true);
});
window.addEventListener("afterprint", () => { printing = false; choose(); });
