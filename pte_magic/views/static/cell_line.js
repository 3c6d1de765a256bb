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
  line.style = `margin: 4px 0; color: var(--jp-content-font-color1, inherit); white-space: pre; overflow: hidden;
    font: var(--jp-code-font-size, 13px) var(--jp-code-font-family, monospace)`;

  function show() {
    line.textContent = model.get("text");
    if (!line.textContent) return line.remove();
    if (!line.isConnected) running(model)?.append(line);
    const code = line.parentElement?.querySelector(".jp-InputArea-editor, .input_area");
    const left = (element) => element.getBoundingClientRect().left;
    if (code) line.style.paddingLeft = `${left(code) - left(line) + 6}px`; // below the code, not below the prompt
  }

  model.on("change:text", show);
  model.on("comm_live_update", () => line.remove()); // the kernel is restarted
  show();
  return () => line.remove();
}

export default { initialize };
