// Runs ONNX files in workers: on WebAssembly, or on a GPU once it gave the same result, and sooner.
const WORTH = 0.1; // seconds of WebAssembly from which on a GPU is tried

class Engine {
  constructor(name, broken) {
    this.asked = new Map();
    this.worker = new Worker("worker.js", { type: "module", name });
    this.worker.onerror = broken;
    this.worker.onmessage = ({ data }) => {
      const { resolve, reject } = this.asked.get(data.id);
      this.asked.delete(data.id);
      if (data.error) reject(new Error(data.error));
      else resolve(data);
    };
    this.count = 0;
  }

  ask(file, feeds) {
    return new Promise((resolve, reject) => {
      this.asked.set(++this.count, { resolve, reject });
      this.worker.postMessage({ id: this.count, file, feeds });
    });
  }
}

const warm = new Set(), tried = new Set(), faster = new Set(); // files: run once, tried on the GPU, faster there
let wasm, gpu;

export function start(broken) {
  wasm = new Engine("wasm", broken);
}

// Run a file, {data, dims, engine, seconds}, or without feeds only fetch it.
export async function ask(file, feeds) {
  if (feeds && faster.has(file)) {
    try {
      return await gpu.ask(file, feeds);
    } catch {
      faster.delete(file); // the GPU was lost, or is full
    }
  }
  const found = await wasm.ask(file, feeds);
  if (found.seconds > WORTH && warm.has(file) && !tried.has(file)) {
    tried.add(file);
    tryGpu(file, feeds, found.data).catch((error) => console.info(`WebGPU does not run ${file}: ${error.message}`));
  }
  if (feeds) warm.add(file);
  return found;
}

async function tryGpu(file, feeds, expected) {
  const adapter = "Suspending" in WebAssembly && (await navigator.gpu?.requestAdapter()); // WebAssembly waits for it
  if (!adapter || adapter.info.isFallbackAdapter) return; // which is no GPU, but a slow program
  gpu ??= new Engine("webgpu");
  await gpu.ask(file, feeds); // compiles its programs
  const [{ data, seconds }, { seconds: slower }] = [await gpu.ask(file, feeds), await wasm.ask(file, feeds)];
  const tolerance = data instanceof Float32Array ? 1e-3 : 1;
  if (seconds < slower && data.every((value, place) => Math.abs(value - expected[place]) <= tolerance)) faster.add(file);
}
