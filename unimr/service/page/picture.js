/** Pictures that a person brings: made small, turned into text for the request, and shown again from it. */

const AS_IT_IS = 200_000; // bytes; a smaller file is sent unchanged
const MAX_SIDE = 512; // pixels; the model sees far fewer
const PREVIEW_SIDE = 96;
const SENT_TYPES = ["image/png", "image/jpeg", "image/webp"];

/** A picture file as base64. Throws where the browser cannot read it as a picture. */
export async function readPicture(file) {
  const bitmap = await createImageBitmap(file);
  const small = file.size <= AS_IT_IS && Math.max(bitmap.width, bitmap.height) <= 2 * MAX_SIDE;
  return toBase64(small && SENT_TYPES.includes(file.type) ? file : await smaller(bitmap));
}

function smaller(bitmap) {
  const scale = Math.min(1, MAX_SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  draw(canvas, bitmap, 0, 0, canvas.width, canvas.height);
  return new Promise((done, failed) =>
    canvas.toBlob((blob) => (blob ? done(blob) : failed(new Error("no picture"))), "image/webp", 0.9),
  );
}

function draw(canvas, bitmap, ...place) {
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, ...place);
}

function toBase64(blob) {
  return new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => failed(reader.error);
    reader.readAsDataURL(blob);
  });
}

/** A small canvas with a picture given as base64. */
export async function preview(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes]));
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = PREVIEW_SIDE;
  const scale = PREVIEW_SIDE / Math.max(bitmap.width, bitmap.height);
  const [width, height] = [bitmap.width * scale, bitmap.height * scale];
  draw(canvas, bitmap, (PREVIEW_SIDE - width) / 2, (PREVIEW_SIDE - height) / 2, width, height);
  return canvas;
}

/** Call `bring` with every picture file that is chosen, pasted or dropped; gives back what opens the choice. */
export function onPicture(bring) {
  const [file, drop] = [document.getElementById("file"), document.getElementById("drop")];
  const choose = () => file.click();
  document.getElementById("choose").addEventListener("click", choose);
  file.addEventListener("change", () => {
    bring(file.files[0]);
    file.value = ""; // so that the same file can be chosen again
  });
  document.addEventListener("paste", (event) => {
    const pasted = [...event.clipboardData.files].find((each) => each.type.startsWith("image/"));
    if (!pasted) return;
    event.preventDefault();
    bring(pasted);
  });
  listenToDrops(drop, bring);
  return choose;
}

function listenToDrops(cover, bring) {
  const bringsFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!bringsFiles(event)) return;
    event.preventDefault();
    cover.hidden = false;
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) cover.hidden = true; // it left the window
  });
  document.addEventListener("drop", (event) => {
    cover.hidden = true;
    if (!bringsFiles(event)) return;
    event.preventDefault();
    bring(event.dataTransfer.files[0]);
  });
}
