# Sourced by tests that run the default network on a served or mocked board: the smallest quick array that holds it.
images=/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz
geometry=2x4x8x2 memory=act=2048,window=64,stream=1024,param=256,descriptors=8,tables=0,hop=2,acc=18,fetch=1,post=0,residual=0

# The first N images, N up to 255, as an idx file.
idx() { printf "\\0\\0\\10\\3\\0\\0\\0\\$(printf %03o "$1")\\0\\0\\0\\34\\0\\0\\0\\34"; (zcat $images || true) 2>/dev/null | tail -c +17 | head -c $(($1 * 784)); }

# make_network HEDDLE DIR: net.hdp, inputs two.idx and many.idx, and ref.bin, what the instruction-level model makes of the two.
make_network() {
    idx 2 >"$2/two.idx"
    idx 200 >"$2/many.idx"
    "$1" compress default --weights 2 --sparsity 0.5 --calib $images --calib-count 16 -o "$2/net.hdm"
    "$1" compile "$2/net.hdm" --geometry $geometry --memory $memory -o "$2/net.hdp"
    "$1" run "$2/net.hdp" --input "$2/two.idx" -o "$2/ref.bin"
}
