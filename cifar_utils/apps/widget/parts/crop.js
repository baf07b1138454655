// A photo with a square on it. Pointer: drag the square; its corner sizes it. Keys: the arrows move
// it, + and - size it. The numbers are percent, as in Python: of the way it can go, and of the
// photo's shorter side.
const STEP = 4;

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

export default {
  render({ model, el }) {
    el.innerHTML = `
      <div class="cifar-crop">
        <img alt="The photo">
        <div class="cifar-square" tabindex="0" role="group" data-lm-suppress-shortcuts="true"
          aria-label="The square that the network is shown. Arrow keys move it, plus and minus size it."
          ><span class="cifar-corner" aria-hidden="true"></span></div>
      </div>`;
    const [image, square] = [el.querySelector("img"), el.querySelector(".cifar-square")];
    const corner = el.querySelector(".cifar-corner");

    // Sides and free ways in pixels on the screen.
    const measure = () => {
      const [width, height] = [image.clientWidth, image.clientHeight];
      const side = (Math.min(width, height) * model.get("size")) / 100;
      return { side, shorter: Math.min(width, height), x: width - side, y: height - side };
    };
    const draw = () => {
      const { side, x, y } = measure();
      square.style.width = square.style.height = `${side}px`;
      square.style.left = `${(x * model.get("across")) / 100}px`;
      square.style.top = `${(y * model.get("down")) / 100}px`;
    };
    const set = (values) => {
      for (const [name, value] of Object.entries(values)) {
        model.set(name, clamp(value, name === "size" ? model.get("smallest") : 0, 100));
      }
      draw();
    };

    let url = "";
    const receive = (message, buffers) => {
      if (message.kind !== "photo") return;
      URL.revokeObjectURL(url);
      url = URL.createObjectURL(new Blob([buffers[0]], { type: "image/jpeg" }));
      image.src = url;
    };
    model.on("msg:custom", receive);
    for (const name of ["across", "down", "size"]) model.on(`change:${name}`, draw);
    image.addEventListener("load", draw);
    const resized = new ResizeObserver(draw);
    resized.observe(image);

    let start = null;
    square.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      square.focus();
      square.setPointerCapture(event.pointerId);
      const now = measure();
      const left = (now.x * model.get("across")) / 100;
      const top = (now.y * model.get("down")) / 100;
      start = { ...now, left, top, px: event.clientX, py: event.clientY };
      start.sizing = event.target === corner;
    });
    square.addEventListener("pointermove", (event) => {
      if (!start) return;
      const [dx, dy] = [event.clientX - start.px, event.clientY - start.py];
      if (start.sizing) {
        const most = Math.min(start.x + start.side - start.left, start.y + start.side - start.top);
        const side = clamp(start.side + Math.max(dx, dy), 0, most);
        const size = clamp((100 * side) / start.shorter, model.get("smallest"), 100);
        const real = (size * start.shorter) / 100;
        const [x, y] = [start.x + start.side - real, start.y + start.side - real];
        set({ size, across: x > 0 ? (100 * start.left) / x : 50, down: y > 0 ? (100 * start.top) / y : 50 });
      } else {
        const across = start.x > 0 ? (100 * (start.left + dx)) / start.x : 50;
        const down = start.y > 0 ? (100 * (start.top + dy)) / start.y : 50;
        set({ across, down });
      }
    });
    const finish = () => {
      if (start) model.save_changes(); // one prediction per move, not one per pixel
      start = null;
    };
    square.addEventListener("pointerup", finish);
    square.addEventListener("pointercancel", finish);
    square.addEventListener("keydown", (event) => {
      const moves = {
        ArrowLeft: { across: model.get("across") - STEP },
        ArrowRight: { across: model.get("across") + STEP },
        ArrowUp: { down: model.get("down") - STEP },
        ArrowDown: { down: model.get("down") + STEP },
        "+": { size: model.get("size") + STEP },
        "=": { size: model.get("size") + STEP },
        "-": { size: model.get("size") - STEP },
      };
      if (!moves[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      event.stopPropagation();
      set(moves[event.key]);
      model.save_changes();
    });
    model.send({ kind: "ready" });
    return () => {
      model.off("msg:custom", receive);
      for (const name of ["across", "down", "size"]) model.off(`change:${name}`, draw);
      resized.disconnect();
      URL.revokeObjectURL(url);
    };
  },
};
