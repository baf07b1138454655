// Shows what Python sends; asks for it when a view opens.
export default {
  render({ model, el }) {
    const show = (message) => {
      if (message.html !== undefined) el.innerHTML = message.html;
    };
    model.on("msg:custom", show);
    model.send({ kind: "ready" });
    return () => model.off("msg:custom", show);
  },
};
