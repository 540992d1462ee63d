// AudioWorklet: the microphone's samples as blocks of 16-bit integers, with the level of each block.

class Recorder extends AudioWorkletProcessor {
  constructor({ processorOptions: { size } }) {
    super();
    this.size = size; // samples of a block
    this.clear();
  }

  clear() {
    this.block = new Int16Array(this.size);
    this.filled = 0;
    this.energy = 0;
  }

  process([[samples]]) {
    for (const sample of samples ?? []) {
      const value = Math.max(-1, Math.min(1, sample));
      this.energy += value * value;
      this.block[this.filled++] = Math.round(value * 32767);
      if (this.filled === this.size) {
        this.port.postMessage({ block: this.block, rms: Math.sqrt(this.energy / this.size) }, [this.block.buffer]);
        this.clear();
      }
    }
    return true;
  }
}

registerProcessor("recorder", Recorder);
