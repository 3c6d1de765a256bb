// A line of text below the cell that runs. It is in the page only: nothing of it is an output, which would be saved.

/** The cell that runs. JupyterLab's cells have no id in the page, but their number; its name in nbclassic is "running". */
function running(model) {
  const cells = [...(model.widget_manager?.context?.model?.cells ?? [])];
  const number = cells.findIndex(({ id }) => id === model.get("cell"));
  const prompts = [...document.querySelectorAll(".jp-CodeCell .jp-InputPrompt")];
  const found = prompts.filter((prompt) => prompt.textContent.includes("[*]")).map((prompt) => prompt.closest(".jp-Cell"));
  const its = found.find((cell) => cell.dataset.windowedListIndex === String(number));
  return its ?? found[0] ?? document.querySelector(".cell.running");
}

function initialize({ model }) {
  const line = document.createElement("pre");
  line.className = "pte-magic-line";
  line.style = `margin: 4px 0 4px calc(var(--jp-cell-prompt-width, 0px) + 10px); color: var(--jp-content-font-color1, inherit);
    font: var(--jp-code-font-size, 13px) var(--jp-code-font-family, monospace); white-space: pre-wrap`;

  function show() {
    line.textContent = model.get("text");
    if (!line.textContent) line.remove();
    else if (!line.isConnected) running(model)?.append(line);
  }

  model.on("change:text", show);
  model.on("comm_live_update", () => line.remove()); // the kernel is restarted
  show();
  return () => line.remove();
}

export default { initialize };
