// What LiteRT (TensorFlow Lite's present name; its default XNNPACK delegate, in WebAssembly) computes for the int8 networks of test_tflite_int8.c, before the softmax:
//   mkdir D && cd D && npm install --ignore-scripts @litertjs/core
//   node PROJECT/tests/unit/litert_reference.mjs D MODELS && HEDDLE_LITERT=D build/tests/test_tflite_int8
// The package is written for browsers and for float, int32 and uint8 tensors: a few lines here stand for the browser, one adds int8.
import fs from 'fs';
import path from 'path';
import vm from 'vm';
import { createRequire } from 'module';
import { pathToFileURL } from 'url';

const [, , folder, models] = process.argv;
const core = path.resolve(folder, 'node_modules/@litertjs/core');
Object.assign(globalThis, { self: globalThis, require: createRequire(import.meta.url), __dirname: folder, __filename: folder });
globalThis.importScripts = script => {
  globalThis.Module = { wasmBinary: fs.readFileSync(script.replace(/js$/, 'wasm')), print: () => {}, printErr: () => {} };
  vm.runInThisContext(fs.readFileSync(script, 'utf8'), { filename: script });
};
const freeze = Object.freeze;
Object.freeze = list => {
  if (Array.isArray(list) && list[0]?.dtype === 'float32') list.push({ dtype: 'int8', typedArrayConstructor: Int8Array, elementType: 9 });
  return freeze(list);
};
const warn = console.warn;
console.warn = () => {}; // there is no graphics processor
const litert = await import(pathToFileURL(path.join(core, 'dist/index.js')));
Object.freeze = freeze;
await litert.loadLiteRt(path.join(core, 'wasm'));
console.warn = warn;

// The last operator is the softmax; its input becomes the network's output.
function endBeforeSoftmax(bytes) {
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), u32 = at => data.getUint32(at, true), follow = at => at + u32(at);
  const field = (table, k) => table + data.getUint16(table - data.getInt32(table, true) + 4 + 2 * k, true);
  const graph = follow(follow(field(follow(0), 2)) + 4), operators = follow(field(graph, 3)), last = follow(operators + 4 * u32(operators));
  data.setUint32(follow(field(graph, 2)) + 4, u32(follow(field(last, 1)) + 4), true);
  return bytes;
}

for (const [name, inputs, bias, out] of [['resnet8-int8.tflite', 'ic01-images.idx', -128, 'resnet8.bin'], ['dscnn-int8.tflite', 'kws01-inputs.idx', 0, 'dscnn.bin']]) {
  const model = await litert.loadAndCompile(endBeforeSoftmax(new Uint8Array(fs.readFileSync(path.join(models, name)))), { accelerator: 'wasm' });
  const shape = [...model.getInputDetails()[0].shape], item = shape.reduce((a, b) => a * b, 1), idx = fs.readFileSync(path.join(models, inputs)), results = [];
  for (let at = 4 + 4 * idx[3]; at < idx.length; at += item) {
    const x = new litert.Tensor(Int8Array.from(idx.subarray(at, at + item), v => v + bias), shape), [y] = await model.run([x]);
    results.push(Buffer.from(y.toTypedArray().slice().buffer));
    x.delete();
    y.delete();
  }
  fs.writeFileSync(path.join(folder, out), Buffer.concat(results));
  console.log(`${name}: ${results.length} samples`);
}
process.exit(0);
