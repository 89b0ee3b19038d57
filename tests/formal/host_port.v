// A word that the host writes reaches one memory of the accelerator, the one of its space, and no other; CONTROL starts a run only while none is under way; a register that is read is the one asked for.
//
// The whole core in its smallest geometry, from any state; write enables are looked at where the units take them.
//@ files hw/heddle_core.v hw/control.v hw/fetch.v hw/sequencer.v hw/datapath.v hw/pe.v hw/window.v hw/post.v hw/post_lane.v hw/pool.v hw/act_memory.v hw/lib/add_tree.v hw/lib/copy.v hw/lib/delay.v hw/lib/ram_sdp.v hw/lib/ram_index.v hw/lib/ram_weight.v hw/lib/ram_bytes.v hw/lib/shift_saturate.v hw/lib/mul_add.v hw/lib/mul_high.v hw/lib/merge_ring.v
//@ case decode sat:5
//@ mutant decode hw/heddle_core.v s/we_table  = h_we && h_space == HD_SPACE_TABLE/we_table  = h_we \&\& h_space[2] \&\& h_space[0]/
//@ mutant decode hw/heddle_core.v s/&& h_wdata\[0\] && !busy;/\&\& h_wdata[0];/
//@ mutant decode hw/heddle_core.v s/if \(h_re\) begin/if (h_re || h_we) begin/
//@ mutant decode hw/heddle_core.v s/HD_REG_LANES:        reg_word = LANES/HD_REG_LANES:        reg_word = ROWS/
`default_nettype none
module proof (
    input wire        clk,
    input wire        rst_n, h_we, h_re,
    input wire [2:0]  h_space,
    input wire [23:0] h_addr,
    input wire [31:0] h_wdata
);
`include "heddle_contract.vh"
    wire [31:0] h_rdata;
    wire busy, done, h_wait, sd_dqm, sd_oe;
    wire [3:0] sd_cmd;
    wire [1:0] sd_bank;
    wire [12:0] sd_addr;
    wire [15:0] sd_out;
    heddle_core #(.ROWS(1), .COLS(1), .LANES(4), .PLANES(1), .HOP(1), .ACC_BITS(11), .ACT_WORDS(64), .WINDOW_WORDS(16), .STREAM_WORDS(16), .PARAM_WORDS(16), .DESCRIPTORS(2), .TABLES(1),
        .RESIDUAL(0), .FETCH(1), .POST(0), .POOL(0), .PERF(0)) u_core (
        .clk(clk), .clk_fast(clk), .fast_take(1'b0), .rst_n(rst_n), .h_we(h_we), .h_re(h_re), .h_space(h_space), .h_addr(h_addr), .h_wdata(h_wdata), .h_rdata(h_rdata), .stall(3'd0),
        .busy(busy), .done(done), .h_wait(h_wait), .sd_cmd(sd_cmd), .sd_bank(sd_bank), .sd_addr(sd_addr), .sd_dqm(sd_dqm), .sd_out(sd_out), .sd_oe(sd_oe), .sd_in(16'd0));
    (* hierconn *) wire \u_core.u_control.h_desc_we , \u_core.u_control.start , \u_core.i_we , \u_core.l_we , \u_core.we_act , \u_core.we_param , \u_core.we_table , \u_core.post_we ;
    (* hierconn *) wire [31:0] \u_core.cycles ;
    wire [6:0] targets = {\u_core.u_control.start , \u_core.we_table , \u_core.u_control.h_desc_we , \u_core.we_param , \u_core.i_we , \u_core.l_we , \u_core.we_act };
    // The word that a READ of a register gives, two clocks after it was asked for: rows of the contract.
    reg         asked = 0;
    reg  [4:0]  number;
    reg  [31:0] wanted;
    always @* case (number)
        HD_REG_MAGIC:    wanted = HD_MAGIC_VALUE;
        HD_REG_CONTRACT: wanted = HD_CONTRACT_VERSION;
        HD_REG_LANES:    wanted = 4;
        HD_REG_ACC_BITS: wanted = 11;
        HD_REG_TABLES, HD_REG_COLS, HD_REG_ROWS, HD_REG_PLANES, HD_REG_HOP, HD_REG_FETCH: wanted = 1;
        HD_REG_ACT_WORDS: wanted = 64;
        HD_REG_DESCRIPTORS: wanted = 2;
        default:         wanted = 0;
    endcase
    reg       known_q = 0;
    reg [31:0] wanted_q;
    wire      known = number == HD_REG_MAGIC || number == HD_REG_CONTRACT || number == HD_REG_LANES || number == HD_REG_ACC_BITS || number == HD_REG_TABLES || number == HD_REG_COLS ||
                      number == HD_REG_ROWS || number == HD_REG_PLANES || number == HD_REG_HOP || number == HD_REG_FETCH || number == HD_REG_ACT_WORDS || number == HD_REG_DESCRIPTORS;
    always @(posedge clk) begin
        assert ((targets & (targets - 1'b1)) == 0);
        assert (!h_we || targets[6:0] == (h_space == HD_SPACE_ACT ? 7'h01 : h_space == HD_SPACE_WEIGHT ? 7'h02 : h_space == HD_SPACE_INDEX ? 7'h04 : h_space == HD_SPACE_PARAM ? 7'h08 :
            h_space == HD_SPACE_DESC ? 7'h10 : h_space == HD_SPACE_TABLE ? 7'h20 :
            h_space == HD_SPACE_REG && h_addr[4:0] == HD_REG_CONTROL && h_wdata[0] && !busy ? 7'h40 : 7'h00));
        assert (h_we || targets == 0);
        // Held until the next one is asked for.
        if (h_re) begin
            asked <= h_space == HD_SPACE_REG; number <= h_addr[4:0];
        end
        known_q <= asked && known; wanted_q <= wanted;
        if (known_q) assert (h_rdata == wanted_q);
    end
endmodule
`default_nettype wire
