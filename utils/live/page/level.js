// The level meter: the last seconds of the microphone as bars.

const canvas = document.getElementById("level");
const QUIET = -60; // dB of full scale: no bar
const LOUD = -6; // dB: a full bar
const BAR = 3; // CSS pixels
const GAP = 2;
let heights = []; // of the bars, 0 to 1, the newest last
let due = false;

/** Add a block's level and draw, at most once a frame. */
export function drawLevel(rms) {
  const db = 20 * Math.log10(Math.max(rms, 1e-6));
  const height = Math.max(0, Math.min(1, (db - QUIET) / (LOUD - QUIET)));
  heights = [...heights, height].slice(-Math.ceil(canvas.clientWidth / (BAR + GAP)));
  if (heights.length % 25 === 0 || heights.length < 2) canvas.setAttribute("aria-valuenow", String(Math.round(100 * height)));
  if (!due) requestAnimationFrame(draw);
  due = true;
}

export function clearLevel() {
  heights = [];
  canvas.setAttribute("aria-valuenow", "0");
  requestAnimationFrame(draw);
}

function draw() {
  due = false;
  const { clientWidth: width, clientHeight: height } = canvas;
  const scale = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
  if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
  const ink = canvas.getContext("2d");
  ink.setTransform(scale, 0, 0, scale, 0, 0);
  ink.clearRect(0, 0, width, height);
  const style = getComputedStyle(canvas);
  const bars = Math.ceil(width / (BAR + GAP));
  for (let i = 0; i < bars; i += 1) {
    const value = heights[heights.length - bars + i] ?? 0;
    const tall = Math.max(BAR, value * height);
    ink.fillStyle = value ? style.color : style.getPropertyValue("--line");
    ink.beginPath();
    ink.roundRect(i * (BAR + GAP), (height - tall) / 2, BAR, tall, BAR / 2);
    ink.fill();
  }
}

new ResizeObserver(() => requestAnimationFrame(draw)).observe(canvas);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => requestAnimationFrame(draw));
