// Runs on the audio thread: takes the microphone to s16le at the wanted rate and posts it in pieces of 40 ms.

class Capture extends AudioWorkletProcessor {
  constructor({ processorOptions: { rate } }) {
    super();
    this.ratio = sampleRate / rate;
    this.piece = new Int16Array(Math.round(rate * 0.04));
    this.filled = 0;
    this.at = 0;
    this.sum = 0;
    this.count = 0;
  }

  process([[samples]]) {
    if (samples) for (const sample of samples) this.#take(sample);
    return true;
  }

  // Each sample of the result is the mean of those it stands for, which keeps most of what would be folded out.
  #take(sample) {
    this.sum += sample;
    this.count += 1;
    this.at += 1;
    if (this.at < this.ratio) return;
    this.at -= this.ratio;
    this.piece[this.filled] = Math.max(-1, Math.min(1, this.sum / this.count)) * 32767;
    this.filled += 1;
    this.sum = 0;
    this.count = 0;
    if (this.filled === this.piece.length) {
      this.port.postMessage(this.piece.slice());
      this.filled = 0;
    }
  }
}

registerProcessor("capture", Capture);
