// Shows what Python rendered, which never changes.

function live({ model, el }) {
  const content = document.createElement("div");
  content.innerHTML = model.get("_content");
  el.append(content);
}
