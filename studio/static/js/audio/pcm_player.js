// Plays s16le mono as it arrives, and knows which second of it is played now.

const AHEAD_SECS = 0.06;

export class PcmPlayer {
  constructor(rate = 24_000) {
    this.rate = rate;
    this.context = new AudioContext();
    this.output = this.context.createGain();
    this.output.connect(this.context.destination);
    this.reset();
  }

  /** Forgets what was queued; the next sound begins at second 0. */
  reset() {
    for (const { source } of this.queued ?? []) {
      source.onended = null;
      source.stop();
    }
    this.queued = [];
    this.pieces = [];
    this.received = 0;
    this.next = 0;
    this.odd = new Uint8Array(0);
    this.finished = null;
  }

  /** Bytes of sound, of any length; a half sample waits for its other half. */
  push(bytes) {
    const all = new Uint8Array(this.odd.length + bytes.length);
    all.set(this.odd);
    all.set(bytes, this.odd.length);
    const count = all.length >> 1;
    this.odd = all.slice(count * 2);
    if (count) this.#play(new DataView(all.buffer), count);
  }

  #play(view, count) {
    const buffer = this.context.createBuffer(1, count, this.rate);
    const samples = buffer.getChannelData(0);
    for (let index = 0; index < count; index += 1) samples[index] = view.getInt16(index * 2, true) / 32768;
    const source = new AudioBufferSourceNode(this.context, { buffer });
    source.connect(this.output);
    const at = Math.max(this.next, this.context.currentTime + (this.next > this.context.currentTime ? 0 : AHEAD_SECS));
    source.start(at);
    const piece = { source, at, from: this.received, secs: buffer.duration };
    this.queued.push(piece);
    this.pieces.push(piece);
    this.next = at + buffer.duration;
    this.received += buffer.duration;
    source.onended = () => {
      this.queued.splice(this.queued.indexOf(piece), 1);
      if (!this.queued.length) this.finished?.();
    };
  }

  /** Resolves when all that was pushed has been played. */
  ended() {
    return this.queued.length ? new Promise((resolve) => (this.finished = resolve)) : Promise.resolve();
  }

  /** The second of the sound that is played now. */
  get position() {
    const now = this.context.currentTime;
    const piece = this.pieces.findLast((one) => one.at <= now);
    return piece ? piece.from + Math.min(piece.secs, now - piece.at) : 0;
  }

  get playing() {
    return this.queued.length > 0;
  }

  close() {
    this.reset();
    return this.context.close();
  }
}

/** A WAV file of s16le mono pieces. */
export function wavOf(pieces, rate) {
  const size = pieces.reduce((sum, piece) => sum + piece.byteLength, 0);
  const view = new DataView(new ArrayBuffer(44));
  const text = (at, letters) => [...letters].forEach((letter, index) => view.setUint8(at + index, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + size, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, rate * 2, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, size, true);
  return new Blob([view, ...pieces], { type: "audio/wav" });
}
