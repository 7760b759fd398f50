// Images that arrive: pasted, dropped anywhere on the page, or chosen.

/**
 * @param {{button: HTMLElement, chooser: HTMLInputElement, target: HTMLElement}} places
 *     `target` shows where an image that is dragged would go
 * @param {(file: File) => void} onFile
 */
export function listenToArrivals({ button, chooser, target }, onFile) {
  const take = (files) => {
    const file = [...files].find(({ type }) => type.startsWith("image/")) ?? files[0];
    if (file) onFile(file);
  };
  button.addEventListener("click", () => chooser.click());
  chooser.addEventListener("change", () => {
    take(chooser.files);
    chooser.value = ""; // the same file may be chosen again
  });
  addEventListener("paste", (event) => take(event.clipboardData?.files ?? []));
  for (const type of ["dragenter", "dragover", "dragleave", "drop"]) {
    addEventListener(type, (event) => {
      event.preventDefault(); // a browser would leave the page for the image
      target.classList.toggle("target", type === "dragenter" || type === "dragover");
    });
  }
  addEventListener("drop", (event) => take(event.dataTransfer?.files ?? []));
}
