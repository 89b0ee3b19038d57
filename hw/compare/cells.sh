#!/bin/bash
# cells.sh test|area: what finer sparsity costs, next to whole blocks.
#   test   the N-of-M element (for comparison only, in no design) against its definition, in Icarus
#   area   cells of processing elements and of the whole core with GATHER 0 and 1, by Yosys (iCE40, ECP5); no placement
# Exit code: 0 good, 1 not, 77 a tool is missing.
set -eu
hw=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
need() { for tool in "$@"; do command -v "$tool" >/dev/null || { echo "skipped: $tool is not installed"; exit 77; }; done; }

if [ "${1:-}" = test ]; then
    need iverilog
    for row in "8 2 2 4" "8 2 1 4" "4 1 2 4" "8 4 2 8"; do
        read -r lanes planes n m <<<"$row"
        iverilog -g2005 -Wall -Wno-timescale -s nofm_pe_test -Pnofm_pe_test.LANES="$lanes" -Pnofm_pe_test.PLANES="$planes" -Pnofm_pe_test.N="$n" -Pnofm_pe_test.M="$m" -o "$work/sim" \
            "$hw/compare/nofm_pe_test.v" "$hw/compare/nofm_pe.v" "$hw/pe.v" "$hw/lib/add_tree.v" "$hw/lib/delay.v" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
        vvp "$work/sim" | grep -v '\$finish' | tee "$work/out"
        ! grep -q FAIL "$work/out"
    done
    exit 0
fi
[ "${1:-}" = area ] || { sed -n 2,5p "$0"; exit 1; }
need yosys

# cells FPGA TOP FILES... -- PARAMETERS: one line of figures
cells() {
    local fpga=$1 top=$2 files=() set=() synth; shift 2
    while [ "$1" != -- ]; do files+=("$1"); shift; done; shift
    for p in "$@"; do set+=(-set "${p%%=*}" "${p#*=}"); done
    synth="synth_ice40 -abc9 -device hx -top $top"
    [ "$fpga" = ecp5 ] && synth="synth_ecp5 -nowidelut -top $top"
    yosys -q -p "read_verilog -I$hw/include ${files[*]}; ${set:+chparam ${set[*]} $top;} $synth; tee -q -o $work/stat stat" >"$work/log" 2>&1 || { tail -n 5 "$work/log" >&2; exit 1; }
    awk '/SB_LUT4|  LUT4/ {lut += $2} /SB_CARRY/ {carry += $2} /CCU2C/ {ccu += $2} /SB_DFF|TRELLIS_FF/ {ff += $2} /SB_RAM40|DP16KD|PDPW16KD/ {ram += $2} /TRELLIS_DPR16X4/ {dpr += $2}
         END {printf "LUT4 %d, %s %d, flip-flops %d, block RAM %d", lut, ccu ? "CCU2C" : "carries", ccu ? ccu : carry, ff, ram; if (dpr) printf ", DPR16X4 %d", dpr; print ""}' "$work/stat"
}

for fpga in ice40 ecp5; do
    # Columns share a row's edges and rows a column's weights: an element's price is what one more element in the same place adds.
    element() {
        cat >"$work/elements.v" <<END
module elements #(parameter COUNT = 1) (input clk, en, first, capture, shift, input [$2*8-1:0] a, input [COUNT*16-1:0] w, at, input [17:0] in, output [17:0] out);
    wire [COUNT*18+17:0] chain;
    assign chain[17:0] = in;
    assign out = chain[COUNT*18 +: 18];
    reg [35:0] s, d;
    genvar i;
    generate for (i = 0; i < 4; i = i + 1) begin : g_pair
        wire signed [7:0] a0 = a[i*16 +: 8], a1 = a[i*16 + 8 +: 8];
        always @(posedge clk) begin s[i*9 +: 9] <= a0 + a1; d[i*9 +: 9] <= a0 - a1; end
    end
    for (i = 0; i < COUNT; i = i + 1) begin : g_element
        $1 u_pe (.clk(clk), $3 .w(w[i*16 +: 16]), .en(en), .first(first), .capture(capture), .shift(shift), .drain_in(chain[i*18 +: 18]), .drain(chain[i*18+18 +: 18]));
    end endgenerate
endmodule
END
        local one three
        one=$(cells "$fpga" elements "$hw/pe.v" "$hw/lib/add_tree.v" "$hw/lib/delay.v" "$hw/compare/nofm_pe.v" "$work/elements.v" -- COUNT=1)
        three=$(cells "$fpga" elements "$hw/pe.v" "$hw/lib/add_tree.v" "$hw/lib/delay.v" "$hw/compare/nofm_pe.v" "$work/elements.v" -- COUNT=3)
        echo "$4" "$one" "$three" | awk -v what="$4" '{n = 0; for (i = 1; i <= NF; i++) if ($i ~ /^[0-9]+,?$/) v[n++] = $i + 0}
            END {h = n / 2; printf "'"$fpga"' %s: LUT4 %g, carry cells %g, flip-flops %g\n", what, (v[h] - v[0]) / 2, (v[h+1] - v[1]) / 2, (v[h+2] - v[2]) / 2}'
    }
    element "pe #(.LANES(8), .PLANES(2), .ACC_BITS(18))" 8 ".s(s), .d(d), .clear(1'b0)," "element"
    element "nofm_pe #(.LANES(8), .PLANES(2), .ACC_BITS(18), .N(2), .M(4))" 16 ".a(a), .at(at[i*16 +: 16])," "element-2:4"
    element "nofm_pe #(.LANES(8), .PLANES(2), .ACC_BITS(18), .N(1), .M(4))" 32 ".a(a), .at(at[i*16 +: 16])," "element-1:4"
    files=()
    for f in "$hw"/*.v "$hw"/lib/*.v "$hw"/decode/*.v; do [[ $f == */datapath_fast.v ]] || files+=("$f"); done
    for gather in 0 1; do
        for words in 64 256; do
            echo "$fpga core 4x8x8x2, window $words, GATHER $gather: $(cells "$fpga" heddle_core "${files[@]}" -- ROWS=4 COLS=8 LANES=8 PLANES=2 HOP=8 ACC_BITS=18 ACT_WORDS=1024 WINDOW_WORDS=$words STREAM_WORDS=1024 \
                PARAM_WORDS=128 DESCRIPTORS=16 TABLES=0 RESIDUAL=0 FETCH=1 POST=8 POOL=1 GATHER=$gather)"
        done
    done
done
