// How loud a microphone or what is played is, for meters.

/** Calls `onLevel` with 0 to 1 about thirty times a second, of a microphone; returns a function that ends it. */
export function watchLevel(stream, onLevel) {
  const context = new AudioContext();
  const end = watchNode(context.createMediaStreamSource(stream), onLevel);
  return () => {
    end();
    context.close();
  };
}

/** The same of what a node of an audio graph puts out. */
export function watchNode(node, onLevel) {
  const analyser = node.context.createAnalyser();
  analyser.fftSize = 1024;
  node.connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const timer = setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    onLevel(loudness(samples));
  }, 33);
  return () => clearInterval(timer);
}

/** Root mean square of samples on a scale of decibels: 0 at -60 dBFS and below, 1 at 0 dBFS. */
export function loudness(samples) {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  const decibels = 10 * Math.log10(sum / samples.length + 1e-12);
  return Math.min(1, Math.max(0, 1 + decibels / 60));
}
