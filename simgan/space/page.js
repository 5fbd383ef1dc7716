// What Gradio's components leave out for keyboards and screen readers: names, a slider that arrow keys move.
(() => {
  const STEP = 0.05; // of the width of a comparison

  // What is said here changes while one is elsewhere, and is read out.
  const TOLD = "#refine-note, #refine-above, #patch-maps .patch-value, #batch-progress, #tell-note, #tell-shared, #training-figures";

  function mend() {
    for (const told of document.querySelectorAll(TOLD)) if (!told.role) told.role = "status";
    for (const link of document.querySelectorAll("a[download]:not([aria-label])"))
      link.ariaLabel = `Download ${link.download || "the file"}`;
    for (const examples of document.querySelectorAll(".gallery"))
      examples.querySelectorAll(":scope > .gallery-item:not([aria-label])").forEach((button, number) => {
        if (!button.innerText.trim()) button.ariaLabel = `Example ${number + 1}`;
      });
    for (const camera of document.querySelectorAll('[aria-label="common.webcam"]')) // Gradio translates it nowhere
      camera.ariaLabel = camera.title = "Webcam";
    for (const empty of document.querySelectorAll('[aria-label="Empty value"]:not([role])')) empty.role = "img";
    for (const image of document.querySelectorAll("button.thumbnail-item img[alt]:not([alt=''])"))
      if (image.alt === image.closest("button").innerText.trim()) image.alt = ""; // its caption is read out already
    for (const toast of document.querySelectorAll(".toast-header[role]")) {
      toast.removeAttribute("role"); // a button round the button that closes it
      toast.removeAttribute("tabindex");
    }
    // A button inside a button, of which only the inner one opens the files.
    for (const inner of document.querySelectorAll(".icon-button .upload-container:not([inert])")) {
      inner.inert = true;
      inner.closest(".icon-button").addEventListener("click", (event) => {
        if (event.target.tagName !== "INPUT") inner.querySelector("input").click();
      });
    }
    for (const handle of document.querySelectorAll('[data-testid="slider"]:not([tabindex])')) {
      handle.tabIndex = 0;
      handle.role = "slider";
      handle.ariaLabel = "Line between before and after: arrow keys move it";
      handle.addEventListener("keydown", move);
      const [before, after] = handle.parentElement.querySelectorAll("img");
      if (before) before.alt = "Before";
      if (after) after.alt = "After";
    }
    for (const handle of document.querySelectorAll('[data-testid="slider"]')) {
      const now = Math.round(100 * place(handle));
      if (Number.isFinite(now) && handle.ariaValueNow !== `${now}`) handle.ariaValueNow = `${now}`;
    }
  }

  function place(handle) {
    const box = handle.parentElement.getBoundingClientRect(), own = handle.getBoundingClientRect();
    return (own.left + own.width / 2 - box.left) / box.width;
  }

  function move(event) {
    const direction = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    if (!direction) return;
    event.preventDefault();
    const handle = event.currentTarget, box = handle.getBoundingClientRect();
    const at = (x) => ({ bubbles: true, view: window, clientX: x, clientY: box.top + box.height / 2 });
    const from = box.left + box.width / 2;
    const to = from + direction * STEP * handle.parentElement.getBoundingClientRect().width;
    handle.dispatchEvent(new MouseEvent("mousedown", at(from)));
    window.dispatchEvent(new MouseEvent("mousemove", at(to)));
    window.dispatchEvent(new MouseEvent("mouseup", at(to)));
  }

  let waiting = false;
  new MutationObserver(() => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      mend();
    });
  }).observe(document, { childList: true, subtree: true, attributes: true, attributeFilter: ["style"] });
})();

// Can you tell?: R and S answer while the buttons are in view, unless one is typing.
document.addEventListener("keydown", (event) => {
  const id = { r: "tell-real", s: "tell-refined" }[event.key.toLowerCase()];
  const typing = event.target.closest("input, textarea, select, [contenteditable=true]");
  if (!id || typing || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
  const button = document.getElementById(id);
  if (button && button.offsetParent && !button.disabled) button.click();
});
