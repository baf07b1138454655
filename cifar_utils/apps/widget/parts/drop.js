// Photos in: dropped, pasted or chosen. Each is sent in pieces, the next one when Python has taken
// the last, so that no message exceeds what the notebook's server lets through.
const ACCEPT = "image/*,.heic,.heif,.avif";

function build(el) {
  el.innerHTML = `
    <div class="cifar-drop" data-lm-suppress-shortcuts="true">
      <button type="button" class="cifar-choose">Choose photos</button>
      <span>or drop them here, or paste one</span>
      <input type="file" multiple hidden accept="${ACCEPT}" aria-label="Photos">
      <progress hidden max="1" value="0" aria-label="Upload"></progress>
      <span class="cifar-sending" role="status"></span>
    </div>`;
  const find = (selector) => el.querySelector(selector);
  return {
    zone: find(".cifar-drop"),
    button: find("button"),
    input: find("input"),
    bar: find("progress"),
    status: find(".cifar-sending"),
  };
}

// Wait until Python has taken the piece of this id; give up where the kernel is gone.
function taken(model, id) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      model.off("msg:custom", listen);
      reject(new Error("The kernel has not answered for two minutes."));
    }, 120000);
    const listen = (message) => {
      if (message.kind !== "taken" || message.id !== id) return;
      clearTimeout(timer);
      model.off("msg:custom", listen);
      resolve();
    };
    model.on("msg:custom", listen);
  });
}

async function send(model, file, left, progress) {
  const limit = model.get("limit");
  if (file.size > limit || file.size === 0) {
    const size = `${(file.size / 1e6).toFixed(1)} MB`;
    const reason = file.size
      ? `It has ${size}; the limit is ${limit / 1e6} MB. Scale it down, or save it as JPEG.`
      : "It is empty (0 bytes), or a folder. Choose the photos themselves.";
    model.send({ kind: "refused", name: file.name, reason, left });
    return;
  }
  const id = `${Date.now()}-${Math.random()}`;
  const piece = model.get("piece");
  try {
    for (let offset = 0; offset < file.size; offset += piece) {
      const data = await file.slice(offset, offset + piece).arrayBuffer();
      const done = taken(model, id);
      const about = { kind: "piece", id, name: file.name, size: file.size, offset, left };
      model.send(about, undefined, [data]);
      await done;
      progress(Math.min(file.size, offset + piece) / file.size);
    }
  } catch (error) {
    model.send({ kind: "cancelled", id });
    const reason = `It was not sent to its end: ${error.message}`;
    model.send({ kind: "refused", name: file.name, reason, left });
    throw error;
  }
}

export default {
  render({ model, el }) {
    const { zone, button, input, bar, status } = build(el);
    let queue = Promise.resolve();

    const sendAll = async (files) => {
      bar.hidden = false;
      for (const [number, file] of files.entries()) {
        status.textContent = `Sending ${file.name} (${number + 1} of ${files.length})`;
        bar.value = 0;
        const left = files.length - number - 1;
        await send(model, file, left, (share) => (bar.value = share)).catch((error) => {
          status.textContent = `${file.name} was not sent. ${error.message}`;
        });
      }
      bar.hidden = true;
      if (status.textContent.startsWith("Sending")) status.textContent = "";
    };
    const add = (list) => {
      const files = [...list];
      if (files.length) queue = queue.then(() => sendAll(files));
    };

    button.addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      add(input.files);
      input.value = ""; // the same file again is a new upload
    });
    let depth = 0; // dragenter and dragleave come for every child too
    const highlight = (change) => {
      depth = Math.max(0, depth + change);
      zone.classList.toggle("cifar-over", depth > 0);
    };
    zone.addEventListener("dragenter", () => highlight(1));
    zone.addEventListener("dragleave", () => highlight(-1));
    zone.addEventListener("dragover", (event) => {
      event.preventDefault();
      event.stopPropagation(); // else JupyterLab would take the file for its own folder
    });
    zone.addEventListener("drop", (event) => {
      event.preventDefault();
      event.stopPropagation();
      depth = 0;
      highlight(0);
      add(event.dataTransfer.files);
    });
    zone.addEventListener("paste", (event) => add(event.clipboardData.files));
    model.send({ kind: "ready" });
  },
};
