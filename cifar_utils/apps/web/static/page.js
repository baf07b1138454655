// Makes the page quicker to use: drop, paste, several photos, answers without a reload. Without
// this script the same form works by itself.

const form = document.getElementById("choose");
const drop = document.getElementById("drop");
const queueList = document.getElementById("queue");
const answerList = document.getElementById("answer-list");
const status = document.getElementById("status");
const notice = document.getElementById("notice");
const button = document.getElementById("predict");
const maxFiles = Number(form.dataset.maxFiles);
const maxBytes = Number(form.dataset.maxBytes);
const NO_SERVER = "The server does not answer. Does it still run?";
const NO_FILE = "It cannot be read any more, or is a folder. Choose the photo itself again.";
const AT_ONCE = 2; // requests; the server answers several at a time

let queue = []; // {file, element, url}
let running = false;
let count = 0; // of answers so far, for ids

document.documentElement.classList.add("scripted");
for (const element of document.querySelectorAll("[data-script]")) element.hidden = false;

const say = (text) => {
  status.textContent = text;
  notice.hidden = true;
};
// Of what is being chosen: also where a person looks then, since the answers may be far below.
const tell = (text) => {
  say(text);
  notice.textContent = text;
  notice.hidden = false;
};
const plural = (number) => `${number} photo${number === 1 ? "" : "s"}`;

function clone(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}

function slot(element, name) {
  return element.querySelector(`[data-slot="${name}"]`);
}

// What was chosen

function enqueue(files) {
  let refused = 0;
  for (const file of files) {
    if (queue.length >= maxFiles) { refused += 1; continue; }
    const element = clone("queued-template");
    const url = URL.createObjectURL(file);
    const image = element.querySelector("img");
    image.addEventListener("error", () => image.classList.add("no-preview")); // HEIC, say
    image.src = url;
    slot(element, "name").textContent = file.name || "pasted photo";
    const item = { file, element, url };
    const remove = element.querySelector("button");
    remove.setAttribute("aria-label", `Remove ${file.name || "pasted photo"}`);
    remove.addEventListener("click", () => {
      dequeue(item);
      tell(`${plural(queue.length)} chosen.`);
      document.getElementById("file").focus();
    });
    queueList.append(element);
    queue.push(item);
  }
  queueList.hidden = queue.length === 0;
  if (refused) tell(`At most ${maxFiles} photos at a time: ${refused} left out.`);
  else if (files.length) tell(`${plural(queue.length)} chosen. Press Predict.`);
}

function dequeue(item) {
  URL.revokeObjectURL(item.url);
  item.element.remove();
  queue = queue.filter((other) => other !== item);
  queueList.hidden = queue.length === 0;
}

for (const input of form.querySelectorAll("input[type=file]")) {
  input.addEventListener("change", () => {
    enqueue([...input.files]);
    input.value = "";
  });
}

// Files may be dropped anywhere, since a browser would otherwise leave the page and open them.
const bringsFiles = (event) => event.dataTransfer?.types.includes("Files");
let depth = 0;
addEventListener("dragenter", (event) => {
  if (!bringsFiles(event)) return;
  depth += 1;
  drop.classList.add("over");
});
addEventListener("dragleave", (event) => {
  if (!bringsFiles(event)) return;
  depth -= 1;
  if (depth <= 0) drop.classList.remove("over");
});
addEventListener("dragover", (event) => { if (bringsFiles(event)) event.preventDefault(); });
addEventListener("drop", (event) => {
  if (!bringsFiles(event)) return;
  event.preventDefault();
  depth = 0;
  drop.classList.remove("over");
  enqueue([...event.dataTransfer.files]);
});
addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
  if (files.length) enqueue(files);
});

// What is asked

function collect() {
  const items = queue.map(({ file }) => ({ name: file.name || "pasted photo", file }));
  for (const box of form.querySelectorAll(".pick input:checked")) {
    const item = { name: box.value, image: box.value };
    if (box.name === "sample") {
      item.name = `${box.value}.jpg`;
      item.sample = box.parentElement.querySelector("img").src;
    }
    items.push(item);
  }
  return items;
}

async function makeBody(item) {
  const body = new FormData();
  if (item.file) body.append("file", item.file, item.name);
  else if (item.sample) {
    const sample = await fetch(item.sample).catch(() => { throw new Error(NO_SERVER); });
    body.append("file", await sample.blob(), item.name);
  } else body.append("image", item.image);
  return body;
}

function send(body, onProgress) {
  const query = new URLSearchParams({ top: 5, picture: true, heat_map: form.heat_map.checked });
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch does not tell how far an upload is
    request.open("POST", `${form.dataset.api}?${query}`);
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) onProgress(event.loaded / event.total);
    });
    request.addEventListener("load", () => resolve(request.response));
    request.addEventListener("error", () => reject(new Error(NO_SERVER)));
    request.send(body);
  });
}

async function canBeRead(file) {
  try {
    const start = await file.slice(0, 1).arrayBuffer();
    // Of a file that is gone, Chromium gives an empty slice; only reading all of it fails.
    if (start.byteLength === 0) await file.arrayBuffer();
    return true;
  } catch {
    return false;
  }
}

async function ask(item, element) {
  if (item.file && item.file.size > maxBytes) {
    const size = (item.file.size / 1e6).toFixed(0);
    return { error: `It has ${size} MB, and at most ${maxBytes / 1e6} MB are read. Scale it down, or save it as JPEG.` };
  }
  // Sending it would fail as if the server were gone.
  if (item.file && !(await canBeRead(item.file))) return { error: NO_FILE };
  const stage = slot(element, "stage");
  const progress = element.querySelector("progress");
  stage.textContent = "is being sent";
  try {
    const response = await send(await makeBody(item), (share) => {
      progress.value = share;
      if (share === 1) {
        stage.textContent = "is being classified";
        progress.removeAttribute("value");
      }
    });
    if (!response) return { error: "The server's answer was not understood. Load the page again." };
    return response.pictures?.[0] ?? { error: response.error };
  } catch (error) {
    return { error: error.message };
  }
}

// What is answered

const percent = (share) => `${(100 * share).toFixed(1)} %`;

function fillBars(list, classes) {
  const pattern = list.firstElementChild;
  list.replaceChildren(...classes.map((part) => {
    const line = pattern.cloneNode(true);
    slot(line, "class").textContent = part.class;
    slot(line, "bar").setAttribute("width", (100 * part.probability).toFixed(2));
    slot(line, "share").textContent = percent(part.probability);
    return line;
  }));
}

function fillFrame(element, row) {
  const [width, height] = row.size;
  const [left, top, right, bottom] = row.box;
  const whole = slot(element, "picture");
  Object.assign(whole, { src: row.picture, alt: row.name, width, height });
  const box = slot(element, "box");
  box.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const values = { x: left, y: top, width: right - left, height: bottom - top };
  for (const [name, value] of Object.entries(values)) box.firstElementChild.setAttribute(name, value);
  const heat = slot(element, "heat_map");
  const control = element.querySelector(".heat-switch");
  const label = element.querySelector(".heat-label");
  if (row.heat_map) {
    heat.src = row.heat_map;
    control.id = label.htmlFor = `heat-of-${(count += 1)}`;
  } else {
    for (const part of [heat, control, label, element.querySelector(".heat-note")]) part.remove();
  }
}

function show(row) {
  if (row.error) {
    const element = clone("failure-template");
    slot(element, "name").textContent = row.name;
    slot(element, "error").textContent = row.error;
    return element;
  }
  const element = clone("answer-template");
  element.classList.toggle("unsure", row.unsure === true);
  slot(element, "name").textContent = row.name;
  slot(element, "label").textContent = row.label;
  slot(element, "guess").textContent = row.label;
  slot(element, "probability").textContent = percent(row.probability);
  slot(element, "view").src = row.view;
  if (row.note) slot(element, "note").textContent = row.note;
  else slot(element, "note").remove();
  fillBars(slot(element, "classes"), row.classes);
  fillFrame(element, row);
  return element;
}

function describe(rows) {
  if (rows.length === 1) {
    const [row] = rows;
    if (row.error) return `${row.name} was not classified.`;
    return `${row.name}: ${row.unsure ? "not sure, perhaps " : ""}${row.label}, ${percent(row.probability)}.`;
  }
  const failed = rows.filter((row) => row.error).length;
  return `${plural(rows.length)} classified${failed ? `, ${failed} of them could not be read` : ""}.`;
}

async function predict() {
  const items = collect();
  if (!items.length) { tell("Choose a photo first."); return; }
  running = true;
  button.setAttribute("aria-disabled", "true");
  document.getElementById("empty")?.remove();
  const elements = items.map((item) => {
    const element = clone("waiting-template");
    slot(element, "name").textContent = item.name;
    element.querySelector("progress").setAttribute("aria-label", `Progress of ${item.name}`);
    return element;
  });
  answerList.replaceChildren(...elements);
  for (const item of [...queue]) dequeue(item);
  for (const box of form.querySelectorAll(".pick input:checked")) box.checked = false;
  const answers = document.getElementById("answers");
  answers.focus({ preventScroll: true });
  answers.scrollIntoView({ block: "start" });
  say(`Classifying ${plural(items.length)} …`);
  const rows = [];
  let next = 0;
  const work = async () => {
    while (next < items.length) {
      const number = next;
      next += 1;
      const row = { ...(await ask(items[number], elements[number])), name: items[number].name };
      rows[number] = row;
      const shown = show(row);
      elements[number].replaceWith(shown);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  say(describe(rows));
  button.removeAttribute("aria-disabled");
  running = false;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (!running) predict();
});
