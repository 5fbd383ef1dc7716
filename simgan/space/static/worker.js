// Runs ONNX files: one message in, one message out. A GPU is used where its result is the same and comes sooner.
const THREADS = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency, 8) : 1;
const sessions = new Map(); // by the address of a file
let last = Promise.resolve(); // requests run one after the other

// The build with WebGPU needs a browser in which WebAssembly can wait (JSPI); others get the smaller build.
const runtime = (async () => {
  const gpu = "Suspending" in WebAssembly && Boolean(await navigator.gpu?.requestAdapter().catch(() => null));
  const ort = await import(`./vendor/onnxruntime-web/dist/ort.${gpu ? "jspi" : "wasm"}.min.mjs`);
  ort.env.wasm.numThreads = THREADS;
  ort.env.logLevel = "error";
  return { ort, gpu };
})();

self.onmessage = ({ data: { id, file, feeds } }) => {
  last = last.then(async () => {
    try {
      const session = await open(file);
      if (!feeds) return self.postMessage({ id });
      const start = performance.now();
      const { data, dims } = await run(session, feeds);
      const threads = `${THREADS} thread${THREADS > 1 ? "s" : ""}`;
      const engine = session.gpu ? "WebGPU" : `WebAssembly, ${threads}`;
      self.postMessage({ id, data, dims, engine, seconds: (performance.now() - start) / 1000 });
      await tryGpu(session, feeds);
    } catch (error) {
      self.postMessage({ id, error: error.message });
    }
  });
};

async function open(file) {
  if (!sessions.has(file)) {
    const answer = await fetch(file);
    if (!answer.ok) throw new Error(`${file} could not be fetched (${answer.status})`);
    const bytes = new Uint8Array(await answer.arrayBuffer());
    const { ort } = await runtime;
    const create = (provider) => ort.InferenceSession.create(bytes, { executionProviders: [provider] });
    sessions.set(file, { create, session: await create("wasm"), tried: false, gpu: false });
  }
  return sessions.get(file);
}

async function run({ session }, feeds) {
  const { ort } = await runtime;
  const tensors = Object.entries(feeds).map(([name, [type, values, dims]]) => [name, new ort.Tensor(type, values, dims)]);
  return Object.values(await session.run(Object.fromEntries(tensors)))[0];
}

// Replaces a session by one on the GPU, once, if that is as good: not all GPUs compute all models, and small ones slowly.
async function tryGpu(cpu, feeds) {
  if (cpu.tried || !(await runtime).gpu) return;
  cpu.tried = true;
  try {
    const gpu = { session: await cpu.create("webgpu") };
    await run(gpu, feeds); // compiles its programs
    const [ours, slow] = await timed(cpu, feeds), [theirs, fast] = await timed(gpu, feeds);
    const tolerance = ours instanceof Float32Array ? 1e-3 : 1;
    const same = ours.every((value, place) => Math.abs(value - theirs[place]) <= tolerance);
    if (same && fast < slow) Object.assign(cpu, gpu, { gpu: true });
  } catch (error) {
    console.info(`WebGPU cannot run this model, so WebAssembly does: ${error.message}`);
  }
}

async function timed(session, feeds) {
  const start = performance.now();
  const { data } = await run(session, feeds);
  return [data, performance.now() - start];
}
