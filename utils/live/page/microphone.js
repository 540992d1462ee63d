// The microphone: blocks of samples, and recordings as WAV.

const RATE = 16000; // asked for; browsers that can't resample give their own rate
const BLOCK = 0.04; // seconds

/** Open the microphone and call onBlock(Int16Array, rms) for every 40 ms; returns its rate and a function that closes it. */
export async function openMicrophone({ device, onBlock, onEnded }) {
  const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false };
  if (device) audio.deviceId = { exact: device };
  const media = await navigator.mediaDevices.getUserMedia({ audio });
  let context, source;
  try {
    context = new AudioContext({ sampleRate: RATE });
    source = context.createMediaStreamSource(media); // some versions of Firefox refuse another rate than the device's
  } catch {
    context = new AudioContext();
    source = context.createMediaStreamSource(media);
  }
  await context.audioWorklet.addModule(new URL("recorder.js", import.meta.url));
  const node = new AudioWorkletNode(context, "recorder", {
    numberOfOutputs: 0,
    channelCount: 1,
    channelCountMode: "explicit",
    processorOptions: { size: Math.round(context.sampleRate * BLOCK) },
  });
  node.port.onmessage = ({ data }) => onBlock(data.block, data.rms);
  source.connect(node);
  await context.resume();
  const [track] = media.getAudioTracks();
  track.onended = () => onEnded?.();
  const close = () => {
    node.port.onmessage = null;
    for (const one of media.getTracks()) one.stop();
    if (context.state !== "closed") context.close();
  };
  return { rate: context.sampleRate, device: track.getSettings().deviceId, close };
}

/** Record some seconds; returns a WAV file. */
export async function record(seconds, onLevel) {
  const blocks = [];
  const microphone = await openMicrophone({
    onBlock: (block, rms) => {
      blocks.push(block);
      onLevel(rms);
    },
  });
  await new Promise((done) => setTimeout(done, seconds * 1000));
  microphone.close();
  return wav(blocks, microphone.rate);
}

/** Blocks of 16-bit samples as a WAV file of one channel. */
function wav(blocks, rate) {
  const bytes = 2 * blocks.reduce((sum, block) => sum + block.length, 0);
  const head = new DataView(new ArrayBuffer(44));
  const text = (at, letters) => [...letters].forEach((letter, i) => head.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  head.setUint32(4, 36 + bytes, true);
  text(8, "WAVEfmt ");
  head.setUint32(16, 16, true); // length of this part
  head.setUint16(20, 1, true); // PCM
  head.setUint16(22, 1, true); // channels
  head.setUint32(24, rate, true);
  head.setUint32(28, 2 * rate, true);
  head.setUint16(32, 2, true); // bytes of a frame
  head.setUint16(34, 16, true); // bits of a sample
  text(36, "data");
  head.setUint32(40, bytes, true);
  return new Blob([head, ...blocks], { type: "audio/wav" });
}
