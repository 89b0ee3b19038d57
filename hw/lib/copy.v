// A register of one bit that synthesis does not merge with another of the same input, for signals whose loads lie far apart. Yosys merges equal
// registers whatever their attributes, but not over the border of a module that keeps its hierarchy; `heddle synth` flattens it after synthesis.
`default_nettype none
(* keep_hierarchy *)
module copy (
    input  wire clk,
    input  wire x,
    output reg  y
);
    always @(posedge clk) y <= x;
endmodule
`default_nettype wire
