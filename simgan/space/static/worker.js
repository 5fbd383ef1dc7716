// Runs ONNX files on the engine that the worker is named after: one message in, one message out.
const THREADS = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency, 8) : 1;
const ENGINES = {
  wasm: { file: "ort.wasm.min.mjs", name: `WebAssembly, ${THREADS} thread${THREADS > 1 ? "s" : ""}` },
  webgpu: { file: "ort.jspi.min.mjs", name: "WebGPU" },
};
const engine = ENGINES[self.name];
const sessions = new Map(); // by the address of a file
let last = Promise.resolve(); // requests run one after the other

const runtime = import(`./vendor/onnxruntime-web/dist/${engine.file}`).then((ort) => {
  ort.env.wasm.numThreads = THREADS;
  return ort;
});

self.onmessage = ({ data: { id, file, feeds } }) => {
  last = last.then(async () => {
    try {
      const session = await open(file), ort = await runtime, start = performance.now();
      if (!feeds) return self.postMessage({ id });
      const tensors = Object.entries(feeds).map(([name, given]) => [name, new ort.Tensor(...given)]);
      const { data, dims } = Object.values(await session.run(Object.fromEntries(tensors)))[0];
      self.postMessage({ id, data, dims, engine: engine.name, seconds: (performance.now() - start) / 1000 });
    } catch (error) {
      self.postMessage({ id, error: error.message });
    }
  });
};

async function open(file) {
  if (!sessions.has(file)) {
    const answer = await fetch(file);
    if (!answer.ok) throw new Error(`${file} could not be fetched (${answer.status})`);
    const bytes = new Uint8Array(await answer.arrayBuffer()), ort = await runtime;
    const settings = { executionProviders: [self.name], logSeverityLevel: 3 };
    sessions.set(file, await ort.InferenceSession.create(bytes, settings));
  }
  return sessions.get(file);
}
