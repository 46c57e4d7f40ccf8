// The microphone as pieces of s16le at 24 kHz, for a conversation.

import { S } from "../strings.js";
import { loudness } from "./levels.js";

const RATE = 24_000;

/** Asks for a microphone. Throws an Error that says why there is none. */
export async function openMicrophone(audio) {
  if (!navigator.mediaDevices) throw new Error(S.record.insecure);
  try {
    return await navigator.mediaDevices.getUserMedia({ audio });
  } catch (error) {
    throw new Error(error.name === "NotAllowedError" ? S.record.refused : S.record.none);
  }
}

export class Microphone {
  /** Asks for it and begins. `onPiece(bytes)` every 40 ms, `onLevel(0…1)`. Throws an Error that says why not. */
  static async open({ onPiece, onLevel }) {
    const stream = await openMicrophone({ channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true });
    const context = new AudioContext();
    await context.audioWorklet.addModule(new URL("./capture_worklet.js", import.meta.url));
    const node = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0, processorOptions: { rate: RATE } });
    context.createMediaStreamSource(stream).connect(node);
    const made = new Microphone(stream, context);
    node.port.onmessage = ({ data }) => {
      if (made.closed) return;
      onLevel(loudness(Float32Array.from(data, (sample) => sample / 32768)));
      if (!made.muted) onPiece(new Uint8Array(data.buffer));
    };
    return made;
  }

  constructor(stream, context) {
    Object.assign(this, { stream, context, muted: false, closed: false });
  }

  close() {
    this.closed = true;
    for (const track of this.stream.getTracks()) track.stop();
    this.context.close();
  }
}
