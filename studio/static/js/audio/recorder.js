// Recording the microphone to a file, in the format that the browser has.

import { watchLevel } from "./levels.js";
import { openMicrophone } from "./microphone.js";

const TYPES = ["audio/webm;codecs=opus", "audio/mp4", "audio/ogg;codecs=opus"];

export class Recorder {
  /** Asks for the microphone and begins. `onLevel(0…1)`. Throws an Error that says why not. */
  static async start(onLevel) {
    const stream = await openMicrophone({ channelCount: 1, echoCancellation: false, noiseSuppression: false });
    return new Recorder(stream, onLevel);
  }

  constructor(stream, onLevel) {
    this.stream = stream;
    this.began = performance.now();
    const mimeType = TYPES.find((type) => MediaRecorder.isTypeSupported(type));
    this.recorder = new MediaRecorder(stream, { mimeType });
    this.parts = [];
    this.recorder.addEventListener("dataavailable", (event) => this.parts.push(event.data));
    // It also ends by itself, when the microphone is unplugged.
    this.ended = new Promise((resolve) => this.recorder.addEventListener("stop", resolve, { once: true }));
    this.recorder.start(1000);
    this.endLevel = watchLevel(stream, onLevel);
  }

  get secs() {
    return (performance.now() - this.began) / 1000;
  }

  /** Ends it and gives the file. */
  async stop() {
    if (this.recorder.state !== "inactive") this.recorder.stop();
    await this.ended;
    this.release();
    return new Blob(this.parts, { type: this.recorder.mimeType });
  }

  /** Lets the microphone go. */
  release() {
    this.endLevel();
    for (const track of this.stream.getTracks()) track.stop();
  }
}
